"""Judging only where sure: curves, abstaining, and who is sent to people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.judge.selective import abstain_below, coverage_curve, most_doubtful, send_to_human
from weighup.judge.types import Judgement

DOUBT = st.lists(st.floats(0, 2) | st.just(math.nan), min_size=1, max_size=30)


def said(certainty: float | None, item: str = "a", **more: object) -> Judgement:
    values = {"item_id": item, "judge": "j", "winner": "1", "certainty": certainty, **more}
    return Judgement.model_validate(values)


def test_a_curve_by_hand() -> None:
    points = coverage_curve([1, 0, 1, 1], [0.5, 0.5, 0.8, 0.9])
    assert [(p.threshold, p.coverage, p.accuracy.value, p.accuracy.n) for p in points] == [
        (0.5, 1.0, 0.75, 4),
        (0.8, 0.5, 1.0, 2),
        (0.9, 0.25, 1.0, 1),
    ]
    beyond = coverage_curve([1, 0], [0.5, 0.6], [0.95])[0]
    assert (beyond.coverage, beyond.accuracy.n) == (0.0, 0)
    assert math.isnan(beyond.accuracy.value)


def test_curves_that_cannot_be() -> None:
    for correct, certainty in (([1, 0], [0.5]), ([2], [0.5]), ([], []), ([1], [math.nan])):
        with pytest.raises(InvalidInput):
            coverage_curve(correct, certainty)


def test_the_unsure_abstain() -> None:
    refused = said(None, status="refused", winner=None)
    found = abstain_below([said(0.7), said(0.69), said(None), refused], 0.7)
    assert [one.status for one in found] == ["ok", "abstained", "abstained", "refused"]
    assert [one.winner for one in found] == ["1", None, None, None]
    with pytest.raises(InvalidInput, match="certainty"):
        abstain_below([], 1.1)


@given(DOUBT, st.floats(0, 1), st.integers(0, 5))
def test_the_most_doubtful_are_more_doubtful_than_the_rest(doubt: list[float], budget: float, seed: int) -> None:
    places = most_doubtful(doubt, budget, seed=seed)
    assert len(set(places.tolist())) == len(places) == math.ceil(budget * len(doubt) - 1e-9)
    known = np.where(np.isnan(doubt), np.inf, doubt)
    rest = np.delete(known, places)
    if len(places) and len(rest):
        assert known[places].min() >= rest.max()


def test_equal_doubt_is_drawn_from_by_seed() -> None:
    drawn = {tuple(most_doubtful(np.ones(20), 0.1, seed=seed).tolist()) for seed in range(10)}
    assert len(drawn) > 3
    assert most_doubtful(np.ones(20), 0.1, seed=3).tolist() == most_doubtful(np.ones(20), 0.1, seed=3).tolist()
    with pytest.raises(InvalidInput, match="budget"):
        most_doubtful([1.0], 1.5)


def test_people_see_the_most_doubtful() -> None:
    judged = [said(0.5, item, scores=(1.0, 2.0)) for item in "abcd"]
    found = send_to_human(judged, [0.1, 0.9, 0.2, 0.8], {"b": "2", "a": "2"}, 0.5)
    assert [(one.winner, one.status, one.judge) for one in found] == [
        ("1", "ok", "j"),
        ("2", "ok", "j+human"),
        ("1", "ok", "j"),
        (None, "waiting", "j+human"),
    ]
    assert found[1].scores is None
    assert send_to_human(judged, [0.1, 0.9, 0.2, 0.8], {}, 0.0) == judged
    with pytest.raises(InvalidInput, match="item b: a human label is 1, 2 or tie"):
        send_to_human(judged, [0.1, 0.9, 0.2, 0.8], {"b": "B"}, 0.5)  # type: ignore[dict-item]
