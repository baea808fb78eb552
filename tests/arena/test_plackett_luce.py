"""Plackett–Luce against choix, and against Bradley–Terry for votes of two; ties against all their orders."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighup.arena import Match, bradley_terry, plackett_luce, simulate_votes
from weighup.arena.plackett_luce import SCALE
from weighup.errors import InvalidInput

SYSTEMS = tuple("vwxyz")
RING = [(SYSTEMS[i], SYSTEMS[(i + 1) % 5]) for i in range(5)]


@settings(max_examples=20)
@given(st.lists(st.tuples(st.permutations(SYSTEMS), st.integers(2, 5)), max_size=20))
def test_it_is_choix_optimum(drawn: list[tuple[list[str], int]]) -> None:
    rankings = [*RING, *(tuple(order[:k]) for order, k in drawn)]
    board = plackett_luce(rankings)
    expected = choix.ilsr_rankings(5, [[SYSTEMS.index(n) for n in one] for one in rankings], max_iter=5000, tol=1e-9)
    found = (np.array([board[name].value for name in SYSTEMS]) - 1000) / SCALE
    np.testing.assert_allclose(found, expected - expected.mean(), atol=1e-6)


@given(st.lists(st.tuples(st.sampled_from(RING), st.booleans()), max_size=20))
@settings(max_examples=20)
def test_votes_of_two_are_bradley_terry(drawn: list[tuple[tuple[str, str], bool]]) -> None:
    rankings: list[Any] = [*RING, *((pair,) if tie else pair[::-1] for pair, tie in drawn)]
    matches = [
        Match(*one, "a") if isinstance(one[0], str) else Match(*one[0], "tie")  # type: ignore[misc]
        for one in rankings
    ]
    board, expected = plackett_luce(rankings), bradley_terry(matches)
    for name in SYSTEMS:
        assert board[name].value == pytest.approx(expected[name].value, abs=1e-6)
        assert board[name].sd == pytest.approx(expected[name].sd, rel=1e-6)


def log_likelihood(order: Any, strength: dict[str, float]) -> float:
    left = [strength[name] for name in order]
    return sum(np.log(left[i] / sum(left[i:])) for i in range(len(left)))


def test_a_tie_is_the_mean_over_its_orders() -> None:
    rankings: list[Any] = [*RING, ("v", ("w", "x", "y"), "z"), (("z", "y"), "x"), ("w", ("v", "z", "x"))]
    board = plackett_luce(rankings, interval="none")
    ours = np.array([(board[name].value - 1000) / SCALE for name in SYSTEMS])

    def mean_over_orders(at: np.ndarray) -> float:
        strength, total = dict(zip(SYSTEMS, np.exp(at), strict=True)), 0.0
        for ranking in rankings:
            orders: list[list[str]] = [[]]
            for group in ranking:
                tied = permutations([group] if isinstance(group, str) else group)
                orders = [[*one, *rest] for rest in list(tied) for one in orders]
            total += np.mean([log_likelihood(order, strength) for order in orders])
        return float(total)

    for place in range(5):
        step = np.eye(5)[place] * 1e-5
        assert (mean_over_orders(ours + step) - mean_over_orders(ours - step)) / 2e-5 == pytest.approx(0, abs=1e-6)


def test_intervals_cover() -> None:
    skills = dict(zip(SYSTEMS, (-1.0, -0.3, 0.0, 0.3, 1.0), strict=True))
    inside = []
    for seed in range(60):
        board = plackett_luce(simulate_votes(skills, n=80, seed=seed, k=4))  # type: ignore[arg-type]
        inside += [board[n].low <= 1000 + SCALE * s <= board[n].high for n, s in skills.items()]  # type: ignore[operator]
    assert 0.90 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize(
    ("rankings", "how", "message"),
    [
        ([], {}, "there are none"),
        ([("x", "y"), ("x", "x")], {}, "row 2: 'x' is ranked twice"),
        ([("x", "y"), ("x", "q")], {"systems": ["x", "y"]}, "row 2: unknown system 'q'"),
        ([("x",)], {}, "row 1: two systems"),
        ([("x", "y"), ("x", "z")], {}, r"ranked above .*\{x\}, \{y\}, \{z\}.*ridge="),
        ([[tuple("abcdefghi")]], {}, "9 systems tie; at most 8"),
        ([("x", "y"), ("y", "x")], {"ridge": -1}, "ridge"),
        ([("x", "y"), ("y", "x")], {"interval": "bootstrap"}, "interval"),
        ([("x", "y"), ("y", "x")], {"level": 2}, "level"),
    ],
)
def test_what_cannot_be_rated_is_refused(rankings: Any, how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        plackett_luce(rankings, **how)


def test_ridge_rates_those_that_always_won() -> None:
    board = plackett_luce([("x", "y", "z")] * 3, ridge=1)
    assert board.order() == ("x", "y", "z")
    assert board["x"].n == 3
