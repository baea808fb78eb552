"""When a verdict is checked again: soon while things move, ever more seldom while they rest, never once settled.

The wait is as long as nothing has happened, at least FIRST and at most LONGEST: 1 h, 2 h, 4 h, … 2 days. News about an
event comes in a burst (see `feeds.stories.WINDOW`), so what has rested for long seldom moves. Ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from weighup.serve.db.records import TimelineEntry
from weighup.verify.contract import Verdict

FIRST = timedelta(hours=1)
LONGEST = timedelta(days=2)
REST = 0.5
"""Share of the days to settle in after which a verdict that nothing has moved counts as settled."""
MOVED = 0.02
"""Least change of P(fake) that counts as something happening; smaller ones come from rounding and ranking."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a verdict after a check: `next_check` is None where `settled`."""

    next_check: datetime | None
    settled: bool


SETTLED = Plan(None, True)


def plan(
    verdict: Verdict,
    now: datetime,
    *,
    first_seen: datetime | None = None,
    past: Sequence[TimelineEntry] = (),
    evidence_added: bool = False,
    settle_days: float = 14.0,
) -> Plan:
    """When to check again after a check made `now`.

    `first_seen` and `past` are of the verdict so far, oldest check first; none for a claim that is new. What holds no
    claim is settled at once, everything else when it is `settle_days` old or has rested for half of them.
    """
    if verdict.verdict == "not_checkable":
        return SETTLED
    first = first_seen or now
    rested = now - _last_move(verdict, now, first, past, evidence_added)
    span = timedelta(days=settle_days)
    if now - first >= span or rested >= span * REST:
        return SETTLED
    # The last check of all is not to fall far behind the end.
    return Plan(now + min(max(rested, FIRST), LONGEST, max(first + span - now, timedelta(minutes=1))), False)


def _last_move(
    verdict: Verdict, now: datetime, first: datetime, past: Sequence[TimelineEntry], evidence_added: bool
) -> datetime:
    """When the label, P(fake) or the evidence changed last; when it was first seen if never."""
    if past and (evidence_added or _differs(past[-1], verdict.verdict, verdict.probability_fake)):
        return now
    for before, after in reversed(list(itertools.pairwise(past))):
        if after.evidence_added or _differs(before, after.label, after.probability):
            return after.at
    return first


def _differs(before: TimelineEntry, label: str, probability: float) -> bool:
    return before.label != label or abs(before.probability - probability) >= MOVED
