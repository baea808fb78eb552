"""Asking more than once: in both orders of a pair, in several samples, and making one judgement of many.

Sources: both orders, samples and the entropy of their outcomes are FairEval's balanced position calibration and BPDE
(Wang et al. 2023, arXiv 2305.17926, section 3); conflicts as in Zheng et al. 2023 (arXiv 2306.05685, section 3.4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge.types import Item, Judge, Judgement, Rubric, Spent, by_scores, two, unique
from weighup.metrics.estimate import Estimate, share

How = Literal["vote", "mean", "log_odds", "consistent"]
_SIDE = {"1": 1.0, "tie": 0.0, "2": -1.0}
_LEAST = 1e-6  # certainties of 0 and 1 would have no log-odds


def both_orders(judge: Judge, items: Sequence[Item], rubric: Rubric | None = None) -> list[tuple[Judgement, Judgement]]:
    """Each item as given and swapped, in one batch. Raises InvalidInput for an item of other than two responses."""
    for item in items:
        two(item)
    return [(both[0], both[1]) for both in _grouped(judge, items, [[i, i.swapped()] for i in items], rubric)]


def sample_k(
    judge: Judge, items: Sequence[Item], k: int, rubric: Rubric | None = None, *, balance: bool = False
) -> list[list[Judgement]]:
    """k samples of each item (2k with `balance`: both orders, given first), in one batch. k is 1 or more."""
    if k < 1:
        raise InvalidInput(f"k: one sample or more is needed, not {k}")
    asked = [[item.drawn(n) for n in range(k)] for item in items]
    if balance:
        asked = [[*one, *(item.swapped() for item in one)] for one in asked]
    return _grouped(judge, items, asked, rubric)


def combine(
    judgements: Sequence[Judgement],
    how: How = "vote",
    *,
    weights: Mapping[str, float] | None = None,
    name: str = "combined",
) -> Judgement:
    """One judgement of many on the same item. What is not usable is left out; with nothing left it is `invalid`.

    - `vote`: weighted votes for 1, 2 and tie (half to each side); equal sides tie. Of scores: as `mean`.
    - `mean`: weighted mean of each response's scores; the larger wins, equal to 1e-9 ties.
    - `log_odds`: sum of weight · log(c / (1 − c)) with c the certainty that 1 is better.
    - `consistent`: the winner that all name, else `abstained`.

    `weights`: by judge, 1 where one is not named. `certainty` of a vote is the winner's share of the weight. Raises
    InvalidInput for no judgements, those of several items, or all weights 0.
    """
    if not judgements:
        raise InvalidInput("combine: no judgements")
    ids = {one.item_id for one in judgements}
    if len(ids) > 1:
        raise InvalidInput(f"combine: judgements of one item are needed, not of {sorted(ids)[:3]}")
    usage = sum((one.usage for one in judgements), Spent())
    base = judgements[0].model_copy(update={"judge": name, "order": "given", "sample": 0, "usage": usage})
    known = [one for one in judgements if one.usable]
    weight = np.array([1.0 if weights is None else weights.get(one.judge, 1.0) for one in known])
    if known and not weight.sum() > 0:
        raise InvalidInput(f"combine: all weights of item {judgements[0].item_id} are 0")
    if not known:
        return _nothing(base, "invalid")
    if how == "mean" or (how == "vote" and all(one.winner is None for one in known)):
        return _mean(base, known, weight)
    if how == "log_odds":
        return _log_odds(base, known, weight)
    named = [one.winner for one in known]
    if any(winner is None for winner in named):
        raise InvalidInput(f"combine: item {base.item_id}: some judgements name no winner; combine them by mean")
    if how == "consistent":
        one = named[0]
        if len(set(named)) > 1:
            return _nothing(base, "abstained")
        return base.model_copy(update={"kind": "pair", "winner": one, "status": "ok", "certainty": 1.0})
    side = float(np.dot(weight, [_SIDE[str(winner)] for winner in named]) / weight.sum())
    winner = by_scores((side, 0.0))
    agree = float(weight[[one == winner for one in named]].sum() / weight.sum())
    said = {"kind": "pair", "winner": winner, "certainty": agree, "status": "ok", "scores": None}
    return base.model_copy(update=said)


def conflicts(pairs: Sequence[tuple[Judgement, Judgement]]) -> NDArray[np.bool_]:
    """Whether the two orders name different winners, of the pairs where both are usable."""
    return np.array([a.winner != b.winner for a, b in pairs if a.usable and b.usable], bool)


def conflict_rate(pairs: Sequence[tuple[Judgement, Judgement]]) -> Estimate:
    """Share of pairs judged differently in the other order, with its Wilson interval, in [0, 1]."""
    return share(conflicts(pairs))


def first_rate(pairs: Sequence[tuple[Judgement, Judgement]]) -> Estimate:
    """Share of conflicting pairs in which the response shown first won both times: 0.5 without a bias for a place."""
    said = [a.winner == "1" for a, b in pairs if a.usable and b.usable and {a.winner, b.winner} == {"1", "2"}]
    return share(np.array(said, bool))


def outcome_entropy(judgements: Sequence[Sequence[Judgement]]) -> NDArray[np.float64]:
    """−Σ p log p over the outcomes 1, tie and 2 of each item's usable judgements, in nats [n]; NaN where there is none.

    BPDE of FairEval, section 3.3.
    """
    found = np.full(len(judgements), np.nan)
    for place, some in enumerate(judgements):
        count = np.array([sum(one.winner == side for one in some if one.usable) for side in _SIDE], float)
        if count.sum():
            p = count[count > 0] / count.sum()
            found[place] = max(0.0, float(-(p * np.log(p)).sum()))
    return found


def _grouped(
    judge: Judge, items: Sequence[Item], asked: Sequence[Sequence[Item]], rubric: Rubric | None
) -> list[list[Judgement]]:
    unique(items)
    said = judge.judge([one for some in asked for one in some], rubric)
    total = sum(len(some) for some in asked)
    if len(said) != total:
        raise InvalidInput(f"judge {judge.name}: gave {len(said)} judgements of {total} items")
    rest = iter(said)
    return [[next(rest) for _ in some] for some in asked]


def _nothing(base: Judgement, status: Literal["invalid", "abstained"]) -> Judgement:
    said: dict[str, object] = {
        "winner": None,
        "scores": None,
        "ranking": None,
        "checks": {},
        "certainty": None,
        "status": status,
    }
    return base.model_copy(update=said)


def _mean(base: Judgement, known: Sequence[Judgement], weight: NDArray[np.float64]) -> Judgement:
    rows = [one.scores for one in known]
    if any(row is None for row in rows) or len({len(row or ()) for row in rows}) > 1:
        raise InvalidInput(f"combine: item {base.item_id}: a mean needs scores of the same responses in each judgement")
    table = np.array(rows, float)  # None becomes NaN
    there = ~np.isnan(table)
    total = (weight[:, None] * there).sum(0)
    sums = (weight[:, None] * np.where(there, table, 0.0)).sum(0)
    means = tuple(float(s / t) if t else None for s, t in zip(sums, total, strict=True))
    said: dict[str, object] = {"scores": means, "status": "ok", "ranking": None}
    if len(means) == 2 and None not in means:
        said |= {"kind": "pair", "winner": by_scores([m for m in means if m is not None])}
    return base.model_copy(update=said)


def _log_odds(base: Judgement, known: Sequence[Judgement], weight: NDArray[np.float64]) -> Judgement:
    odds = []
    for one in known:
        if one.winner is None or one.certainty is None:
            raise InvalidInput(f"combine: item {base.item_id}: log-odds need winner and certainty of each judgement")
        sure = min(max(one.certainty, _LEAST), 1 - _LEAST)
        odds.append(_SIDE[one.winner] * np.log(sure / (1 - sure)))
    total = float(np.dot(weight, odds))
    winner = by_scores((total, 0.0))
    certainty = 1 / (1 + np.exp(-abs(total)))
    return base.model_copy(update={"kind": "pair", "winner": winner, "certainty": float(certainty), "status": "ok"})


def by_item(judgements: Sequence[Judgement]) -> dict[str, list[Judgement]]:
    """Judgements by item, items in the order in which they first appear."""
    found: dict[str, list[Judgement]] = defaultdict(list)
    for one in judgements:
        found[one.item_id].append(one)
    return dict(found)
