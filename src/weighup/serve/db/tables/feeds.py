"""Feeds that are watched, what they brought, and the stories it belongs to."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from weighup.serve.db.tables.base import Base, BigId, Json, Leased, Moment, one_of

FEED_KINDS = ("feed", "sitemap", "folder", "lines")
ITEM_STATES = ("new", "checked", "skipped", "failed")
_NEW = text("state = 'new'")


class FeedRow(Leased):
    """One feed of a tenant: when to poll it, what it last said of itself, how often it has failed in a row."""

    __tablename__ = "feed"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(100))
    url: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(20))
    title: Mapped[str | None] = mapped_column(Text)
    every: Mapped[float]  # seconds between polls
    enabled: Mapped[bool]
    etag: Mapped[str | None] = mapped_column(Text)
    last_modified: Mapped[str | None] = mapped_column(Text)
    next_poll: Mapped[datetime] = mapped_column(Moment)
    last_poll: Mapped[datetime | None] = mapped_column(Moment)
    errors: Mapped[int]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    memory: Mapped[dict[str, Any] | None] = mapped_column(Json)  # what polling knows of it besides
    evidence: Mapped[bool | None]  # whether its entries are evidence, not claims

    __table_args__ = (UniqueConstraint("tenant", "url"), Index(None, "next_poll", "id"), one_of("kind", FEED_KINDS))


class StoryRow(Base):
    """Items of several feeds about the same thing."""

    __tablename__ = "story"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(100))
    title: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    first: Mapped[datetime | None] = mapped_column(Moment)  # by when its items were published
    last: Mapped[datetime | None] = mapped_column(Moment)
    size: Mapped[int | None]  # items that are no copies
    total: Mapped[bytes | None] = mapped_column(LargeBinary)  # sum of their vectors, float32

    __table_args__ = (Index(None, "tenant", "updated_at", "id"),)


class CursorRow(Base):
    """How far something that goes on for ever has come, such as through the documents of an evidence store."""

    __tablename__ = "cursor"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    place: Mapped[int] = mapped_column(BigInteger)


class FeedItemRow(Leased):
    """One entry of a feed, kept once however often the feed shows it."""

    __tablename__ = "feed_item"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    feed_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("feed.id", ondelete="CASCADE"))
    guid_hash: Mapped[str] = mapped_column(String(64))
    url: Mapped[str | None] = mapped_column(Text)
    title: Mapped[str | None] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    published: Mapped[datetime | None] = mapped_column(Moment)
    seen_at: Mapped[datetime] = mapped_column(Moment)
    state: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int]
    story_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("story.id", ondelete="SET NULL"), index=True)
    verdict_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("verdict.id", ondelete="SET NULL"), index=True)
    entry: Mapped[str | None] = mapped_column(String(64))  # names it in all its versions
    lang: Mapped[str | None] = mapped_column(String(20))
    source: Mapped[str | None] = mapped_column(Text)
    copy_of: Mapped[int | None] = mapped_column(BigId)  # the entry that it copies
    mark: Mapped[bytes | None] = mapped_column(LargeBinary)  # what its copies are known by
    error: Mapped[str | None] = mapped_column(Text)
    said: Mapped[str | None] = mapped_column(String(64))  # the same for the same words

    __table_args__ = (
        UniqueConstraint("feed_id", "guid_hash"),
        Index("ix_feed_item_new", "id", sqlite_where=_NEW, postgresql_where=_NEW),
        Index("ix_feed_item_said", "said", sqlite_where=_NEW, postgresql_where=_NEW),
        Index(None, "seen_at"),
        one_of("state", ITEM_STATES),
    )
