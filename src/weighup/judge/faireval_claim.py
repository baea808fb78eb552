"""Claim check of FairEval (2305.17926): do both orders and several samples make a judge more often right, and is a
person's time better spent where the samples disagree?

On the 340 pairs of LLMBar that were asked under several prompts, these prompts are a judge's samples. The baseline is
the mean of its usable single verdicts, so that what balancing gains is not what algebra gives: with one sample an
order the two would be equal. A tie counts half. The claims are made of GPT-4 and PaLM2 (samples) and of judges over
0.6 (entropy); the other judges are shown beside, since there both can hurt. Simulated: a judge that adds 1.0 to what
it sees first, noise sd 1, two qualities of sd 1 on a scale of 1 to 10.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.claims import ClaimResult, compare
from weighup.judge.faireval import faireval, position_entropy
from weighup.judge.orders import conflict_rate, sample_k
from weighup.judge.sets import JudgingSet, load
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Item, Judgement, Winner
from weighup.metrics.intervals import bootstrap, paired_bootstrap

Floats = NDArray[np.float64]
JUDGES = ("GPT-4", "PaLM2", "ChatGPT", "ChatGPT-0301", "LLaMA2", "Falcon")
CLAIMED = ("GPT-4", "PaLM2")
MARGIN, HUMAN_MARGIN, SIMULATED_MARGIN = 0.01, 0.03, 0.10
BUDGET, ABLE = 0.2, 0.6
SCALE = (0.0, 10.0)  # of the recorded ratings
SIMULATED_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class _Judged:
    """By item: the mean of single verdicts, right or wrong of FairEval's, and its entropy [items]; share of verdicts
    that the other order contradicts."""

    single: Floats
    right: Floats
    doubt: Floats
    conflict: float


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Samples and orders by judge, people's labels by judge, and the simulated judge."""
    recorded = load("llmbar_recorded", data)
    judged = {judge: _judged(recorded, judge) for judge in JUDGES}
    found = [_balancing(judge, one, seeds) for judge, one in judged.items()]
    found += [_human(judge, one, seeds) for judge, one in judged.items()]
    return [*found, *_simulated(seeds)]


def _judged(recorded: JudgingSet, judge: str) -> _Judged:
    protocols = recorded.protocols(judge)
    several = [item for item in recorded.items if not (item.category or "").startswith("Processed")]
    there = {one.item_id for name in protocols for one in recorded.recorded[name] if one.usable}
    items = [item for item in several if item.id in there]
    player, k = recorded.samples(judge), len(protocols)
    samples = sample_k(player, items, k, balance=True)
    found = faireval(player, items, k, scale=SCALE)
    single = [np.mean([_right(one, recorded.gold) for one in some if one.usable]) for some in samples]
    pairs = [(some[n], some[k + n]) for some in samples for n in range(k)]
    right = np.array([_right(one, recorded.gold) for one in found])
    return _Judged(np.array(single, float), right, position_entropy(found), conflict_rate(pairs).value)


def _right(one: Judgement, gold: Mapping[str, Winner]) -> float:
    return 0.5 if one.winner == "tie" else float(one.winner == gold[one.item_id])


def _balancing(judge: str, one: _Judged, seeds: Sequence[int]) -> ClaimResult:
    low, high = paired_bootstrap(_mean, (one.right,), (one.single,), seed=seeds[0])
    kind = "" if judge in CLAIMED else "beside the claim: "
    return compare(
        f"{kind}{judge}, both orders of all its prompts together, against one verdict",
        metric=f"accuracy, ties half (orders conflict in {one.conflict:.1%} of its verdicts)",
        values=[float(one.right.mean())] * len(seeds),
        baseline="mean of its single verdicts + 1.0 point",
        baseline_values=[float(one.single.mean()) + MARGIN] * len(seeds),
        interval=(low - MARGIN, high - MARGIN),
        seeds=seeds,
        n=len(one.right),
        data="llmbar_recorded, Natural and Adversarial",
    )


def _human(judge: str, one: _Judged, seeds: Sequence[int]) -> ClaimResult:
    values, bounds = [], []
    for seed in seeds:
        chance = np.random.default_rng(seed).random(len(one.right))
        values.append(_guided(one.right, one.doubt, chance))
        bounds.append(bootstrap(_gain, one.right, one.doubt, chance, seed=seed))
    accuracy = float(one.right.mean())
    kind = "" if accuracy > ABLE else "beside the claim: "
    return compare(
        f"{kind}{judge}, right in {accuracy:.3f}: people label the 20 % of highest entropy, against a random 20 %",
        metric="accuracy after people's labels",
        values=values,
        baseline="a random 20 %, in expectation, + 3 points",
        baseline_values=[_unguided(one.right) + HUMAN_MARGIN] * len(seeds),
        interval=(min(low for low, _ in bounds) - HUMAN_MARGIN, max(high for _, high in bounds) - HUMAN_MARGIN),
        seeds=seeds,
        n=len(one.right),
        data="llmbar_recorded, Natural and Adversarial",
    )


def _guided(right: Floats, doubt: Floats, chance: Floats) -> float:
    """Accuracy when the most doubtful are set right; `chance` decides among equals."""
    helped = right.copy()
    helped[np.lexsort((chance, -doubt))[: _budget(len(right))]] = 1.0
    return float(helped.mean())


def _unguided(right: Floats) -> float:
    return float(right.mean() + _budget(len(right)) / len(right) * (1 - right.mean()))


def _gain(right: Floats, doubt: Floats, chance: Floats) -> float:
    return _guided(right, doubt, chance) - _unguided(right)


def _budget(n: int) -> int:
    return math.ceil(BUDGET * n)


def _simulated(seeds: Sequence[int]) -> list[ClaimResult]:
    rows = [_simulate(seed) for seed in seeds]
    balanced = [row[0] for row in rows]
    told = f"orders conflict in {np.mean([row[3] for row in rows]):.1%} of its verdicts"
    baselines = (("one verdict", 1), ("six samples in one order", 2))
    return [
        compare(
            f"simulated judge with a preference for the first: three samples in each order, against {name}",
            metric=f"accuracy, ties half ({told})",
            values=balanced,
            baseline=f"{name} + 10 points",
            baseline_values=[row[place] + SIMULATED_MARGIN for row in rows],
            seeds=seeds,
            n=SIMULATED_ITEMS,
            data="simulated",
        )
        for name, place in baselines
    ]


def _simulate(seed: int) -> tuple[float, float, float, float]:
    """Accuracy balanced, of one verdict, of six in one order; share of orders that conflict."""
    quality = np.random.default_rng(seed).normal(5.5, 1.0, (SIMULATED_ITEMS, 2))
    items = [
        Item.pair(f"s{n}", "question", "first answer", "second answer", meta={"quality": [float(a), float(b)]})
        for n, (a, b) in enumerate(quality)
    ]
    gold: dict[str, Winner] = {item.id: "1" if a > b else "2" for item, (a, b) in zip(items, quality, strict=True)}
    judge = SimulatedJudge(Faults(noise=1.0, order_bias=1.0), seed=seed)
    ways = (faireval(judge, items), faireval(judge, items, 1, False), faireval(judge, items, 6, False))
    balanced, one, six = (float(np.mean([_right(said, gold) for said in way])) for way in ways)
    pairs = [(some[0], some[1]) for some in sample_k(judge, items, 1, balance=True)]
    return balanced, one, six, conflict_rate(pairs).value


def _mean(values: Floats) -> float:
    return float(np.mean(values))
