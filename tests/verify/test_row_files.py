"""Rows from files: every format, broken in every way we know of; the rest is always done."""

from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from weighup.errors import InvalidInput
from weighup.verify.row_files import LINE_LIMIT, count_rows, read_rows
from weighup.verify.rows import BadRow, Row

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "The bridge was closed.", "date": "2024-05-31", "evidence": [{"text": "Closed, yes."}]},
    {"id": "b", "text": "水在100摄氏度沸腾。", "date": None, "evidence": None},
]


def found(path: Path) -> list[tuple[int, str]]:
    """Line, and the claim's text or the error."""
    return [(row.line, row.claim.text if isinstance(row, Row) else row.error) for row in read_rows(path)]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def test_every_format_gives_the_same_claims(tmp_path: Path) -> None:
    jsonl = write(tmp_path / "rows.jsonl", lines(ROWS))
    packed = write(tmp_path / "rows.jsonl.gz", gzip.compress(lines(ROWS)))
    table = tmp_path / "rows.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text", "date", "evidence"])
        for row in ROWS:
            writer.writerow([row["id"], row["text"], row["date"] or "", json.dumps(row["evidence"] or None)])
    parquet = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), parquet)
    claims = [
        [row.claim for row in read_rows(path) if isinstance(row, Row)] for path in (jsonl, packed, table, parquet)
    ]
    assert len(claims[0]) == 2
    assert claims[0] == claims[1] == claims[2] == claims[3]
    assert (count_rows(jsonl), count_rows(packed), count_rows(table), count_rows(parquet)) == (2, None, None, 2)


def test_a_broken_line_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    content = lines(ROWS[:1]) + b"\n{broken\n\xff\xfe latin \xe9\n[1]\n" + b"[" * 100_000 + b"\n" + lines(ROWS[1:])
    got = found(write(tmp_path / "rows.jsonl", content))
    assert [line for line, _ in got] == [1, 3, 4, 5, 6, 7]
    assert got[1][1].startswith("line 3: is not JSON: ")
    assert got[2][1] == "line 4: is not UTF-8 (byte 0xff at 1)"
    assert got[3][1].startswith("line 5: is list")
    assert got[4][1].startswith("line 6: is not JSON")
    assert got[5][1] == ROWS[1]["text"]


def test_a_byte_order_mark_a_missing_last_line_end_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + lines(ROWS).replace(b"\n", b"\r\n").rstrip()
    assert [text for _, text in found(write(tmp_path / "rows.jsonl", content))] == [row["text"] for row in ROWS]


