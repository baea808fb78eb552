"""Claim check of SMoE-Dropout (2303.01610): does the loss fall with every expert that is added at inference, and do
half of them come near a dense model of the same size?

Both models are trained on the same batches of the five-domain corpus and measured on its test split. The dense model
has one MLP of N·h hidden units a layer, so the same number of weights.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from weighup.claims import ClaimResult, compare
from weighup.moe.corpus import five_domains
from weighup.moe.lab import Training, mean_loss, trained
from weighup.moe.policy import Policy, control
from weighup.moe.tiny import TinyConfig

SEEDS = range(6)
MODEL = TinyConfig(width=48, layers=2, heads=4, n_experts=8, k=4, hidden=32, context=64, router="smoe_dropout")
DENSE = replace(
    MODEL, n_experts=1, k=1, hidden=MODEL.n_experts * MODEL.hidden, router="topk", options={"balance": 0.0, "z": 0.0}
)
TRAINING = Training(steps=600, batch=16)
WINDOWS = 30
TOLERANCE, WITHIN = 0.01, 1.02


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Loss by k at inference, and half of the experts against the dense model."""
    corpus = five_domains(data)
    by_k: list[list[float]] = []
    dense: list[float] = []
    for seed in seeds:
        training = replace(TRAINING, seed=seed)
        model = trained(MODEL, corpus, training)
        found = []
        for k in range(1, MODEL.n_experts + 1):
            with control(model, Policy(k=k)):
                found.append(mean_loss(model, corpus, "test", windows=WINDOWS))
        by_k.append(found)
        dense.append(mean_loss(trained(DENSE, corpus, training), corpus, "test", windows=WINDOWS))
    half = MODEL.n_experts // 2
    n = WINDOWS * len(corpus.domains) * MODEL.context
    means = ", ".join(f"{sum(one) / len(seeds):.3f}" for one in zip(*by_k, strict=True))
    return [
        compare(
            f"SMoE-Dropout: the loss falls (±{TOLERANCE}) with every expert more at inference",
            metric=f"greatest rise of the loss from k to k + 1, nats a byte (k = 1 to {MODEL.n_experts}: {means})",
            values=[max(b - a for a, b in pairwise(one)) for one in by_k],
            baseline=f"a rise of {TOLERANCE}",
            baseline_values=[TOLERANCE] * len(seeds),
            seeds=seeds,
            n=n,
            data="five domains, test",
            lower_is_better=True,
        ),
        compare(
            f"SMoE-Dropout: {half} of {MODEL.n_experts} experts within 2 % of a dense model of equal size",
            metric="loss, nats a byte",
            values=[one[half - 1] for one in by_k],
            baseline=f"dense MLP of {DENSE.hidden} hidden units, loss × {WITHIN}",
            baseline_values=[WITHIN * one for one in dense],
            seeds=seeds,
            n=n,
            data="five domains, test",
            lower_is_better=True,
        ),
    ]
