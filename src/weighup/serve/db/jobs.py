"""Jobs: many claims handed in together, worked on by any number of processes, each item's result kept exactly once.

An item is queued, running (a worker holds its lease), then done, failed or cancelled. A worker that dies leaves a lease
that runs out, and the item is taken again, ATTEMPTS times at most. The first result that arrives is kept, from whoever
it comes; its row's key is the item's. Rows are locked in one order: jobs, then items, then verdicts.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from weighup.serve.db.records import ItemOutcome, Job, JobItem, JobLine
from weighup.serve.db.sessions import LEASE, Sessions, extend, fewer, insert_new, let_go, present, require, take
from weighup.serve.db.tables import JobItemRow, JobResultRow, JobRow
from weighup.serve.db.verdicts import Outbox, record_in
from weighup.serve.db.words import storable

ATTEMPTS = 5
"""How often an item is taken before it is given up: one that kills its worker must not kill them all."""
_OPEN = ("queued", "running")
_BATCH = 1_000


class Jobs:
    """The repository of jobs."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def submit(
        self,
        tenant: str,
        inputs: Iterable[Mapping[str, Any]],
        *,
        kind: str = "check",
        options: Mapping[str, Any] | None = None,
        key: str | None = None,
        priority: int = 0,
        now: datetime | None = None,
    ) -> Job:
        """Hand in a job, whole or not at all; items of a higher `priority` are taken first.

        With a `key` that the tenant has used before, nothing is added and the job of that time is returned.
        """
        now, number = now or present(), uuid.uuid4()
        row = {
            "id": number,
            "tenant": tenant,
            "key": key or number.hex,
            "kind": kind,
            "options": storable(dict(options or {})),
            "state": "queued",
            "created_at": now,
        }
        with self._sessions.writing() as session:
            if insert_new(session, JobRow, [row], JobRow.id):
                total = _put_items(session, number, inputs, priority)
                require(total > 0, "job: has no items; hand in at least one claim")
            where = (JobRow.tenant == tenant, JobRow.key == row["key"])
            return _job(session, session.scalars(select(JobRow).where(*where)).one())

    def get(self, tenant: str, ids: Sequence[uuid.UUID]) -> list[Job | None]:
        """The jobs, in order; None for one that is not there or another tenant's."""
        with self._sessions.reading() as session:
            query = select(JobRow).where(JobRow.tenant == tenant, JobRow.id.in_(ids))
            found = {row.id: _job(session, row) for row in session.scalars(query).all()}
        return [found.get(one) for one in ids]

    def lines(self, tenant: str, job_id: uuid.UUID, *, after: int = -1, limit: int = 1_000) -> list[JobLine]:
        """A job's items with their results, by position; go on with `after` the last position seen."""
        query = (
            select(JobItemRow.position, JobItemRow.state, JobResultRow)
            .join(JobRow, JobRow.id == JobItemRow.job_id)
            .outerjoin(JobResultRow, JobResultRow.item_id == JobItemRow.id)
            .where(JobRow.tenant == tenant, JobRow.id == job_id, JobItemRow.position > after)
            .order_by(JobItemRow.position)
            .limit(limit)
        )
        with self._sessions.reading() as session:
            return [_line(position, state, kept) for position, state, kept in session.execute(query)]

    def take(
        self, worker: str, *, limit: int = 10, seconds: float = LEASE, now: datetime | None = None
    ) -> list[JobItem]:
        """Lease items to work on, of any job, best priority first, then oldest. Finish, extend or release them."""
        now = now or present()
        with self._sessions.writing() as session:
            order = (JobItemRow.priority.desc(), JobItemRow.id)
            waiting = [JobItemRow.state.in_(_OPEN), JobItemRow.attempts < ATTEMPTS]
            rows = take(session, JobItemRow, waiting, order, worker=worker, seconds=seconds, limit=limit, now=now)
            rows = list(fewer(rows, limit))
            for row in rows:
                row.state = "running"
                row.attempts += 1
            jobs = {row.id: row for row in session.scalars(select(JobRow).where(_is(JobRow.id, rows)))}
            taken = [_taken(row, jobs[row.job_id]) for row in rows]
        # In a transaction of its own: whoever holds items must not wait for a job, see the order of locks above.
        started = [number for number, job in jobs.items() if job.state == "queued"]
        if started:
            with self._sessions.writing() as session:
                where = (JobRow.id.in_(started), JobRow.state == "queued")
                session.execute(update(JobRow).where(*where).values(state="running"))
        return taken

    def give_up(self, *, now: datetime | None = None) -> int:
        """Fail the items whose workers died ATTEMPTS times; how many. To be called now and then by any worker."""
        now = now or present()
        where = (JobItemRow.state == "running", JobItemRow.attempts >= ATTEMPTS, JobItemRow.lease_until <= now)
        with self._sessions.reading() as session:
            ids = list(session.scalars(select(JobItemRow.id).where(*where).limit(_BATCH)))
        error = f"given up: whoever worked on it ended {ATTEMPTS} times without a result"
        gone = [ItemOutcome(one, error=error) for one in ids]
        return sum(self._finish("", gone, None, now, [JobItemRow.lease_until <= now]))

    def extend(
        self, worker: str, ids: Sequence[int], *, seconds: float = LEASE, now: datetime | None = None
    ) -> list[int]:
        """Keep leases for `seconds` more. Returns the ids still held; stop working on the others."""
        with self._sessions.writing() as session:
            key = JobItemRow.id
            return extend(session, JobItemRow, key, ids, worker=worker, seconds=seconds, now=now or present())

    def release(self, worker: str, ids: Sequence[int]) -> int:
        """Give items back unfinished, as when shutting down; that they were taken does not count. How many."""
        with self._sessions.writing() as session:
            where = (JobItemRow.id.in_(ids), JobItemRow.lease_owner == worker, JobItemRow.state == "running")
            rows = list(session.scalars(select(JobItemRow).where(*where).order_by(JobItemRow.id).with_for_update()))
            for row in rows:
                row.state = "queued"
                row.attempts -= 1
                let_go(row)
            return len(rows)

    def finish(
        self,
        worker: str,
        outcomes: Sequence[ItemOutcome],
        *,
        outbox: Outbox | None = None,
        now: datetime | None = None,
    ) -> list[bool]:
        """Keep what came of items, all or none, with the verdicts' checks and the alerts they raise.

        In order, whether each was kept: not if the item has a result already, was cancelled or is not there.
        """
        return self._finish(worker, outcomes, outbox, now or present(), [])

    def cancel(self, tenant: str, job_id: uuid.UUID, *, now: datetime | None = None) -> Job | None:
        """End a job: what is not finished is cancelled, results that arrive later are not kept. None: no such job."""
        now = now or present()
        with self._sessions.writing() as session:
            where = (JobRow.tenant == tenant, JobRow.id == job_id)
            job = session.scalars(select(JobRow).where(*where).with_for_update()).one_or_none()
            if job is None:
                return None
            if job.state in _OPEN:
                gone = {"state": "cancelled", "finished_at": now, "lease_owner": None, "lease_until": None}
                items = (JobItemRow.job_id == job_id, JobItemRow.state.in_(_OPEN))
                session.execute(update(JobItemRow).where(*items).values(**gone))
                job.state, job.finished_at = "cancelled", now
                session.flush()
            return _job(session, job)

    def _finish(
        self,
        worker: str,
        outcomes: Sequence[ItemOutcome],
        outbox: Outbox | None,
        now: datetime,
        also: Sequence[ColumnElement[bool]],
    ) -> list[bool]:
        if not outcomes:
            return []
        ids = [outcome.item_id for outcome in outcomes]
        with self._sessions.writing() as session:
            of = select(JobItemRow.job_id).where(JobItemRow.id.in_(ids))
            jobs = select(JobRow).where(JobRow.id.in_(of)).order_by(JobRow.id).with_for_update()
            held = {row.id: row for row in session.scalars(jobs)}
            where = (JobItemRow.id.in_(ids), JobItemRow.state.in_(_OPEN), *also)
            items = select(JobItemRow).where(*where).order_by(JobItemRow.id).with_for_update()
            waiting = {row.id: row for row in session.scalars(items)}
            kept: list[ItemOutcome] = []
            told = []
            for outcome in outcomes:
                row = waiting.pop(outcome.item_id, None)
                told.append(row is not None)
                if row is not None:
                    row.state, row.finished_at = ("done" if outcome.error is None else "failed"), now
                    let_go(row)
                    kept.append(outcome)
            _keep(session, worker, kept, outbox, now)
            for job in held.values():
                _close_if_finished(session, job, now)
            return told


