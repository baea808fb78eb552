"""Verdicts, their timelines, and what people say of them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from weighup.serve.db.tables.base import Base, BigId, Json, Leased, Moment, one_of

LABELS = ("real", "fake", "unknown", "not_checkable")
REASONS = ("first", "recheck", "new_evidence")


class VerdictRow(Leased):
    """The latest verdict on one claim of one tenant. `words` is what text search looks in, `number` its rowid."""

    __tablename__ = "verdict"

    number: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True)
    tenant: Mapped[str] = mapped_column(String(100))
    text_key: Mapped[str] = mapped_column(String(64))
    claim: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = mapped_column(Text)
    claim_date: Mapped[datetime | None] = mapped_column(Moment)
    lang: Mapped[str | None] = mapped_column(String(20))
    source: Mapped[str | None] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(Text)
    latest: Mapped[dict[str, Any]] = mapped_column(Json)
    label: Mapped[str] = mapped_column(String(20))
    probability: Mapped[float]
    doubt: Mapped[float]  # 1 at a probability of a half, 0 at 0 and 1
    expert: Mapped[str | None] = mapped_column(String(20))
    settled: Mapped[bool]
    next_check: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    checked_at: Mapped[datetime] = mapped_column(Moment)
    due_for: Mapped[str | None] = mapped_column(String(20))  # why the next check is to be made, if not by schedule
    told_probability: Mapped[float | None]  # as of the last alert; without one, as first called
    told_label: Mapped[str | None] = mapped_column(String(20))

    __table_args__ = (
        UniqueConstraint("tenant", "text_key"),
        Index(None, "tenant", "created_at", "id"),
        Index(None, "tenant", "doubt", "id"),
        Index(None, "next_check"),
        Index(None, "checked_at"),
        one_of("label", LABELS),
    )


class ClaimVectorRow(Base):
    """The vector of a verdict's claim, float32 little-endian, and the encoder that made it. Where PostgreSQL has
    pgvector the table has a column more, `near`, that is not mapped: `claim_vectors.py` looks after it."""

    __tablename__ = "claim_vector"

    verdict_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("verdict.id", ondelete="CASCADE"), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(100))
    encoder: Mapped[str] = mapped_column(String(200))
    vector: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (Index(None, "tenant", "encoder"),)


class TimelineRow(Base):
    """One check of a claim. `check_key` makes a check that is recorded twice count once."""

    __tablename__ = "timeline"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    verdict_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("verdict.id", ondelete="CASCADE"))
    check_key: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment)
    probability: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    label: Mapped[str] = mapped_column(String(20))
    expert: Mapped[str | None] = mapped_column(String(20))
    evidence_added: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    reason: Mapped[str] = mapped_column(String(20))

    __table_args__ = (
        UniqueConstraint("verdict_id", "check_key"),
        Index(None, "verdict_id", "at", "id"),
        one_of("label", LABELS),
        one_of("reason", REASONS),
    )


class FeedbackRow(Base):
    """A human's label on a verdict. A verdict with one cannot be deleted."""

    __tablename__ = "feedback"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(100))
    verdict_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("verdict.id", ondelete="RESTRICT"))
    label: Mapped[str] = mapped_column(String(20))
    by: Mapped[str] = mapped_column(String(200))
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (Index(None, "verdict_id", "at"), Index(None, "tenant", "at", "id"), one_of("label", LABELS))


class AuditRow(Base):
    """Who did what, when, with before and after. Triggers of the database refuse to change or delete a row."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime] = mapped_column(Moment)
    who: Mapped[str] = mapped_column(String(200))
    what: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(200))
    before: Mapped[dict[str, Any] | None] = mapped_column(Json)
    after: Mapped[dict[str, Any] | None] = mapped_column(Json)

    __table_args__ = (Index(None, "tenant", "id"), Index(None, "subject", "id"))
