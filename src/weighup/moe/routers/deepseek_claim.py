"""Claim check of DeepSeekMoE (2401.06066): better than top-2 at equal parameters, and its experts less replaceable?

Models of each seed trained alike on the five domains: top-2 of 8, and 15 routed experts of half the width, 3 chosen,
beside 1 shared (m = 2, K_s = 1). Read from the test split: the loss, and how much it rises when the experts that a
token's router likes best are masked and it takes the next ones (as many), as in the paper's section 4.5. One or two of
the 8 experts, and two or four of the 15, so that the same number of parameters is masked; mean of the two.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from weighup.claims import ClaimResult, compare
from weighup.moe.corpus import Corpus, five_domains
from weighup.moe.lab import RACE, SMALL, mean_loss, trained
from weighup.moe.policy import Policy, control
from weighup.moe.tiny import TinyConfig, TinyMoELM

SEEDS = range(6)
M = 2
OURS = replace(SMALL, router="deepseek", options={"m": M, "shared_experts": 1})
MASKED = (1, 2)
"""Of top-2's experts; M times as many of the small ones."""
WINDOWS = 100
DATA = "five domains, test"


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Loss, and its rise when the best experts are masked."""
    corpus = five_domains(data)
    pairs = [[_measured(config, corpus, seed, parts) for config, parts in ((OURS, M), (SMALL, 1))] for seed in seeds]
    n = WINDOWS * len(corpus.domains) * SMALL.context
    return [
        compare(
            "DeepSeekMoE, 3 of 15 half-width experts and 1 shared: lower test loss at equal expert parameters",
            metric="nats a byte, mean over domains",
            values=[ours[0] for ours, _ in pairs],
            baseline="top-2 of 8 + 0.00",
            baseline_values=[theirs[0] for _, theirs in pairs],
            seeds=seeds,
            n=n,
            data=DATA,
            lower_is_better=True,
        ),
        compare(
            "DeepSeekMoE, 3 of 15 half-width experts and 1 shared: masking the best routed experts hurts it more",
            metric="rise of the loss, nats a byte, mean over 1/8 and 2/8 of the experts masked",
            values=[ours[1] for ours, _ in pairs],
            baseline="top-2 of 8 + 0.00",
            baseline_values=[theirs[1] for _, theirs in pairs],
            seeds=seeds,
            n=n,
            data=DATA,
        ),
    ]


def _measured(config: TinyConfig, corpus: Corpus, seed: int, parts: int) -> tuple[float, float]:
    """Loss, and its mean rise."""
    model = trained(config, corpus, replace(RACE, seed=seed))
    loss = mean_loss(model, corpus, "test", windows=WINDOWS)
    rises = [_masked(model, corpus, next_best(model, parts * count)) - loss for count in MASKED]
    return loss, math.fsum(rises) / len(rises)


def _masked(model: TinyMoELM, corpus: Corpus, policy: Policy) -> float:
    return mean_loss(model, corpus, "test", windows=WINDOWS, within=lambda: control(model, policy))


def next_best(model: TinyMoELM, masked: int) -> Policy:
    """Routing without the `masked` experts that the router likes best, as many as ever after them."""
    k = model.blocks[0].moe.router.k
    return Policy(ranks=range(masked + 1, masked + k + 1))
