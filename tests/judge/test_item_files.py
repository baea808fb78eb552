"""Items from JSONL, CSV and Parquet: the same items whichever way, and what is wrong is named by row and field."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from weighup.errors import InvalidInput
from weighup.judge.item_files import read_items, write_items
from weighup.judge.types import Item, Response

FULL = Item(
    id="a",
    prompt="What?",
    responses=(Response(text="one", system="m1"), Response(text="two\nlines", system="m2")),
    reference="ref",
    category="maths",
    meta={"quality": [1, 2.5], "tag": "x"},
)
FLAT = {
    "id": "a",
    "prompt": "What?",
    "response_1": "one",
    "system_1": "m1",
    "response_2": "two\nlines",
    "system_2": "m2",
    "reference": "ref",
    "category": "maths",
    "meta.quality": "[1, 2.5]",
    "meta.tag": "x",
}


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "items.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def table(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "items.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_jsonl_there_and_back(tmp_path: Path) -> None:
    items = [FULL, Item.pair("b", "q", "x", "y", persona="p", context="c"), FULL.swapped(), FULL.drawn(1)]
    assert write_items(items, tmp_path / "out.jsonl") == 4
    assert list(read_items(tmp_path / "out.jsonl")) == items


def test_short_forms_in_jsonl(tmp_path: Path) -> None:
    rows = [{"id": 7, "prompt": "q", "responses": ["x", {"text": "y", "sources": ["s"]}]}, "", {**FLAT, "id": "b"}]
    first, second = read_items(jsonl(tmp_path, *rows))
    assert first == Item(id="7", prompt="q", responses=(Response(text="x"), Response(text="y", sources=("s",))))
    assert second.meta == {"quality": "[1, 2.5]", "tag": "x"}


def test_csv(tmp_path: Path) -> None:
    other = {**dict.fromkeys(FLAT, ""), "id": "b", "prompt": "q", "response_1": "x"}
    first, second = read_items(table(tmp_path, FLAT, other))
    assert first == FULL
    assert [one.text for one in second.responses] == ["x", ""]
    assert second.reference is None
    lists = {"id": "c", "prompt": "q", "responses": '["x", "y"]', "meta": '{"n": 1}', "sample": "2"}
    assert next(read_items(table(tmp_path, lists))) == Item.pair("c", "q", "x", "y", meta={"n": 1}, sample=2)


def test_parquet(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "prompt": "q", "responses": [{"text": "x", "system": "m"}, {"text": "y"}], "meta": '{"n": 1}'},
        {"id": "b", "prompt": "q", "responses": [{"text": "x"}], "reference": "r"},
    ]
    path = tmp_path / "items.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    first, second = read_items(path)
    assert (first.responses[0].system, first.responses[1].system, first.meta) == ("m", "", {"n": 1})
    assert second.responses == (Response(text="x"),)
    flat = pyarrow.Table.from_pylist([{"id": "a", "prompt": "q", "response_1": "x", "response_2": "y"}])
    pyarrow.parquet.write_table(flat, path)
    assert next(read_items(path)) == Item.pair("a", "q", "x", "y")


def test_a_map_column_is_meta(tmp_path: Path) -> None:
    kind = pyarrow.map_(pyarrow.string(), pyarrow.int64())
    meta = pyarrow.array([[("n", 1)]], type=kind)
    path = tmp_path / "items.parquet"
    columns = {"id": ["a"], "prompt": ["q"], "responses": [["x", "y"]], "meta": meta}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert next(read_items(path)).meta == {"n": 1}


GOOD = {"id": "a", "prompt": "q", "responses": ["x", "y"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "responses": ["x"]}, "row 2: id: Field required"),
        ({**GOOD, "id": ""}, "row 2: id: "),
        ({**GOOD, "promt": "q"}, "row 2: promt: there is no such field"),
        ({**GOOD, "responses": []}, "row 2: responses: "),
        ({**GOOD, "responses": "x"}, "row 2: responses: "),
        ({**GOOD, "responses": [{"txt": "x"}]}, r"row 2: responses.0.text: Field required"),
        ({**GOOD, "response_1": "x"}, "row 2: responses: stands there beside response_1"),
        ({"id": "b", "prompt": "q", "response_2": "x"}, "row 2: response_1: is missing"),
        ({"id": "b", "prompt": "q", "response_1": "x", "system_2": "m"}, "row 2: system_2: there is no response_2"),
        ({**GOOD, "prompt": 5}, "row 2: prompt: "),
        ({**GOOD, "order": "backwards"}, "row 2: order: "),
        ({**GOOD, "meta": [1]}, "row 2: meta: "),
        (GOOD | {"id": "first"}, "row 2: id: 'first' stands in row 1 already"),
        ("{", "row 2: is not JSON"),
        ("[1]", "row 2: is not a JSON object"),
        ("[" * 100_000, "row 2: is not JSON"),
    ],
)
def test_what_is_wrong_is_named_by_row_and_field(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        list(read_items(jsonl(tmp_path, GOOD | {"id": "first"}, row)))
    assert "items.jsonl" in str(caught.value)


def test_broken_tables(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    for text, message in (
        ("id,prompt,response_1\na,q,x,more\n", "row 1: has more fields"),
        ('id,prompt,response_1\na,q,"x\n', "row 1: is not CSV"),
        ("id,prompt,meta,response_1\na,q,{,x\n", "row 1: meta: is not JSON"),
        ("id,prompt,sample,response_1\na,q,two,x\n", "row 1: sample: "),
        ("id,prompt,response_1\n", "there are no items"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidInput, match=message):
            list(read_items(path))
    path.write_bytes(b"id,prompt,response_1\na,\xff,x\n")
    with pytest.raises(InvalidInput, match="is not CSV in UTF-8"):
        list(read_items(path))
    (tmp_path / "items.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InvalidInput, match="is not Parquet that can be read"):
        list(read_items(tmp_path / "items.parquet"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"rows are read from \.jsonl"):
        next(read_items(tmp_path / "items.xlsx"))
    with pytest.raises(InvalidInput, match="there is no such file"):
        next(read_items(tmp_path / "away.jsonl"))


def test_rows_are_read_as_they_are_needed(tmp_path: Path) -> None:
    found = read_items(jsonl(tmp_path, GOOD, "this line is broken"))
    assert isinstance(found, Iterator)
    assert next(found).id == "a"
