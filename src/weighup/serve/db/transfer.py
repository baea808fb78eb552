"""Verdicts out to a file and in again, a batch at a time, so that memory does not grow with their number.

Out: the file appears whole or not at all. In: a batch is written whole or not at all, what is known already is not
added again, so an import that was interrupted is simply run again; broken lines are told by number and left out.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from weighup.console import Advance
from weighup.errors import InvalidInput
from weighup.serve.db.exchange import PARQUET, TimelinePart, VerdictPart, json_lines, parquet_rows, table_of
from weighup.serve.db.people import add_in, feedback_in
from weighup.serve.db.records import Feedback
from weighup.serve.db.sessions import Sessions, insert_new
from weighup.serve.db.tables import TimelineRow, VerdictRow
from weighup.serve.db.verdicts import doubt, stored, timelines_in
from weighup.serve.db.words import indexed, storable

_BATCH = 200
MAX_TOLD = 1_000
"""Broken lines that a report names; the others are counted."""


@dataclass(slots=True)
class ImportReport:
    """What an import did. `broken` holds (line from 1, what is wrong) of the first MAX_TOLD of `broken_total`."""

    seen: int = 0
    verdicts_added: int = 0
    checks_added: int = 0
    labels_added: int = 0
    broken_total: int = 0
    broken: list[tuple[int, str]] = field(default_factory=list)

    def reject(self, line: int, why: str) -> None:
        """Count a broken line."""
        self.broken_total += 1
        if len(self.broken) < MAX_TOLD:
            self.broken.append((line, why))


class Transfer:
    """Export and import of a tenant's verdicts, by the file's ending: .jsonl or .parquet."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def export(self, tenant: str, path: Path, *, on_progress: Advance | None = None) -> int:
        """Write all verdicts with timelines and labels, oldest first; how many. Raises InvalidInput for the path."""
        kind = _kind(path)
        total = 0
        try:
            with _whole(path) as beside:
                if kind == "parquet":
                    with pq.ParquetWriter(beside, PARQUET, compression="zstd") as writer:
                        for parts in self._parts(tenant):
                            writer.write_table(table_of(parts))
                            total += _told(parts, on_progress)
                else:
                    with beside.open("w", encoding="utf-8", newline="\n") as file:
                        for parts in self._parts(tenant):
                            file.writelines(f"{part.model_dump_json()}\n" for part in parts)
                            total += _told(parts, on_progress)
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be written: {error.strerror or error}") from error
        return total

    def labelled(self, tenant: str, path: Path, *, on_progress: Advance | None = None) -> int:
        """Write the claims that people labelled as rows for `weighup train`, oldest first; how many.

        The last label of a verdict counts; what somebody called no claim is left out. A row has the passages that the
        verdict rested on, without the stances that a model gave them. Raises InvalidInput for the path.
        """
        total = 0
        try:
            with _whole(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
                for parts in self._parts(tenant):
                    rows = [_training_row(part) for part in parts if part.feedback]
                    kept = [json.dumps(row, ensure_ascii=False) for row in rows if row is not None]
                    file.writelines(f"{row}\n" for row in kept)
                    total += len(kept)
                    _told(parts, on_progress)
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be written: {error.strerror or error}") from error
        return total

    def import_file(self, tenant: str, path: Path, *, on_progress: Advance | None = None) -> ImportReport:
        """Read an export into the tenant's verdicts. Raises InvalidInput for a file that cannot be read at all.

        A claim that is known (by its key) keeps its id and takes over checks and labels that are new to it.
        """
        report = ImportReport()
        try:
            rows: Iterable[tuple[int, Any]] = parquet_rows(path) if _kind(path) == "parquet" else json_lines(path)
            valid = _validated(rows, report)
            while parts := list(islice(valid, _BATCH)):
                with self._sessions.writing() as session:
                    self._put(session, tenant, parts, report)
                if on_progress is not None:
                    on_progress(len(parts))
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error
        return report

    def _parts(self, tenant: str) -> Iterator[list[VerdictPart]]:
        last = 0
        while True:
            with self._sessions.reading() as session:
                query = select(VerdictRow).where(VerdictRow.tenant == tenant, VerdictRow.number > last)
                rows = list(session.scalars(query.order_by(VerdictRow.number).limit(_BATCH)))
                if not rows:
                    return
                last = rows[-1].number
                ids = [row.id for row in rows]
                timelines, labels = timelines_in(session, ids), feedback_in(session, tenant, ids)
                parts = [
                    VerdictPart.model_validate(
                        {
                            **{name: value for name, value in _fields(row).items() if name != "tenant"},
                            "timeline": [asdict(entry) for entry in timelines.get(row.id, [])],
                            "feedback": [asdict(one) for one in labels.get(row.id, [])],
                        }
                    )
                    for row in rows
                ]
            yield parts

    def _put(self, session: Session, tenant: str, parts: Sequence[VerdictPart], report: ImportReport) -> None:
        first = {part.claim_key: part for part in reversed(parts)}
        taken = set(session.scalars(select(VerdictRow.id).where(VerdictRow.id.in_([part.id for part in parts]))))
        # An id that another claim or tenant has is not ours to use.
        fresh = [_row(tenant, first[key], reuse=first[key].id not in taken) for key in sorted(first)]
        report.verdicts_added += len(insert_new(session, VerdictRow, fresh, VerdictRow.id))
        query = select(VerdictRow).where(VerdictRow.tenant == tenant, VerdictRow.text_key.in_(list(first)))
        rows = {row.text_key: row for row in session.scalars(query.order_by(VerdictRow.text_key).with_for_update())}
        checks = [_entry(rows[part.claim_key], entry) for part in parts for entry in part.timeline]
        checks.sort(key=lambda row: (str(row["verdict_id"]), row["at"], row["check_key"]))
        report.checks_added += len(insert_new(session, TimelineRow, checks, TimelineRow.id))
        for part in parts:
            row = rows[part.claim_key]
            if part.checked_at > row.checked_at:
                _take_on(row, part)
        labels = [
            Feedback(rows[part.claim_key].id, one.label, one.by, one.note, one.at, one.id)
            for part in parts
            for one in part.feedback
        ]
        known = feedback_in(session, tenant, [row.id for row in rows.values()])
        old = {one.id for some in known.values() for one in some}
        new = [one for one in labels if one.id not in old]
        said = {row.id: row.label for row in rows.values()}
        if new:
            add_in(session, tenant, new, said, what="feedback.import")
            report.labels_added += len({one.id for one in new})


def _validated(rows: Iterable[tuple[int, Any]], report: ImportReport) -> Iterator[VerdictPart]:
    for number, row in rows:
        report.seen += 1
        if isinstance(row, str):
            report.reject(number, row)
            continue
        try:
            read = VerdictPart.model_validate_json if isinstance(row, bytes) else VerdictPart.model_validate
            part = read(row)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(one) for one in first["loc"])
            report.reject(number, f"{place}: {first['msg']}" if place else first["msg"])
            continue
        yield part


