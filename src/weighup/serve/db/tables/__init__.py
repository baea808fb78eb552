"""The tables, as SQLAlchemy maps them. What leaves the repositories are the frozen records of `records.py`."""

from weighup.serve.db.tables.access import ApiKeyRow, IdempotencyRow, KeyUseRow
from weighup.serve.db.tables.arena import ArenaItemRow, ArenaVoteRow
from weighup.serve.db.tables.base import Base, Moment
from weighup.serve.db.tables.feeds import CursorRow, FeedItemRow, FeedRow, StoryRow
from weighup.serve.db.tables.verdicts import AuditRow, ClaimVectorRow, FeedbackRow, TimelineRow, VerdictRow
from weighup.serve.db.tables.work import AlertRow, JobItemRow, JobResultRow, JobRow

__all__ = [
    "AlertRow",
    "ApiKeyRow",
    "ArenaItemRow",
    "ArenaVoteRow",
    "AuditRow",
    "Base",
    "ClaimVectorRow",
    "CursorRow",
    "FeedItemRow",
    "FeedRow",
    "FeedbackRow",
    "IdempotencyRow",
    "JobItemRow",
    "JobResultRow",
    "JobRow",
    "KeyUseRow",
    "Moment",
    "StoryRow",
    "TimelineRow",
    "VerdictRow",
]
