"""Claim check of the personalised judge (2406.11657): is it right where it says that it is sure?

On recorded verdicts on what a person preferred (PRISM). The claims are made of command-r-plus with all features and
gpt-4o with the key ones; the other recorded variants with a certainty are shown beside. Every verdict on a pair
counts; in the interval, those on a pair that was asked twice or in both orders are drawn together. Counter-check: on
`ec` certainty tells nothing. Without a persona certainty was told on another scale, so only accuracy is compared, on
the pairs that both judged and of which the person preferred one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.claims import ClaimResult, compare
from weighup.judge.sets import load
from weighup.metrics.intervals import bootstrap

Floats = NDArray[np.float64]
SURE = 0.8
MARGIN, LEAST = 0.08, 0.80
CLAIMED = ("command-r-plus/all_features", "gpt-4o/key_features")
BESIDE = (
    "command-r-plus/key_features",
    "command-r-plus/least_important_feature",
    "gpt-4o/least_important_feature",
)
COUNTER = "Meta-Llama-3-70B-Instruct/all_features"


@dataclass(frozen=True, slots=True)
class _Judged:
    """Right or wrong, certainty in [0, 1] (NaN where not told) and the pair it is of, by verdict [verdicts]."""

    right: Floats
    certainty: Floats
    pair: NDArray[np.str_]

    @property
    def pairs(self) -> int:
        return len(set(self.pair.tolist()))


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Sure against all, sure against 0.80, and the counter-checks."""
    found = []
    for name in (*CLAIMED, *BESIDE):
        kind = "" if name in CLAIMED else "beside the claim: "
        one = _judged(data, "prism", name)
        found.append(_against_all(f"{kind}{name}: surer is more often right", one, "prism", seeds, MARGIN))
        found.append(_against_least(f"{kind}{name}: 80 % certain is 80 % right", one, seeds))
    ec = _judged(data, "ec", COUNTER)
    found.append(_against_all(f"counter-check, should not hold: {COUNTER} on ec", ec, "ec", seeds, 0.0))
    return [*found, _persona(data, seeds)]


def _judged(data: Path, folder: str, name: str) -> _Judged:
    """Of the verdicts that are a choice, on pairs where the person had one."""
    read = load(f"personal_judge/{folder}", data)
    said = [one for one in read.recorded[name] if one.usable and read.gold.get(one.item_id) in ("1", "2")]
    return _Judged(
        np.array([one.winner == read.gold[one.item_id] for one in said], float),
        np.array([np.nan if one.certainty is None else one.certainty for one in said], float),
        np.array([one.item_id for one in said]),
    )


def _against_all(claim: str, one: _Judged, folder: str, seeds: Sequence[int], margin: float) -> ClaimResult:
    low, high = bootstrap(_rise, one.right, one.certainty, groups=one.pair, seed=seeds[0])
    sure, points = one.right[one.certainty >= SURE], f" + {margin * 100:.0f} points" if margin else ""
    return compare(
        claim,
        metric=f"accuracy at certainty 80 or more ({len(sure)} verdicts)",
        values=[float(sure.mean())] * len(seeds),
        baseline=f"accuracy of all its {len(one.right)} verdicts{points}",
        baseline_values=[float(one.right.mean()) + margin] * len(seeds),
        interval=(low - margin, high - margin),
        seeds=seeds,
        n=one.pairs,
        data=f"personal_judge/{folder}",
    )


def _against_least(claim: str, one: _Judged, seeds: Sequence[int]) -> ClaimResult:
    low, high = bootstrap(_sure, one.right, one.certainty, groups=one.pair, seed=seeds[0])
    sure = one.right[one.certainty >= SURE]
    return compare(
        claim,
        metric=f"accuracy at certainty 80 or more ({len(sure)} verdicts)",
        values=[float(sure.mean())] * len(seeds),
        baseline="0.80",
        baseline_values=[LEAST] * len(seeds),
        interval=(low - LEAST, high - LEAST),
        seeds=seeds,
        n=len(set(one.pair[one.certainty >= SURE].tolist())),
        data="personal_judge/prism",
    )


def _persona(data: Path, seeds: Sequence[int]) -> ClaimResult:
    """With a persona against without, on the pairs that both judged."""
    with_, without = (_judged(data, "prism", f"command-r-plus/{name}") for name in ("all_features", "no_persona"))
    ours, theirs = (dict(zip(one.pair.tolist(), one.right.tolist(), strict=True)) for one in (with_, without))
    both = sorted(set(ours) & set(theirs))
    a, b = (np.array([one[pair] for pair in both]) for one in (ours, theirs))
    return compare(
        "beside the claim: command-r-plus is more often right with a persona",
        metric="accuracy, all features",
        values=[float(a.mean())] * len(seeds),
        baseline="no persona",
        baseline_values=[float(b.mean())] * len(seeds),
        interval=bootstrap(_mean, a - b, seed=seeds[0]),
        seeds=seeds,
        n=len(both),
        data="personal_judge/prism, pairs judged both ways",
    )


def _sure(right: Floats, certainty: Floats) -> float:
    """NaN where nothing is so certain."""
    some = right[certainty >= SURE]
    return float(some.mean()) if len(some) else float("nan")


def _rise(right: Floats, certainty: Floats) -> float:
    return _sure(right, certainty) - float(right.mean())


def _mean(values: Floats) -> float:
    return float(np.mean(values))