def _keep(session: Session, worker: str, kept: Sequence[ItemOutcome], outbox: Outbox | None, now: datetime) -> None:
    checks = [outcome.check for outcome in kept if outcome.check is not None]
    recorded = iter(record_in(session, checks, outbox) if checks else [])
    for outcome in kept:
        verdict_id = None if outcome.check is None else next(recorded).id
        result = None if outcome.result is None else storable(dict(outcome.result))
        error = None if outcome.error is None else storable(outcome.error)
        session.add(
            JobResultRow(
                item_id=outcome.item_id, result=result, error=error, verdict_id=verdict_id, worker=worker, at=now
            )
        )
    session.flush()


def _close_if_finished(session: Session, job: JobRow, now: datetime) -> None:
    if job.state not in _OPEN:
        return
    counts = _counts(session, job.id)
    if not any(counts.get(state) for state in _OPEN):
        job.state, job.finished_at = ("done" if counts.get("done") else "failed"), now
    else:
        job.state = "running"


def _put_items(session: Session, job_id: uuid.UUID, inputs: Iterable[Mapping[str, Any]], priority: int) -> int:
    total, rest = 0, iter(inputs)
    while part := list(islice(rest, _BATCH)):
        session.add_all(
            JobItemRow(
                job_id=job_id,
                position=total + place,
                priority=priority,
                input=storable(dict(one)),
                state="queued",
                attempts=0,
            )
            for place, one in enumerate(part)
        )
        session.flush()
        session.expunge_all()
        total += len(part)
    return total


def _is(column: Any, rows: Sequence[JobItemRow]) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column.in_({row.job_id for row in rows})
    return found


def _counts(session: Session, job_id: uuid.UUID) -> dict[str, int]:
    query = select(JobItemRow.state, func.count()).where(JobItemRow.job_id == job_id).group_by(JobItemRow.state)
    return dict(session.execute(query).tuples().all())


def _line(position: int, state: str, kept: JobResultRow | None) -> JobLine:
    if kept is None:
        return JobLine(position, state, None, None, None)
    return JobLine(position, state, kept.result, kept.error, kept.verdict_id)


def _job(session: Session, row: JobRow) -> Job:
    counts = _counts(session, row.id)
    return Job(row.id, row.tenant, row.kind, row.options, row.state, row.created_at, row.finished_at, counts)


def _taken(row: JobItemRow, job: JobRow) -> JobItem:
    return JobItem(row.id, job.id, job.tenant, job.kind, row.position, row.input, job.options, row.attempts)
