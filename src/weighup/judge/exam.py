"""Who may judge, and how much each counts: scores from an exam with known answers, admission, weights.

Peer review's qualification exam (Chu et al. 2024, arXiv 2401.15641): accuracy on items with gold labels, and agreement
with oneself when asked again; weights uniform, log-odds, exponential or a power of the score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from weighup.errors import InvalidInput
from weighup.judge.orders import both_orders
from weighup.judge.types import Item, Judge, Judgement, Winner
from weighup.metrics.estimate import Estimate, share

Weighing = Literal["uniform", "log", "exp", "poly"]
EPSILON = 0.01
"""Scores are kept this far from 0 and 1 where log-odds are taken of them."""


def exam_score(judgements: Sequence[Judgement], gold: Mapping[str, Winner]) -> Estimate:
    """Share of the items of `gold` that were judged as gold says, each judgement counting once. An unusable judgement
    is a wrong answer. Raises InvalidInput if none of the judgements is of an item of `gold`."""
    taken = [one for one in judgements if one.item_id in gold]
    if not taken:
        raise InvalidInput("exam: none of the judged items has a gold label")
    return share([one.usable and one.winner == gold[one.item_id] for one in taken])


def exam_scores(judges: Sequence[Judge], items: Sequence[Item], gold: Mapping[str, Winner]) -> dict[str, Estimate]:
    """`exam_score` of each judge, asked in both orders. Raises InvalidInput for an item without a gold label."""
    without = [item.id for item in items if item.id not in gold]
    if without or not items:
        raise InvalidInput(f"exam: items without a gold label: {', '.join(without[:3])}" if items else "exam: no items")
    found = {}
    for judge in judges:
        pairs = both_orders(judge, items)
        found[judge.name] = exam_score([one for pair in pairs for one in pair], gold)
    return found


def weights(scores: Mapping[str, float], how: Weighing = "log", *, alpha: float = 1.0) -> dict[str, float]:
    """Weights that sum to 1 from exam scores in [0, 1].

    `uniform`: equal; `log`: log p − log(1 − p), p kept within 0.01 and 0.99, 0 for p ≤ 0.5; `exp`: exp(alpha·p);
    `poly`: p^alpha. Raises InvalidInput for no judges, scores outside [0, 1], or if every weight is 0.
    """
    if not scores:
        raise InvalidInput("weights: there are no judges")
    for name, score in scores.items():
        if not 0 <= score <= 1:
            raise InvalidInput(f"weights: {name} has exam score {score}; scores lie in [0, 1]")
    raw = {name: _raw(score, how, alpha) for name, score in scores.items()}
    total = sum(raw.values())
    if not total > 0:
        told = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
        raise InvalidInput(f"weights: no judge is better than chance in its exam ({told}); use uniform weights")
    return {name: value / total for name, value in raw.items()}


def admit(scores: Mapping[str, float], at: float = 0.6, *, min_reviewers: int = 1) -> tuple[str, ...]:
    """The judges whose score is at least `at`, in order. Raises InvalidInput, naming the scores, if fewer than
    `min_reviewers` pass."""
    passed = tuple(name for name, score in scores.items() if score >= at)
    if len(passed) < min_reviewers:
        told = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
        raise InvalidInput(
            f"exam: {len(passed)} of {len(scores)} judges reach {at:g} where {min_reviewers} are needed ({told}); "
            "lower the mark, or min_reviewers"
        )
    return passed


def _raw(score: float, how: Weighing, alpha: float) -> float:
    if how == "uniform":
        return 1.0
    if how == "log":
        p = float(np.clip(score, EPSILON, 1 - EPSILON))
        return max(0.0, math.log(p) - math.log(1 - p))
    return math.exp(alpha * score) if how == "exp" else float(score**alpha)
