"""Matches from CSV, JSON lines and Parquet are the same, and what is wrong is named with file, row and field."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weighup.arena import read_matches
from weighup.errors import InvalidInput

Rows = list[dict[str, Any]]
BATTLES: Rows = [
    {"model_a": "y", "model_b": "x", "winner": "model_a", "judge": "u1", "question_id": "q1", "tstamp": 10.5},
    {"model_a": "x", "model_b": "z", "winner": "model_b", "judge": "u2", "question_id": "q1", "tstamp": 11.5},
    {"model_a": "z", "model_b": "y", "winner": "tie", "judge": "u1", "question_id": "q2", "tstamp": 12.5},
    {"model_a": "z", "model_b": "y", "winner": "tie (bothbad)", "judge": "u1", "question_id": "q3", "tstamp": 13.5},
]
KINDS = ("csv", "jsonl", "parquet")


def write(rows: Rows, path: Path) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_battles(kind: str, tmp_path: Path) -> None:
    found = read_matches(write(BATTLES, tmp_path / f"battles.{kind}"))
    assert found.systems == ("x", "y", "z")
    assert found.a.tolist() == [1, 0, 2, 2]
    assert found.b.tolist() == [0, 2, 1, 1]
    assert found.outcome.tolist() == [1, 0, 0.5, 0.5]
    assert found.voter is not None
    assert (found.voter.names, found.voter.code.tolist()) == (("u1", "u2"), [0, 1, 0, 0])
    assert found.item is not None
    assert found.item.names == ("q1", "q2", "q3")
    assert found.at is not None
    assert found.at.tolist() == [10.5, 11.5, 12.5, 13.5]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_weights_and_covariates(kind: str, tmp_path: Path) -> None:
    rows = [
        {"model_a": "x", "model_b": "y", "score_a": 7, "score_b": 5, "len_a": 3, "len_b": 1, "d": 0.5, "weight": 2},
        {"model_a": "x", "model_b": "y", "score_a": 5, "score_b": 5, "len_a": 1, "len_b": 4, "d": -1, "weight": 1},
        {"model_a": "x", "model_b": "y", "score_a": 1, "score_b": 5, "len_a": 1, "len_b": 1, "d": 0, "weight": 1},
    ]
    found = read_matches(write(rows, tmp_path / f"scores.{kind}"), covariates=["len", "d"])
    assert found.outcome.tolist() == [1, 0.5, 0]
    assert found.covariate_names == ("len", "d")
    assert found.covariates.tolist() == [[2, 0.5], [-3, -1], [0, 0]]
    assert found.weight.tolist() == [2, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_one_dimension_is_chosen(kind: str, tmp_path: Path) -> None:
    rows = [{**row, "dimension": "style" if at else "accuracy"} for at, row in enumerate(BATTLES)]
    path = write(rows, tmp_path / f"d.{kind}")
    assert read_matches(path, dimension="accuracy").systems == ("x", "y")
    with pytest.raises(InvalidInput, match=r"several dimensions \(accuracy, style\)"):
        read_matches(path)
    with pytest.raises(InvalidInput, match="no match has dimension 'tone'"):
        read_matches(path, dimension="tone")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"winner": "left"}, "row 3, winner: 'left' is none of model_a"),
        ({"model_b": "z"}, "row 3, model_b: the same system as model_a"),
        ({"model_a": ""}, "row 3, model_a: is empty"),
        ({"model_a": "q"}, "row 3, model_a: unknown system 'q'"),
        ({"weight": -1}, "row 3, weight: a number of at least 0"),
        ({"weight": float("nan")}, "row 3, weight"),
        ({"len": float("inf")}, "row 3, len: a finite number"),
        ({"id": "0"}, "row 3, id: '0' is the id of an earlier row"),
    ],
)
def test_a_bad_row_is_named(kind: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    rows: Rows = [{**row, "weight": 1.0, "len": 0.5, "id": str(at)} for at, row in enumerate(BATTLES)]
    rows[2].update(change)
    path = write(rows, tmp_path / f"bad.{kind}")
    with pytest.raises(InvalidInput, match=rf"bad\.{kind}: {message}"):
        read_matches(path, covariates=["len"], systems=["x", "y", "z"])


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_for_a_number_is_named(kind: str, tmp_path: Path) -> None:
    rows: Rows = [{**row, "weight": 1.0} for row in BATTLES]
    rows[1]["weight"] = "much"
    with pytest.raises(InvalidInput, match="row 2, weight: a number is needed, not 'much'"):
        read_matches(write(rows, tmp_path / f"bad.{kind}"))


@pytest.mark.parametrize("kind", KINDS)
def test_missing_columns_are_named(kind: str, tmp_path: Path) -> None:
    path = write([{"model_a": "x", "model_c": "y", "winner": "a"}], tmp_path / f"bad.{kind}")
    with pytest.raises(InvalidInput, match=r"has no column model_b .it has: model_a, model_c, winner"):
        read_matches(path)
    with pytest.raises(InvalidInput, match="has no column model_b, len_a, len_b, dimension"):
        read_matches(path, covariates=["len"], dimension="x")


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_are_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"none.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"model_a": pa.array([], pa.string()), "model_b": [], "winner": []}), path)
    else:
        path.write_text("model_a,model_b,winner\n" if kind == "csv" else "")
    with pytest.raises(InvalidInput, match="holds no matches"):
        read_matches(path)


def test_files_of_another_kind_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"unknown kind '\.xlsx'"):
        read_matches(tmp_path / "x.xlsx")
    for kind in KINDS:
        with pytest.raises(InvalidInput, match="cannot be read"):
            read_matches(tmp_path / f"absent.{kind}")
    for name, content in {
        "a.parquet": b"PAR0",
        "a.csv": b"model_a,model_b,winner\nx,y,a\nx,y\n",
        "b.csv": b"model_a,model_b,winner\nx,\xff,a\n",
        "c.csv": b"model_\xff",
        "a.jsonl": b"{",
        "b.jsonl": b"[1]\n",
        "c.jsonl": b'{"model_a": "\\ud800", "model_b": "x", "winner": "a"}',
        "d.jsonl": b'{"model_a": 1, "model_b": "x", "winner": "a"}',
        "e.jsonl": b'{"model_a": "y", "model_b": "x", "winner": "a", "weight": 1' + b"0" * 400 + b"}",
        "g.jsonl": b'{"model_a": "y", "model_b": "x", "winner": "a"} {}',
        "h.jsonl": b'{"model_a": "y", "model_b": "\xff", "winner": "a"}',
        "f.jsonl": b'{"model_a": "y", "model_b": "x", "winner": "a", "weight": [1]}',
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match=name):
            read_matches(tmp_path / name)


def test_times_may_be_dates(tmp_path: Path) -> None:
    rows: Rows = [{**row, "tstamp": None} for row in BATTLES]
    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    rows[0]["tstamp"] = moment
    for found in (
        read_matches(write(rows, tmp_path / "t.parquet")),
        read_matches(write([{**row, "tstamp": "2024-05-01T12:00:00"} for row in BATTLES], tmp_path / "t.csv")),
    ):
        assert found.at is not None
        assert found.at[0] == moment.timestamp()
    with pytest.raises(InvalidInput, match="row 1, tstamp: a number or a date is needed, not 'soon'"):
        read_matches(write([{**row, "tstamp": "soon"} for row in BATTLES], tmp_path / "u.csv"))


def test_many_batches_are_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 60_000
    a = rng.integers(0, 9, n)
    b = (a + rng.integers(1, 9, n)) % 9
    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        file.writelines(f'{{"model_a":"s{i}","model_b":"s{j}","winner":"tie"}}\n' for i, j in zip(a, b, strict=True))
    found = read_matches(path)
    np.testing.assert_array_equal(found.a, a)
    np.testing.assert_array_equal(found.b, b)
