"""The outbox: alerts are put where the verdicts are, in the same transaction, and tried until they have left.

At least once: a worker that is killed after sending and before saying so sends again; `Alert.id` lets the receiver
see that.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from weighup.serve.db.records import Alert, NewAlert
from weighup.serve.db.sessions import LEASE, Sessions, insert_new, let_go, present, take
from weighup.serve.db.tables import AlertRow
from weighup.serve.db.words import storable

ATTEMPTS = 8
"""Tries before an alert goes to the dead letters: with the waits below, for about an hour."""
_FIRST_WAIT = 30.0  # seconds; doubles with each failure
_LONGEST_WAIT = 6 * 3600.0


class Alerts:
    """The repository of alerts."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def put(self, alerts: Sequence[NewAlert]) -> int:
        """Put alerts into the outbox; those whose tenant and key are there already are not put again. How many were."""
        with self._sessions.writing() as session:
            return put_in(session, alerts, present())

    def take(self, worker: str, *, limit: int = 20, seconds: float = LEASE, now: datetime | None = None) -> list[Alert]:
        """Lease alerts that are due, oldest first. Taking one counts as a try, so one that kills its worker ends."""
        now = now or present()
        due = [AlertRow.state == "queued", AlertRow.next_try <= now]
        with self._sessions.writing() as session:
            order = (AlertRow.next_try, AlertRow.id)
            rows = take(session, AlertRow, due, order, worker=worker, seconds=seconds, limit=limit, now=now)
            for row in rows:
                row.attempts += 1
                if row.attempts > ATTEMPTS:
                    row.state, row.finished_at = "dead", now
                    row.last_error = row.last_error or "whoever sent it ended each time"
                    let_go(row)
            return [_alert(row) for row in rows if row.state == "queued"]

    def sent(self, ids: Sequence[uuid.UUID], *, now: datetime | None = None) -> int:
        """Say that these have left; how many were still waiting."""
        with self._sessions.writing() as session:
            rows = _waiting(session, ids)
            for row in rows:
                row.state, row.finished_at, row.last_error = "sent", now or present(), None
                let_go(row)
            return len(rows)

    def failed(
        self, alert_id: uuid.UUID, error: str, *, now: datetime | None = None, final: bool = False
    ) -> str | None:
        """Say why one did not leave. It waits, longer each time; after ATTEMPTS tries, or if `final`, it is dead.

        Returns its state now, None if it was not waiting.
        """
        now = now or present()
        with self._sessions.writing() as session:
            for row in _waiting(session, [alert_id]):
                row.last_error = storable(error)[:1_000]
                let_go(row)
                if final or row.attempts >= ATTEMPTS:
                    row.state, row.finished_at = "dead", now
                else:
                    row.next_try = now + timedelta(seconds=_wait(row.attempts))
                return row.state
            return None

    def dead(self, tenant: str, *, limit: int = 100) -> list[Alert]:
        """The dead letters, newest first."""
        with self._sessions.reading() as session:
            query = select(AlertRow).where(AlertRow.tenant == tenant, AlertRow.state == "dead")
            return [_alert(row) for row in session.scalars(query.order_by(AlertRow.finished_at.desc()).limit(limit))]

    def revive(self, tenant: str, ids: Sequence[uuid.UUID], *, now: datetime | None = None) -> int:
        """Try dead letters again from the start; how many there were."""
        with self._sessions.writing() as session:
            where = (AlertRow.tenant == tenant, AlertRow.id.in_(ids), AlertRow.state == "dead")
            rows = list(session.scalars(select(AlertRow).where(*where).order_by(AlertRow.id).with_for_update()))
            for row in rows:
                row.state, row.attempts, row.next_try, row.finished_at = "queued", 0, now or present(), None
            return len(rows)


def put_in(session: Session, alerts: Sequence[NewAlert], now: datetime) -> int:
    """`Alerts.put` inside a transaction that does more than that."""
    if not alerts:
        return 0
    rows = [
        {
            "id": uuid.uuid4(),
            "tenant": alert.tenant,
            "key": alert.key,
            "verdict_id": alert.verdict_id,
            "channel": alert.channel,
            "target": alert.target,
            "payload": storable(dict(alert.payload)),
            "state": "queued",
            "attempts": 0,
            "next_try": now,
            "created_at": now,
        }
        for alert in sorted(alerts, key=lambda alert: (alert.tenant, alert.key))
    ]
    return len(insert_new(session, AlertRow, rows, AlertRow.id))


def _waiting(session: Session, ids: Sequence[uuid.UUID]) -> list[AlertRow]:
    where = (AlertRow.id.in_(ids), AlertRow.state == "queued")
    return list(session.scalars(select(AlertRow).where(*where).order_by(AlertRow.id).with_for_update()))


def _wait(attempts: int) -> float:
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** max(0, attempts - 1))


def _alert(row: AlertRow) -> Alert:
    return Alert(
        row.id,
        row.tenant,
        row.verdict_id,
        row.channel,
        row.target,
        row.payload,
        row.state,
        row.attempts,
        row.next_try,
        row.last_error,
        row.created_at,
    )
