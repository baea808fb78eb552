"""Rankings from files: three forms that say the same, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weighup.arena.rankings import read_rankings
from weighup.errors import InvalidInput

VOTES = [("a", ("b", "c"), "d"), ("d", "a")]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def lines(path: Path, *rows: Any) -> Path:
    return written(path, "".join(json.dumps(row) + "\n" for row in rows))


def test_lists(tmp_path: Path) -> None:
    path = lines(tmp_path / "v.jsonl", {"ranking": ["a", ["b", "c"], "d"], "voter": "x"}, {"ranking": ["d", " a "]})
    assert read_rankings(path) == VOTES


def test_a_column_a_place(tmp_path: Path) -> None:
    path = written(tmp_path / "v.csv", "rank_1,rank_2,rank_3\na,b,c\nd,a,\n")
    assert read_rankings(path) == [("a", "b", "c"), ("d", "a")]


def test_a_row_a_system(tmp_path: Path) -> None:
    text = "vote,system,rank\n1,b,2\n1,a,1\n2,a,7\n1,c,2\n1,d,3\n2,d,-1\n"
    assert read_rankings(written(tmp_path / "v.csv", text)) == VOTES


def test_parquet_in_every_form(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    forms: list[dict[str, Any]] = [
        {"rank_1": ["a", "d"], "rank_2": ["b", "a"], "rank_3": ["c", None]},
        {"vote": [1, 1, 1, 2, 2], "system": ["a", "b", "c", "d", "a"], "rank": [1, 2, 3, 1, 2]},
        {"ranking": [["a", "b", "c"], ["d", "a"]]},
    ]
    for columns in forms:
        parquet.write_table(pa.table(columns), tmp_path / "v.parquet")
        assert read_rankings(tmp_path / "v.parquet") == [("a", "b", "c"), ("d", "a")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"ranking": "a"}, r"row 2, ranking: a list of names"),
        ({"voter": "x"}, r"row 2, ranking: .*not nothing"),
        ({"ranking": ["a", 3]}, r"row 2, ranking: a system's name.*not 3"),
        ({"ranking": ["a", ["b", ""]]}, r"row 2, ranking: a system's name"),
        ({"ranking": ["a"]}, r"row 2, ranking: two systems or more"),
        ({"ranking": ["a", "b", ["a", "c"]]}, r"row 2, ranking: 'a' is ranked twice"),
        ({"ranking": ["a", []]}, r"row 2, ranking: two systems"),
        ({"ranking": ["a", "b", []]}, r"row 2, ranking: holds an empty tie"),
        ({"ranking": ["a", "z"]}, r"row 2, ranking: unknown system 'z'; known are a, b, c"),
        ([1], r"row 2: is not a JSON object"),
    ],
)
def test_a_list_that_is_refused(tmp_path: Path, row: Any, message: str) -> None:
    path = lines(tmp_path / "v.jsonl", {"ranking": ["a", "b"]}, row)
    with pytest.raises(InvalidInput, match=message) as told:
        read_rankings(path, systems=("a", "b", "c"))
    assert "v.jsonl" in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank_1,rank_2,rank_3\na,,c\n", r"row 1, rank_2: is empty"),
        ("rank_2,rank_3\na,b\n", r"row 1, rank_1: is empty"),
        ("rank_1,rank_2\na,b\na,a\n", r"row 2, rank_1, rank_2, …: 'a' is ranked twice"),
        ("rank_1,rank_2\na,\n", r"row 1, .*two systems or more"),
        ("rank_1,rank_2\na,b,c\n", r"row 1: has more fields"),
        ("vote,system,rank\n1,a,1\n1,b,first\n", r"row 2, rank: a finite number is needed, not 'first'"),
        ("vote,system,rank\n1,a,1\n1,b,\n", r"row 2, rank: .*not nothing"),
        ("vote,system,rank\n1,a,inf\n", r"row 1, rank: a finite number"),
        ("vote,system,rank\n1,a,1\n1, ,2\n", r"row 2, system: a name is needed"),
        ("vote,system,rank\n1,a,1\n,b,2\n", r"row 2, vote: a name is needed"),
        ("vote,system,rank\n1,a,1\n1,b,2\n2,a,1\n", r"row 3, vote 2: two systems or more"),
        ("vote,system,rank\n1,a,1\n1,a,2\n", r"row 1, vote 1: 'a' is ranked twice"),
        ("model_a,model_b\na,b\n", r"has no column ranking, nor rank_1.*it has: model_a, model_b"),
        ("rank_1,rank_2\n", r"holds no rankings"),
    ],
)
def test_a_table_that_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_rankings(written(tmp_path / "v.csv", text))


def test_a_file_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_rankings(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInput, match="unknown kind"):
        read_rankings(written(tmp_path / "v.txt", "a"))
