"""Polling the feeds that are due, many side by side, and keeping what they show as it comes.

A poll and its entries are kept in one transaction, which is what makes it count: a watcher that is killed before has
not polled, and whoever takes the feed next sees the same entries.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from weighup.errors import WeighupError
from weighup.retrieve.rowfiles import Broken
from weighup.serve.db.records import Feed, Poll
from weighup.serve.db.sessions import LEASE, present
from weighup.serve.feeds.poll import CONCURRENCY, FeedState, Polled, Poller
from weighup.serve.watch.memory import poll_of, scanned, state_of
from weighup.serve.work.leases import EVERY, held

if TYPE_CHECKING:
    from weighup.serve.db import Database
    from weighup.serve.feeds.client import FeedClient

logger = logging.getLogger(__name__)

TAKEN = 64
"""Feeds leased together."""
KEPT = 16
"""Polls kept in one transaction."""
_ANY = 1.0  # seconds: the database knows how often each feed is to be polled, the poller only what its server asks for


@dataclass(frozen=True, slots=True)
class Brought:
    """What polls came to: feeds asked, those that failed, those that had nothing new to send, entries that are new."""

    feeds: int = 0
    failed: int = 0
    unchanged: int = 0
    items: int = 0

    def __add__(self, other: Brought) -> Brought:
        return Brought(
            self.feeds + other.feeds,
            self.failed + other.failed,
            self.unchanged + other.unchanged,
            self.items + other.items,
        )


class Polling:
    """Polls what is due in `database`. One `once` at a time; the client stays its owner's to close.

    `folders`: read folders of this machine too, which only its owner may ask for.
    """

    def __init__(
        self,
        database: Database,
        client: FeedClient,
        *,
        name: str,
        folders: bool = False,
        lease: float = LEASE,
        on_broken: Callable[[Broken], None] | None = None,
        clock: Callable[[], datetime] = present,
    ) -> None:
        self.database = database
        self.name = name
        self.lease = lease
        self.folders = folders
        self.on_broken = on_broken or (lambda broken: logger.warning("%s", broken))
        self._poller = Poller(client, every=_ANY)
        self._clock = clock

    def once(self, stop: threading.Event | None = None) -> Brought:
        """Poll some of what is due, TAKEN feeds at most. Raises StoreError."""
        now = self._clock()
        feeds = self.database.feeds.take(self.name, limit=TAKEN, seconds=self.lease, now=now)
        if not feeds:
            return Brought()
        left = {feed.id for feed in feeds}
        total = Brought()
        every = min(EVERY, self.lease / 4)
        try:
            with held(lambda: self._extend(left), every=every):
                for polls in _grouped(self._polls(feeds, now), KEPT):
                    fresh = self.database.feeds.polled(polls, now=now)
                    left.difference_update(poll.feed_id for poll in polls)
                    total += _brought(polls, fresh)
                    if stop is not None and stop.is_set():
                        break
        finally:
            if left:
                self.database.feeds.release(self.name, list(left))
        return total

    def _extend(self, left: set[uuid.UUID]) -> None:
        self.database.feeds.extend(self.name, list(left), seconds=self.lease)

    def _polls(self, feeds: Sequence[Feed], now: datetime) -> Iterator[Poll]:
        for feed in feeds:
            if feed.kind in ("folder", "lines"):
                yield self._local(feed)
        for part in _apart([feed for feed in feeds if feed.kind not in ("folder", "lines")]):
            states = {state.url: (feed, state) for feed, state in part}
            for polled in self._poller.poll_many([state for _, state in part], now, at_once=CONCURRENCY):
                feed, _ = states[polled.asked]
                _log(feed, polled)
                yield poll_of(feed, polled, now)

    def _local(self, feed: Feed) -> Poll:
        if feed.kind == "lines":
            return Poll(feed.id, unchanged=True)
        if not self.folders:
            return Poll(feed.id, error="folders are watched by `weighup watch` only")
        try:
            return scanned(feed, self.on_broken)
        except (WeighupError, OSError) as error:
            return Poll(feed.id, error=str(error))


def _apart(feeds: Sequence[Feed]) -> Iterator[list[tuple[Feed, FeedState]]]:
    """Parts in which no address comes twice: results are told apart by it."""
    rest = [(feed, state_of(feed)) for feed in feeds]
    while rest:
        taken: set[str] = set()
        part: list[tuple[Feed, FeedState]] = []
        later: list[tuple[Feed, FeedState]] = []
        for feed, state in rest:
            (later if state.url in taken else part).append((feed, state))
            taken.add(state.url)
        yield part
        rest = later


def _grouped(polls: Iterable[Poll], size: int) -> Iterator[list[Poll]]:
    group: list[Poll] = []
    for poll in polls:
        group.append(poll)
        if len(group) >= size:
            yield group
            group = []
    if group:
        yield group


def _brought(polls: Sequence[Poll], fresh: Sequence[int]) -> Brought:
    failed = sum(poll.error is not None for poll in polls)
    return Brought(len(polls), failed, sum(poll.unchanged for poll in polls), sum(fresh))


def _log(feed: Feed, polled: Polled) -> None:
    if polled.outcome in ("failed", "gone"):
        logger.warning("feed: %s", polled.state.error)
    else:
        logger.info("feed %s: %s, %d entries", feed.id, polled.outcome, len(polled.items))
