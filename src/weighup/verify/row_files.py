"""Reading rows from JSON lines, CSV and Parquet as a stream, in memory bounded by one row (one batch in Parquet).

A row that is broken (bad JSON, not UTF-8, too long) comes out as a BadRow with its line number and the rest goes on.
A file that cannot be read at all raises InvalidInput.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from weighup.errors import InvalidInput
from weighup.retrieve.parquetrows import batches, parts
from weighup.verify.rows import BadRow, Row, bad_row, read_row

LINE_LIMIT = 32_000_000
"""Bytes of one line: two hundred passages of the longest text allowed, and room."""
SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_COLUMNS = ("id", "text", "date", "source", "lang", "url", "evidence")
_UTF8_MARK = b"\xef\xbb\xbf"
_NUL, _LONG, _END = "\ud800", "\ud801", "\ud802"
"""Stand in CSV text for what the parser cannot bear; no bytes decode to these."""

Decoded = tuple[int, object]
"""A row's line and what stood there, not yet looked into."""


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """Stream a file's rows in order. Raises InvalidInput at once if the file cannot be read at all."""
    decoded = decoded_rows(path)
    return (row if isinstance(row, BadRow) else read_row(row[1], row[0]) for row in decoded)


def decoded_rows(path: Path, *, also: Sequence[str] = ()) -> Iterator[Decoded | BadRow]:
    """As `read_rows`, a step earlier: what each row holds, for those who need more of it than its claim.

    `also` names the columns wanted beside a claim's own; Parquet gives no others. Raises as `read_rows`.
    """
    kind = _kind(path)
    if not path.is_file():
        raise InvalidInput(f"{path}: {'is a folder' if path.is_dir() else 'there is no such file'}")
    if kind == ".parquet":
        return _parquet(path, also)
    with _open(path) as stream:
        _sniff(path, stream)
    if kind in (".csv", ".tsv"):
        return _csv(path, "\t" if kind == ".tsv" else ",")
    return _jsonl(path)


def count_rows(path: Path) -> int | None:
    """How many rows there are, where that is cheap to learn (JSON lines, Parquet); else None."""
    kind = _kind(path)
    if kind == ".parquet":
        import pyarrow.parquet

        return int(pyarrow.parquet.read_metadata(path).num_rows)
    if kind in (".csv", ".tsv") or path.suffix == ".gz":
        return None
    with path.open("rb") as stream:
        rows, last = 0, b"\n"
        while block := stream.read(1 << 20):
            rows += block.count(b"\n")
            last = block[-1:]
        return rows + (last != b"\n")


def _kind(path: Path) -> str:
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    for suffix in SUFFIXES:
        if plain.endswith(suffix) and not (suffix == ".parquet" and name.endswith(".gz")):
            return suffix
    raise InvalidInput(f"{path}: cannot tell what it holds; rows are read from {', '.join(SUFFIXES)} (or .jsonl.gz)")


