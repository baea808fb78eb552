"""Verdicts with their timelines: recorded once however often a check is retried, kept, rechecked when due."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from weighup.dates import parse_bound
from weighup.serve.db.alerts import put_in
from weighup.serve.db.claim_vectors import keep_in
from weighup.serve.db.listing import page_of
from weighup.serve.db.records import (
    Check,
    NewAlert,
    Page,
    Reason,
    Recorded,
    StoredVerdict,
    TimelineEntry,
    VerdictFilter,
)
from weighup.serve.db.sessions import LEASE, Sessions, extend, insert_new, let_go, present, require, take
from weighup.serve.db.tables import TimelineRow, VerdictRow
from weighup.serve.db.watched import OpenClaim
from weighup.serve.db.words import claim_key, indexed, storable
from weighup.verify.contract import Verdict

Outbox = Callable[[Check, Recorded], Sequence[NewAlert]]
"""Says which alerts a recorded check raises; they are put into the outbox in the same transaction."""


class Verdicts:
    """The repository of verdicts. Every method that names a tenant sees that tenant's rows only."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def record(self, checks: Sequence[Check], *, outbox: Outbox | None = None) -> list[Recorded]:
        """Record finished checks, all or none; what was done, in order.

        A claim that is new gets its row, every check an entry in the timeline; the row takes on the newest check. A
        check whose `check_key` the claim's timeline holds already changes nothing.
        """
        with self._sessions.writing() as session:
            return record_in(session, checks, outbox)

    def get(self, tenant: str, ids: Sequence[uuid.UUID]) -> list[StoredVerdict | None]:
        """The verdicts, in order; None for one that is not there or another tenant's."""
        with self._sessions.reading() as session:
            query = select(VerdictRow).where(VerdictRow.tenant == tenant, VerdictRow.id.in_(ids))
            found = {row.id: stored(row) for row in session.scalars(query)}
        return [found.get(one) for one in ids]

    def find(self, tenant: str, claim_keys: Sequence[str]) -> list[StoredVerdict | None]:
        """The verdicts on these claims, in order; None where there is none yet."""
        with self._sessions.reading() as session:
            query = select(VerdictRow).where(VerdictRow.tenant == tenant, VerdictRow.text_key.in_(claim_keys))
            found = {row.text_key: stored(row) for row in session.scalars(query)}
        return [found.get(one) for one in claim_keys]

    def timelines(self, tenant: str, ids: Sequence[uuid.UUID]) -> list[list[TimelineEntry]]:
        """The timelines of these verdicts, in order, each from its oldest check to its newest."""
        with self._sessions.reading() as session:
            known = session.scalars(select(VerdictRow.id).where(VerdictRow.tenant == tenant, VerdictRow.id.in_(ids)))
            found = timelines_in(session, list(known))
        return [found.get(one, []) for one in ids]

    def page(
        self, tenant: str, wanted: VerdictFilter | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """A page of verdicts; go on with its `cursor`, under the same filter. Raises InvalidInput for a bad one."""
        with self._sessions.reading() as session:
            rows, following = page_of(session, tenant, wanted or VerdictFilter(), limit, cursor)
            return Page([stored(row) for row in rows], following)

    def count(self, tenant: str) -> Mapping[str, int]:
        """How many verdicts there are, by label."""
        with self._sessions.reading() as session:
            query = select(VerdictRow.label, func.count()).where(VerdictRow.tenant == tenant).group_by(VerdictRow.label)
            return dict(session.execute(query).tuples().all())

    def take_due(
        self, worker: str, *, limit: int = 20, seconds: float = LEASE, now: datetime | None = None
    ) -> list[StoredVerdict]:
        """Lease unsettled verdicts whose next check is due, of any tenant; recording their check ends the lease."""
        now = now or present()
        due = [VerdictRow.settled.is_(False), VerdictRow.next_check <= now]
        with self._sessions.writing() as session:
            order = (VerdictRow.next_check, VerdictRow.number)
            rows = take(session, VerdictRow, due, order, worker=worker, seconds=seconds, limit=limit, now=now)
            return [stored(row) for row in rows]

    def extend(
        self, worker: str, ids: Sequence[uuid.UUID], *, seconds: float = LEASE, now: datetime | None = None
    ) -> list[uuid.UUID]:
        """Keep leases from `take_due` for `seconds` more; the ids still held."""
        with self._sessions.writing() as session:
            key = VerdictRow.id
            return extend(session, VerdictRow, key, ids, worker=worker, seconds=seconds, now=now or present())

    def release(self, worker: str, ids: Sequence[uuid.UUID]) -> int:
        """Give verdicts from `take_due` back unchecked; how many."""
        with self._sessions.writing() as session:
            where = (VerdictRow.id.in_(ids), VerdictRow.lease_owner == worker)
            rows = list(session.scalars(select(VerdictRow).where(*where).order_by(VerdictRow.number).with_for_update()))
            for row in rows:
                let_go(row)
            return len(rows)

    def open_claims(self, *, limit: int) -> list[OpenClaim]:
        """The `limit` unsettled claims that were checked last, of any tenant."""
        columns = (VerdictRow.id, VerdictRow.words, VerdictRow.url, VerdictRow.next_check)
        query = select(*columns).where(VerdictRow.settled.is_(False)).order_by(VerdictRow.checked_at.desc())
        with self._sessions.reading() as session:
            return [OpenClaim(*row) for row in session.execute(query.limit(limit)).tuples()]

    def hasten(self, ids: Sequence[uuid.UUID], *, now: datetime | None = None) -> int:
        """Let unsettled verdicts be checked at once, for new evidence; how many were not due by then anyway."""
        now = now or present()
        with self._sessions.writing() as session:
            where = (VerdictRow.id.in_(ids), VerdictRow.settled.is_(False), VerdictRow.next_check > now)
            rows = list(session.scalars(select(VerdictRow).where(*where).order_by(VerdictRow.number).with_for_update()))
            for row in rows:
                row.next_check, row.due_for = now, "new_evidence"
            return len(rows)

    def schedule(self, tenant: str, ids: Sequence[uuid.UUID], at: datetime | None, *, settled: bool = False) -> int:
        """Set when these are to be checked next, as on new evidence; None: never by itself. How many there were."""
        with self._sessions.writing() as session:
            query = select(VerdictRow).where(VerdictRow.tenant == tenant, VerdictRow.id.in_(ids))
            rows = list(session.scalars(query.order_by(VerdictRow.number).with_for_update()))
            for row in rows:
                row.next_check, row.settled = at, settled
            return len(rows)


def record_in(session: Session, checks: Sequence[Check], outbox: Outbox | None = None) -> list[Recorded]:
    """`Verdicts.record` inside a transaction that does more than that."""
    now = present()
    keyed = [((check.tenant, _key(check)), check) for check in checks]
    first: dict[tuple[str, str], Check] = {}
    for key, check in keyed:
        require(bool(check.check_key), f"check of {check.verdict.claim[:60]!r}: has no check_key")
        first.setdefault(key, check)
    fresh = [{"id": uuid.uuid4(), **_row(key, first[key], now)} for key in sorted(first)]
    created = set(insert_new(session, VerdictRow, fresh, VerdictRow.id))
    where = tuple_(VerdictRow.tenant, VerdictRow.text_key).in_(list(first))
    order = (VerdictRow.tenant, VerdictRow.text_key)
    rows = {
        (row.tenant, row.text_key): row
        for row in session.scalars(select(VerdictRow).where(where).order_by(*order).with_for_update())
    }
    query = select(TimelineRow.verdict_id, TimelineRow.check_key).where(
        TimelineRow.verdict_id.in_([row.id for row in rows.values()]),
        TimelineRow.check_key.in_([check.check_key for check in checks]),
    )
    known = {(row[0], row[1]) for row in session.execute(query)}
    done, vectors = [], {}
    for key, check in keyed:
        row = rows[key]
        if (row.id, check.check_key) in known:
            told = (row.told_probability, row.told_label)
            done.append(Recorded(row.id, False, False, row.probability, row.label, row.probability, row.label, *told))
            continue
        known.add((row.id, check.check_key))
        recorded = _add(session, row, check, now, created=row.id in created)
        created.discard(row.id)
        done.append(recorded)
        if check.vector is not None:
            vectors[row.id] = (row.tenant, check.vector)
        alerts = outbox(check, recorded) if outbox is not None else ()
        put_in(session, alerts, now)
        # What is not checkable makes no call that a change could be counted from.
        if alerts or row.told_label in (None, "not_checkable"):
            row.told_probability, row.told_label = recorded.probability, recorded.label
    session.flush()
    keep_in(session, vectors)
    return done


def _add(session: Session, row: VerdictRow, check: Check, now: datetime, *, created: bool) -> Recorded:
    verdict, at = check.verdict, check.at or now
    before = None if created else (row.probability, row.label)
    told_before = (row.told_probability, row.told_label)
    old = [] if created else row.latest["evidence"]
    latest = storable(verdict.model_dump(mode="json"))
    entry = TimelineRow(
        verdict_id=row.id,
        check_key=check.check_key,
        at=at,
        probability=verdict.probability_fake,
        low=verdict.interval[0],
        high=verdict.interval[1],
        label=verdict.verdict,
        expert=verdict.expert,
        evidence_added=_added(old, latest["evidence"]),
        reason="first" if created else ("recheck" if check.reason == "first" else check.reason),
    )
    session.add(entry)
    if at >= row.checked_at:
        row.latest, row.checked_at = latest, at
        row.label, row.expert = verdict.verdict, verdict.expert
        row.probability, row.doubt = verdict.probability_fake, doubt(verdict.probability_fake)
        row.settled, row.next_check, row.due_for = check.settled, check.next_check, None
    let_go(row)
    known = (None, None, None, None) if before is None else (*before, *told_before)
    return Recorded(row.id, created, True, verdict.probability_fake, verdict.verdict, *known)


def _added(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    known = {(one.get("url"), one["text"]) for one in old}
    shown = ("url", "title", "source", "date", "stance")
    return [{name: one.get(name) for name in shown} for one in new if (one.get("url"), one["text"]) not in known]


def _key(check: Check) -> str:
    return check.claim_key or claim_key(check.verdict.claim, _date(check.verdict))


def _date(verdict: Verdict) -> datetime | None:
    return None if verdict.date is None else parse_bound(verdict.date, where="verdict.date")


def _row(key: tuple[str, str], check: Check, now: datetime) -> dict[str, Any]:
    verdict = check.verdict
    return {
        "tenant": key[0],
        "text_key": key[1],
        "claim": storable(verdict.claim),
        "words": indexed(verdict.claim),
        "claim_date": _date(verdict),
        "lang": storable(check.lang),
        "source": storable(check.source),
        "url": storable(check.url),
        "latest": storable(verdict.model_dump(mode="json")),
        "label": verdict.verdict,
        "probability": verdict.probability_fake,
        "doubt": doubt(verdict.probability_fake),
        "expert": verdict.expert,
        "settled": check.settled,
        "next_check": check.next_check,
        "created_at": check.at or now,
        "checked_at": check.at or now,
    }


def doubt(probability: float) -> float:
    """1 at a probability of a half, falling to 0 at 0 and 1."""
    return 1 - abs(2 * probability - 1)


def stored(row: VerdictRow) -> StoredVerdict:
    """A row as it leaves the database."""
    return StoredVerdict(
        id=row.id,
        tenant=row.tenant,
        claim_key=row.text_key,
        claim=row.claim,
        claim_date=row.claim_date,
        lang=row.lang,
        source=row.source,
        url=row.url,
        latest=row.latest,
        probability=row.probability,
        label=row.label,
        expert=row.expert,
        settled=row.settled,
        next_check=row.next_check,
        created_at=row.created_at,
        checked_at=row.checked_at,
        due_for=cast("Reason | None", row.due_for),
    )


def timelines_in(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[TimelineEntry]]:
    """The timelines of these verdicts, oldest check first."""
    query = select(TimelineRow).where(TimelineRow.verdict_id.in_(ids)).order_by(TimelineRow.at, TimelineRow.id)
    found: dict[uuid.UUID, list[TimelineEntry]] = {}
    for row in session.scalars(query):
        interval = (row.low, row.high)
        entry = TimelineEntry(
            row.check_key, row.at, row.probability, interval, row.label, row.expert, row.evidence_added, row.reason
        )
        found.setdefault(row.verdict_id, []).append(entry)
    return found
