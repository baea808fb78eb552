"""Feeds that are watched: when each is polled, what it brought, once, and what became of it.

A poll's entries are kept in the transaction that moves the feed's next poll, so a worker that is killed either has
done a poll or has not. Entries then wait to be checked, under leases, as the items of jobs do.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from weighup.serve.db.records import Feed, FeedItem, FeedItemOutcome, Poll
from weighup.serve.db.sessions import LEASE, Sessions, extend, fewer, insert_new, let_go, present, require, take
from weighup.serve.db.stories import keep_stories
from weighup.serve.db.tables import FeedItemRow, FeedRow
from weighup.serve.db.tables.feeds import FEED_KINDS
from weighup.serve.db.verdicts import Outbox, record_in
from weighup.serve.db.watched import Marked, StoryState
from weighup.serve.db.words import storable

ATTEMPTS = 5
"""How often an entry is taken before it is given up."""
LONGEST_WAIT = 86_400.0
"""Seconds: a feed that fails is polled at least once a day."""
_COPIES = 5_000  # that join what they copy in one transaction
_MAX_URL = 2_000  # characters; PostgreSQL's index takes up to 2,700 bytes


class Feeds:
    """The repository of feeds and their entries."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def add(
        self,
        tenant: str,
        urls: Sequence[str],
        *,
        kind: str = "feed",
        every: float = 300.0,
        evidence: bool = False,
        now: datetime | None = None,
    ) -> list[Feed]:
        """Watch these, polled every `every` seconds; the feeds, in order. One that is watched already is left as is.

        `evidence`: what they bring is put into the evidence store, not checked.
        """
        require(kind in FEED_KINDS, f"kind: {kind!r} is unknown; use one of {', '.join(FEED_KINDS)}")
        require(1 <= every <= LONGEST_WAIT, f"every: {every} s is not between 1 and {LONGEST_WAIT:.0f}")
        for url in urls:
            require(0 < len(url.encode("utf-8", "replace")) <= _MAX_URL, f"feed {url[:60]!r}: empty or too long")
        urls, now = [storable(url) for url in urls], now or present()
        rows = [
            {
                "id": uuid.uuid4(),
                "tenant": tenant,
                "url": url,
                "kind": kind,
                "every": every,
                "enabled": True,
                "next_poll": now,
                "errors": 0,
                "created_at": now,
                "evidence": evidence,
            }
            for url in sorted(set(urls))
        ]
        with self._sessions.writing() as session:
            insert_new(session, FeedRow, rows, FeedRow.id)
            query = select(FeedRow).where(FeedRow.tenant == tenant, FeedRow.url.in_(urls))
            found = {row.url: _feed(row) for row in session.scalars(query)}
        return [found[url] for url in urls]

    def watched(self, tenant: str) -> list[Feed]:
        """All feeds of a tenant, by address."""
        with self._sessions.reading() as session:
            query = select(FeedRow).where(FeedRow.tenant == tenant).order_by(FeedRow.url)
            return [_feed(row) for row in session.scalars(query)]

    def enable(self, tenant: str, feed_ids: Sequence[uuid.UUID], enabled: bool) -> int:
        """Watch them, or pause; how many there were. What they brought stays."""
        with self._sessions.writing() as session:
            where = (FeedRow.tenant == tenant, FeedRow.id.in_(feed_ids))
            ids = session.scalars(update(FeedRow).where(*where).values(enabled=enabled).returning(FeedRow.id))
            return len(ids.all())

    def remove(self, tenant: str, feed_ids: Sequence[uuid.UUID]) -> int:
        """Forget feeds and their entries; verdicts stay. How many there were."""
        with self._sessions.writing() as session:
            query = select(FeedRow).where(FeedRow.tenant == tenant, FeedRow.id.in_(feed_ids)).order_by(FeedRow.id)
            rows = list(session.scalars(query.with_for_update()))
            for row in rows:
                session.delete(row)
            return len(rows)

    def take(self, worker: str, *, limit: int = 20, seconds: float = LEASE, now: datetime | None = None) -> list[Feed]:
        """Lease feeds whose poll is due, longest due first; say what came of it with `polled`."""
        now = now or present()
        with self._sessions.writing() as session:
            due = [FeedRow.enabled.is_(True), FeedRow.next_poll <= now]
            order = (FeedRow.next_poll, FeedRow.id)
            rows = take(session, FeedRow, due, order, worker=worker, seconds=seconds, limit=limit, now=now)
            return [_feed(row) for row in rows]

    def extend(
        self, worker: str, feed_ids: Sequence[uuid.UUID], *, seconds: float = LEASE, now: datetime | None = None
    ) -> list[uuid.UUID]:
        """Keep leases on feeds for `seconds` more; the ids still held."""
        with self._sessions.writing() as session:
            key = FeedRow.id
            return extend(session, FeedRow, key, feed_ids, worker=worker, seconds=seconds, now=now or present())

    def release(self, worker: str, feed_ids: Sequence[uuid.UUID]) -> int:
        """Give feeds back without a poll; how many."""
        with self._sessions.writing() as session:
            where = (FeedRow.id.in_(feed_ids), FeedRow.lease_owner == worker)
            rows = list(session.scalars(select(FeedRow).where(*where).order_by(FeedRow.id).with_for_update()))
            for row in rows:
                let_go(row)
            return len(rows)

    def polled(self, polls: Sequence[Poll], *, now: datetime | None = None) -> list[int]:
        """Keep what polls gave, all or none; how many entries of each were new, in order.

        A feed that failed waits twice as long with each failure in a row, at least as long as its server asked for,
        at most a day. An entry seen before, by its guid, is not kept again.
        """
        now = now or present()
        with self._sessions.writing() as session:
            query = select(FeedRow).where(FeedRow.id.in_([poll.feed_id for poll in polls])).order_by(FeedRow.id)
            rows = {row.id: row for row in session.scalars(query.with_for_update())}
            return [_apply(session, rows[poll.feed_id], poll, now) if poll.feed_id in rows else 0 for poll in polls]

    def take_items(
        self, worker: str, *, limit: int = 10, seconds: float = LEASE, now: datetime | None = None
    ) -> list[FeedItem]:
        """Lease entries that wait to be checked, oldest first; one that was taken ATTEMPTS times in vain is failed."""
        now = now or present()
        while True:
            with self._sessions.writing() as session:
                new = [FeedItemRow.state == "new"]
                order = (FeedItemRow.id,)
                rows = take(session, FeedItemRow, new, order, worker=worker, seconds=seconds, limit=limit, now=now)
                rows = list(fewer(rows, limit))
                for row in rows:
                    row.attempts += 1
                    if row.attempts > ATTEMPTS:
                        row.state, row.error = "failed", f"given up: whoever checked it ended {ATTEMPTS} times"
                        let_go(row)
                left = [row for row in rows if row.state == "new"]
                if left or not rows:  # else those were given up, and others may wait behind them
                    return _items(session, left)

    def extend_items(
        self, worker: str, ids: Sequence[int], *, seconds: float = LEASE, now: datetime | None = None
    ) -> list[int]:
        """Keep leases on entries for `seconds` more; the ids still held."""
        with self._sessions.writing() as session:
            key = FeedItemRow.id
            return extend(session, FeedItemRow, key, ids, worker=worker, seconds=seconds, now=now or present())

    def release_items(self, worker: str, ids: Sequence[int]) -> int:
        """Give entries back unchecked; that they were taken does not count. How many."""
        with self._sessions.writing() as session:
            where = (FeedItemRow.id.in_(ids), FeedItemRow.lease_owner == worker, FeedItemRow.state == "new")
            query = select(FeedItemRow).where(*where).order_by(FeedItemRow.id).with_for_update()
            rows = list(session.scalars(query))
            for row in rows:
                row.attempts -= 1
                let_go(row)
            return len(rows)

    def waiting(self) -> int:
        """How many entries wait to be checked, of any tenant, those under a lease included."""
        with self._sessions.reading() as session:
            return session.scalar(select(func.count()).select_from(FeedItemRow).where(FeedItemRow.state == "new")) or 0

    def finish_items(
        self,
        outcomes: Sequence[FeedItemOutcome],
        *,
        stories: Sequence[StoryState] = (),
        outbox: Outbox | None = None,
        now: datetime | None = None,
    ) -> list[bool]:
        """Keep what came of entries, all or none, with their checks, alerts and stories; whether each still waited, in
        order."""
        with self._sessions.writing() as session:
            keep_stories(session, stories, now or present())
            where = (FeedItemRow.id.in_([outcome.item_id for outcome in outcomes]), FeedItemRow.state == "new")
            query = select(FeedItemRow).where(*where).order_by(FeedItemRow.id).with_for_update()
            waiting = {row.id: row for row in session.scalars(query)}
            kept, told = [], []
            for outcome in outcomes:
                row = waiting.pop(outcome.item_id, None)
                told.append(row is not None)
                if row is not None:
                    kept.append((row, outcome))
            checks = [outcome.check for _, outcome in kept if outcome.check is not None]
            recorded = iter(record_in(session, checks, outbox) if checks else [])
            for row, outcome in kept:
                row.state = outcome.state
                row.story_id = outcome.story_id or row.story_id
                row.verdict_id = None if outcome.check is None else next(recorded).id
                row.copy_of, row.mark = outcome.copy_of, outcome.mark
                row.error = None if outcome.error is None else storable(outcome.error)[:1_000]
                let_go(row)
            _take_over(session, [row for row, outcome in kept if outcome.copy_of is not None])
            return told

    def join_copies(self, item_ids: Sequence[int], *, now: datetime | None = None) -> int:
        """Let entries of the same tenant that wait, and say word for word what one of these says, which has been
        checked, share its story and verdict; how many. What another worker holds is left to it."""
        now = now or present()
        with self._sessions.writing() as session:
            checked = (FeedItemRow.id.in_(item_ids), FeedItemRow.state == "checked", FeedItemRow.said.is_not(None))
            query = select(FeedRow.tenant, FeedItemRow).join(FeedRow, FeedRow.id == FeedItemRow.feed_id).where(*checked)
            firsts = {(tenant, row.said): row for tenant, row in session.execute(query).all()}
            if not firsts:
                return 0
            free = or_(FeedItemRow.lease_until.is_(None), FeedItemRow.lease_until <= now)
            waiting = (FeedItemRow.state == "new", FeedItemRow.said.in_({said for _, said in firsts}), free)
            query = (
                select(FeedRow.tenant, FeedItemRow)
                .join(FeedRow, FeedRow.id == FeedItemRow.feed_id)
                .where(*waiting, FeedRow.evidence.is_not(True))
                .order_by(FeedItemRow.id)
                .limit(_COPIES)
                .with_for_update(of=FeedItemRow, skip_locked=True)
            )
            joined = 0
            for tenant, row in session.execute(query).all():
                first = firsts.get((tenant, row.said))
                if first is not None:
                    row.state, row.copy_of = "skipped", first.id
                    row.story_id, row.verdict_id = first.story_id, first.verdict_id
                    let_go(row)
                    joined += 1
            return joined

    def marked(self, tenant: str, since: datetime, *, limit: int) -> list[Marked]:
        """The newest `limit` entries seen since then that can be copied, oldest first."""
        where = (FeedRow.tenant == tenant, FeedItemRow.seen_at >= since, FeedItemRow.mark.is_not(None))
        query = (
            select(FeedItemRow.id, FeedItemRow.story_id, FeedItemRow.mark)
            .join(FeedRow, FeedRow.id == FeedItemRow.feed_id)
            .where(*where, FeedItemRow.story_id.is_not(None))
            .order_by(FeedItemRow.id.desc())
            .limit(limit)
        )
        with self._sessions.reading() as session:
            return [Marked(*row) for row in reversed(session.execute(query).tuples().all())]  # type: ignore[arg-type]

    def items(self, tenant: str, *, story_id: uuid.UUID | None = None, limit: int = 100) -> list[FeedItem]:
        """Entries, newest first; of one story if given."""
        query = select(FeedItemRow).join(FeedRow, FeedRow.id == FeedItemRow.feed_id).where(FeedRow.tenant == tenant)
        if story_id is not None:
            query = query.where(FeedItemRow.story_id == story_id)
        with self._sessions.reading() as session:
            return _items(session, list(session.scalars(query.order_by(FeedItemRow.id.desc()).limit(limit))))


