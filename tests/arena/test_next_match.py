"""Who meets next, by each policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from weighup.arena import Beliefs, bradley_terry, elo, next_match, simulate_votes
from weighup.errors import InvalidInput


@pytest.fixture
def beliefs() -> Beliefs:
    made = Beliefs(tuple("vwxyz"))
    made.mu[:] = [10, 20, 21, 30, 31]
    made.sigma[:] = [1, 5, 2, 4, 3]
    made.plays[:] = [9, 0, 5, 1, 7]
    made.votes = 10
    return made


def test_each_policy(beliefs: Beliefs) -> None:
    assert next_match(beliefs, "uncertain", k=3) == ("w", "y", "z")
    assert next_match(beliefs, "least_played") == ("w", "y")
    assert next_match(beliefs, "ucb") == ("w", "x")
    assert set(next_match(beliefs, "close", among="yz")) == {"y", "z"}
    for seed in range(20):
        first, second = next_match(beliefs, "close", seed=seed)
        assert {first, second} in ({"v", "w"}, {"w", "x"}, {"y", "z"})


def test_ucb_visits_what_met_seldom(beliefs: Beliefs) -> None:
    beliefs.pairs[1] = [0, 0, 50, 0, 0]
    assert next_match(beliefs, "ucb", alpha=100) != ("w", "x")
    assert next_match(beliefs, "ucb", alpha=0) == ("w", "x")


def test_one_added_later_is_matched_first(beliefs: Beliefs) -> None:
    beliefs.plays += 1
    beliefs.add("new")
    assert next_match(beliefs, "ucb", k=4)[0] == "new"
    assert next_match(beliefs, "uncertain")[0] == "new"


def test_a_leaderboard_will_do() -> None:
    matches = simulate_votes({"x": -1.0, "y": 0.0, "z": 1.0}, n=100, seed=0)
    board = bradley_terry(matches)
    assert len(set(next_match(board, "uncertain", k=3))) == 3
    assert next_match(board, "ucb", pairs=np.ones((3, 3)))
    with pytest.raises(InvalidInput, match="pairs"):
        next_match(board, "ucb")
    with pytest.raises(InvalidInput, match="no standard errors"):
        next_match(elo(matches, orders=None), "uncertain")


def test_equals_are_drawn_by_the_seed() -> None:
    fresh = Beliefs(tuple("vwxyz"))
    drawn = {next_match(fresh, "uncertain", seed=seed) for seed in range(30)}
    assert len(drawn) > 5
    assert next_match(fresh, "ucb", seed=3) == next_match(fresh, "ucb", seed=3)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"k": 1}, "k: from 2"),
        ({"k": 6}, r"k: from 2 to the number of systems \(5\)"),
        ({"policy": "best"}, "policy"),
        ({"among": ["x", "q"]}, "unknown q"),
        ({"among": ["x"]}, "k: "),
        ({"policy": "ucb", "alpha": -1}, "alpha"),
    ],
)
def test_what_cannot_be_matched_is_refused(beliefs: Beliefs, how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        next_match(beliefs, **how)
