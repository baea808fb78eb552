"""Rows that are broken, or written to break a reader, cost themselves and no other."""

from __future__ import annotations

import gzip
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from weighup.retrieve import rowfiles
from weighup.retrieve.ingest import read_documents
from weighup.retrieve.rowfiles import Broken
from weighup.retrieve.types import Document

GOOD = '{"text": "A good row."}'


def read(path: Path, content: str | bytes) -> tuple[list[Document], list[Broken]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    broken: list[Broken] = []
    return list(read_documents([path], on_broken=broken.append)), broken


@pytest.mark.parametrize(
    "row",
    [
        '{"text": "x", "id": ' + "9" * 5_000 + "}",
        '{"text": "x", "credibility": ' + "9" * 400 + "}",
        '{"text": "x", "date": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}',
    ],
)
def test_numbers_out_of_all_range_break_their_row_only(row: str, tmp_path: Path) -> None:
    found, broken = read(tmp_path / "a.jsonl", f"{row}\n{GOOD}\n")
    assert [document.text for document in found] == ["A good row."]
    assert [item.line for item in broken] == [1]


@pytest.mark.parametrize(
    "written", ["2024-05-31 00:00:00", "2024-05-31T00:00:00", "2024-05-31T00:00", "20240531T000000"]
)
def test_a_midnight_without_zone_is_how_tables_write_a_day(written: str, tmp_path: Path) -> None:
    [document], _ = read(tmp_path / "a.csv", f"text,date\nDam broke,{written}\n")
    assert document.published == datetime(2024, 5, 31, 23, 59, 59, tzinfo=UTC)
    [document], _ = read(tmp_path / "b.csv", "text,date\nDam broke,2024-05-31T00:00:00Z\n")
    assert document.published == datetime(2024, 5, 31, tzinfo=UTC)


def test_a_parquet_column_of_midnights_is_one_of_days(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["Dam broke"], "date": [datetime(2024, 5, 31)]}), tmp_path / "a.parquet")
    [document] = read_documents([tmp_path / "a.parquet"], on_broken=lambda _: None)
    assert document.published == datetime(2024, 5, 31, 23, 59, 59, tzinfo=UTC)


def test_a_quotation_mark_never_closed_does_not_put_later_rows_under_an_earlier_date(tmp_path: Path) -> None:
    rows = 'date,text\n2024-01-01,Fine\n2024-01-02,"Never closed\n2025-01-01,What became known a year later\n'
    found, broken = read(tmp_path / "a.csv", rows)
    assert [document.text for document in found] == ["Fine"]
    assert [item.line for item in broken] == [3]


def test_a_comma_too_many_is_told_instead_of_cutting_the_text(tmp_path: Path) -> None:
    found, broken = read(tmp_path / "a.csv", "date,text\n2024-01-01,One, two\n2024-01-02,Three,\n")
    assert [document.text for document in found] == ["Three"]
    assert [(item.line, "more fields" in item.reason) for item in broken] == [(2, True)]


def test_csv_lines_without_end_are_passed_over_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowfiles, "MAX_LINE", 100_000)
    with gzip.open(tmp_path / "a.csv.gz", "wb") as file:
        file.write(b"text\n")
        for _ in range(300):
            file.write(b"x" * 100_000)
        file.write(b"\nThe next one\n")
    broken: list[Broken] = []
    tracemalloc.start()
    found = list(read_documents([tmp_path / "a.csv.gz"], on_broken=broken.append))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [document.text for document in found] == ["The next one"]
    assert [item.line for item in broken] == [2]
    assert peak < 10_000_000


def test_a_header_without_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowfiles, "MAX_LINE", 10_000)
    found, broken = read(tmp_path / "a.csv", f"text,{'x' * 20_000}\nA row,1\n")
    assert (found, [item.line for item in broken]) == ([], [1])


def test_a_damaged_archive_does_not_end_the_others(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(f"{GOOD}\n".encode() * 3, mtime=0))
    packed[10] = 0xFF  # the first block is of no kind that there is
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    (tmp_path / "b.jsonl").write_text(GOOD)
    broken: list[Broken] = []
    found = list(read_documents([tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl"], on_broken=broken.append))
    assert [document.text for document in found] == ["A good row."]
    assert len(broken) == 1