def test_an_endless_line_is_refused_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as stream:
        stream.write(b'{"text": "')
        for _ in range(LINE_LIMIT // 1_000_000 * 3):
            stream.write(b"x" * 1_000_000)
        stream.write(b'"}\n' + lines(ROWS[1:]))
    got = found(path)
    assert got == [(1, "line 1: is longer than 32 MB"), (2, ROWS[1]["text"])]


def test_a_large_file_is_read_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as stream:
        for _ in range(2_000):
            stream.write(lines([{**ROWS[0], "padding": "x" * 10_000}]))
    tracemalloc.start()
    count = sum(1 for _ in read_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2_000
    assert peak < 5_000_000  # the file has 20 MB


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.txt", b"text\n", "cannot tell what it holds"),
        ("rows", b"text\n", "cannot tell what it holds"),
        ("rows.parquet.gz", b"", "cannot tell what it holds"),
        ("rows.jsonl", '{"text": "a"}'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("rows.jsonl", bytes(range(256)) * 8, "is binary"),
        ("rows.jsonl.gz", b"not gzip at all", "cannot be read"),
        ("rows.parquet", b"PAR1 no it is not", "is not Parquet"),
        ("rows.csv", b"name,age\nx,3\n", "has no column `text`"),
        ("rows.csv", b"", "has no column `text`"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InvalidInput, match=says) as caught:
        list(read_rows(path))
    assert name in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_rows(tmp_path / "absent.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InvalidInput, match="is a folder"):
        read_rows(tmp_path / "folder.jsonl")


def test_a_cut_off_gzip_gives_what_it_holds_and_says_where_it_ends(tmp_path: Path) -> None:
    rows = [{"text": f"Claim number {i} on the {i * 7919 % 1000} bridges."} for i in range(5_000)]
    got = found(write(tmp_path / "rows.jsonl.gz", gzip.compress(lines(rows))[:-2_000]))
    assert 100 < len(got) < 5_000
    assert "cannot be read from here on" in got[-1][1]
    assert got[0][1] == "Claim number 0 on the 0 bridges."


def test_csv_rows_span_lines_and_bad_ones_are_named(tmp_path: Path) -> None:
    content = (
        b'ID,Text,evidence\n1,"Two\nlines, one claim.",\n2,caf\xe9 closed,\n3,a,b,c\n4,,\n'
        b'5,Fine.,not json\n\n6,Good.,"[{""text"": ""Yes.""}]"\n'
    )
    got = list(read_rows(write(tmp_path / "rows.csv", content)))
    told = [row.error if isinstance(row, BadRow) else row.claim.text for row in got]
    assert told == [
        "Two\nlines, one claim.",
        "line 4: is not UTF-8",
        "line 5: has 4 cells, the first line has 3",
        "line 6: text: is empty; give the claim in words",
        "line 7: evidence: is not a JSON list: Expecting value: line 1 column 1 (char 0)",
        "Good.",
    ]
    assert [row.id for row in got if isinstance(row, Row)] == ["1", "6"]
    last = got[-1]
    assert isinstance(last, Row)
    assert last.claim.evidence is not None
    assert last.line == 9


def test_tab_separated_rows(tmp_path: Path) -> None:
    assert found(write(tmp_path / "rows.tsv", "text\tid\nA claim, with a comma.\t1\n")) == [
        (2, "A claim, with a comma.")
    ]


def test_parquet_with_dates_numbers_nulls_and_evidence_as_json(tmp_path: Path) -> None:
    import datetime

    table = pa.table(
        {
            "id": [10, 11],
            "text": ["The dam broke.", None],
            "date": pa.array([datetime.date(2024, 5, 31), None]),
            "evidence": ['[{"text": "It did."}]', None],
            "extra": [1.5, 2.5],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    first, second = read_rows(tmp_path / "rows.parquet")
    assert isinstance(first, Row)
    assert first.id == 10
    assert first.claim.date == datetime.datetime(2024, 5, 31, tzinfo=datetime.UTC)
    assert first.claim.evidence is not None
    assert isinstance(second, BadRow)
    assert second.error == "line 2: text: is empty; give the claim in words"


def test_a_quote_that_is_never_closed_swallows_nothing_unsaid(tmp_path: Path) -> None:
    content = 'id,text\n1,The first claim.\n2,"The second\n3,The third claim.\n'
    assert found(write(tmp_path / "rows.csv", content)) == [
        (2, "The first claim."),
        (3, "line 3: opens a quote that is never closed; nothing from here on could be read"),
    ]


def test_csv_says_what_is_wrong_with_a_row_that_is_no_text(tmp_path: Path) -> None:
    content = b"id,text\n1,nul \x00 byte\n2," + b"x" * LINE_LIMIT + b"\n3,Fine.\n"
    assert found(write(tmp_path / "rows.csv", content)) == [
        (2, "line 2: holds a NUL byte, so it is not text"),
        (3, "line 3: is longer than 32 MB"),
        (4, "Fine."),
    ]


def _not_utf8() -> pa.Array:
    offsets, data = b"\0\0\0\0\4\0\0\0\x0e\0\0\0", b"caf\xe9All closed"
    return pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


@pytest.mark.parametrize(
    "columns",
    [
        {"text": ["A claim.", "All closed"], "date": pa.array([10**18, 0], pa.timestamp("us"))},
        {"text": ["A claim.", "All closed"], "date": pa.array([1, 0], pa.timestamp("ns"))},
        {"text": _not_utf8()},
    ],
    ids=["outside the calendar", "nanoseconds", "not UTF-8"],
)
def test_a_parquet_value_that_cannot_be_read_costs_only_its_row(tmp_path: Path, columns: dict[str, Any]) -> None:
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    first, second = read_rows(tmp_path / "rows.parquet")
    if isinstance(first, BadRow):  # with pandas installed, nanoseconds can be read
        assert first.error.startswith("line 1: holds a value that cannot be read")
    else:
        assert columns.get("date") is not None
    assert isinstance(second, Row)
    assert second.claim.text == "All closed"
