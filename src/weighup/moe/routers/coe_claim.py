"""Claim check of Chain-of-Experts (2506.18945): do two iterations of two experts beat one of four?

Sixteen small experts (the paper has 64, of which 8 or 2 × 4), two layers, trained alike on the five domains: the same
experts and the same expert computation. The chain's second routers add under 1 % to the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from weighup.claims import ClaimResult, compare
from weighup.moe.corpus import five_domains
from weighup.moe.lab import SMALL, Training, mean_loss, trained

SEEDS = range(6)
ONCE = replace(SMALL, layers=2, n_experts=16, k=4, hidden=32)
CHAIN = replace(ONCE, router="coe", options={"iterations": 2})
TRAINING = Training(steps=500)
WINDOWS = 120  # of a domain


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Next-byte loss at equal expert computation."""
    corpus = five_domains(data)
    found: dict[str, list[float]] = {"coe": [], "topk": []}
    for seed in seeds:
        for config in (CHAIN, ONCE):
            model = trained(config, corpus, replace(TRAINING, seed=seed))
            found[config.router].append(mean_loss(model, corpus, "test", windows=WINDOWS))
    return [
        compare(
            "two iterations of two experts beat one of four at equal computation",
            metric="next-byte loss, nats",
            values=found["coe"],
            baseline="one iteration, top-4 of 16, + 0.00",
            baseline_values=found["topk"],
            lower_is_better=True,
            seeds=seeds,
            n=len(corpus.domains) * WINDOWS * ONCE.context,
            data="five domains, test split",
        )
    ]
