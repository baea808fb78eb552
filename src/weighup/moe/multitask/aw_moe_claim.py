"""Claim check of AW-MoE (2306.05011): does it gain over a plain mixture of experts, and more for users of whom little
is known?

Made sequences (`ctr_data.sequences`), users of the splits apart. Both rankers see the same rows in the same order and
keep the state that was best on the valid split by AUC. Measured on the test split, by users: long tail, 1 to 4
behaviours; heavy, 12 or more. "Gain" is AUC of AW-MoE less AUC of the plain mixture on the same rows.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weighup.claims import ClaimResult, compare
from weighup.metrics.classification import auroc
from weighup.moe.multitask.aw_moe import AWMoE, MoERanker, Ranker, ranking_loss
from weighup.moe.multitask.ctr_data import Sequences, sequences
from weighup.moe.multitask.fitting import fit

SEEDS = range(6)
STEPS, EVERY, RATE = 600, 150, 3e-3
TAIL, HEAVY = 4, 12
CONTRAST = 0.05
"""The paper's weight of the contrast."""


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """The gain by group of users."""
    plain = [_aucs(MoERanker, 0.0, seed) for seed in seeds]
    whole = [_aucs(AWMoE, CONTRAST, seed) for seed in seeds]
    gains = [[ours - theirs for ours, theirs in zip(a, b, strict=True)] for a, b in zip(whole, plain, strict=True)]
    sizes = _groups(sequences(seeds[0])["test"])
    n_tail, n_heavy = (int(group.sum()) for group in sizes[:2])
    told = "made sequences"
    return [
        compare(
            "AW-MoE against a plain mixture of experts: the gain on long-tail users above that on heavy users",
            metric="gain in AUC on long-tail users", values=[gain[0] for gain in gains],
            baseline="gain in AUC on heavy users", baseline_values=[gain[1] for gain in gains],
            seeds=seeds, n=n_tail + n_heavy, data=told,
        ),
        compare(
            "AW-MoE against a plain mixture of experts on long-tail users",
            metric=f"AUC, users of 1 to {TAIL} behaviours", values=[one[0] for one in whole],
            baseline="plain mixture + 0.000", baseline_values=[one[0] for one in plain],
            seeds=seeds, n=n_tail, data=told,
        ),
        compare(
            "beside the claim: AW-MoE against a plain mixture of experts on heavy users",
            metric=f"AUC, users of {HEAVY} behaviours or more", values=[one[1] for one in whole],
            baseline="plain mixture + 0.000", baseline_values=[one[1] for one in plain],
            seeds=seeds, n=n_heavy, data=told,
        ),
    ]  # fmt: skip


def _aucs(kind: type[Ranker], weight: float, seed: int, split: str = "test") -> tuple[float, float, float]:
    """AUC of long-tail users, heavy users, all."""
    splits = sequences(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(torch.from_numpy(splits["train"].items))
    train, chance = splits["train"], torch.Generator().manual_seed(seed)
    behaviours, target, labels = _tensors(train)
    fit(
        model,
        lambda rows: ranking_loss(model, behaviours[rows], target[rows], labels[rows], weight=weight, generator=chance),
        len(train),
        seed=seed,
        steps=STEPS,
        rate=RATE,
        every=EVERY,
        valid=lambda: auroc(splits["valid"].labels, _scores(model, splits["valid"])),
    )
    measured = splits["test"] if split == "test" else splits["valid"]
    scores = _scores(model, measured)
    tail, heavy, everybody = (auroc(measured.labels[group], scores[group]) for group in _groups(measured))
    return tail, heavy, everybody


def _groups(data: Sequences) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    return data.lengths <= TAIL, data.lengths >= HEAVY, data.lengths > 0


def _scores(model: Ranker, data: Sequences) -> NDArray[np.float32]:
    behaviours, target, _ = _tensors(data)
    with torch.no_grad():
        found = [model(a, b)[0] for a, b in zip(behaviours.split(4000), target.split(4000), strict=True)]
    return torch.cat(found).numpy()


def _tensors(data: Sequences) -> tuple[Tensor, Tensor, Tensor]:
    return torch.from_numpy(data.behaviours), torch.from_numpy(data.target), torch.from_numpy(data.labels)
