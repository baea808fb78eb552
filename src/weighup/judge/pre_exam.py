"""The qualification exam of PRE (Chu et al. 2024, arXiv 2401.15641): a reviewer's marks on items with gold labels.

Pairs are asked in both orders: the mark is the share of verdicts as gold, an unusable verdict being wrong. Scores:
"exact" the share of responses given gold's level, "mse" the share within one level of it beside the mean squared
error, "order" (ours) the share of pairs of responses in gold's order, a tied score counting half. Consistency: pairs
judged alike in both orders, or responses given the same score when asked again. Intervals: bootstrap over exam items.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.judge.orders import both_orders
from weighup.judge.types import Item, Judge, Judgement, Winner, by_scores
from weighup.metrics.estimate import Estimate

Rule = Literal["order", "exact", "mse"]
Kind = Literal["pair", "score"]
Floats = NDArray[np.float64]
SAME = 1e-9
_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Exam:
    """`gold` by item: who wins of a pair, or one number a response, higher being better. Raises InvalidInput for no
    items, and for an item whose gold is missing, or not a winner of two or one finite number a response."""

    items: tuple[Item, ...]
    gold: Mapping[str, Winner | Sequence[float]]

    def __post_init__(self) -> None:
        if not self.items:
            raise InvalidInput("exam: there are no items")
        for item in self.items:
            if item.id not in self.gold:
                raise InvalidInput(f"exam: item {item.id} has no gold label")
            told, n = self.gold[item.id], len(item.responses)
            if isinstance(told, str):
                if told not in ("1", "2", "tie") or n != 2:
                    raise InvalidInput(f"exam: item {item.id}: gold {told!r} of {n} responses; 1, 2 or tie of two")
            elif len(told) != n or not np.isfinite(np.asarray(told, float)).all():
                raise InvalidInput(f"exam: item {item.id}: gold must be one finite number for each of {n} responses")


@dataclass(frozen=True, slots=True)
class Marks:
    """`gold`: share right, in [0, 1]; `consistency`: agreement with itself, None if not asked for; `mse`: mean squared
    error of its scores, None of pairs; `said`: whether it gave any usable verdict."""

    gold: Estimate
    consistency: Estimate | None
    mse: float | None
    said: bool


def sit(judge: Judge, exam: Exam, kind: Kind, rule: Rule, *, seed: int, again: bool = False) -> Marks:
    """A judge's marks. Raises InvalidInput for scores to be held against a winner."""
    return _in_pairs(judge, exam, seed, again) if kind == "pair" else _in_scores(judge, exam, rule, seed, again)


def order_share(gold: ArrayLike, scores: ArrayLike) -> Floats:
    """Share of the pairs that gold orders which scores order alike, a tied score counting half; along the last axis of
    both, [..., systems] -> [...]. NaN scores order nothing; NaN where gold orders no pair."""
    told, said = np.asarray(gold, float), np.asarray(scores, float)
    first, second = np.triu_indices(told.shape[-1], 1)
    want = np.sign(told[..., first] - told[..., second])
    gap = said[..., first] - said[..., second]
    hits = np.where(want == 0, 0.0, (np.sign(gap) == want) + 0.5 * (gap == 0)).sum(-1)
    asked = np.broadcast_to((want != 0).sum(-1), hits.shape)
    return np.asarray(np.divide(hits, asked, out=np.full(hits.shape, np.nan), where=asked > 0), np.float64)


def mean_of(values: ArrayLike, seed: int) -> Estimate:
    """Mean of what is not NaN in values [items], with its 95 % bootstrap interval, NaN for one value."""
    given = np.asarray(values, float)
    known = given[~np.isnan(given)]
    if not len(known):
        return Estimate(math.nan, math.nan, math.nan, 0)
    low = high = math.nan
    if len(known) > 1:
        drawn = np.random.default_rng(seed).integers(0, len(known), (_DRAWS, len(known)))
        low, high = map(float, np.quantile(known[drawn].mean(1), [0.025, 0.975]))
    return Estimate(float(known.mean()), low, high, len(known))


def pairs_of(items: Sequence[Item]) -> list[tuple[int, Item]]:
    """Every pair of responses with the place of its item; an item of two is itself the pair."""
    return [
        (place, pair)
        for place, item in enumerate(items)
        for pair in ((item,) if len(item.responses) == 2 else item.pairs())
    ]


def _in_pairs(judge: Judge, exam: Exam, seed: int, again: bool) -> Marks:
    pairs = pairs_of(exam.items)
    want = [winner for item in exam.items for winner in _winners(exam.gold[item.id])]
    both = both_orders(judge, [pair for _, pair in pairs])
    right: list[list[float]] = [[] for _ in exam.items]
    alike: list[list[float]] = [[] for _ in exam.items]
    for (place, _), gold, two in zip(pairs, want, both, strict=True):
        right[place] += [float(one.usable and one.winner == gold) for one in two]
        alike[place].append(float(all(one.usable for one in two) and two[0].winner == two[1].winner))
    said = any(one.usable for two in both for one in two)
    consistency = mean_of([np.mean(some) for some in alike], seed) if again else None
    return Marks(mean_of([np.mean(some) for some in right], seed), consistency, None, said)


def _winners(gold: Winner | Sequence[float]) -> list[Winner]:
    if isinstance(gold, str):
        return [gold]
    return [by_scores(two) for two in itertools.combinations(map(float, gold), 2)]


def _in_scores(judge: Judge, exam: Exam, rule: Rule, seed: int, again: bool) -> Marks:
    said = judge.judge(exam.items)
    marks, errors = [], []
    for item, one in zip(exam.items, said, strict=True):
        gold = exam.gold[item.id]
        if isinstance(gold, str):
            raise InvalidInput(f"exam: item {item.id}: gold is a winner, scores need one number a response")
        scores = _scores(one, item)
        if rule == "order":
            marks.append(float(order_share(gold, scores)))
        else:
            off = np.abs(scores - np.asarray(gold, float))
            marks.append(float(np.mean(off <= (SAME if rule == "exact" else 1 + SAME))))
            errors.append(float(np.mean(off**2)))
    consistency = None
    if again:
        second = judge.judge([item.drawn(item.sample + 1) for item in exam.items])
        same = [
            float(np.mean(np.abs(_scores(a, item) - _scores(b, item)) <= SAME))
            for item, a, b in zip(exam.items, said, second, strict=True)
        ]
        consistency = mean_of(same, seed)
    known = [one for one in errors if not math.isnan(one)]
    mse = float(np.mean(known)) if known else (math.inf if rule == "mse" else None)
    return Marks(mean_of(marks, seed), consistency, mse, any(one.usable for one in said))


def _scores(one: Judgement, item: Item) -> Floats:
    """[responses], NaN where there is none."""
    if not one.usable or one.scores is None:
        return np.full(len(item.responses), np.nan)
    return np.array(one.scores, float)
