"""Items into stories, as they arrive: copies recognised, the rest put to the story they are nearest to.

Single-pass clustering with a time window (Allan, Papka and Lavrenko 1998, "On-line New Event Detection and Tracking",
SIGIR): an item joins the active story whose centroid is nearest by cosine if near enough, else founds one. Copies share
a name, an address (without tracking parameters), all words, or are near-copies by MinHash as in `retrieve.dedupe`; they
go to their original's story and are never embedded, so floods of copies neither cost nor weigh anything.

Deterministic: the same items in the same order give the same stories. A story's id is made from its first item, and
`Story` and `Mark` are plain values that a database keeps and hands back after a restart. Memory is bounded by
MAX_STORIES and MAX_MARKS; what was not heard of for longest goes first.
"""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.retrieve.dedupe import THRESHOLD, bands, content_hash, jaccard, shingles
from weighup.serve.feeds.items import Item, canonical, digest
from weighup.texts import shorten

if TYPE_CHECKING:
    from weighup.models.types import Encoder

NEAR = 0.6
"""Cosine from which an item belongs to a story; ours. With the shipped encoder 0.03 % of pairs of 400 unrelated
statements (LIAR, valid) are as near, 0.25 % at 0.5, while headlines of one event lie between 0.5 and 0.9. Among
thousands of stories a wrong merge is the worse mistake, so some events fall into two stories."""

WINDOW = timedelta(hours=72)
"""How long after its last item a story takes up another: news about an event comes in a burst of days (ours)."""

LEAD = 600
"""Characters of an item that are compared and embedded: the title and what news says first."""

MAX_STORIES = 5_000
MAX_MARKS = 50_000


