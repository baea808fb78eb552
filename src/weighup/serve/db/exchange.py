"""One verdict as it travels between databases: with its timeline and the labels people gave it, in JSON Lines or as
a row of Parquet. Fields are added, never renamed or removed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from weighup.errors import InvalidInput
from weighup.verify.contract import Label, Probability, Verdict

MAX_LINE = 16_000_000
"""Bytes of a line that are read; a longer one is broken."""
_NESTED = ("verdict", "timeline", "feedback")
_TIME = pa.timestamp("us", tz="UTC")
PARQUET = pa.schema(
    [
        ("id", pa.string()),
        ("claim_key", pa.string()),
        ("claim", pa.string()),
        ("claim_date", _TIME),
        ("lang", pa.string()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("expert", pa.string()),
        ("settled", pa.bool_()),
        ("next_check", _TIME),
        ("created_at", _TIME),
        ("checked_at", _TIME),
        ("verdict", pa.string()),  # these three as JSON
        ("timeline", pa.string()),
        ("feedback", pa.string()),
    ]
)

Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TimelinePart(_Part):
    """One check."""

    check_key: Name
    at: AwareDatetime
    probability: Probability
    interval: tuple[Probability, Probability]
    label: Label
    expert: str | None = Field(None, max_length=20)
    evidence_added: list[dict[str, Any]] = []
    reason: Literal["first", "recheck", "new_evidence"]


class FeedbackPart(_Part):
    """One label by a human."""

    id: uuid.UUID
    label: Label
    by: Name
    note: str | None = None
    at: AwareDatetime


class VerdictPart(_Part):
    """One line. `label`, `probability` and `expert` are written for those who read the file; `verdict` decides."""

    id: uuid.UUID
    claim_key: Annotated[str, Field(min_length=1, max_length=64)]
    claim: str
    claim_date: AwareDatetime | None = None
    lang: str | None = Field(None, max_length=20)
    source: str | None = None
    url: str | None = None
    label: Label
    probability: Probability
    expert: str | None = None
    settled: bool = False
    next_check: AwareDatetime | None = None
    created_at: AwareDatetime
    checked_at: AwareDatetime
    verdict: Verdict
    timeline: Annotated[list[TimelinePart], Field(min_length=1)]
    feedback: list[FeedbackPart] = []


def table_of(parts: Sequence[VerdictPart]) -> pa.Table:
    """Rows of Parquet."""
    rows = []
    for part in parts:
        row = part.model_dump(include=set(PARQUET.names) - set(_NESTED))
        nested = part.model_dump(mode="json", include=set(_NESTED))
        texts = {name: json.dumps(value, ensure_ascii=False) for name, value in nested.items()}
        rows.append({**row, "id": str(part.id), **texts})
    return pa.Table.from_pylist(rows, schema=PARQUET)


def json_lines(path: Path) -> Iterator[tuple[int, bytes | str]]:
    """Number, from 1, and bytes of every line that is not blank; in place of one that is too long, what is wrong."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield number, f"is longer than {MAX_LINE:,} bytes"
            elif line.strip():
                yield number, line


def parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Number, from 1, and fields of every row. Raises InvalidInput for what is no Parquet file of verdicts."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{path}: cannot be read as Parquet: {error}") from error
    with file:
        missing = [name for name in PARQUET.names if name not in file.schema_arrow.names]
        if missing:
            raise InvalidInput(f"{path}: is no export of verdicts: has no column {', '.join(missing)}")
        number = 0
        try:
            for batch in file.iter_batches(batch_size=200, columns=PARQUET.names):
                for row in batch.to_pylist():
                    number += 1
                    try:
                        yield number, {**row, **{name: json.loads(row[name]) for name in _NESTED}}
                    except (ValueError, TypeError, RecursionError) as error:
                        yield number, f"verdict, timeline or feedback is not JSON: {error}"
        except pa.ArrowException as error:
            raise InvalidInput(f"{path}: is damaged after row {number}: {error}") from error
