"""HREF's choice among methods: how far each agrees with the annotators, and which a category gets.

Lyu et al. 2024 (arXiv 2412.15524), section 3; what is faithful and what is ours stands in `href`. Arrays: agreement is
float [methods, items] in [0, 1], votes are object [annotators, items], None where an item has fewer.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge.types import Item, Judge, Judgement, Rubric, Winner
from weighup.metrics.agreement import leave_one_out_agreement

SHRINK = 1.64
LEAST = 5  # development items below which a category's standard error means nothing
_SIDES = ("1", "2", "tie")

Floats = NDArray[np.float64]
Why = Literal["", "no development items", "too few development items", "not clearly better"]


class Annotated(Protocol):
    """Items and what each of their annotators said of them, by item; a `JudgingSet` is one."""

    @property
    def items(self) -> Sequence[Item]: ...

    @property
    def votes(self) -> Mapping[str, Sequence[Winner]]: ...


def agreements(methods: Sequence[Judge], items: Sequence[Item], votes: NDArray[Any], *, seed: int = 0) -> Floats:
    """How far each method agrees with the annotators of each item, [methods, items]; votes [annotators, items].

    Leave-one-out agreement, or agreement with the only vote. A method that says nothing usable agrees with nobody."""
    said = [[one.winner if one.usable else None for one in said_by(method, items)] for method in methods]
    return np.array([agreement(votes, row, seed=seed) for row in said])


def agreement(votes: NDArray[Any], verdicts: Sequence[Winner | None], *, seed: int = 0) -> Floats:
    """As `agreements`, of one method's verdicts [items]: float [items]."""
    found = np.array([float(one == only) for one, only in zip(verdicts, _only(votes), strict=True)])
    several = np.sum(votes != None, axis=0) > 1  # noqa: E711  elementwise
    if several.any():
        places = np.flatnonzero(several)
        taken = places if len(places) > 1 else np.repeat(places, 2)  # agreement is defined from two items on
        held = leave_one_out_agreement(votes[:, taken], [verdicts[int(place)] for place in taken], seed=seed)
        found[places] = held.items[: len(places)]
    return found


def pick(agreed: Floats, groups: Sequence[Hashable], shrink: float = SHRINK) -> tuple[int, dict[Any, tuple[int, Why]]]:
    """(the method best on all items, the method and why of each group), methods by place; of equals the first.

    agreed [methods, items]; groups [items]. With `shrink` 0 each group has its best.
    """
    label = np.array([str(one) for one in groups])
    best = int(agreed.mean(1).argmax())
    found: dict[Any, tuple[int, Why]] = {}
    for group in dict.fromkeys(groups):
        here = agreed[:, label == str(group)]
        means = here.mean(1)
        own = best if means[best] == means.max() else int(means.argmax())
        if own == best or not shrink:
            found[group] = (own, "")
        elif here.shape[1] < LEAST:
            found[group] = (best, "too few development items")
        else:
            gain = here[own] - here[best]
            clear = gain.mean() > shrink * gain.std(ddof=1) / math.sqrt(len(gain))
            found[group] = (own, "") if clear else (best, "not clearly better")
    return best, found


def family_wise(groups: int, methods: int, level: float = 0.05) -> float:
    """`shrink` at which, with as many groups and methods, no group leaves the overall best by chance in 1 − `level` of
    cases (Bonferroni over every choice that could be made; one-sided). 0 where there is nothing to choose."""
    choices = groups * (methods - 1)
    return NormalDist().inv_cdf(1 - level / choices) if choices > 0 else 0.0


def votes_table(dev: Annotated) -> NDArray[Any]:
    """Votes as object array [annotators, items], None where an item has fewer. Raises InvalidInput naming an item
    without votes, or with another vote than 1, 2 and tie."""
    rows = []
    for item in dev.items:
        told = tuple(dev.votes.get(item.id, ()))
        if not told:
            raise InvalidInput(f"item {item.id}: no annotator voted on it; leave it out of the development items")
        wrong = [one for one in told if one not in _SIDES]
        if wrong:
            raise InvalidInput(f"item {item.id}: a vote is 1, 2 or tie, not {wrong[0]!r}")
        rows.append(told)
    most = max(map(len, rows))
    found = np.full((most, len(rows)), None, object)
    for place, told in enumerate(rows):
        found[: len(told), place] = told
    return found


def said_by(method: Judge, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
    """What a method says, one judgement an item. Raises InvalidInput where it gives another number of them."""
    said = method.judge(items, rubric)
    if len(said) != len(items):
        raise InvalidInput(f"judge {method.name}: gave {len(said)} judgements of {len(items)} items")
    return said


def _only(votes: NDArray[Any]) -> list[Any]:
    return [next(one for one in column if one is not None) for column in votes.T]
