"""Made votes have the chances that are promised, and tell raters apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from weighup.arena import Beliefs, Elo, Matches, Style, next_match, simulate_votes, voter, votes_until
from weighup.errors import InvalidInput

SKILLS = {"x": 0.0, "y": 1.0}


def matches(**how: Any) -> Matches:
    found = simulate_votes(SKILLS, n=20_000, **how)
    assert isinstance(found, Matches)
    return found


def for_y(found: Matches) -> np.ndarray:
    return np.where(found.a == 1, found.outcome, 1 - found.outcome)


@pytest.mark.parametrize(
    ("how", "wins", "ties"),
    [
        ({}, 1 / (1 + np.exp(-1)), 0.0),
        ({"noise": 0.5}, 1 / (1 + np.exp(-2)), 0.0),
        ({"ties": 1.0}, np.exp(0.5) / (np.exp(0.5) + 1 + np.exp(-0.5)), 1 / (np.exp(0.5) + 1 + np.exp(-0.5))),
        ({"errors": "swap", "noise": 0.1}, 0.9, 0.0),
        ({"errors": "swap", "noise": 0.0, "ties": 2.0}, 0.5, 0.5),
    ],
)
def test_chances(how: dict[str, Any], wins: float, ties: float) -> None:
    found = for_y(matches(**how))
    assert np.mean(found == 1) == pytest.approx(wins, abs=0.012)
    assert np.mean(found == 0.5) == pytest.approx(ties, abs=0.012)


def test_style_is_kept_as_a_covariate() -> None:
    found = matches(style=Style(2.0, {"x": 1.0, "y": 0.0}, sd=0.0, name="length"))
    assert found.covariate_names == ("length",)
    assert np.mean(for_y(found)) == pytest.approx(1 / (1 + np.exp(1)), abs=0.012)
    np.testing.assert_array_equal(found.covariates[:, 0], np.where(found.a == 0, 1, -1))


def test_round_robin_is_even() -> None:
    found = simulate_votes(dict.fromkeys("wxyz", 0.0), "round_robin", n=600)
    assert isinstance(found, Matches)
    assert found.played().tolist() == [300] * 4
    assert 0.4 < np.mean(found.a < found.b) < 0.6


def test_rankings_are_plackett_luce() -> None:
    skills = {"x": 0.0, "y": 0.0, "z": np.log(2.0), "w": -9.0}
    rankings = simulate_votes(skills, n=4000, k=3, seed=1)
    whole = [one for one in rankings if set(one) == {"x", "y", "z"}]  # type: ignore[union-attr]
    assert np.mean([one[0] == "z" for one in whole]) == pytest.approx(0.5, abs=0.05)
    tied = simulate_votes(skills, n=300, k=4, seed=1, ties=2.0)
    assert 0.4 < np.mean([sum(len(g) - 1 for g in one if not isinstance(g, str)) / 3 for one in tied]) < 0.6


def test_the_same_seed_gives_the_same_votes() -> None:
    np.testing.assert_array_equal(matches(seed=4).outcome, matches(seed=4).outcome)
    first, second = voter(SKILLS, seed=4), voter(SKILLS, seed=4)
    assert [first(("x", "y")) for _ in range(9)] == [second(("x", "y")) for _ in range(9)]


def test_votes_until_the_order_is_found() -> None:
    truth = {f"s{at}": float(at) for at in range(12)}
    exact = voter(truth, 0.05, errors="swap", seed=0)
    beliefs, rng = Beliefs(tuple(truth)), np.random.default_rng(0)
    by_four = votes_until(beliefs, 0.9, truth, exact, lambda: next_match(beliefs, "ucb", k=4, seed=rng), limit=300)
    by_two = votes_until(Elo(tuple(truth)), 0.9, truth, exact, limit=3000, every=5)
    assert by_four is not None
    assert by_two is not None
    assert by_four * 3 < by_two
    assert votes_until(Elo(tuple(truth)), 1.0, truth, exact, limit=3) is None


@pytest.mark.parametrize(
    "how",
    [
        {"n": 0},
        {"k": 3},
        {"k": 1},
        {"noise": 0.0},
        {"noise": 2.0, "errors": "swap"},
        {"ties": -1.0},
        {"errors": "x"},
        {"policy": "best"},
        {"style": Style(1.0, {"x": 1.0})},
        {"skills": {"x": 1.0}},
        {"skills": {"x": 1.0, "y": np.nan}},
    ],
)
def test_what_cannot_be_simulated_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        simulate_votes(**{"skills": SKILLS, **how})


def test_votes_until_wants_the_same_systems() -> None:
    with pytest.raises(InvalidInput, match="truth"):
        votes_until(Elo(("x", "z")), 0.9, SKILLS, voter(SKILLS))
    with pytest.raises(InvalidInput, match="tau"):
        votes_until(Elo(("x", "y")), 2.0, SKILLS, voter(SKILLS))