def _fields(row: VerdictRow) -> dict[str, Any]:
    found = stored(row)
    told = {field.name: getattr(found, field.name) for field in fields(found)}
    return {**told, "verdict": told.pop("latest")}


def _row(tenant: str, part: VerdictPart, *, reuse: bool) -> dict[str, Any]:
    return {
        "id": part.id if reuse else uuid.uuid4(),
        "tenant": tenant,
        "text_key": part.claim_key,
        "claim": storable(part.claim),
        "words": indexed(part.claim),
        "claim_date": part.claim_date,
        "lang": storable(part.lang),
        "source": storable(part.source),
        "url": storable(part.url),
        "latest": storable(part.verdict.model_dump(mode="json")),
        "label": part.verdict.verdict,
        "probability": part.verdict.probability_fake,
        "doubt": doubt(part.verdict.probability_fake),
        "expert": part.verdict.expert,
        "settled": part.settled,
        "next_check": part.next_check,
        "created_at": part.created_at,
        "checked_at": part.checked_at,
    }


def _take_on(row: VerdictRow, part: VerdictPart) -> None:
    latest = ("latest", "label", "probability", "doubt", "expert", "settled", "next_check", "checked_at")
    values = _row(row.tenant, part, reuse=True)
    for name in latest:
        setattr(row, name, values[name])


def _entry(row: VerdictRow, entry: TimelinePart) -> Mapping[str, Any]:
    return {
        "verdict_id": row.id,
        "check_key": storable(entry.check_key),
        "at": entry.at,
        "probability": entry.probability,
        "low": entry.interval[0],
        "high": entry.interval[1],
        "label": entry.label,
        "expert": entry.expert,
        "evidence_added": storable(entry.evidence_added),
        "reason": entry.reason,
    }


def _told(parts: Sequence[VerdictPart], on_progress: Advance | None) -> int:
    if on_progress is not None:
        on_progress(len(parts))
    return len(parts)


def _kind(path: Path) -> str:
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("jsonl", "parquet"):
        raise InvalidInput(f"{path}: what it is is told by its ending; use .jsonl or .parquet")
    return kind


def _training_row(part: VerdictPart) -> dict[str, Any] | None:
    label = part.feedback[-1].label
    if label == "not_checkable":
        return None
    verdict = part.verdict
    row = {"id": str(part.id), "text": part.claim, "label": label, "lang": part.lang, "date": verdict.date}
    passages = [
        {
            name: value
            for name in ("text", "url", "title", "date", "source")
            if (value := getattr(view, name)) is not None
        }
        for view in verdict.evidence
    ]
    return {name: value for name, value in (row | {"evidence": passages or None}).items() if value is not None}


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end, and is gone if something goes wrong."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
