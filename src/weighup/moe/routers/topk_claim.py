"""Claim check of top-k routing's load-balance loss (Switch, 2101.03961): is the experts' load more even with it, at no
cost in loss?

Two models of each seed, alike but for the weight of the load-balance loss (1e-2 and 0; both have the z-loss). Read from
the test split: the entropy of each layer's load over its experts, divided by log N, and the loss.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from weighup.claims import ClaimResult, compare
from weighup.moe.corpus import Corpus, five_domains
from weighup.moe.lab import RACE, SMALL, mean_loss, trained
from weighup.moe.tiny import Output, TinyConfig

SEEDS = range(6)
WITHOUT = replace(SMALL, options={"balance": 0.0})
WINDOWS = 100
WORSE = 1.01
DATA = "five domains, test"


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Evenness of load, and loss, with and without."""
    corpus = five_domains(data)
    pairs = [[_measured(config, corpus, seed) for config in (SMALL, WITHOUT)] for seed in seeds]
    n = WINDOWS * len(corpus.domains) * SMALL.context
    return [
        compare(
            "top-2 of 8: the load-balance loss makes the experts' load more even",
            metric="entropy of the experts' load over log N, mean over layers",
            values=[ours[0] for ours, _ in pairs],
            baseline="without it + 0.00",
            baseline_values=[theirs[0] for _, theirs in pairs],
            seeds=seeds,
            n=n,
            data=DATA,
        ),
        compare(
            "top-2 of 8: the load-balance loss costs at most 1 % of the test loss",
            metric="nats a byte, mean over domains",
            values=[ours[1] for ours, _ in pairs],
            baseline="101 % of the loss without it",
            baseline_values=[WORSE * theirs[1] for _, theirs in pairs],
            seeds=seeds,
            n=n,
            data=DATA,
            lower_is_better=True,
        ),
    ]


def _measured(config: TinyConfig, corpus: Corpus, seed: int) -> tuple[float, float]:
    """Evenness of load in [0, 1], loss."""
    model = trained(config, corpus, replace(RACE, seed=seed))
    counts = torch.zeros(config.layers, config.n_experts)

    def count(out: Output, _: object) -> None:
        for row, routing in zip(counts, out.routings, strict=True):
            row += torch.bincount(routing.indices.reshape(-1), minlength=config.n_experts)

    loss = mean_loss(model, corpus, "test", windows=WINDOWS, each=count)
    return float(evenness(counts).mean()), loss


def evenness(counts: Tensor) -> Tensor:
    """Entropy of each row of counts [L, N], divided by log N: 1 where all are equal, 0 where one has all -> [L]."""
    share = counts / counts.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1) / torch.log(torch.tensor(float(counts.shape[1])))
