"""Elo by hand, its constant sum, and the spread over orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.arena import Elo, Match, Matches, elo, simulate_votes
from weighup.errors import InvalidInput

ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from([0, 0.5, 1]), st.floats(0.1, 3)), min_size=1
)
RING = [Match("x", "y", "a"), Match("y", "z", "tie"), Match("z", "x", "a")]


def test_one_pass_by_hand() -> None:
    board = elo([Match("x", "y", "a"), Match("y", "x", "tie")], orders=None)
    expected = 1 / (1 + 10 ** ((1016 - 984) / 400))
    assert board["x"].value == pytest.approx(1016 - 32 * (0.5 - expected))
    assert (board["x"].low, board["x"].sd, board.n) == (None, None, 2)


@given(ROWS, st.sampled_from(["orders", "bootstrap"]))
def test_the_sum_is_constant(rows: list[tuple[int, int, float, float]], interval: Any) -> None:
    a, step, y, weight = zip(*rows, strict=True)
    b = (np.array(a) + step) % 4
    matches = Matches.coded("wxyz", a, b, y, weight=weight)
    board = elo(matches, orders=4, interval=interval, disconnected="rank_each")
    assert sum(one.value for one in board.ratings) == pytest.approx(4000)


@given(ROWS)
def test_all_orders_at_once_are_each_alone(rows: list[tuple[int, int, float, float]]) -> None:
    a, step, y, weight = zip(*rows, strict=True)
    b = (np.array(a) + step) % 4
    matches = Matches.coded("wxyz", a, b, y, weight=weight)
    board = elo(matches, orders=3, seed=5, disconnected="rank_each")
    rng = np.random.default_rng(5)
    each = []
    for _ in range(3):
        rating = np.full(4, 1000.0)
        for i in rng.permutation(len(rows)):
            step_ = 32 * weight[i] * (y[i] - 1 / (1 + 10 ** ((rating[b[i]] - rating[a[i]]) / 400)))
            rating[a[i]] += step_
            rating[b[i]] -= step_
        each.append(rating)
    for place, name in enumerate("wxyz"):
        assert board[name].value == pytest.approx(np.mean([one[place] for one in each]))


def test_skill_is_found_with_a_spread() -> None:
    skills = {"x": -1.0, "y": 0.0, "z": 1.0}
    matches = simulate_votes(skills, n=600, seed=2)
    board = elo(matches, orders=50)
    assert board.order() == ("z", "y", "x")
    assert all(one.low < one.value < one.high for one in board.ratings)  # type: ignore[operator]
    assert board == elo(matches, orders=50)
    assert board != elo(matches, orders=50, seed=1)


def test_vote_by_vote_is_the_same_as_one_pass() -> None:
    rater = Elo(("x", "y", "z"))
    for ranking in (("x", "y"), (("y", "z"),), ("z", "x")):
        rater.update(ranking)
    board = elo(RING, orders=None)
    np.testing.assert_allclose(rater.values(), [board[name].value for name in "xyz"])
    rater.update(("x", "y", "z"))
    assert rater.values().sum() == pytest.approx(3000)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"k": 0}, "k: "),
        ({"scale": -1}, "scale"),
        ({"start": float("nan")}, "start"),
        ({"orders": 0}, "orders"),
        ({"interval": "x"}, "interval"),
        ({"level": 0}, "level"),
    ],
)
def test_wrong_settings_are_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        elo(RING, **how)


def test_a_wrong_vote_changes_nothing() -> None:
    with pytest.raises(InvalidInput, match="different names"):
        Elo(("x", "x"))
    with pytest.raises(InvalidInput, match="k: "):
        Elo(("x", "y"), k=0)
    rater = Elo(("x", "y"))
    with pytest.raises(InvalidInput, match="unknown system 'q'"):
        rater.update(("x", "q"))
    assert rater.values().tolist() == [1000, 1000]
