"""What is and was in the outbox, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from weighup.serve.db import Database
from weighup.serve.db.records import Alert
from weighup.serve.db.tables import AlertRow


def recent(database: Database, tenant: str, *, states: Sequence[str] = (), limit: int = 50) -> list[Alert]:
    """A tenant's alerts, newest first; `states` are queued, sent, dead (none named: all)."""
    query = select(AlertRow).where(AlertRow.tenant == tenant)
    if states:
        query = query.where(AlertRow.state.in_(states))
    with database._sessions.reading() as session:
        rows = session.scalars(query.order_by(AlertRow.created_at.desc(), AlertRow.id).limit(limit))
        return [Alert(*(getattr(row, name) for name in Alert.__slots__)) for row in rows]


def shown(alert: Alert) -> dict[str, Any]:
    """An alert as JSON: no more of its payload than says what it is about."""
    told = alert.payload
    return {
        "id": str(alert.id),
        "state": alert.state,
        "channel": alert.channel,
        "target": alert.target,
        "type": told.get("type"),
        "verdict_id": None if alert.verdict_id is None else str(alert.verdict_id),
        "claim": told.get("claim"),
        "attempts": alert.attempts,
        "created_at": _moment(alert.created_at),
        "next_try": _moment(alert.next_try) if alert.state == "queued" else None,
        "last_error": alert.last_error,
    }


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
