"""Matches, rankings and leaderboards: what is kept, and what is refused with the row and field it stands in."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.arena import Leaderboard, Match, Matches, bradley_terry, write_leaderboard
from weighup.arena.types import levels
from weighup.errors import InvalidInput

GOOD = Match("x", "y", "a")


def test_a_list_becomes_columns() -> None:
    found = Matches.of(
        [
            Match("y", "x", "a", weight=2.0, voter="ann", item="q1", at=5.0),
            Match("x", "z", "tie", voter="bob"),
            Match("z", "y", "both_bad", item="q1"),
            Match("z", "y", "b"),
        ]
    )
    assert found.systems == ("x", "y", "z")
    assert found.a.tolist() == [1, 0, 2, 2]
    assert found.b.tolist() == [0, 2, 1, 1]
    assert found.outcome.tolist() == [1, 0.5, 0.5, 0]
    assert found.weight.tolist() == [2, 1, 1, 1]
    assert found.voter is not None
    assert (found.voter.names, found.voter.code.tolist()) == (("ann", "bob"), [0, 1, -1, -1])
    assert found.item is not None
    assert found.item.code.tolist() == [0, -1, 0, -1]
    assert found.at is not None
    assert found.at[0] == 5
    assert found.played().tolist() == [2, 3, 3]


def test_systems_keep_the_order_given() -> None:
    assert Matches.of([GOOD], systems=["y", "x"]).a.tolist() == [1]


def test_one_dimension_is_chosen_never_mixed() -> None:
    both = [Match("x", "y", "a", dimension="accuracy"), Match("x", "z", "b", dimension="style")]
    assert Matches.of(both, dimension="style").systems == ("x", "z")
    with pytest.raises(InvalidInput, match=r"several dimensions \(accuracy, style\)"):
        Matches.of(both)
    with pytest.raises(InvalidInput, match="none has dimension 'length'"):
        Matches.of(both, dimension="length")


def test_some_systems_and_some_rows() -> None:
    every = Matches.of(
        [GOOD, Match("z", "x", "a"), Match("y", "x", "a")], covariates=[[1.0], [2.0], [3.0]], covariate_names=["length"]
    )
    without = every.among(["x", "y"])
    assert without.systems == ("x", "y")
    assert without.covariates.ravel().tolist() == [1, 3]
    assert every.take(np.array([1])).covariates.tolist() == [[2]]
    with pytest.raises(InvalidInput, match="unknown w"):
        every.among(["x", "w"])
    with pytest.raises(InvalidInput, match="there are none"):
        every.take(np.array([], dtype=np.int64))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Match("x", "x", "a"), "row 2, b: 'x' plays against itself"),
        (Match("x", "", "a"), "row 2, b: a system's name"),
        (Match("x", "y", "left"), "row 2, winner: 'left' is none of"),  # type: ignore[arg-type]
        (Match("x", "y", "a", weight=math.nan), "row 2, weight"),
        (Match("x", "y", "a", weight=-1), "row 2, weight"),
    ],
)
def test_a_bad_match_is_named(bad: Match, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Matches.of([GOOD, bad])


def test_bad_columns_are_named() -> None:
    with pytest.raises(InvalidInput, match="there are none"):
        Matches.of([])
    with pytest.raises(InvalidInput, match="row 2, a: unknown system 'w'; known are x, y"):
        Matches.of([GOOD, Match("w", "y", "a")], systems=["x", "y"])
    with pytest.raises(InvalidInput, match="row 3, id: '1' is also the id of row 1"):
        Matches.of([Match("x", "y", "a", id="1"), GOOD, Match("x", "y", "b", id="1")])
    with pytest.raises(InvalidInput, match="row 2, length: a finite number"):
        Matches.of([GOOD, GOOD], covariates=[[1.0], [math.inf]], covariate_names=["length"])
    with pytest.raises(InvalidInput, match="all weights are 0"):
        Matches.of([Match("x", "y", "a", weight=0)])
    with pytest.raises(InvalidInput, match="a has 1 rows, covariates 2"):
        Matches.of([GOOD], covariates=[[1.0], [2.0]], covariate_names=["length"])
    with pytest.raises(InvalidInput, match="1 names for an array"):
        Matches.of([GOOD], covariates=[[1.0, 2.0]], covariate_names=["length"])
    with pytest.raises(InvalidInput, match="row 1, b: not the place"):
        Matches.coded(["x", "y"], [0], [2], [1])
    with pytest.raises(InvalidInput, match="row 1, winner"):
        Matches.coded(["x", "y"], [0], [1], [0.7])
    with pytest.raises(InvalidInput, match="twice"):
        Matches.coded(["x", "x"], [0], [1], [1])
    with pytest.raises(InvalidInput, match="winner 1"):
        Matches.columns(["x", "y"], ["y", "x"], ["a"])


def test_a_ranking_is_read_as_groups() -> None:
    assert levels(("w", ("x", "y"), "z")) == [("w",), ("x", "y"), ("z",)]


@pytest.mark.parametrize(
    ("bad", "message"),
    [(["w"], "two systems"), (["w", "w"], "'w' is ranked twice"), (["w", "q"], "unknown"), (["w", "x", ()], "empty")],
)
def test_a_bad_ranking_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        levels(bad, ["w", "x"])


@pytest.fixture
def board() -> Leaderboard:
    return bradley_terry([GOOD, GOOD, Match("x", "y|z", "a"), Match("y|z", "y", "tie"), Match("y", "x", "a")], ridge=1)


def test_a_leaderboard_is_sorted_and_told_as_rows(board: Leaderboard) -> None:
    assert board.order()[0] == "x"
    rows = board.table()
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert list(rows[0]) == ["rank", "system", "value", "low", "high", "sd", "n"]
    assert board["x"].n == 4
    with pytest.raises(InvalidInput, match="unknown system 'q'"):
        board["q"]


def test_a_leaderboard_is_written(board: Leaderboard, tmp_path: Path) -> None:
    whole = json.loads(write_leaderboard(board, tmp_path / "b.json").read_text())
    assert (whole["method"], whole["n"], whole["ratings"][0]["system"]) == ("bradley_terry", 5, "x")
    lines = write_leaderboard(board, tmp_path / "b.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == ("rank,system,value,low,high,sd,n", 4)
    assert "y\\|z" in write_leaderboard(board, tmp_path / "b.md").read_text()
    with pytest.raises(InvalidInput, match="unknown kind"):
        write_leaderboard(board, tmp_path / "b.xlsx")
