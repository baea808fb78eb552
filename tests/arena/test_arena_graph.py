"""Win matrix and components, by hand; no rater orders what was never compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from weighup.arena import Match, Matches, bradley_terry, components, elo, gaussian_belief, plackett_luce, win_matrix
from weighup.arena.graph import told
from weighup.errors import InvalidInput

ISLANDS = [Match("a", "b", "a"), Match("b", "a", "a"), Match("x", "y", "tie"), Match("y", "z", "tie")]


def test_wins_by_hand() -> None:
    matches = [Match("a", "b", "a", weight=2), Match("b", "a", "a"), Match("a", "c", "tie"), Match("c", "b", "b")]
    np.testing.assert_array_equal(win_matrix(matches), [[0, 2, 0.5], [1, 0, 1], [0.5, 0, 0]])


def test_components_by_hand() -> None:
    chain = [Match("a", "b", "a"), Match("b", "c", "a"), Match("c", "b", "a")]
    assert components(chain) == (("b", "c"), ("a",))
    assert components(chain, "weak") == (("a", "b", "c"),)
    assert components(ISLANDS) == (("x", "y", "z"), ("a", "b"))
    assert components(Matches.of(chain, systems=["a", "b", "c", "d"]), "weak") == (("a", "b", "c"), ("d",))
    with pytest.raises(InvalidInput, match="strong or weak"):
        components(chain, "firm")  # type: ignore[arg-type]


def test_a_match_of_weight_0_joins_nothing() -> None:
    assert components([*ISLANDS, Match("a", "x", "tie", weight=0)], "weak") == (("x", "y", "z"), ("a", "b"))


def as_rankings(disconnected: Any = "error") -> Any:
    return plackett_luce([("a", "b"), ("b", "a"), (("x", "y"),), (("y", "z"),)], disconnected=disconnected)


RATERS: dict[str, Callable[..., Any]] = {
    "bradley_terry": lambda **how: bradley_terry(ISLANDS, **how),
    "davidson": lambda **how: bradley_terry(ISLANDS, ties="davidson", interval="none", **how),
    "elo": lambda **how: elo(ISLANDS, orders=3, **how),
    "gaussian_belief": lambda **how: gaussian_belief(ISLANDS, **how),
    "plackett_luce": as_rankings,
}


@pytest.mark.parametrize("rater", RATERS)
def test_what_was_never_compared_is_named_or_ranked_each(rater: str) -> None:
    with pytest.raises(InvalidInput, match=r"2 groups .*\{x, y, z\}, \{a, b\}.*rank_each"):
        RATERS[rater]()
    board = RATERS[rater](disconnected="rank_each")
    assert board.components == (("x", "y", "z"), ("a", "b"))
    assert {row["system"]: row["component"] for row in board.table()} == {"x": 1, "y": 1, "z": 1, "a": 2, "b": 2}
    with pytest.raises(InvalidInput, match="error or rank_each"):
        RATERS[rater](disconnected="no")


def test_many_components_are_told_briefly() -> None:
    found = told(tuple((f"s{i}",) for i in range(9)))
    assert found.endswith("and 4 more")
    assert told((tuple("abcdefgh"),)) == "{a, b, c, d, e, f, … 2 more}"
