"""K-Sort Arena: who is matched, what a vote does, and how few votes it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighup.arena import Beliefs, gaussian_belief
from weighup.arena.ksort import KSort, skills, votes_needed
from weighup.arena.ksort_claim import simulated
from weighup.errors import InvalidInput

NAMES = tuple("abcdefgh")


def test_a_vote_is_the_mean_of_its_pairs_updates() -> None:
    arena = KSort("wxyz")
    arena.update(("w", "x", "y", "z"))
    # From μ 25, σ 25/3, β 25/6 a first win moves by 4.2052; of w's three pairs all are won, of x's two won, one lost.
    np.testing.assert_allclose(arena.beliefs.mu - 25, 4.205205 * np.array([1, 1 / 3, -1 / 3, -1]), atol=1e-4)
    np.testing.assert_allclose(arena.values(), arena.beliefs.mu - 3 * arena.beliefs.sigma)
    np.testing.assert_allclose(arena.beliefs.sigma, 7.19448, atol=1e-4)


def test_the_board_is_by_the_conservative_score() -> None:
    arena, votes = KSort("wxyz"), [("w", "x", "y", "z"), ("w", ("x", "z"), "y")]
    for vote in votes:
        arena.update(vote)
    board = arena.leaderboard()
    assert board == gaussian_belief(votes, conservative=True)
    assert board["w"].value == pytest.approx(arena.values()[0])
    assert board["w"].sd == pytest.approx(arena.beliefs.sigma[0])


@settings(max_examples=30)
@given(st.integers(0, 100), st.integers(2, 8))
def test_next_names_different_systems_and_the_least_played_first(seed: int, k: int) -> None:
    arena = KSort(NAMES, k, seed=seed)
    for _ in range(5):
        least = arena.beliefs.plays.min()
        shown = arena.next()
        assert len(set(shown)) == k
        assert arena.beliefs.plays[NAMES.index(shown[0])] == least
        arena.update(shown)


def test_the_like_are_matched() -> None:
    arena = KSort(NAMES, 3)
    for _ in range(3):
        arena.update(NAMES)
    arena.add("new")
    arena.beliefs.mu[-1] = arena.beliefs.mu[2]
    # Of equal acquaintance (none), the nearest are met.
    assert arena.next()[0] == "new"
    assert set(arena.next()[1:]) <= {"b", "c", "d"}


def test_the_same_seed_matches_the_same() -> None:
    one, other, third = (KSort(NAMES, seed=seed) for seed in (1, 1, 2))
    told = [[arena.next() for _ in range(5)] for arena in (one, other, third)]
    assert told[0] == told[1]
    assert told[0] != told[2]


def test_a_vote_in_which_all_tie_draws_together_and_makes_surer() -> None:
    arena = KSort("wxyz")
    arena.update(("w", "x", "y", "z"))
    mu, sigma = arena.beliefs.mu.copy(), arena.beliefs.sigma.copy()
    arena.update((("w", "x", "y", "z"),))
    assert np.ptp(arena.beliefs.mu) < np.ptp(mu)
    assert (arena.beliefs.sigma < sigma).all()


def test_sigma_never_becomes_0() -> None:
    arena = KSort("wxyz")
    for number in range(3000):
        arena.update(("w", "x", "y", "z") if number % 2 else ("z", "y", "x", "w"))
    assert (arena.beliefs.sigma > 0).all()
    assert np.isfinite(arena.values()).all()


def test_a_model_added_midway_starts_wide_and_is_met_first() -> None:
    arena = KSort("wxyz")
    for _ in range(4):
        arena.update(arena.next())
    arena.add("new")
    assert (arena.beliefs.mu[4], arena.beliefs.sigma[4]) == (25, 25 / 3)
    assert arena.next()[0] == "new"
    with pytest.raises(InvalidInput, match="'new' is already known"):
        arena.add("new")


@pytest.mark.parametrize(
    ("vote", "message"),
    [
        (("w", "x", "w"), "'w' is ranked twice"),
        (("w", ("x", "w")), "'w' is ranked twice"),
        (("w", "q"), "unknown system 'q'; known are w, x, y, z"),
        (("w",), "two systems or more"),
        (("w", "x", ()), "empty tie"),
    ],
)
def test_a_vote_that_is_refused_changes_nothing(vote: Any, message: str) -> None:
    arena = KSort("wxyz")
    with pytest.raises(InvalidInput, match=message):
        arena.update(vote)
    assert arena.beliefs.votes == 0
    np.testing.assert_array_equal(arena.beliefs.mu, Beliefs("wxyz").mu)


@pytest.mark.parametrize(
    ("how", "message"),
    [({"k": 1}, "k: from 2"), ({"k": 5}, "k: from 2 to the number of systems"), ({"alpha": -1}, "alpha")],
)
def test_an_arena_that_is_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        KSort("wxyz", **how)
    with pytest.raises(InvalidInput, match="a name stands twice"):
        KSort("wwyz")


def test_fewer_votes_than_elo() -> None:
    found = votes_needed(12, noise=0.1, tau=0.8, limit=2000, seed=1)
    assert list(found) == ["Elo, random pairs", "K-Sort, sets of 4"]
    elo, ours = found.values()
    assert elo is not None
    assert ours is not None
    assert elo > 4 * ours
    assert found == votes_needed(12, noise=0.1, tau=0.8, limit=2000, seed=1)


def test_a_limit_that_is_not_enough_is_none() -> None:
    assert list(votes_needed(3, tau=1.0, noise=0.5, limit=1, seed=0)) == ["Elo, random pairs", "K-Sort, sets of 3"]
    assert votes_needed(20, tau=0.99, limit=3) == {"Elo, random pairs": None, "K-Sort, sets of 4": None}


@pytest.mark.parametrize(
    ("systems", "how", "message"),
    [
        (2, {}, "systems: three"),
        (5, {"noise": 1.5}, "noise"),
        (5, {"tau": 1.1}, "tau"),
        (5, {"limit": 0}, "limit"),
    ],
)
def test_a_simulation_that_is_refused(systems: int, how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        votes_needed(systems, **how)


def test_the_claims_simulation_gives_elo_its_best_k() -> None:
    needed = simulated((0, 1), 0.7, systems=8, runs=2)
    assert all(theirs > 0 for some in needed.elo for theirs in some)
    assert needed.ratios() == [6 * ratio for ratio in needed.ratios(6)]
    assert len(skills(8, 0)) == 8
