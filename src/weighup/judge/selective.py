"""Judging only where sure, and asking people where not.

`coverage_curve`: how accurate what is at least so sure is; `send_to_human`: the share of items that people should see.
The measures of risk and coverage are in `weighup.metrics.selective`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.judge.types import Judgement, Winner
from weighup.metrics.arrays import binary, numbers, same_length
from weighup.metrics.estimate import Estimate, share


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """Of the items at least as sure as `threshold`: their share of all, and how many of them are right."""

    threshold: float
    coverage: float
    accuracy: Estimate


def coverage_curve(
    correct: ArrayLike, certainty: ArrayLike, thresholds: Sequence[float] | None = None
) -> list[CoveragePoint]:
    """One point a threshold, the least first; None: every distinct certainty. correct [n] of 0 and 1, certainty [n].

    Raises InvalidInput as the measures do. A threshold that nothing reaches has accuracy NaN and coverage 0.
    """
    right, sure = binary("correct", correct), numbers("certainty", certainty)
    same_length(correct=right, certainty=sure)
    marks = np.unique(sure) if thresholds is None else np.sort(np.asarray(thresholds, float))
    return [
        CoveragePoint(float(mark), float((sure >= mark).mean()), share(right[sure >= mark] == 1.0)) for mark in marks
    ]


def abstain_below(judgements: Sequence[Judgement], certainty: float) -> list[Judgement]:
    """Judgements less sure than `certainty` in [0, 1], or with none told, become `abstained`. Raises InvalidInput."""
    if not 0 <= certainty <= 1:
        raise InvalidInput(f"certainty: a number in [0, 1] is needed, not {certainty}")
    return [
        one.model_copy(update={"winner": None, "status": "abstained"})
        if one.usable and (one.certainty is None or one.certainty < certainty)
        else one
        for one in judgements
    ]


def most_doubtful(doubt: ArrayLike, budget: float, *, seed: int = 0) -> NDArray[np.int64]:
    """Places of the `budget` (a share in [0, 1]) of items with the most doubt, e.g. outcome entropy [n].

    Rounded up. Equal doubt is drawn from by `seed`; NaN (nothing usable) counts as most doubtful.
    """
    if not 0 <= budget <= 1:
        raise InvalidInput(f"budget: a share in [0, 1] is needed, not {budget}")
    found = np.asarray(doubt, float)
    found = np.where(np.isnan(found), np.inf, found)
    take = math.ceil(budget * len(found) - 1e-9)
    shuffled = np.random.default_rng(seed).permutation(len(found))
    return shuffled[np.argsort(-found[shuffled], kind="stable")][:take].astype(np.int64)


def send_to_human(
    judgements: Sequence[Judgement], doubt: ArrayLike, human: Mapping[str, Winner], budget: float, *, seed: int = 0
) -> list[Judgement]:
    """The `budget` most doubtful judgements replaced by what people said (FairEval's HITLC). doubt [n].

    An item that people were to see and have not judged is `waiting`. Raises InvalidInput for an unknown label.
    """
    found = list(judgements)
    for place in most_doubtful(doubt, budget, seed=seed):
        one = found[int(place)]
        said = human.get(one.item_id)
        if said is not None and said not in ("1", "2", "tie"):
            raise InvalidInput(f"item {one.item_id}: a human label is 1, 2 or tie, not {said!r}")
        update = {"winner": said, "status": "waiting" if said is None else "ok", "certainty": None, "scores": None}
        found[int(place)] = one.model_copy(update=update | {"judge": f"{one.judge}+human"})
    return found
