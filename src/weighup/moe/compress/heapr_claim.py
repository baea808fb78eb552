"""Claim check of HEAPr (2509.22299): do 20 and 25 % of atoms go for 1 % of the loss, and is it better than pruning by
magnitude or whole experts at every ratio?

The trained small model of each seed is calibrated on 200 windows a domain of "train" (64,000 bytes) and pruned without
retraining. Two baselines: magnitude (L2 norm of an atom's weights), and whole experts, their tokens going to the next
best expert, ranked by how often they are chosen or by the sum of their atoms' HEAPr scores, at each ratio whichever
is better on "valid" (rounded down to whole experts, so it removes no more than HEAPr). Losses are nats a byte on
"test".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.calibration import calibrate
from weighup.moe.compress.heapr import atom_scores, kept_experts, magnitude_scores, prune_atoms
from weighup.moe.policy import control

SEEDS = range(6)
RATIOS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
WINDOWS, CALIBRATION = 40, 200
NAMES = ("HEAPr", "magnitude", "whole experts")
Rises = dict[str, list[float]]


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Loss rise at 20 and 25 %, against each baseline at the worst ratio, and against magnitude at 25 %."""
    found, n = [], 0
    for seed in seeds:
        rises, n = _measured(data, seed)
        found.append(rises)
    against = partial(compare, seeds=seeds, n=n, data="five domains, test", lower_is_better=True)
    at = {ratio: place for place, ratio in enumerate(RATIOS)}
    rows = [
        against(
            f"{ratio:.0%} of all atoms pruned for a loss rise of 1 % or less",
            metric="loss rise, % of the whole model's",
            values=[one["HEAPr"][at[ratio]] for one in found],
            baseline="1 %",
            baseline_values=[1.0] * len(seeds),
        )
        for ratio in (0.2, 0.25)
    ]
    for name in NAMES[1:]:
        # At each seed's worst ratio; there it must still be better.
        worst = [max(range(len(RATIOS)), key=lambda r, one=one: one["HEAPr"][r] - one[name][r]) for one in found]  # type: ignore[misc]
        rows.append(
            against(
                f"better than {name} at every ratio",
                metric=f"loss rise, %, at the ratio where HEAPr gains least ({_curves(found, name)})",
                values=[one["HEAPr"][r] for one, r in zip(found, worst, strict=True)],
                baseline=name,
                baseline_values=[one[name][r] for one, r in zip(found, worst, strict=True)],
            )
        )
    rows.append(
        against(
            "at 25 % the loss rises at most half as much as by magnitude",
            metric="loss rise, %",
            values=[one["HEAPr"][at[0.25]] for one in found],
            baseline="half of magnitude's rise",
            baseline_values=[one["magnitude"][at[0.25]] / 2 for one in found],
        )
    )
    return rows


def _curves(found: Sequence[Rises], name: str) -> str:
    parts = []
    for place, ratio in enumerate(RATIOS):
        ours, theirs = (sum(one[key][place] for one in found) / len(found) for key in ("HEAPr", name))
        parts.append(f"{ratio:.0%}: {ours:.2f} / {theirs:.2f}")
    return ", ".join(parts)


def _measured(data: Path, seed: int) -> tuple[Rises, int]:
    """Loss rises by way and ratio, %, and how many bytes were tested."""
    model, corpus = lab.base(data, seed)
    batches = corpus.batches("train", 32, model.config.context, windows=CALIBRATION)
    calibration = calibrate(model, batches, gradients=True)
    scores = atom_scores(model, calibration)
    sets = {"HEAPr": scores, "magnitude": magnitude_scores(model)}
    loss = partial(lab.mean_loss, corpus=corpus, windows=WINDOWS)
    whole = loss(model, split="test")
    rises: Rises = {name: [] for name in NAMES}
    importances = ([one.frequency for one in calibration.layers], [one.sum(1) for one in scores])
    for ratio in RATIOS:
        for name, each in sets.items():
            rises[name].append(100 * (loss(prune_atoms(model, each, ratio), split="test") / whole - 1))
        policies = [kept_experts(one, ratio, least=model.config.k) for one in importances]
        within = [partial(control, model, one) for one in policies]
        best = min(within, key=lambda one: loss(model, split="valid", within=one))
        rises["whole experts"].append(100 * (loss(model, split="test", within=best) / whole - 1))
    tested = sum(one.tokens.size for one in corpus.batches("test", 32, model.config.context, windows=WINDOWS))
    return rises, tested
