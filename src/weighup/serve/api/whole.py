"""A stored verdict with its timeline and its labels, read in one go: what is asked for most often."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import bindparam, select

from weighup.serve.db import Database
from weighup.serve.db.people import feedback_in
from weighup.serve.db.records import Feedback, StoredVerdict, TimelineEntry
from weighup.serve.db.tables import VerdictRow
from weighup.serve.db.verdicts import stored, timelines_in

Whole = tuple[StoredVerdict, Sequence[TimelineEntry], Sequence[Feedback]]
# Put together once: that takes as long as asking it.
_ONE = select(VerdictRow).where(VerdictRow.id == bindparam("id"), VerdictRow.tenant == bindparam("tenant"))


def whole(database: Database, tenant: str, id: uuid.UUID) -> Whole | None:
    """The verdict, its checks and its labels, each from the oldest to the newest; None: not there, or another's."""
    with database._sessions.reading() as session:
        row = session.scalars(_ONE, {"id": id, "tenant": tenant}).one_or_none()
        if row is None:
            return None
        return stored(row), timelines_in(session, [id]).get(id, []), feedback_in(session, tenant, [id]).get(id, [])
