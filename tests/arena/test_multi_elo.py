"""Multi-Elo: one table a dimension, the same comparisons in each, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighup.arena import Match, Matches, elo
from weighup.arena.multi_elo import DIMENSIONS, multi_elo, read_dimensions
from weighup.arena.multi_elo_claim import KINDS, accuracy_tau, tables_of
from weighup.errors import InvalidInput

Row = tuple[str, str, str, str, str]
ROWS: list[Row] = [("x", "y", "a", "b", "tie"), ("y", "z", "a", "a", "b"), ("z", "x", "tie", "a", "a")]


def verdicts(rows: list[Row] = ROWS, dimensions: tuple[str, ...] = DIMENSIONS) -> list[Match]:
    return [
        Match(a, b, winner, dimension=name)  # type: ignore[arg-type]
        for a, b, *winners in rows
        for name, winner in zip(dimensions, winners, strict=False)
    ]


def test_one_match_by_hand() -> None:
    boards = multi_elo(verdicts([("x", "y", "a", "b", "tie")]))
    assert list(boards) == ["accuracy", "helpfulness", "language"]
    assert [boards[name]["x"].value for name in boards] == [1016, 984, 1000]
    one = boards["accuracy"]["x"]
    assert (one.dimension, one.method, one.n, one.sd) == ("accuracy", "multi_elo", 1, 0)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), *[st.sampled_from(["a", "b", "tie", "both_bad"])] * 3), min_size=1))
def test_each_table_is_the_elo_of_its_verdicts(rows: list[tuple[Any, ...]]) -> None:
    pairs = [("x", "y"), ("y", "z"), ("z", "x")]
    matches = verdicts([(*pairs[pair], *winners) for pair, *winners in rows])  # type: ignore[misc]
    boards = multi_elo(matches, orders=5, seed=3, disconnected="rank_each")
    for name in DIMENSIONS:
        plain = elo(Matches.of(matches, dimension=name), orders=5, seed=3, disconnected="rank_each")
        told = [(one.system, one.value, one.low, one.high) for one in boards[name].ratings]
        assert told == [(one.system, one.value, one.low, one.high) for one in plain.ratings]


def test_the_spread_over_orders_is_told_and_the_seed_decides() -> None:
    boards = multi_elo(verdicts(ROWS * 5), k=64)
    one = boards["helpfulness"].ratings[0]
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.value < one.high
    assert boards == multi_elo(verdicts(ROWS * 5), k=64)
    assert boards != multi_elo(verdicts(ROWS * 5), k=64, seed=1)


def test_dimensions_are_chosen_and_ordered() -> None:
    assert list(multi_elo(verdicts(), ("language", "accuracy"))) == ["language", "accuracy"]
    named = multi_elo(verdicts(dimensions=("style", "facts")))
    assert list(named) == ["style", "facts"]


def test_matches_by_dimension_are_taken() -> None:
    given_ = {name: Matches.of(verdicts(), dimension=name) for name in DIMENSIONS}
    assert multi_elo(given_) == multi_elo(verdicts())


def test_a_dimension_missing_in_some_matches() -> None:
    one = [replace(m, item="q1", voter="v") for m in verdicts()]
    with pytest.raises(InvalidInput, match=r"x and y, item q1, voter v: 1 .* but 0 in helpfulness"):
        multi_elo([*one[:1], *one[2:]])
    with pytest.raises(InvalidInput, match=r"row 2, dimension: is missing"):
        multi_elo([one[0], replace(one[1], dimension=None)])
    # Twice in one dimension is once too few in the others.
    with pytest.raises(InvalidInput, match=r"x and y: 2 .* but 1 in helpfulness;.*1 lack"):
        multi_elo([*verdicts(), verdicts()[0]])


def test_the_sides_may_differ_between_dimensions() -> None:
    matches = [Match("x", "y", "a", dimension="accuracy"), Match("y", "x", "a", dimension="language")]
    boards = multi_elo(matches)
    assert [boards[name]["x"].value for name in boards] == [1016, 984]


@pytest.mark.parametrize(
    ("matches", "how", "message"),
    [
        ([Match("x", "x", "a", dimension="accuracy")], {}, r"row 1, b: 'x' plays against itself"),
        (verdicts(), {"systems": ("x", "y")}, r"row 4, b: unknown system 'z'; known are x, y"),
        (verdicts(), {"k": 0}, r"dimension accuracy: k: "),
        (verdicts(), {"k": -1}, r"k: a finite number above 0"),
        (verdicts(), {"orders": 0}, r"orders: one or more"),
        (
            verdicts(),
            {"dimensions": ("accuracy", "depth")},
            r"no match has dimension 'depth'; they have accuracy, help",
        ),
        (verdicts(), {"dimensions": "accuracy"}, r"dimensions: a list"),
        (verdicts(), {"dimensions": ("accuracy", "accuracy")}, r"dimensions: a list of different"),
        (verdicts(), {"dimensions": ()}, r"dimensions: one or more"),
        ([], {}, r"matches: there are none"),
        (
            verdicts([("x", "y", "a", "a", "a"), ("u", "v", "b", "b", "b")]),
            {},
            r"dimension accuracy: .*2 groups .*\{u, v\}, \{x, y\}",
        ),
    ],
)
def test_what_is_refused(matches: list[Match], how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        multi_elo(matches, **how)


def test_both_forms_of_a_file_say_the_same(tmp_path: Path) -> None:
    wide, long = tmp_path / "wide.csv", tmp_path / "long.jsonl"
    lines = ["model_a,model_b,winner_accuracy,winner_helpfulness,winner_language,judge,question_id"]
    lines += [",".join([*row, "v", "q"]) for row in ROWS]
    wide.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [
        {"model_a": a, "model_b": b, "winner": f"model_{w}" if w != "tie" else w, "dimension": name, "voter": "v",
         "item": "q", "weight": 1}
        for a, b, *winners in ROWS
        for name, w in zip(DIMENSIONS, winners, strict=True)
    ]  # fmt: skip
    long.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert read_dimensions(wide) == read_dimensions(long)
    assert multi_elo(read_dimensions(wide)) == multi_elo(verdicts())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_a,model_b,winner_accuracy,winner_language\nx,y,a,b\nx,y,a,\n", r"row 2, winner_language: nothing is"),
        ("model_a,model_b,winner_accuracy\nx,y,left\n", r"row 1, winner_accuracy: 'left' is none of"),
        ("model_a,model_b,winner,dimension\nx,y,a,\n", r"has no column dimension"),
        ("model_a,model_b,winner,dimension\nx,y,a,facts\nx,y,a,\n", r"row 2, dimension: a name is needed, not nothing"),
        ("model_a,model_b,winner\nx,y,a\n", r"has no column dimension .* or one column winner_NAME"),
        ("model_a,winner_accuracy\nx,a\n", r"has no column model_b"),
        ("model_a,model_b,winner_accuracy\nx,x,a\n", r"row 1, model_b: the same system"),
        ("model_a,model_b,winner_accuracy\nx, ,a\n", r"row 1, model_b: a name is needed"),
        ("model_a,model_b,winner_accuracy,weight\nx,y,a,-1\n", r"row 1, weight: a number of at least 0"),
        ("model_a,model_b,winner_accuracy\n", r"holds no matches"),
    ],
)
def test_a_file_that_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=message):
        read_dimensions(path)


def test_the_claims_judge_sees_style_and_multi_elo_sees_through() -> None:
    single, several = tables_of(0)
    assert accuracy_tau(single) < accuracy_tau(several["accuracy"])
    assert set(several["language"].order()) == set(KINDS)
    assert several["language"].order()[-1].startswith("learner")
