"""Several waits at once: results in order, errors in the caller."""

from __future__ import annotations

import threading

import pytest

from weighup.retrieve.sources.threads import side_by_side


def test_results_come_in_order_whoever_ends_first() -> None:
    meeting = threading.Barrier(3)

    def work(number: int) -> int:
        meeting.wait(10)  # passes only if all three are at work together
        return number * 2

    assert side_by_side(work, [3, 2, 1], at_once=3) == [6, 4, 2]
    assert side_by_side(len, ["a", "bb", "ccc"], at_once=1) == [1, 2, 3]
    assert side_by_side(len, [], at_once=4) == []


def test_the_first_items_error_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda number: 1 // number, [1, 0, 2], at_once=2)
