"""Gaussian beliefs: TrueSkill's figures, ties, floors and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from weighup.arena import Beliefs, Match, gaussian_belief, simulate_votes
from weighup.arena.belief import _won
from weighup.errors import InvalidInput


def test_two_players_are_trueskills() -> None:
    beliefs = Beliefs(["x", "y"])
    beliefs.update(("x", "y"))
    # Closed form of the two-player update without draws, from 25 and 25/3: the well-known 29.2 and 20.8, sd 7.19.
    np.testing.assert_allclose(beliefs.mu, [29.20520, 20.79480], atol=1e-3)
    np.testing.assert_allclose(beliefs.sigma, [7.19448, 7.19448], atol=1e-3)
    np.testing.assert_allclose(beliefs.scores(), beliefs.mu - 3 * beliefs.sigma)


@given(st.floats(-25, 10))
def test_v_and_w_are_the_truncated_normals(t: float) -> None:
    v, w = _won(t)
    expected = math.exp(norm.logpdf(t) - norm.logcdf(t))
    assert v == pytest.approx(expected, rel=1e-9)
    assert w == pytest.approx(expected * (expected + t), rel=1e-4, abs=1e-9)


def test_the_greatest_upset_stays_finite() -> None:
    near, far = _won(-29.999), _won(-30.001)
    assert near[0] == pytest.approx(far[0], rel=1e-3)
    assert _won(-1e6) == (pytest.approx(1e6), pytest.approx(1.0, abs=1e-3))
    beliefs = Beliefs(["x", "y"], beta=0.01, sigma=1)
    beliefs.mu[:] = [1000, 0]
    beliefs.update(("y", "x"))
    assert np.isfinite([*beliefs.mu, *beliefs.sigma]).all()
    assert (beliefs.sigma > 0).all()


def test_a_vote_is_the_mean_of_its_pairs() -> None:
    vote = Beliefs(["x", "y", "z"])
    vote.update(("x", "y", "z"))
    pair = Beliefs(["x", "y"])
    pair.update(("x", "y"))
    gain = pair.mu[0] - 25
    np.testing.assert_allclose(vote.mu - 25, [gain, 0, -gain], atol=1e-12)
    np.testing.assert_allclose(vote.sigma, pair.sigma[0])
    assert vote.pairs.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_a_tie_draws_together() -> None:
    beliefs = Beliefs(["x", "y"])
    beliefs.mu[:] = [30, 20]
    beliefs.update((("x", "y"),))
    assert 25 < beliefs.mu[0] < 30
    assert beliefs.mu.sum() == pytest.approx(50)
    assert (beliefs.sigma < 25 / 3).all()


def test_sigma_has_a_floor() -> None:
    beliefs = Beliefs(["x", "y"], floor=0.9)
    beliefs.update(("x", "y"))
    assert beliefs.sigma[0] == pytest.approx(25 / 3 * math.sqrt(0.9))
    for number in range(5000):
        beliefs.update(("x", "y") if number % 2 else ("y", "x"))
    assert (beliefs.sigma > 0).all()


def test_a_system_added_later_is_uncertain() -> None:
    beliefs = Beliefs(["x", "y"])
    beliefs.update(("x", "y"))
    beliefs.add("z")
    assert (beliefs.mu[2], beliefs.sigma[2], beliefs.plays[2]) == (25, 25 / 3, 0)
    beliefs.update(("z", "x", "y"))
    assert beliefs.leaderboard().order()[0] == "z"
    with pytest.raises(InvalidInput, match="already known"):
        beliefs.add("z")


def test_chance_of_a_win() -> None:
    beliefs = Beliefs(["x", "y"])
    assert beliefs.win_chance("x", "y") == 0.5
    beliefs.update(("x", "y"))
    assert beliefs.win_chance("x", "y") + beliefs.win_chance("y", "x") == pytest.approx(1)
    with pytest.raises(InvalidInput, match="unknown system 'q'"):
        beliefs.win_chance("x", "q")


def test_skill_is_found_from_matches_and_rankings() -> None:
    skills = {name: float(at) for at, name in enumerate("uvwxyz")}
    matches = simulate_votes(skills, n=400, seed=0, ties=0.3)
    assert gaussian_belief(matches).order() == tuple("zyxwvu")
    board = gaussian_belief(simulate_votes(skills, n=150, seed=0, k=4))
    assert board.order() == tuple("zyxwvu")
    assert (board.n, board.method) == (150, "gaussian_belief")
    one = board.ratings[0]
    assert one.low < one.value < one.high  # type: ignore[operator]
    careful = gaussian_belief(matches, conservative=True)
    assert careful["z"].value == pytest.approx(gaussian_belief(matches)["z"].value - 3 * careful["z"].sd)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("votes", "how", "message"),
    [
        ([], {}, "there are none"),
        ([("x", "y"), ("x",)], {}, "row 2: two systems"),
        ([("x", "y"), ("y", "x", "y")], {}, "row 2: 'y' is ranked twice"),
        ([("x", "y"), ("x", "q")], {"systems": ["x", "y"]}, "row 2: unknown system 'q'"),
        ([Match("x", "y", "a", weight=2)], {}, "take no weights"),
        ([Match("x", "y", "a"), ("x", "y")], {}, "mixed"),
        ([("x", "y"), Match("x", "y", "a")], {}, "mixed"),
        ([("x", "y")], {"sigma": 0}, "sigma"),
        ([("x", "y")], {"beta": -1}, "beta"),
        ([("x", "y")], {"floor": 1}, "floor"),
        ([("x", "y")], {"level": 1}, "level"),
        ([("x", "y")], {"systems": ["x", "y", "x"]}, "twice"),
    ],
)
def test_what_cannot_be_believed_is_refused(votes: Any, how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        gaussian_belief(votes, **how)


def test_a_refused_vote_changes_nothing() -> None:
    beliefs = Beliefs(["x", "y"])
    with pytest.raises(InvalidInput):
        beliefs.update(("x", "y", "q"))
    assert (beliefs.votes, beliefs.plays.tolist(), beliefs.mu.tolist()) == (0, [0, 0], [25, 25])