def _open(path: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be opened: {error.strerror or error}") from error


def _sniff(path: Path, stream: BinaryIO) -> None:
    """Refuse at the door what is not UTF-8 text at all: rows of it could only all fail."""
    try:
        start = stream.read(4096)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidInput(f"{path}: is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")
    controls = sum(byte < 32 and byte not in b"\t\n\v\f\r" for byte in start)
    if controls > len(start) // 20 and not start.startswith((b"{", _UTF8_MARK)):
        raise InvalidInput(f"{path}: is binary, not rows of text")


def _lines(path: Path) -> Iterator[tuple[int, bytes, str | None]]:
    """Number, content without its line end, and what is wrong with it (None: nothing)."""
    with _open(path) as stream:
        number = 0
        while True:
            number += 1
            try:
                line = stream.readline(LINE_LIMIT + 1)
                if len(line) > LINE_LIMIT:
                    while (rest := stream.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                        pass
                    yield number, line[:1000], f"is longer than {LINE_LIMIT // 1_000_000} MB"
                    continue
            except (OSError, EOFError, zlib.error) as error:
                yield number, str(error).encode(), f"the file cannot be read from here on: {error}"
                return
            if not line:
                return
            yield number, line.removeprefix(_UTF8_MARK) if number == 1 else line, None


def _jsonl(path: Path) -> Iterator[Decoded | BadRow]:
    for number, raw, problem in _lines(path):
        line = raw.strip()
        if problem is not None:
            yield bad_row(number, problem, raw)
        elif line:
            yield _decode(number, line)


def _decode(number: int, line: bytes) -> Decoded | BadRow:
    try:
        data = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return bad_row(number, f"is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start + 1})", line)
    except json.JSONDecodeError as error:
        return bad_row(number, f"is not JSON: {error.msg} at character {error.pos + 1}", line)
    except (ValueError, RecursionError) as error:  # a number of too many digits; nesting without end
        return bad_row(number, f"is not JSON that can be read: {str(error)[:100]}", line)
    return number, data


def _csv(path: Path, delimiter: str) -> Iterator[Decoded | BadRow]:
    csv.field_size_limit(LINE_LIMIT)
    rows = csv.reader(_csv_lines(path), delimiter=delimiter)
    try:
        header = [name.replace(_END, "").strip().lower() for name in next(rows, [])]
    except csv.Error as error:
        raise InvalidInput(f"{path}: its first line is not CSV: {error}") from error
    if "text" not in header:
        found = ", ".join(header)[:100] or "none"
        raise InvalidInput(f"{path}: has no column `text` in its first line (columns found: {found})")
    while True:
        begins = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield bad_row(begins, f"is not CSV: {error}", f"{begins}: {error}".encode())
            continue
        if cells == [_END]:
            return
        if any(cell.strip() for cell in cells):
            yield _csv_row(begins, header, cells)


def _csv_row(number: int, header: list[str], cells: list[str]) -> Decoded | BadRow:
    content = "\x1f".join(cells).encode("utf-8", "surrogatepass")
    for mark, problem in (
        (_END, "opens a quote that is never closed; nothing from here on could be read"),
        (_LONG, f"is longer than {LINE_LIMIT // 1_000_000} MB"),
        (_NUL, "holds a NUL byte, so it is not text"),
    ):
        if any(mark in cell for cell in cells):
            return bad_row(number, problem, content)
    if len(cells) > len(header):
        return bad_row(number, f"has {len(cells)} cells, the first line has {len(header)}", content)
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return bad_row(number, "is not UTF-8", content)
    data: dict[str, Any] = {name: cell for name, cell in zip(header, cells, strict=False) if cell != ""}
    if "text" not in data:
        data["text"] = ""
    return _with_evidence(data, number, content)


def _with_evidence(data: dict[str, Any], number: int, content: bytes) -> Decoded | BadRow:
    """CSV, and some Parquet, hold the list of evidence as JSON in one cell."""
    evidence = data.get("evidence")
    if isinstance(evidence, str):
        try:
            data["evidence"] = json.loads(evidence) if evidence.strip() else None
        except (ValueError, RecursionError) as error:
            return bad_row(number, f"evidence: is not a JSON list: {str(error)[:100]}", content, data.get("id"))
    return number, data


def _csv_lines(path: Path) -> Iterator[str]:
    for _, raw, problem in _lines(path):
        # Bytes that are not UTF-8 survive as marks, so that the row which holds them can be named.
        yield raw.decode("utf-8", "surrogateescape").replace("\x00", _NUL) if problem is None else f"{_LONG}\n"
    yield f"{_END}\n"  # alone in its row, unless a quote is still open


def _parquet(path: Path, also: Sequence[str]) -> Iterator[Decoded | BadRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"{path}: is not Parquet that can be read: {error}") from error
    names = file.schema_arrow.names
    wanted = [name for name in (*_COLUMNS, *also) if name in names]
    if "text" not in wanted:
        raise InvalidInput(f"{path}: has no column `text` (columns found: {', '.join(names)[:100]})")
    return _parquet_rows(file, path, wanted)


def _parquet_rows(file: Any, path: Path, wanted: list[str]) -> Iterator[Decoded | BadRow]:
    import pyarrow

    number = 0
    try:
        with file:
            for data in chain.from_iterable(map(_values, _few(file, path, wanted))):
                number += 1
                if isinstance(data, str):
                    yield bad_row(number, data, data.encode("utf-8", "replace"))
                    continue
                data["text"] = "" if data["text"] is None else data["text"]
                yield _with_evidence(data, number, repr(data).encode("utf-8", "replace"))
    except (pyarrow.ArrowException, OSError) as error:
        yield bad_row(number + 1, f"the file cannot be read from here on: {error}", str(error).encode())


def _few(file: Any, path: Path, wanted: list[str]) -> Iterator[Any]:
    return chain.from_iterable(map(parts, batches(file, path, wanted, 256)))


def _values(batch: Any) -> Iterator[dict[str, Any] | str]:
    """The rows of a batch, or why one of them cannot be had: text that is not UTF-8, a date outside the calendar."""
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError, LookupError):
        rows = None
    if rows is not None:
        yield from rows
        return
    for at in range(batch.num_rows):  # one of them is broken, and this finds which
        try:
            yield batch.slice(at, 1).to_pylist()[0]
        except (ValueError, OverflowError, LookupError) as error:
            yield f"holds a value that cannot be read: {str(error)[:100]}"