def _take_over(session: Session, copies: Sequence[FeedItemRow]) -> None:
    """Give copies the verdicts of what they copy."""
    if not copies:
        return
    session.flush()
    query = select(FeedItemRow.id, FeedItemRow.verdict_id).where(FeedItemRow.id.in_({row.copy_of for row in copies}))
    verdicts = dict(session.execute(query).tuples().all())
    for row in copies:
        row.verdict_id = verdicts.get(row.copy_of or 0)


def guid_hash(guid: str) -> str:
    """64 hex digits for whatever a feed calls its entry."""
    return hashlib.sha256(guid.encode("utf-8", "surrogatepass")).hexdigest()


def _apply(session: Session, row: FeedRow, poll: Poll, now: datetime) -> int:
    let_go(row)
    row.last_poll = now
    if poll.memory is not None:
        row.memory = storable(dict(poll.memory))
    if poll.gone:
        row.enabled = False
    if poll.error is not None:
        row.errors += 1
        row.last_error = storable(poll.error)[:1_000]
        wait = min(LONGEST_WAIT, row.every * 2.0 ** min(row.errors, 20))
    else:
        row.errors, row.last_error, wait = 0, None, row.every
        if not poll.unchanged:
            row.etag, row.last_modified = storable(poll.etag), storable(poll.last_modified)
            row.title = storable(poll.title) or row.title
    row.next_poll = now + timedelta(seconds=max(wait, min(poll.wait or 0.0, LONGEST_WAIT)))
    items = {guid_hash(item.guid): item for item in reversed(poll.items)}
    rows = [
        {
            "feed_id": row.id,
            "guid_hash": digest,
            "url": storable(item.url),
            "title": storable(item.title),
            "text": storable(item.text),
            "entry": storable(item.entry),
            "said": item.said,
            "lang": storable(item.lang),
            "source": storable(item.source),
            "published": item.published,
            "seen_at": now,
            "state": "new",
            "attempts": 0,
        }
        for digest, item in items.items()
    ]
    return len(insert_new(session, FeedItemRow, rows, FeedItemRow.id))


def _feed(row: FeedRow) -> Feed:
    return Feed(
        row.id,
        row.tenant,
        row.url,
        row.kind,
        row.title,
        row.every,
        row.enabled,
        row.etag,
        row.last_modified,
        row.next_poll,
        row.last_poll,
        row.errors,
        row.last_error,
        row.memory,
        bool(row.evidence),
    )


def _items(session: Session, rows: Sequence[FeedItemRow]) -> list[FeedItem]:
    query = select(FeedRow.id, FeedRow.tenant, FeedRow.evidence).where(FeedRow.id.in_({row.feed_id for row in rows}))
    feeds = {number: (tenant, bool(evidence)) for number, tenant, evidence in session.execute(query).tuples()}
    return [
        FeedItem(
            row.id,
            row.feed_id,
            feeds[row.feed_id][0],
            row.url,
            row.title,
            row.text,
            row.published,
            row.seen_at,
            row.state,
            row.story_id,
            row.verdict_id,
            row.entry,
            row.lang,
            row.source,
            row.copy_of,
            feeds[row.feed_id][1],
            row.error,
        )
        for row in rows
    ]
