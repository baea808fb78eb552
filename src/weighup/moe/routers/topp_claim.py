"""Claim check of top-p routing (2403.07652): as good as top-2 with fewer experts, and more of them where it is harder?

Models of each seed trained alike on the five domains, with the paper's p and weights of losses (nothing was chosen
here). Read from the test split: the loss, experts per token (mean over layers and tokens), and Spearman's rank
correlation over the five domains between a domain's loss and its experts per token, both of the top-p model.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from weighup.claims import ClaimResult, compare
from weighup.metrics.ranking import spearman
from weighup.moe.corpus import Corpus, five_domains
from weighup.moe.lab import RACE, SMALL, losses, mean_loss, trained
from weighup.moe.routers.topp import experts_per_token
from weighup.moe.tiny import TinyMoELM
from weighup.moe.trace import tracing

SEEDS = range(6)
OURS = replace(SMALL, router="topp")
WINDOWS = 100
FEWER = 0.9
DATA = "five domains, test"


@dataclass(frozen=True)
class _Measured:
    """Loss of ours and of top-2 (nats a byte), experts per token, and the correlation."""

    loss: float
    theirs: float
    experts: float
    harder: float
    told: str


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Loss, experts used, and harder domains."""
    corpus = five_domains(data)
    found = [_measured(corpus, seed) for seed in seeds]
    n = WINDOWS * len(corpus.domains) * SMALL.context
    return [
        compare(
            "top-p, p = 0.4, of 8 experts: the test loss is no worse than top-2",
            metric="nats a byte, mean over domains",
            values=[one.loss for one in found],
            baseline="top-2 + 0.00",
            baseline_values=[one.theirs for one in found],
            seeds=seeds,
            n=n,
            data=DATA,
            lower_is_better=True,
        ),
        compare(
            "top-p, p = 0.4, of 8 experts: uses fewer than 90 % of top-2's experts",
            metric="experts per token, mean over layers and domains",
            values=[one.experts for one in found],
            baseline="90 % of top-2's experts",
            baseline_values=[FEWER * SMALL.k] * len(seeds),
            seeds=seeds,
            n=n,
            data=DATA,
            lower_is_better=True,
        ),
        compare(
            f"top-p, p = 0.4, of 8 experts: harder domains get more experts (seed {seeds[0]}: {found[0].told})",
            metric="rank correlation of loss and experts per token over domains",
            values=[one.harder for one in found],
            baseline="no correlation",
            baseline_values=[0.0] * len(seeds),
            seeds=seeds,
            n=len(corpus.domains),
            data=DATA,
        ),
    ]


def _measured(corpus: Corpus, seed: int) -> _Measured:
    training = replace(RACE, seed=seed)
    baseline = trained(SMALL, corpus, training)
    ours = trained(OURS, corpus, training)
    loss, used = losses(ours, corpus, "test", windows=WINDOWS), by_domain(ours, corpus)
    told = ", ".join(f"{name} {loss[name]:.2f} nats and {used[name]:.2f} experts" for name in corpus.domains)
    return _Measured(
        math.fsum(loss.values()) / len(loss),
        mean_loss(baseline, corpus, "test", windows=WINDOWS),
        math.fsum(used.values()) / len(used),
        spearman([loss[name] for name in corpus.domains], [used[name] for name in corpus.domains]),
        told,
    )


def by_domain(model: TinyMoELM, corpus: Corpus) -> dict[str, float]:
    """Experts per token of each domain's test split, mean over layers."""
    with torch.no_grad(), tracing(model, names=corpus.domains, logits=False) as recorder:
        for batch in corpus.batches("test", 32, model.config.context, windows=WINDOWS):
            recorder.labels = batch.domains
            model(torch.from_numpy(batch.tokens))
    return {name: float(each.mean()) for name, each in experts_per_token(recorder.trace).by_domain.items()}
