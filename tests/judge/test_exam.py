"""Exams: what counts as right, which weights follow, who is admitted."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.judge.exam import EPSILON, admit, exam_score, exam_scores, weights
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Item, Judgement

ITEMS = [Item.pair(str(n), "q", "x", "y", meta={"quality": [6, 5]}) for n in range(200)]
SHARES = st.dictionaries(st.text(min_size=1), st.floats(0.51, 1), min_size=1)


def said(item: str, winner: str | None) -> Judgement:
    status = "invalid" if winner is None else "ok"
    return Judgement.model_validate({"item_id": item, "judge": "j", "winner": winner, "status": status})


def test_unusable_is_wrong_and_what_has_no_gold_does_not_count() -> None:
    found = exam_score(
        [said("a", "1"), said("b", "2"), said("c", None), said("d", "1")], {"a": "1", "b": "1", "c": "2"}
    )
    assert (found.value, found.n) == (pytest.approx(1 / 3), 3)
    with pytest.raises(InvalidInput, match="none of the judged items has a gold label"):
        exam_score([said("a", "1")], {"b": "1"})


def test_judges_are_asked_in_both_orders() -> None:
    judges = [
        SimulatedJudge(Faults(accuracy=0.8), seed=1, name="good"),
        SimulatedJudge(Faults(order_bias=9), seed=1, name="biased"),
    ]
    found = exam_scores(judges, ITEMS, {item.id: "1" for item in ITEMS})
    assert found["good"].n == 400
    assert found["good"].value == pytest.approx(0.8, abs=0.06)
    assert found["biased"].value == 0.5
    with pytest.raises(InvalidInput, match="items without a gold label: 0"):
        exam_scores(judges, ITEMS, {})
    with pytest.raises(InvalidInput, match="exam: no items"):
        exam_scores(judges, [], {})


def test_weights_by_hand() -> None:
    scores = {"a": 0.75, "b": 0.9, "c": 0.5}
    assert weights(scores, "uniform") == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    total = math.log(3) + math.log(9)
    assert weights(scores, "log") == pytest.approx({"a": math.log(3) / total, "b": math.log(9) / total, "c": 0})
    powers = {name: score**2 for name, score in scores.items()}
    assert weights(scores, "poly", alpha=2) == pytest.approx({n: p / sum(powers.values()) for n, p in powers.items()})
    raised = {name: math.exp(3 * score) for name, score in scores.items()}
    assert weights(scores, "exp", alpha=3) == pytest.approx({n: p / sum(raised.values()) for n, p in raised.items()})


@given(SHARES, st.sampled_from(["uniform", "log", "exp", "poly"]))
def test_weights_sum_to_one_and_rise_with_the_score(scores: dict[str, float], how: str) -> None:
    found = weights(scores, how)  # type: ignore[arg-type]
    assert sum(found.values()) == pytest.approx(1)
    ordered = sorted(scores, key=lambda name: scores[name])
    values = [found[name] for name in ordered]
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(values))


def test_a_perfect_exam_has_a_finite_weight() -> None:
    odds = math.log(1 - EPSILON) - math.log(EPSILON)
    found = weights({"a": 1.0, "b": 0.75, "zero": 0.0}, "log")
    assert found["a"] == pytest.approx(odds / (odds + math.log(3)))
    assert found["zero"] == 0


def test_weights_that_cannot_be() -> None:
    with pytest.raises(InvalidInput, match="there are no judges"):
        weights({})
    with pytest.raises(InvalidInput, match=r"a has exam score 1.2"):
        weights({"a": 1.2})
    with pytest.raises(InvalidInput, match="no judge is better than chance"):
        weights({"a": 0.4, "b": 0.5})


def test_admission() -> None:
    scores = {"a": 0.6, "b": 0.59, "c": 0.9}
    assert admit(scores) == ("a", "c")
    assert admit(scores, at=0.0) == ("a", "b", "c")
    with pytest.raises(InvalidInput, match=r"0 of 3 judges reach 0.95 where 1 are needed \(a 0.60, b 0.59, c 0.90\)"):
        admit(scores, at=0.95)
    with pytest.raises(InvalidInput, match="where 3 are needed"):
        admit(scores, min_reviewers=3)
    assert admit(scores, at=0.95, min_reviewers=0) == ()
