"""Asking feeds for what is new, politely: conditional requests, the server's own pace, back-off, many side by side.

A feed's whole memory is a `FeedState`: plain values in, plain values out, so that a database keeps it and a restart
goes on where it stood. A poll never raises for what the far side did; that is in the state's `error`. An unchanged feed
transfers no body (ETag and Last-Modified, RFC 9110, section 13); where a server knows neither, its body's digest saves
the reading. 410 Gone ends a feed; permanent redirects move it, through the same guard as every address.
"""

from __future__ import annotations

import hashlib
import queue
import random
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from weighup.dates import now as present
from weighup.errors import SourceUnavailable
from weighup.retrieve.guard import shown
from weighup.retrieve.pacing import AT_ONCE
from weighup.retrieve.receive import Fetched
from weighup.serve.feeds.client import FeedClient
from weighup.serve.feeds.items import Item, host
from weighup.serve.feeds.read import Feed, read_feed
from weighup.serve.feeds.schedule import EVERY, after_failure, after_success
from weighup.texts import shorten

OLDER = 500
"""Names remembered of items that a feed no longer shows, besides all those it shows: some feeds show them again."""

FEED_BYTES = 10_000_000
"""Bytes of a feed, as sent and unpacked."""

CONCURRENCY = 16
"""Feeds asked at the same time; of one host at most `pacing.AT_ONCE`."""

_LONGEST_VALIDATOR = 1_000
_ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, text/xml;q=0.9,"
    " application/json;q=0.8, */*;q=0.5"
)


@dataclass(frozen=True, slots=True)
class FeedState:
    """What is known of a feed between polls. `next_poll` is aware UTC, None at once; `failures` in a row since the last
    good answer, whose trouble is `error`; `seen` the keys of items that came out already, newest last; `digest` that of
    the last body; `gone` feeds are not asked again; `parts` are the sitemaps of a sitemap index, with their own states.
    """

    url: str
    kind: str = ""
    title: str = ""
    etag: str | None = None
    last_modified: str | None = None
    next_poll: datetime | None = None
    failures: int = 0
    error: str | None = None
    gone: bool = False
    seen: tuple[str, ...] = ()
    digest: str | None = None
    ttl: float | None = None
    parts: tuple[FeedState, ...] = ()


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought: `asked` is the URL as the feed was known before, `state` what to keep now, `items` what is
    new, in the feed's order; `outcome` says how it went (`unchanged`: nothing was sent, or the same as before)."""

    asked: str
    state: FeedState
    items: tuple[Item, ...] = ()
    outcome: Literal["read", "unchanged", "failed", "gone"] = "read"


def due(states: Iterable[FeedState], now: datetime) -> list[FeedState]:
    """Those to ask now, the longest overdue first (new ones before all), in the given order among equals."""
    waiting = [state for state in states if not state.gone and (state.next_poll is None or state.next_poll <= now)]
    return sorted(waiting, key=lambda state: (state.next_poll is not None, state.next_poll or now))


