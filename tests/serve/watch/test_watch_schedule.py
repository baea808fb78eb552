"""When a verdict is checked again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from db_samples import NOON, later, verdict

from weighup.serve.db.records import TimelineEntry
from weighup.serve.watch.schedule import FIRST, LONGEST, SETTLED, plan


def entry(at: datetime, probability: float = 0.9, added: tuple[Any, ...] = ()) -> TimelineEntry:
    label = verdict("x", probability).verdict
    return TimelineEntry(f"{at}", at, probability, (0.8, 1.0), label, "evidence", added, "recheck")


def wait(now: datetime, past: list[TimelineEntry], probability: float = 0.9, **more: Any) -> float | None:
    """Hours until the next check; None if it is settled."""
    made = plan(verdict("x", probability), now, first_seen=NOON, past=past, **more)
    return None if made.next_check is None else (made.next_check - now).total_seconds() / 3600


def test_what_is_new_is_checked_again_in_an_hour() -> None:
    made = plan(verdict("x"), NOON)
    assert (made.next_check, made.settled) == (NOON + FIRST, False)


def test_what_holds_no_claim_is_settled_at_once() -> None:
    opinion = verdict("x", 0.5).model_copy(update={"verdict": "not_checkable"})
    assert plan(opinion, NOON) == SETTLED


@pytest.mark.parametrize(("hours", "expected"), [(0.5, 1), (4, 4), (30, 30), (49, 48), (100, 48)])
def test_the_wait_is_as_long_as_nothing_has_happened(hours: float, expected: float) -> None:
    assert wait(later(hours=hours), [entry(NOON)]) == pytest.approx(expected)


@pytest.mark.parametrize(
    "moved",
    [
        {"probability": 0.95},
        {"probability": 0.5},
        {"evidence_added": True},
    ],
)
def test_whatever_moves_makes_it_an_hour_again(moved: dict[str, Any]) -> None:
    assert wait(later(hours=60), [entry(NOON)], **moved) == 1


def test_a_move_that_was_seen_before_counts_from_then() -> None:
    past = [entry(NOON, 0.5), entry(later(hours=10), 0.9), entry(later(hours=14), 0.9)]
    assert wait(later(hours=18), past) == 8


def test_rounding_is_no_move() -> None:
    assert wait(later(hours=8), [entry(NOON, 0.9)], 0.91) == 8


def test_rest_or_age_settles_and_the_last_check_is_at_the_end() -> None:
    assert wait(later(days=7), [entry(NOON)]) is None
    assert wait(later(days=6.9), [entry(NOON)]) == LONGEST / timedelta(hours=1)
    moving = [entry(NOON, 0.9), entry(later(days=13.5), 0.2)]
    assert wait(later(days=13.6), moving, 0.6) == 1
    assert wait(later(days=13.99), moving, 0.6) == pytest.approx(0.24)
    assert wait(later(days=14), moving, 0.6) is None
