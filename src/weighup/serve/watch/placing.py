"""Entries into the stories of their tenant, across restarts: what clustering knows is in the database.

One watcher of a database places everything that it takes; where several work side by side, one does not see what
another has just placed, and an event may fall into two stories. Nothing else depends on it.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from weighup.serve.db.records import FeedItem
from weighup.serve.db.watched import StoryState
from weighup.serve.feeds.items import Item
from weighup.serve.feeds.stories import MAX_MARKS, MAX_STORIES, WINDOW, Mark, Placed, Stories, Story

if TYPE_CHECKING:
    from weighup.models.types import Encoder
    from weighup.serve.db import Database

TENANTS = 8
"""Tenants whose stories are held in memory, some tens of megabytes each; of others they are read again."""
_NAMES = uuid.UUID("6f2d9a1c-0f53-4e0e-9c8b-1d0f4a0f7b3e")  # any fixed one: story ids are made from it and their names
_SPARE = 2  # times as many row numbers as marks are held before those that are no longer marked are dropped


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry belongs: its story as it stands with it, the entry that it copies, and its own mark if none."""

    story: StoryState
    copy_of: int | None
    mark: bytes | None


@dataclass(slots=True)
class _Known:
    """One tenant's stories; `rows` are entries' numbers by name, `placed` what is not yet kept in the database."""

    stories: Stories
    rows: OrderedDict[str, int] = field(default_factory=OrderedDict)
    placed: dict[int, Place] = field(default_factory=dict)
    newest: OrderedDict[uuid.UUID, StoryState] = field(default_factory=OrderedDict)


class Placing:
    """Places entries. Not thread-safe: one thread does all of it."""

    def __init__(self, database: Database, encoder: Encoder) -> None:
        self.database = database
        self.encoder = encoder
        self._tenants: OrderedDict[str, _Known] = OrderedDict()

    def place(self, items: Sequence[FeedItem], now: datetime) -> list[Place]:
        """The place of each, in order. An entry that was placed and not kept, since something failed in between, has
        its place already. Say with `kept` what the database has."""
        found: dict[int, Place] = {}
        for tenant in dict.fromkeys(item.tenant for item in items):
            known = self._known(tenant, now)
            own = [item for item in items if item.tenant == tenant]
            fresh = [item for item in own if item.id not in known.placed]
            placed = known.stories.add([as_item(item) for item in fresh], now)
            for item, one in zip(fresh, placed, strict=True):
                known.placed[item.id] = self._placed(known, item, one)
            for item in own:
                place = known.placed[item.id]
                story = known.newest.get(place.story.id, place.story)
                found[item.id] = Place(story, place.copy_of, place.mark)
        return [found[item.id] for item in items]

    def kept(self, items: Sequence[FeedItem]) -> None:
        """These are in the database with their places."""
        for item in items:
            if item.tenant in self._tenants:
                self._tenants[item.tenant].placed.pop(item.id, None)

    def _placed(self, known: _Known, item: FeedItem, placed: Placed) -> Place:
        story = _state(item.tenant, placed.story)
        known.newest[story.id] = story
        known.newest.move_to_end(story.id)
        while len(known.newest) > MAX_STORIES:
            known.newest.popitem(last=False)
        if placed.copy_of is not None and placed.copy_of in known.rows:
            return Place(story, known.rows[placed.copy_of], None)
        known.rows[placed.mark.guid] = item.id
        known.rows.move_to_end(placed.mark.guid)
        while len(known.rows) > _SPARE * MAX_MARKS:
            known.rows.popitem(last=False)
        return Place(story, None, _packed(placed.mark))

    def _known(self, tenant: str, now: datetime) -> _Known:
        if tenant not in self._tenants:
            self._tenants[tenant] = self._read(tenant, now)
            while len(self._tenants) > TENANTS:
                self._tenants.popitem(last=False)
        self._tenants.move_to_end(tenant)
        return self._tenants[tenant]

    def _read(self, tenant: str, now: datetime) -> _Known:
        since, size = now - WINDOW, 4 * self.encoder.dimension
        # Stories that another encoder made cannot be compared with what this one makes.
        kept = [s for s in self.database.stories.active(tenant, since, limit=MAX_STORIES) if len(s.total) == size]
        stories = [Story(str(s.id), s.title, s.first, s.last, s.size, s.total) for s in kept]
        marked = self.database.feeds.marked(tenant, since, limit=MAX_MARKS)
        marks = [_unpacked(one.mark, str(one.story_id)) for one in marked]
        known = _Known(Stories(self.encoder, stories=stories, marks=marks))
        known.rows.update((mark.guid, one.item_id) for mark, one in zip(marks, marked, strict=True))
        return known


def as_item(item: FeedItem) -> Item:
    """An entry as clustering sees it. `updated` tells its versions apart."""
    return Item(
        guid=item.entry or f"item:{item.id}",
        url=item.url,
        title=item.title or "",
        text=item.text,
        published=item.published,
        updated=item.seen_at,
        lang=item.lang,
        source=item.source or "",
    )


def _state(tenant: str, story: Story) -> StoryState:
    try:
        number = uuid.UUID(story.id)
    except ValueError:
        number = uuid.uuid5(_NAMES, f"{tenant}\0{story.id}")
    return StoryState(number, tenant, story.title, story.first, story.last, story.size, story.total)


def _packed(mark: Mark) -> bytes:
    return f"{mark.guid}\n{','.join(mark.keys)}\n".encode() + mark.shingles


def _unpacked(packed: bytes, story: str) -> Mark:
    guid, keys, shingles = packed.split(b"\n", 2)
    return Mark(guid.decode(), story, tuple(keys.decode().split(",")), shingles)
