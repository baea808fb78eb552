"""Rows of files: what stands there, by number, and errors that name file and row."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weighup.errors import InvalidInput
from weighup.rowfile import json_lines, json_rows, read_rows


def test_the_same_rows_from_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "über, “so”"}, {"id": "b"}]
    (tmp_path / "r.jsonl").write_text('\ufeff{"id": "a", "text": "über, “so”"}\n\n{"id": "b"}\n', encoding="utf-8")
    (tmp_path / "r.csv").write_text('\ufeffid,text\na,"über, “so”"\nb,\n', encoding="utf-8")
    pq.write_table(
        pa.Table.from_pylist([{"id": "a", "text": "über, “so”"}, {"id": "b", "text": None}]), tmp_path / "r.parquet"
    )
    for name in ("r.jsonl", "r.csv", "r.parquet"):
        assert [row for _, row in read_rows(tmp_path / name)] == rows, name
    assert [number for number, _ in read_rows(tmp_path / "r.jsonl")] == [1, 3]
    assert [row for _, row in read_rows(tmp_path / "r.csv", empty=True)][1] == {"id": "b", "text": ""}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.jsonl", b'{"a": 1}\n{"a": \n', "row 2: is not JSON"),
        ("r.jsonl", b"[1]\n", "row 1: is not a JSON object"),
        ("r.jsonl", b'{"a": "\xff"}\n', "row 1: is not JSON in UTF-8"),
        ("r.csv", b"a,b\n1,2\n1,2,3\n", "row 2: has more fields"),
        ("r.csv", b"a\n\xff\n", "is not CSV in UTF-8"),
        ("r.parquet", b"PAR1", "is not Parquet"),
        ("r.xlsx", b"", "of unknown kind"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=says) as error:
        list(read_rows(tmp_path / name))
    assert name in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_rows(tmp_path / "r.csv")


def test_only_a_line_feed_ends_a_line_compressed_or_not(tmp_path: Path) -> None:
    content = '\ufeff{"text": "one\u2028line"}\n\n{"text": "two"}'.encode()
    plain, packed = tmp_path / "r.jsonl", tmp_path / "r.jsonl.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    for path in (plain, packed):
        assert json_rows(path) == [{"text": "one\u2028line"}, {"text": "two"}]
        assert [number for number, _ in json_lines(path)] == [1, 3]
    for broken in (gzip.compress(content)[:20], b"no gzip"):
        packed.write_bytes(broken)
        with pytest.raises(InvalidInput, match="cannot be read"):
            json_rows(packed)
