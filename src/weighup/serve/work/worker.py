"""A worker: takes items of jobs, has them checked, and finishes them, each in one transaction with its verdict.

Everything that matters is in the database. A worker that is killed leaves leases that run out, and another one takes
the items again; whatever it had finished stays finished.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from weighup.errors import StoreError
from weighup.serve.db.records import Check, ItemOutcome, JobItem
from weighup.serve.db.sessions import LEASE
from weighup.serve.desk import FOR_ALL, Asked, Desk
from weighup.serve.work.leases import EVERY, held
from weighup.verify.rows import BadRow, Row, read_row

logger = logging.getLogger(__name__)

IDLE = 0.5
"""Seconds between looks for work where there was none."""
BRIEF_BATCH, WRITING_BATCH = 32, 4
"""Items taken together: what is not written goes fast; a worker that is told to stop ends its batch first."""
GIVE_UP_EVERY = 30.0
LONGEST_PAUSE = 30.0
"""Seconds; after errors that befall every item alike (no database, no model) a worker waits, longer each time."""


class Worker:
    """Works on jobs of kind `check` until told to stop. One `run` at a time; any number of workers side by side.

    `name` must be its own among all workers of the database. `done` and `failed` count the items it has finished,
    `trouble` is what keeps it from working, None if nothing does.
    """

    def __init__(self, desk: Desk, name: str, *, lease: float = LEASE, batch: int | None = None) -> None:
        self.desk = desk
        self.name = name
        self.lease = lease
        self.done = 0
        self.failed = 0
        self.trouble: str | None = None
        self._batch = batch or _batch_size(desk)
        self._gave_up = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set: what is being checked then is finished, what was only taken is given back."""
        pause = IDLE
        while not stop.is_set():
            try:
                busy = self.work_once(stop)
            except FOR_ALL as error:
                self.trouble, pause = str(error), min(2 * pause, LONGEST_PAUSE)
                logger.warning("jobs wait: %s", error)
                stop.wait(pause)
                continue
            self.trouble, pause = None, IDLE
            if not busy:
                stop.wait(IDLE)

    def work_once(self, stop: threading.Event | None = None) -> int:
        """Take a batch and finish it; how many items it had. Raises StoreError, ModelMissing, SettingsError or
        WeightsError where nothing can be checked or kept; the items are given back."""
        jobs = self.desk.database.jobs
        moment = time.monotonic()
        if moment - self._gave_up >= GIVE_UP_EVERY or not self._gave_up:
            self._gave_up = moment
            jobs.give_up()
        items = jobs.take(self.name, limit=self._batch, seconds=self.lease)
        if not items:
            return 0
        ids = [item.id for item in items]
        try:
            if stop is not None and stop.is_set():
                jobs.release(self.name, ids)
                return 0
            every = min(EVERY, self.lease / 4)
            with held(lambda: jobs.extend(self.name, ids, seconds=self.lease), every=every):
                outcomes = self._outcomes(items)
                kept = jobs.finish(self.name, outcomes, outbox=self.desk.outbox)
        except BaseException:
            with suppress(StoreError):  # else their leases run out
                jobs.release(self.name, ids)
            raise
        for outcome, counted in zip(outcomes, kept, strict=True):
            self.done += counted and outcome.error is None
            self.failed += counted and outcome.error is not None
        return len(items)

    def _outcomes(self, items: Sequence[JobItem]) -> list[ItemOutcome]:
        rows = [_row(item) for item in items]
        good = [(item, row) for item, row in zip(items, rows, strict=True) if isinstance(row, Row)]
        judged = iter(self.desk.judged([_asked(item, row) for item, row in good]) if good else [])
        return [
            _outcome(item, row, *next(judged)) if isinstance(row, Row) else ItemOutcome(item.id, error=row)
            for item, row in zip(items, rows, strict=True)
        ]


def _batch_size(desk: Desk) -> int:
    return BRIEF_BATCH if getattr(desk.checker, "brief", True) else WRITING_BATCH


def _row(item: JobItem) -> Row | str:
    """The row to check, or what is wrong with it."""
    if item.kind != "check":
        return f"a job of kind {item.kind!r} is not known here; hand in jobs of kind 'check'"
    row = read_row(item.input, item.position + 1)
    return row.error if isinstance(row, BadRow) else row


def _asked(item: JobItem, row: Row) -> Asked:
    told = item.options
    return Asked(
        row.claim,
        item.check_key,
        item.tenant,
        follow=_flag(told, "follow"),
        brief=_flag(told, "brief"),
        search=_flag(told, "search"),
        risk=float(told["risk"]) if isinstance(told.get("risk"), int | float) else None,
    )


def _flag(options: Mapping[str, Any], name: str) -> bool | None:
    value = options.get(name)
    return value if isinstance(value, bool) else None


def _outcome(item: JobItem, row: Row, check: Check | None, error: str | None) -> ItemOutcome:
    if check is None:
        return ItemOutcome(item.id, error=f"line {row.line}: {error}")
    verdict = check.verdict.model_copy(update={"id": row.id, "input_digest": row.digest})
    return ItemOutcome(item.id, result=verdict.model_dump(mode="json"), check=check)
