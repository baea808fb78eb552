"""What people decided: labels on verdicts, and the audit log in which every decision stays for good."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from weighup.errors import InvalidInput
from weighup.serve.db.records import AuditEntry, Feedback
from weighup.serve.db.sessions import Sessions, insert_new, present
from weighup.serve.db.tables import AuditRow, FeedbackRow, VerdictRow
from weighup.serve.db.tables.verdicts import LABELS
from weighup.serve.db.words import storable


class Feedbacks:
    """The repository of human labels. Each one added is written into the audit log in the same transaction."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def add(self, tenant: str, feedback: Sequence[Feedback]) -> list[uuid.UUID]:
        """Add labels, all or none; their ids, in order. One whose `id` is there already changes nothing.

        Raises InvalidInput for a verdict that is not there or another tenant's.
        """
        with self._sessions.writing() as session:
            query = select(VerdictRow.id, VerdictRow.label).where(
                VerdictRow.tenant == tenant, VerdictRow.id.in_([one.verdict_id for one in feedback])
            )
            labels = dict(session.execute(query).tuples().all())
            for one in feedback:
                if one.verdict_id not in labels:
                    raise InvalidInput(f"feedback: there is no verdict {one.verdict_id}")
                if one.label not in LABELS:
                    raise InvalidInput(f"feedback: {one.label!r} is no label; use one of {', '.join(LABELS)}")
            return add_in(session, tenant, feedback, labels)

    def of(self, tenant: str, verdict_ids: Sequence[uuid.UUID]) -> list[list[Feedback]]:
        """The labels on these verdicts, in order, each from its oldest to its newest."""
        with self._sessions.reading() as session:
            found = feedback_in(session, tenant, verdict_ids)
        return [found.get(one, []) for one in verdict_ids]

    def since(self, tenant: str, moment: datetime | None = None, *, limit: int = 1_000) -> list[Feedback]:
        """Labels added at or after then, oldest first."""
        query = select(FeedbackRow).where(FeedbackRow.tenant == tenant)
        if moment is not None:
            query = query.where(FeedbackRow.at >= moment)
        with self._sessions.reading() as session:
            return [
                _feedback(row) for row in session.scalars(query.order_by(FeedbackRow.at, FeedbackRow.id).limit(limit))
            ]


class Audit:
    """The audit log. The database itself refuses to change or delete an entry."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def write(self, entries: Sequence[AuditEntry]) -> list[int]:
        """Append entries; their numbers, in order."""
        with self._sessions.writing() as session:
            return write_in(session, entries)

    def read(
        self, tenant: str, *, subject: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[AuditEntry]:
        """Entries, newest first; of one subject if given; go on with `before` the last number seen."""
        query = select(AuditRow).where(AuditRow.tenant == tenant)
        if subject is not None:
            query = query.where(AuditRow.subject == subject)
        if before is not None:
            query = query.where(AuditRow.id < before)
        with self._sessions.reading() as session:
            return [_entry(row) for row in session.scalars(query.order_by(AuditRow.id.desc()).limit(limit))]


def add_in(
    session: Session, tenant: str, feedback: Sequence[Feedback], labels: dict[uuid.UUID, str], *, what: str = "feedback"
) -> list[uuid.UUID]:
    """`Feedbacks.add` inside a transaction that does more than that; `labels` are the verdicts' own."""
    now = present()
    rows = [
        {
            "id": one.id or uuid.uuid4(),
            "tenant": tenant,
            "verdict_id": one.verdict_id,
            "label": one.label,
            "by": storable(one.by)[:200],
            "note": storable(one.note),
            "at": one.at or now,
        }
        for one in feedback
    ]
    added = set(insert_new(session, FeedbackRow, sorted(rows, key=lambda row: str(row["id"])), FeedbackRow.id))
    entries = [
        AuditEntry(
            who=row["by"],
            what=what,
            subject=f"verdict:{row['verdict_id']}",
            tenant=tenant,
            before={"label": labels[row["verdict_id"]]},
            after={"label": row["label"], "note": row["note"], "feedback": str(row["id"])},
            at=now,
        )
        for row in {row["id"]: row for row in rows}.values()
        if row["id"] in added
    ]
    write_in(session, entries)
    return [row["id"] for row in rows]


def write_in(session: Session, entries: Sequence[AuditEntry]) -> list[int]:
    """`Audit.write` inside a transaction that does more than that."""
    now = present()
    rows = [
        AuditRow(
            tenant=entry.tenant,
            at=entry.at or now,
            who=storable(entry.who)[:200],
            what=entry.what[:100],
            subject=storable(entry.subject)[:200],
            before=None if entry.before is None else storable(dict(entry.before)),
            after=None if entry.after is None else storable(dict(entry.after)),
        )
        for entry in entries
    ]
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows]


def feedback_in(session: Session, tenant: str, verdict_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Feedback]]:
    """The labels on these verdicts, oldest first."""
    query = select(FeedbackRow).where(FeedbackRow.tenant == tenant, FeedbackRow.verdict_id.in_(verdict_ids))
    found: dict[uuid.UUID, list[Feedback]] = {}
    for row in session.scalars(query.order_by(FeedbackRow.at, FeedbackRow.id)):
        found.setdefault(row.verdict_id, []).append(_feedback(row))
    return found


def _feedback(row: FeedbackRow) -> Feedback:
    return Feedback(row.verdict_id, row.label, row.by, row.note, row.at, row.id)  # type: ignore[arg-type]


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(row.who, row.what, row.subject, row.tenant, row.before, row.after, row.at, row.id)
