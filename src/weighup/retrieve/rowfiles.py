"""Documents from files of rows: JSON lines, CSV, TSV and Parquet.

Fields: `text` (needed), and optionally `id, title, url, date` (or `published`), `source, lang, credibility`.
Other fields are left alone. A row that cannot be used becomes a `Broken` with its line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import chain
from typing import Any, BinaryIO

from weighup.dates import parse_published
from weighup.errors import InvalidInput
from weighup.retrieve.parquetrows import batches, parts
from weighup.retrieve.types import Document

MAX_LINE = 16_000_000  # bytes
_MIDNIGHT = re.compile(r"\d{4}-?\d{2}-?\d{2}[T ]00(?::?00(?::?00(?:\.0+)?)?)?")
_REST_OF_DAY = timedelta(hours=23, minutes=59, seconds=59)
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that could not be read: which file, which line (from 1; None: the file), and why."""

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.reason}"


def read_jsonl(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """One JSON object a line; blank lines are passed over."""
    if (refusal := not_text(file, name)) is not None:
        yield refusal
        return
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            yield Broken(name, number, f"a line of over {MAX_LINE // 1_000_000} MB; split the document")
            continue
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            yield Broken(name, number, f"is not UTF-8 (byte {error.start}); convert the file")
        except RecursionError:
            yield Broken(name, number, "is not JSON (too deeply nested)")
        except ValueError as error:  # besides JSON's own: a number of thousands of digits
            yield Broken(name, number, f"is not JSON ({str(getattr(error, 'msg', error))[:100]})")
        else:
            yield from_row(row, name, number)


def read_csv(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """Comma-separated values with a header line that names the fields."""
    return _read_separated(file, name, ",")


def read_tsv(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """Tab-separated values with a header line that names the fields."""
    return _read_separated(file, name, "\t")


def _read_separated(file: BinaryIO, name: str, delimiter: str) -> Iterator[Document | Broken]:
    if (refusal := not_text(file, name)) is not None:
        yield refusal
        return
    csv.field_size_limit(MAX_LINE)
    # Bytes that are not UTF-8 pass as surrogates, so that they spoil their own row and no other.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = _Lines(text)
    # Strict: else a quotation mark that is never closed makes all rows to the end of the file one document, under the
    # first one's date.
    reader = csv.DictReader(lines, delimiter=delimiter, restval=None, strict=True)
    kind = "CSV" if delimiter == "," else "TSV"
    try:
        names = [field.strip().lower() for field in reader.fieldnames or ()]
    except csv.Error as error:
        yield Broken(name, 1, f"is not {kind} ({error})")
        return
    if "text" not in names:
        yield Broken(name, 1, f"the header line has no `text` field (it has: {', '.join(names)[:200] or 'nothing'})")
        return
    reader.fieldnames = names
    while True:
        line = lines.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Broken(name, line, f"is not {kind} ({error})")
            continue
        if any(extra.strip() for extra in row.get(None) or ()):
            yield Broken(name, line, "has more fields than the header line; put the text in quotation marks")
            continue
        given = {key: value for key, value in row.items() if isinstance(key, str) and isinstance(value, str) and value}
        if any(not _is_text(value) for value in given.values()):
            yield Broken(name, line, "is not UTF-8; convert the file")
        else:
            yield from_row(given, name, line)


class _Lines:
    """The lines of a text, counted. One too long to be a row is read past and raises csv.Error."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) < MAX_LINE or line.endswith(("\n", "\r")):
            return line
        while (rest := self._text.readline(MAX_LINE)) and not rest.endswith(("\n", "\r")):
            pass
        raise csv.Error(f"a line of over {MAX_LINE // 1_000_000} MB; split the document")


def read_parquet(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """Rows of a Parquet file, at most a thousand at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        opened = pq.ParquetFile(file)
        wanted = [field for field in opened.schema_arrow.names if field in _FIELDS]
        if "text" not in wanted:
            yield Broken(name, None, f"has no `text` column (it has: {', '.join(opened.schema_arrow.names)[:200]})")
            return
        for part in chain.from_iterable(map(parts, batches(opened, file, wanted, 1_000))):
            for row in part.to_pylist():
                number += 1
                yield from_row(row, name, number)
    except (pa.ArrowException, ValueError) as error:
        yield Broken(name, number + 1 if number else None, f"is not readable Parquet ({str(error)[:120]})")


_FIELDS = ("text", "id", "title", "url", "date", "published", "source", "lang", "credibility")


def from_row(row: object, name: str, line: int) -> Document | Broken:
    """One row as a document, or what is wrong with it."""
    if not isinstance(row, Mapping):
        return Broken(name, line, 'is not an object with a `text`, like {"text": "…", "date": "2024-05-31"}')
    try:
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput("`text` is missing or empty")
        return Document(
            text=text,
            id="" if row.get("id") is None else str(row["id"]),
            url=_string(row, "url"),
            title=_string(row, "title"),
            published=_date(row),
            source=_string(row, "source") or "",
            lang=_string(row, "lang"),
            credibility=_share(row.get("credibility")),
        )
    except InvalidInput as error:
        return Broken(name, line, str(error))
    except OverflowError:
        return Broken(name, line, "`date` or `credibility` is out of all range")


def not_text(file: BinaryIO, name: str) -> Broken | None:
    """Whether a file said to be text is something else, judged by its first bytes; the file is left at its start."""
    head = file.read(4_096)
    file.seek(0)
    if any(head.startswith(bom) for bom, _ in _BOMS):
        return Broken(name, None, "is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
    if b"\0" in head:
        return Broken(name, None, "is binary, not text")
    return None


def _string(row: Mapping[str, Any], field: str) -> str | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"`{field}` is not text (got {str(value)[:40]!r})")
    return value.strip() or None


def _date(row: Mapping[str, Any]) -> datetime | None:
    value = row.get("date") if row.get("date") not in (None, "") else row.get("published")
    if value is None or value == "":
        return None
    if not isinstance(value, str | date):
        raise InvalidInput(f"`date` is not a date (got {str(value)[:40]!r}); write it as 2024-05-31")
    moment = parse_published(value, where="`date`")
    return moment + _REST_OF_DAY if _is_bare_day(value) else moment


def _is_bare_day(value: str | date) -> bool:
    """Whether it is midnight without a zone: how tables write a day."""
    if isinstance(value, datetime):
        return value.tzinfo is None and value.time() == time(0)
    return isinstance(value, str) and _MIDNIGHT.fullmatch(value.strip()) is not None


def _share(value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        share = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise InvalidInput(f"`credibility` is not a number from 0 to 1 (got {str(value)[:40]!r})")
    return share


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
