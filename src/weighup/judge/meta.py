"""How good is this judge? Agreement with gold labels and the biases it is known by, each with its interval and n.

Accuracy and κ against gold; order (Zheng et al. 2023, arXiv 2306.05685), length (Dubois et al. 2024, arXiv 2404.04475),
self-preference (Panickssery et al. 2024, arXiv 2404.13076), style and leniency; consistency when asked again. A bias is
how much more often than gold a judge prefers the longer, its own, or the more marked-up response: 0 is none.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge.orders import by_item, conflict_rate, first_rate
from weighup.judge.types import Item, Judgement, Winner, two
from weighup.metrics.agreement import cohen_kappa
from weighup.metrics.estimate import Estimate, estimated, share

ALL = "all"
_SIDE = {"1": 1, "tie": 0, "2": -1}
_MARKS = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s|^#{1,6}\s|\*\*|```", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MetaRow:
    """One measure of one judge on one subset of the items."""

    judge: str
    subset: str
    measure: str
    estimate: Estimate


def meta_evaluate(
    items: Sequence[Item],
    judgements: Sequence[Judgement],
    gold: Mapping[str, Winner],
    *,
    by: str | None = "category",
    own: Mapping[str, str] | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> list[MetaRow]:
    """Every measure that can be had, by judge, over all pairs and by subset.

    gold: item id -> winner. by: a field of the items (`category`, or a key of `meta`) that makes the subsets; None: no
    subsets. own: judge -> the system that it is itself, where their names differ. Items without gold are left out of
    what needs it. Raises InvalidInput for judgements of items that are not there, or if no item has gold.
    """
    known = {item.id: item for item in items}
    strange = sorted({one.item_id for one in judgements} - set(known))
    if strange:
        raise InvalidInput(f"judgements of items that are not there: {', '.join(strange[:3])}")
    if not any(id in gold for id in known):
        raise InvalidInput("gold: none of the items has a gold label")
    for item in items:
        two(item)
    subsets = {ALL: set(known)}
    for item in items:
        named = _subset(item, by)
        if named:
            subsets.setdefault(named, set()).add(item.id)
    rows: list[MetaRow] = []
    for judge in dict.fromkeys(one.judge for one in judgements):
        said = by_item([one for one in judgements if one.judge == judge])
        for subset, ids in subsets.items():
            some = {id: found for id, found in said.items() if id in ids}
            if some:
                system = (own or {}).get(judge, judge)
                rows += _of(judge, subset, known, some, gold, system, seed, draws)
    return rows


def _of(
    judge: str,
    subset: str,
    items: Mapping[str, Item],
    said: Mapping[str, Sequence[Judgement]],
    gold: Mapping[str, Winner],
    system: str,
    seed: int,
    draws: int,
) -> list[MetaRow]:
    found: dict[str, Estimate] = {}
    every = [one for some in said.values() for one in some]
    found["usable"] = share([one.usable for one in every])
    labelled = [one for one in every if one.item_id in gold]
    if labelled:
        group = [one.item_id for one in labelled]
        right = np.array([one.usable and one.winner == gold[one.item_id] for one in labelled], float)
        found["accuracy"] = _estimated(lambda r: float(np.mean(r)), right, groups=group, seed=seed, draws=draws)
        decided = [one for one in labelled if one.usable and one.winner is not None]
        if decided:
            named = [_SIDE[str(one.winner)] for one in decided], [_SIDE[gold[one.item_id]] for one in decided]
            group = [one.item_id for one in decided]
            # All of one label, or one item: there is nothing to agree on beyond chance.
            with contextlib.suppress(InvalidInput):
                found["kappa"] = _estimated(
                    lambda a, b: cohen_kappa(a, b, labels=(-1, 0, 1)), *named, groups=group, seed=seed, draws=draws
                )
    pairs = [(a, b) for some in said.values() if (a := _in(some, "given")) and (b := _in(some, "swapped"))]
    if pairs:
        found["conflict rate"] = conflict_rate(pairs)
        found["first place wins conflicts"] = first_rate(pairs)
        both = [p for p in pairs if p[0].item_id in gold]
        hits = [all(one.usable and one.winner == gold[one.item_id] for one in pair) for pair in both]
        if both:
            found["consistent accuracy"] = share(hits)
    again = [some for some in said.values() if len({one.sample for one in some}) > 1]
    if again:
        found["consistency"] = share([len({one.winner for one in _samples(some)}) == 1 for some in again])
    for name, sides in _leanings(system).items():
        bias = _bias(sides, items, said, gold, seed, draws)
        if bias is not None:
            found[name] = bias
    return [MetaRow(judge, subset, name, one) for name, one in found.items()]


def _leanings(system: str) -> dict[str, Callable[[Item], int]]:
    """What a judge may lean to: 1 if the first response is longer (its own, more marked up), −1 the second, 0 none."""

    def own(item: Item) -> int:
        first, second = (response.system == system for response in item.responses)
        return int(first) - int(second)

    def longer(item: Item) -> int:
        return int(np.sign(len(item.responses[0].text) - len(item.responses[1].text)))

    def marked(item: Item) -> int:
        first, second = (len(_MARKS.findall(response.text)) for response in item.responses)
        return int(np.sign(first - second))

    return {"length bias": longer, "self-preference": own, "style bias": marked}


def _bias(
    side: Callable[[Item], int],
    items: Mapping[str, Item],
    said: Mapping[str, Sequence[Judgement]],
    gold: Mapping[str, Winner],
    seed: int,
    draws: int,
) -> Estimate | None:
    """Share of wins that go to one kind of response, judge minus gold, ties counting half; None without such pairs."""
    ours: list[float] = []
    theirs: list[float] = []
    group: list[str] = []
    for id, some in said.items():
        leaning = side(items[id])
        if not leaning or id not in gold:
            continue
        for one in some:
            if one.usable and one.winner is not None:
                ours.append((1 + leaning * _SIDE[one.winner]) / 2)
                theirs.append((1 + leaning * _SIDE[gold[id]]) / 2)
                group.append(id)
    if not ours:
        return None
    return _estimated(lambda a, b: float(np.mean(a) - np.mean(b)), ours, theirs, groups=group, seed=seed, draws=draws)


def _estimated(
    statistic: Callable[..., float],
    *arrays: NDArray[np.float64] | Sequence[float],
    groups: Sequence[str],
    seed: int,
    draws: int,
) -> Estimate:
    found = estimated(statistic, *arrays, groups=np.array(groups), seed=seed, draws=draws)
    return Estimate(found.value, found.low, found.high, len(set(groups)))


def _in(some: Sequence[Judgement], order: str) -> Judgement | None:
    return next((one for one in some if one.order == order and one.sample == min(o.sample for o in some)), None)


def _samples(some: Sequence[Judgement]) -> list[Judgement]:
    return [one for one in some if one.order == some[0].order]


def _subset(item: Item, by: str | None) -> str:
    if by is None:
        return ""
    value = item.category if by == "category" else item.meta.get(by)
    return "" if value is None else f"{by}={value}"
