"""Work to do: jobs with their items, and the outbox of alerts."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from weighup.serve.db.tables.base import Base, BigId, Json, Leased, Moment, one_of

STATES = ("queued", "running", "done", "failed", "cancelled")
CHANNELS = ("webhook", "email", "console")
ALERT_STATES = ("queued", "sent", "dead")
_OPEN = text("state IN ('queued', 'running')")
_QUEUED = text("state = 'queued'")


class JobRow(Base):
    """Many claims handed in together. `key` makes a job that is handed in twice count once."""

    __tablename__ = "job"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(100))
    key: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(50))
    options: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint("tenant", "key"),
        Index(None, "tenant", "created_at", "id"),
        Index(None, "finished_at"),
        one_of("state", STATES),
    )


class JobItemRow(Leased):
    """One piece of a job; `attempts` counts how often a worker has taken it."""

    __tablename__ = "job_item"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    position: Mapped[int]
    priority: Mapped[int]
    input: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int]
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint("job_id", "position"),
        Index("ix_job_item_open", "priority", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
        one_of("state", STATES),
    )


class JobResultRow(Base):
    """What came of an item: its key is the item's, so that there can be only one."""

    __tablename__ = "job_result"

    item_id: Mapped[int] = mapped_column(BigId, ForeignKey("job_item.id", ondelete="CASCADE"), primary_key=True)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error: Mapped[str | None] = mapped_column(Text)
    verdict_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("verdict.id", ondelete="SET NULL"), index=True)
    worker: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment)


class AlertRow(Leased):
    """A message that must leave: tried until it is sent or dead. `key` makes an alert raised twice count once."""

    __tablename__ = "alert"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(100))
    key: Mapped[str] = mapped_column(String(200))
    verdict_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("verdict.id", ondelete="SET NULL"), index=True)
    channel: Mapped[str] = mapped_column(String(20))
    target: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int]
    next_try: Mapped[datetime] = mapped_column(Moment)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        UniqueConstraint("tenant", "key"),
        Index("ix_alert_queued", "next_try", "id", sqlite_where=_QUEUED, postgresql_where=_QUEUED),
        one_of("channel", CHANNELS),
        one_of("state", ALERT_STATES),
    )
