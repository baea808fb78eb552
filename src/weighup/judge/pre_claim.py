"""Claim check of PRE (2401.15641): does an exam make a panel of language models agree with people?

CoBBLEr: 15 systems judged each other's answers to 40 instructions, 14 of them usably (dolly gave verdicts on one
instruction only); six people ranked the same answers. 12 random instructions are the exam, the systems are ranked on
the other 28, 200 splits a seed. The method as it stands: those with 0.6 or more of the exam, log-odds weights.
Intervals: 1,000 bootstrap draws of instructions, each split at random eight times so that copies of an instruction
stay on one side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.claims import ClaimResult, compare
from weighup.judge.exam import weights
from weighup.judge.pre import own_gaps, score_tables, weighted
from weighup.judge.pre_exam import order_share
from weighup.judge.sets import load
from weighup.metrics.ranking import tau_b

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
EXAM, SPLITS = 12, 200
DRAWS, SPLITS_A_DRAW = 1000, 8
PASS = 0.6
MARGIN, BEST_MARGIN = 0.20, 0.03
WAYS = ("log", "equal", "best", "passed", "single")


@dataclass(frozen=True, slots=True)
class _Panel:
    """`table` [reviewers, items, systems]: what each gave; `human` [items, systems]: minus the mean place of six
    people; `marks` [reviewers, items]: share of pairs in people's order."""

    reviewers: tuple[str, ...]
    systems: tuple[str, ...]
    table: Floats
    human: Floats
    marks: Floats


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Log-odds weights against equal weights and the best of the exam; GPT-4's preference for itself."""
    panel = _read(data)
    runs = {seed: _splits(panel, seed) for seed in seeds}
    means = {way: [float(runs[seed][:, place].mean()) for seed in seeds] for place, way in enumerate(WAYS)}
    drawn = _draws(panel, seeds[0])
    beside = ", ".join(f"{way} {np.mean(means[way]):.3f}" for way in ("passed", "single"))
    told = {
        "equal": ("equal weights", MARGIN, "all reviewers with equal weights + 0.20"),
        "best": ("the best of its exam", BEST_MARGIN, "the reviewer best in the exam + 0.03"),
    }
    found = []
    for way, (name, margin, baseline) in told.items():
        gain = drawn[:, 0] - drawn[:, WAYS.index(way)] - margin
        low, high = np.quantile(gain, [0.025, 0.975])
        found.append(
            compare(
                f"peer review with weights from an exam against {name}",
                metric=f"Kendall τ with people's mean rank (equal weights of those who pass, mean of all: {beside})",
                values=means["log"],
                baseline=baseline,
                baseline_values=[one + margin for one in means[way]],
                interval=(float(low), float(high)),
                seeds=seeds,
                n=panel.human.shape[0] - EXAM,
                data=f"cobbler, {EXAM} instructions as exam, {SPLITS} splits",
            )
        )
    return [*found, _self_preference(panel, seeds)]


def _self_preference(panel: _Panel, seeds: Sequence[int]) -> ClaimResult:
    gap = own_gaps(panel.table, panel.reviewers, panel.systems, seed=seeds[0])["gpt4"]
    own = float(np.nanmean(panel.table[panel.reviewers.index("gpt4"), :, panel.systems.index("gpt4")]))
    return compare(
        "GPT-4 as a judge prefers its own answers",
        metric="wins of 14 that GPT-4 gives GPT-4",
        values=[own] * len(seeds),
        baseline="what the 13 others with verdicts give GPT-4",
        baseline_values=[own - gap.value] * len(seeds),
        interval=(gap.low, gap.high),
        seeds=seeds,
        n=gap.n,
        data="cobbler",
    )


def _read(data: Path) -> _Panel:
    read = load("cobbler", data)
    systems = tuple(one.system for one in read.items[0].responses)
    half = len(read.items) / 2
    usable = tuple(name for name in read.names if sum(one.usable for one in read.recorded[name]) >= half)
    table = score_tables([read.judge(name) for name in usable], read.items, systems)
    human = -np.array([np.mean(read.places[item.id], axis=0) for item in read.items])
    marks = order_share(human[None], table)
    return _Panel(usable, systems, table, human, marks)


def _splits(panel: _Panel, seed: int) -> Floats:
    """[splits, ways]"""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(panel.human)) for _ in range(SPLITS)]
    return np.array([_taus(panel, order[:EXAM], order[EXAM:]) for order in orders])


def _draws(panel: _Panel, seed: int) -> Floats:
    """Means over splits of each bootstrap draw [draws, ways]."""
    rng = np.random.default_rng(seed)
    n = len(panel.human)
    found = np.empty((DRAWS, len(WAYS)))
    for row in range(DRAWS):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        found[row] = np.mean([_one_split(panel, times, rng) for _ in range(SPLITS_A_DRAW)], axis=0)
    return found


def _one_split(panel: _Panel, times: Ints, rng: np.random.Generator) -> list[float]:
    """A split of the instructions drawn `times`, the exam being the first that make up EXAM."""
    order = rng.permutation(np.flatnonzero(times))
    cut = int(np.searchsorted(np.cumsum(times[order]), EXAM)) + 1
    return _taus(panel, np.repeat(order[:cut], times[order[:cut]]), np.repeat(order[cut:], times[order[cut:]]))


def _taus(panel: _Panel, exam: Ints, rest: Ints) -> list[float]:
    """τ with people on `rest` by way, the exam on `exam`."""
    score = panel.marks[:, exam].mean(1)
    people = panel.human[rest].mean(0)
    means = weighted(panel.table[:, rest].swapaxes(0, 1), np.ones(len(rest)))  # [reviewers, systems]
    alone = [tau_b(people, one) for one in means]
    passed = score >= PASS
    told = weights({str(place): float(score[place]) for place in np.flatnonzero(passed)}, "log")
    return [
        tau_b(people, weighted(means[passed], np.array(list(told.values())))),
        tau_b(people, means.mean(0)),
        alone[int(np.argmax(score))],
        tau_b(people, means[passed].mean(0)),
        float(np.mean(alone)),
    ]
