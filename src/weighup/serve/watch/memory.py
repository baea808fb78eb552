"""Between the database's feeds and what polling knows of them: plain values one way and the other.

The database keeps each entry once, so polling need not remember which it has seen; it remembers what spares it the
reading: validators, digests, time stamps of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePath
from typing import Any

from weighup.dates import iso
from weighup.retrieve.dedupe import content_hash
from weighup.retrieve.rowfiles import Broken
from weighup.serve.db.records import Feed, NewItem, Poll
from weighup.serve.feeds.folder import FileState, FolderState, scan
from weighup.serve.feeds.items import Item
from weighup.serve.feeds.poll import FeedState, Polled
from weighup.serve.feeds.stories import LEAD
from weighup.texts import shorten

_PLAIN = ("kind", "digest", "ttl")


def state_of(feed: Feed) -> FeedState:
    """A web feed as polling goes on with it. `memory` that is not of our making is as good as none."""
    known = feed.memory or {}
    return FeedState(
        url=_text(known.get("url")) or feed.url,
        kind=_text(known.get("kind")) or "",
        title=feed.title or "",
        etag=feed.etag,
        last_modified=feed.last_modified,
        failures=feed.errors,
        digest=_text(known.get("digest")),
        ttl=_number(known.get("ttl")),
        parts=tuple(_part(part) for part in known.get("parts") or () if isinstance(part, Mapping) and part.get("url")),
    )


def poll_of(feed: Feed, polled: Polled, now: datetime) -> Poll:
    """What the database is to keep of a poll made `now`."""
    state = polled.state
    wait = None if state.next_poll is None else (state.next_poll - now).total_seconds()
    memory = {**{name: getattr(state, name) for name in _PLAIN}, "parts": [_kept(part) for part in state.parts]}
    if state.url != feed.url:
        memory["url"] = state.url
    return Poll(
        feed.id,
        items=new_items(feed, polled.items),
        etag=state.etag,
        last_modified=state.last_modified,
        title=state.title or None,
        error=state.error if polled.outcome in ("failed", "gone") else None,
        wait=wait,
        unchanged=polled.outcome == "unchanged" and not state.parts,
        gone=polled.outcome == "gone",
        memory={name: value for name, value in memory.items() if value} if polled.outcome != "failed" else None,
    )


def scanned(feed: Feed, on_broken: Callable[[Broken], None]) -> Poll:
    """What a watched folder shows that is new. Raises InvalidInput if it is not there."""
    files = (feed.memory or {}).get("files") or {}
    known = {
        str(name): FileState(int(one[0]), int(one[1]), str(one[2]))
        for name, one in files.items()
        if isinstance(one, list) and len(one) == 3
    }
    state, items = scan(FolderState(feed.url, known), on_broken=on_broken)
    # A text file's title is made from its name, which claims nothing.
    items = [replace(one, title="") if one.title == PurePath(one.source).stem else one for one in items]
    told = {name: [one.mtime, one.size, one.sha] for name, one in state.files.items()}
    return Poll(feed.id, items=new_items(feed, items[::-1]), unchanged=state.files == known, memory={"files": told})


def new_items(feed: Feed, items: Sequence[Item]) -> list[NewItem]:
    """Entries as the database keeps them, newest first as in most feeds: those without anything to read or
    to go to are left out."""
    return [
        NewItem(
            guid=f"{item.guid}\0{iso(item.updated)}",
            text=item.text,
            url=item.url,
            title=item.title or None,
            published=item.published if item.said else item.published or item.updated,
            entry=hashlib.blake2b(f"{feed.id}\0{item.guid}".encode("utf-8", "replace"), digest_size=16).hexdigest(),
            lang=None if item.lang is None else item.lang[:20],
            source=shorten(item.source, 200) or None,
            said=content_hash(words).hex() if (words := shorten(item.said, LEAD)) else None,
        )
        for item in items
        if item.said or item.url
    ]


def _kept(part: FeedState) -> dict[str, Any]:
    """A sitemap of an index, with what spares reading it again."""
    told = {"url": part.url, "etag": part.etag, "last_modified": part.last_modified, "failures": part.failures}
    return {**told, **{name: getattr(part, name) for name in _PLAIN}}


def _part(known: Mapping[str, Any]) -> FeedState:
    failures = known.get("failures")
    return FeedState(
        url=str(known["url"]),
        kind=_text(known.get("kind")) or "",
        etag=_text(known.get("etag")),
        last_modified=_text(known.get("last_modified")),
        failures=failures if isinstance(failures, int) else 0,
        digest=_text(known.get("digest")),
        ttl=_number(known.get("ttl")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
