"""Rows of a file (JSON lines, CSV, Parquet) as they stand there, one at a time. What cannot be read is an error that
names file and row: for inputs of which every row counts. Where a broken row may cost only itself, see
`weighup.verify.row_files` and `weighup.retrieve.rowfiles`."""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from weighup.errors import InvalidInput

Row = tuple[int, Mapping[str, Any]]
"""The row's number, from 1 (in CSV, without the header), and what it holds."""
MAX_FIELD = 16_000_000
"""Characters of one field."""


def read_rows(path: Path, *, empty: bool = False) -> Iterator[Row]:
    """Rows of a .jsonl (.ndjson), .csv or .parquet file. Raises InvalidInput naming file and row.

    Cells of a table that hold nothing are left out of its rows; with `empty`, those of CSV are there as "".
    """
    readers: dict[str, Callable[[Path, bool], Iterator[Row]]]
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(f"{path}: of unknown kind {path.suffix!r}; rows are read from {', '.join(readers)}")
    if not path.is_file():
        raise InvalidInput(f"{path}: there is no such file")
    return reader(path, empty)


def json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a .jsonl or .jsonl.gz file that hold something, numbered from 1, without a byte-order mark; only a
    line feed ends one. Raises InvalidInput for a file that cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def json_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl or .jsonl.gz file of ours, such as recorded data. Raises InvalidInput naming the file."""
    try:
        return [json.loads(line) for _, line in json_lines(path)]
    except ValueError as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error


def _jsonl(path: Path, empty: bool) -> Iterator[Row]:
    for number, line in json_lines(path):
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{path}: row {number}: is not JSON in UTF-8 ({str(error)[:100]})") from error
        if not isinstance(row, dict):
            raise InvalidInput(f"{path}: row {number}: is not a JSON object")
        yield number, row


def _csv(path: Path, empty: bool) -> Iterator[Row]:
    csv.field_size_limit(MAX_FIELD)
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file, strict=True), 1):
                if None in row:
                    raise InvalidInput(f"{path}: row {number}: has more fields than the header line")
                yield number, {name: said for name, said in row.items() if said or (empty and said is not None)}
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: row {number + 1}: is not CSV in UTF-8 ({error})") from error


def _parquet(path: Path, empty: bool) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: value for name, value in row.items() if value is not None}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: row {number + 1}: is not Parquet that can be read ({error})") from error