@dataclass(frozen=True, slots=True)
class Story:
    """A story as it stands. `total` is the sum of its items' unit vectors, float32 [d] as bytes; `size` counts items
    that are no copies; `first` and `last` are aware UTC."""

    id: str
    title: str
    first: datetime
    last: datetime
    size: int
    total: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """What recognises an item's copies later: names, digested (`keys`), and its 32-bit shingles, uint32 as bytes."""

    guid: str
    story: str
    keys: tuple[str, ...]
    shingles: bytes = b""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an item went. `copy_of` is the guid of its original, None for one that is none; `story` is the story after
    it; `mark` is what to keep of it."""

    item: Item
    story: Story
    mark: Mark
    copy_of: str | None = None


class Stories:
    """The stories of the last days. Not thread-safe: one writer, as for the database behind it.

    `stories` and `marks` are those kept before a restart, oldest first.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        stories: Iterable[Story] = (),
        marks: Iterable[Mark] = (),
        near: float = NEAR,
        window: timedelta = WINDOW,
        max_stories: int = MAX_STORIES,
        max_marks: int = MAX_MARKS,
    ) -> None:
        if not 0.0 < near <= 1.0 or max_stories < 1 or max_marks < 1:
            raise InvalidInput(f"stories need a cosine in (0, 1] and room for one or more, not {near:g}")
        self.encoder = encoder
        self.near = near
        self.window = window
        self.max_stories = max_stories
        self.max_marks = max_marks
        self._stories: OrderedDict[str, Story] = OrderedDict()
        self._rows: dict[str, int] = {}
        self._names: list[str] = []
        self._free: list[int] = []
        self._centroids = np.zeros((0, encoder.dimension), dtype=np.float32)
        self._marks: OrderedDict[str, Mark] = OrderedDict()
        self._by_key: dict[str, str] = {}
        self._by_band: dict[int, list[str]] = {}
        for story in stories:
            self._keep(story)
        for mark in marks:
            self._remember(mark)

    def add(self, items: Sequence[Item], now: datetime) -> list[Placed]:
        """Place items that arrived `now` (aware UTC), one result each, in order.

        An item's time is when it was published, or `now` where that is unknown or ahead.
        """
        marks = [_mark(item) for item in items]
        vectors = self._vectors(items, marks)
        placed: list[Placed] = []
        for item, mark in zip(items, marks, strict=True):
            original = self._original(mark)
            if original is not None:
                self._marks.move_to_end(original.guid)
                story = self._stories[original.story]
                placed.append(Placed(item, story, replace(mark, story=story.id), original.guid))
                continue
            words = _words(item)
            if words not in vectors:  # its original was let go of while this batch was placed
                vectors[words] = self.encoder.encode([words])[0]
            story = self._place(item, vectors[words], min(item.published or now, now))
            mark = replace(mark, story=story.id)
            self._remember(mark)
            placed.append(Placed(item, story, mark))
        return placed

    def _vectors(self, items: Sequence[Item], marks: Sequence[Mark]) -> dict[str, NDArray[np.float32]]:
        """Unit vectors by words, for all that copy nothing known so far."""
        wanted = [item for item, mark in zip(items, marks, strict=True) if self._original(mark) is None]
        words = list(dict.fromkeys(map(_words, wanted)))
        return dict(zip(words, self.encoder.encode(words), strict=True)) if words else {}

    def _place(self, item: Item, vector: NDArray[np.float32], moment: datetime) -> Story:
        best = self._nearest(vector, moment)
        if best is None:
            title = item.title or shorten(item.text, 120) or item.url or ""
            story = Story(f"s{digest(f'{item.guid}|{moment.isoformat()}')}", title, moment, moment, 1, vector.tobytes())
        else:
            total = np.frombuffer(best.total, dtype=np.float32) + vector
            story = replace(
                best,
                first=min(best.first, moment),
                last=max(best.last, moment),
                size=best.size + 1,
                total=total.tobytes(),
            )
        self._keep(story)
        return story

    def _nearest(self, vector: NDArray[np.float32], moment: datetime) -> Story | None:
        """The nearest story within the window, if near enough; of equally near ones the one heard of last."""
        cosines = self._centroids @ vector
        rows = [int(row) for row in np.flatnonzero(cosines >= self.near)]
        found = [(float(cosines[row]), self._stories[self._names[row]]) for row in rows]
        active = [
            (cosine, story.last, story.id, story)
            for cosine, story in found
            if story.first - self.window <= moment <= story.last + self.window
        ]
        return max(active)[3] if active else None

    def _keep(self, story: Story) -> None:
        total = np.frombuffer(story.total, dtype=np.float32)
        if total.shape != (self.encoder.dimension,):
            raise InvalidInput(
                f"story {story.id}: its vector has {total.size} numbers, not the encoder's {self.encoder.dimension}; "
                "stories kept with another encoder cannot be gone on with"
            )
        row = self._rows.pop(story.id, None)  # put back below, as the one heard of last
        if row is None:
            row = self._free.pop() if self._free else self._grown()
        self._rows[story.id] = row
        self._names[row] = story.id
        self._centroids[row] = total / max(float(np.linalg.norm(total)), 1e-12)
        self._stories[story.id] = story
        self._stories.move_to_end(story.id)
        while len(self._stories) > self.max_stories:
            name, _ = self._stories.popitem(last=False)
            row = self._rows.pop(name)
            self._centroids[row] = 0.0
            self._free.append(row)

    def _grown(self) -> int:
        if len(self._names) == len(self._centroids):
            more = np.zeros((max(64, len(self._names)), self.encoder.dimension), dtype=np.float32)
            self._centroids = np.concatenate([self._centroids, more])
        self._names.append("")
        return len(self._names) - 1

    def _original(self, mark: Mark) -> Mark | None:
        """The remembered item that this one copies, in a story still known: by a shared key, else by near the same
        words. An item that its feed updated shares its address with its former self and is no copy for that."""
        for key in mark.keys:
            other = self._marks.get(self._by_key.get(key, ""))
            if other is not None and other.story in self._stories and not (key[0] == "u" and other.guid == mark.guid):
                return other
        if not mark.shingles:
            return None
        own = _unpacked(mark.shingles)
        for name in dict.fromkeys(name for band in _bands(mark.shingles) for name in self._by_band.get(band, ())):
            other = self._marks[name]
            if other.story in self._stories and jaccard(own, _unpacked(other.shingles)) >= THRESHOLD:
                return other
        return None

    def _remember(self, mark: Mark) -> None:
        self._forget(mark.guid)
        self._marks[mark.guid] = mark
        for key in mark.keys:
            self._by_key.setdefault(key, mark.guid)
        for band in _bands(mark.shingles):
            self._by_band.setdefault(band, []).append(mark.guid)
        while len(self._marks) > self.max_marks:
            self._forget(next(iter(self._marks)))

    def _forget(self, guid: str) -> None:
        mark = self._marks.pop(guid, None)
        if mark is None:
            return
        for key in mark.keys:
            if self._by_key.get(key) == guid:
                del self._by_key[key]
        for band in _bands(mark.shingles):
            names = self._by_band.get(band, [])
            if guid in names:
                names.remove(guid)
            if not names:
                self._by_band.pop(band, None)


def _mark(item: Item) -> Mark:
    """An item's keys: its name as updated, its address unless that is a site's front page, its words."""
    words = shorten(item.said, LEAD)
    keys = [f"g{item.key}"]
    if item.url is not None and "/" in (page := canonical(item.url).removeprefix("//")):
        keys.append(f"u{digest(page)}")
    if not words:
        return Mark(item.guid, "", tuple(keys))
    return Mark(item.guid, "", (*keys, f"t{content_hash(words).hex()}"), shingles(words).astype(np.uint32).tobytes())


def _words(item: Item) -> str:
    """What is embedded of an item; of one that only links, the words of its address."""
    return shorten(item.said, LEAD) or re.sub(r"[\W_]+", " ", urlsplit(item.url or "").path).strip() or item.guid


def _unpacked(packed: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(packed, dtype=np.uint32).astype(np.uint64)


@functools.lru_cache(maxsize=8_192)
def _bands(packed: bytes) -> tuple[int, ...]:
    return tuple(bands(_unpacked(packed))) if packed else ()
