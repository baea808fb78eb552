"""Stories: which entries of feeds are about the same thing. Who belongs together is decided elsewhere."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from weighup.serve.db.records import Story
from weighup.serve.db.sessions import Sessions, insert_new, present
from weighup.serve.db.tables import FeedItemRow, FeedRow, StoryRow
from weighup.serve.db.watched import StoryState
from weighup.serve.db.words import storable


class Stories:
    """The repository of stories."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def put(
        self,
        tenant: str,
        title: str,
        item_ids: Sequence[int],
        *,
        story_id: uuid.UUID | None = None,
        now: datetime | None = None,
    ) -> uuid.UUID:
        """Say that these entries are one story: a new one, or `story_id`, made if need be. Entries of another tenant
        are left alone, and so is another tenant's story."""
        now, number = now or present(), story_id or uuid.uuid4()
        row = {"id": number, "tenant": tenant, "title": storable(title), "created_at": now, "updated_at": now}
        with self._sessions.writing() as session:
            insert_new(session, StoryRow, [row], StoryRow.id)
            where = (StoryRow.id == number, StoryRow.tenant == tenant)
            if session.scalars(update(StoryRow).where(*where).values(updated_at=now).returning(StoryRow.id)).all():
                own = select(FeedRow.id).where(FeedRow.tenant == tenant)
                mine = (FeedItemRow.id.in_(item_ids), FeedItemRow.feed_id.in_(own))
                session.execute(update(FeedItemRow).where(*mine).values(story_id=number))
        return number

    def recent(self, tenant: str, *, since: datetime | None = None, limit: int = 50) -> list[Story]:
        """Stories that something was added to since then, latest first."""
        size = select(func.count()).where(FeedItemRow.story_id == StoryRow.id).scalar_subquery()
        query = select(StoryRow, size).where(StoryRow.tenant == tenant)
        if since is not None:
            query = query.where(StoryRow.updated_at >= since)
        query = query.order_by(StoryRow.updated_at.desc(), StoryRow.id.desc()).limit(limit)
        with self._sessions.reading() as session:
            return [
                Story(row.id, row.tenant, row.title, row.created_at, row.updated_at, items)
                for row, items in session.execute(query)
            ]

    def active(self, tenant: str, since: datetime, *, limit: int) -> list[StoryState]:
        """The `limit` stories with the newest items, if published since then, the one heard of last at the end."""
        where = (StoryRow.tenant == tenant, StoryRow.updated_at >= since, StoryRow.total.is_not(None))
        query = select(StoryRow).where(*where).order_by(StoryRow.updated_at.desc(), StoryRow.id.desc()).limit(limit)
        with self._sessions.reading() as session:
            return [_state(row) for row in reversed(session.scalars(query).all())]


def keep_stories(session: Session, stories: Sequence[StoryState], now: datetime) -> None:
    """Make or go on with stories, inside a transaction that does more than that."""
    if not stories:
        return
    newest = {story.id: story for story in stories}
    rows = [
        {
            "id": story.id,
            "tenant": story.tenant,
            "title": storable(story.title),
            "created_at": now,
            "updated_at": now,
            "first": story.first,
            "last": story.last,
            "size": story.size,
            "total": story.total,
        }
        for story in sorted(newest.values(), key=lambda one: one.id)
    ]
    made = set(insert_new(session, StoryRow, rows, StoryRow.id))
    old = [number for number in newest if number not in made]
    query = select(StoryRow).where(StoryRow.id.in_(old)).order_by(StoryRow.id).with_for_update()
    for row in session.scalars(query) if old else ():
        story = newest[row.id]
        row.updated_at, row.first, row.last = now, story.first, story.last
        row.size, row.total = story.size, story.total


def _state(row: StoryRow) -> StoryState:
    moment, size, total = row.updated_at, row.size or 0, row.total or b""
    return StoryState(row.id, row.tenant, row.title, row.first or moment, row.last or moment, size, total)