class Poller:
    """Polls feeds through one guarded client. Thread-safe; the client stays its owner's to close.

    `every` is the usual time between polls in seconds. `trusted` skips robots.txt and opens any port, as for services
    in the settings: for feeds of the machine's owner only. `chance` jitters the back-off.
    """

    def __init__(
        self,
        client: FeedClient,
        *,
        every: float = EVERY,
        max_bytes: int = FEED_BYTES,
        trusted: bool = False,
        chance: random.Random | None = None,
    ) -> None:
        self.client = client
        self.every = every
        self.max_bytes = max_bytes
        self.trusted = trusted
        self._chance = chance or random.Random()

    def poll(self, state: FeedState, now: datetime | None = None) -> Polled:
        """Ask one feed, and for a sitemap index the sitemaps it lists. `now` is when the next poll is counted from."""
        return self._poll(state, now or present(), inner=False)

    def poll_many(
        self, states: Sequence[FeedState], now: datetime | None = None, *, at_once: int = CONCURRENCY
    ) -> Iterator[Polled]:
        """Ask many feeds side by side; results as they come, so that each can be kept at once. A slow host holds up
        its own feeds only. Leaving the iterator early lets polls under way end and starts no others."""
        line = _Line(states)
        done: queue.Queue[Polled | BaseException | None] = queue.Queue(maxsize=2 * at_once)
        workers = min(at_once, len(states))

        def work() -> None:
            try:
                while (state := line.take()) is not None:
                    try:
                        done.put(self.poll(state, now))
                    finally:
                        line.give_back(state)
            except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
                done.put(error)
            done.put(None)

        # Daemons, so that a hanging host does not keep an interrupted command alive.
        for _ in range(workers):
            threading.Thread(target=work, name="weighup-poll", daemon=True).start()
        try:
            while workers:
                result = done.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    workers -= 1
                else:
                    yield result
        finally:
            line.close()
            threading.Thread(target=_drain, args=(done, workers), daemon=True).start()

    def _poll(self, state: FeedState, now: datetime, *, inner: bool) -> Polled:
        try:
            reply, url = self.client.ask(
                state.url, headers=_conditions(state), max_bytes=self.max_bytes, trusted=self.trusted
            )
        except SourceUnavailable as error:
            return self._failed(state, now, str(error), {})
        if reply.status == 410:
            error_text = f"{shown(state.url)} is gone for good (HTTP status 410); it is not asked again"
            return Polled(state.url, replace(state, gone=True, next_poll=None, error=error_text), outcome="gone")
        if reply.status != 304 and not 200 <= reply.status < 300:
            return self._failed(
                state, now, f"{shown(state.url)} answered with HTTP status {reply.status}", reply.headers
            )
        digest = hashlib.blake2b(reply.content, digest_size=16).hexdigest() if reply.status != 304 else state.digest
        known = replace(state, url=url, failures=0, error=None, digest=digest)
        if reply.status == 304 or (digest == state.digest and state.kind):
            known = _validated(known, reply)
            polled = Polled(state.url, known, outcome="unchanged")
        else:
            try:
                feed = read_feed(reply.content, reply.url, encoding=reply.encoding)
                if inner and feed.kind == "sitemapindex":
                    raise SourceUnavailable(
                        f"{shown(state.url)} is an index of sitemaps within another; list it itself"
                    )
            except SourceUnavailable as error:
                return self._failed(state, now, str(error), reply.headers)
            polled = _read(state.url, _validated(known, reply), feed)
        wait = after_success(reply.headers, polled.state.ttl, every=self.every)
        polled = replace(polled, state=replace(polled.state, next_poll=now + timedelta(seconds=wait)))
        return self._with_parts(polled, now) if polled.state.parts else polled

    def _with_parts(self, polled: Polled, now: datetime) -> Polled:
        """A sitemap index with its sitemaps that are due asked as well; their troubles stay in their states."""
        asked = [
            self._poll(part, now, inner=True) if due([part], now) else Polled(part.url, part, outcome="unchanged")
            for part in polled.state.parts
        ]
        quiet = polled.outcome == "unchanged" and all(one.outcome == "unchanged" for one in asked)
        moments = [one.state.next_poll for one in asked if one.state.next_poll is not None]
        first = min([*moments, polled.state.next_poll or now])
        return replace(
            polled,
            state=replace(polled.state, parts=tuple(one.state for one in asked), next_poll=first),
            items=tuple(item for one in asked for item in one.items),
            outcome="unchanged" if quiet else "read",
        )

    def _failed(self, state: FeedState, now: datetime, why: str, headers: Mapping[str, str]) -> Polled:
        failures = state.failures + 1
        wait = after_failure(failures, headers, self._chance, every=self.every)
        kept = replace(state, failures=failures, error=shorten(why, 500), next_poll=now + timedelta(seconds=wait))
        return Polled(state.url, kept, outcome="failed")


class _Line:
    """Feeds waiting to be asked, so handed out that no host has more than its places taken."""

    def __init__(self, states: Iterable[FeedState]) -> None:
        self._waiting: dict[str, deque[FeedState]] = {}
        for state in states:
            self._waiting.setdefault(host(state.url), deque()).append(state)
        self._hosts = deque(self._waiting)  # in the order in which they get their turns
        self._free = dict.fromkeys(self._waiting, AT_ONCE)
        self._changed = threading.Condition()
        self._closed = False

    def take(self) -> FeedState | None:
        """The next feed whose host has a place free; waits for one; None when nothing is left."""
        with self._changed:
            while self._hosts and not self._closed:
                for _ in range(len(self._hosts)):
                    name = self._hosts[0]
                    self._hosts.rotate(-1)
                    if self._free[name]:
                        self._free[name] -= 1
                        state = self._waiting[name].popleft()
                        if not self._waiting[name]:
                            self._hosts.remove(name)
                        return state
                self._changed.wait()
            return None

    def give_back(self, state: FeedState) -> None:
        with self._changed:
            self._free[host(state.url)] += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _drain(done: queue.Queue[Polled | BaseException | None], workers: int) -> None:
    """Let workers that are still at it put down what nobody waits for."""
    while workers:
        workers -= done.get() is None


def _conditions(state: FeedState) -> dict[str, str]:
    headers = {"Accept": _ACCEPT}
    if state.etag:
        headers["If-None-Match"] = state.etag
    if state.last_modified:
        headers["If-Modified-Since"] = state.last_modified
    return headers


def _validated(state: FeedState, reply: Fetched) -> FeedState:
    """The state with the reply's validators; a 304 need not repeat them."""
    etag, changed = _validator(reply, "etag"), _validator(reply, "last-modified")
    if reply.status == 304:
        etag, changed = etag or state.etag, changed or state.last_modified
    return replace(state, etag=etag, last_modified=changed)


def _validator(reply: Fetched, name: str) -> str | None:
    value = reply.headers.get(name, "").strip()
    return value if value.isascii() and value.isprintable() and 0 < len(value) <= _LONGEST_VALIDATOR else None


def _read(asked: str, state: FeedState, feed: Feed) -> Polled:
    """What a feed's body adds to what was seen of it."""
    known = set(state.seen)
    shown_now = [item.key for item in feed.items]
    older = set(shown_now)
    before = [key for key in state.seen if key not in older]
    parts = {part.url: part for part in state.parts}
    after = replace(
        state,
        kind=feed.kind,
        title=feed.title,
        ttl=feed.ttl,
        seen=(*before[-OLDER:], *dict.fromkeys(shown_now)),
        parts=tuple(parts.get(url) or FeedState(url) for url in feed.parts),
    )
    fresh = tuple(item for item in feed.items if item.key not in known)
    return Polled(asked, after, fresh)
