"""Deleting what is old, in small transactions, so that nobody waits for it. What people have labelled stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, select

from weighup.console import Advance
from weighup.serve.db.records import Pruned
from weighup.serve.db.sessions import Sessions, present, require
from weighup.serve.db.tables import (
    AlertRow,
    ArenaItemRow,
    ArenaVoteRow,
    FeedbackRow,
    FeedItemRow,
    IdempotencyRow,
    JobRow,
    StoryRow,
    VerdictRow,
)

Condition = Callable[[datetime], Sequence[ColumnElement[bool]]]


class Retention:
    """What is kept for how long."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def prune(
        self, days: float, *, batch: int = 200, now: datetime | None = None, on_progress: Advance | None = None
    ) -> Pruned:
        """Delete what is older than `days`, at most `batch` rows of a table in one transaction; how many of each.

        Verdicts (by their newest check; with their timelines) unless somebody labelled them; entries of feeds; finished
        jobs; alerts that were sent or are dead; stories that have no entries left; comparisons that were taken out of
        the arena before anybody voted on them; answers past their time. An entry that a feed still shows would come
        back as new: keep entries for longer than feeds show them.
        """
        require(days > 0, f"days: {days} would delete everything; use more than 0")
        require(1 <= batch <= 10_000, f"batch: {batch} is not between 1 and 10,000")
        now = now or present()
        bound = now - timedelta(days=days)
        labelled = exists().where(FeedbackRow.verdict_id == VerdictRow.id)
        voted = exists().where(ArenaVoteRow.item_id == ArenaItemRow.id)
        inhabited = exists().where(FeedItemRow.story_id == StoryRow.id)
        steps: list[tuple[Any, Any, Sequence[ColumnElement[bool]]]] = [
            (FeedItemRow, FeedItemRow.id, [FeedItemRow.seen_at < bound, FeedItemRow.state != "new"]),
            (JobRow, JobRow.id, [JobRow.finished_at < bound]),
            (AlertRow, AlertRow.id, [AlertRow.finished_at < bound]),
            (StoryRow, StoryRow.id, [StoryRow.updated_at < bound, ~inhabited]),
            (VerdictRow, VerdictRow.number, [VerdictRow.checked_at < bound, ~labelled]),
            (ArenaItemRow, ArenaItemRow.id, [ArenaItemRow.changed_at < bound, ~ArenaItemRow.active, ~voted]),
            (IdempotencyRow, IdempotencyRow.key, [IdempotencyRow.expires_at < now]),
        ]
        pruned = Pruned()
        for table, key, where in steps:
            while done := self._batch(table, key, where, batch):
                pruned.counts[table.__tablename__] = pruned.counts.get(table.__tablename__, 0) + done
                if on_progress is not None:
                    on_progress(done)
        return pruned

    def _batch(self, table: Any, key: Any, where: Sequence[ColumnElement[bool]], batch: int) -> int:
        with self._sessions.writing() as session:
            # Rows that somebody is writing to are passed over; a label that is just being added holds its verdict.
            chosen = session.scalars(select(key).where(*where).limit(batch).with_for_update(skip_locked=True)).all()
            if not chosen:
                return 0
            gone = delete(table).where(key.in_(chosen), *where).returning(key)
            return len(session.scalars(gone, execution_options={"synchronize_session": False}).all())
