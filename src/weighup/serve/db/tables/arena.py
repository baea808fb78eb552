"""The arena: answers of several systems to compare, and people's votes on them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from weighup.serve.db.tables.base import Base, Json, Moment, one_of

WINNERS = ("a", "b", "tie", "both_bad")
"""Votes on a pair; a is the answer that was shown first, to the left."""


class ArenaItemRow(Base):
    """Answers of `k` systems to one prompt. Whose they are is never shown to who votes."""

    __tablename__ = "arena_item"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(100))
    key: Mapped[str] = mapped_column(String(200))  # its id in the file that it came from
    prompt: Mapped[str] = mapped_column(Text)
    systems: Mapped[list[str]] = mapped_column(Json)  # as in the file, like the responses
    responses: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    k: Mapped[int]
    reference: Mapped[str | None] = mapped_column(Text)
    context: Mapped[str | None] = mapped_column(Text)
    category: Mapped[str | None] = mapped_column(String(100))
    meta: Mapped[dict[str, Any]] = mapped_column(Json)
    active: Mapped[bool]
    secret: Mapped[str] = mapped_column(String(64))  # keys the order in which a voter is shown the answers
    votes: Mapped[int]
    changed_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("tenant", "key"), Index(None, "tenant", "active", "votes", "id"))


class ArenaVoteRow(Base):
    """One voter's vote on an item; there can be only one. `winner` of a pair, `ranking` of a larger set: groups of
    systems, best first. An item with a vote cannot be deleted."""

    __tablename__ = "arena_vote"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(100))
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("arena_item.id", ondelete="RESTRICT"), index=True)
    voter: Mapped[str] = mapped_column(String(100))
    shown: Mapped[list[str]] = mapped_column(Json)  # systems in the order in which the voter saw them
    winner: Mapped[str | None] = mapped_column(String(20))
    ranking: Mapped[list[list[str]] | None] = mapped_column(Json)
    at: Mapped[datetime] = mapped_column(Moment)
    seconds: Mapped[float | None]  # from the page to the vote, as the browser's form says

    __table_args__ = (
        UniqueConstraint("tenant", "item_id", "voter"),
        Index(None, "tenant", "voter"),
        Index(None, "tenant", "at", "id"),
        one_of("winner", WINNERS),
    )
