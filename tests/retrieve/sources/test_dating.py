"""Dates in replies: absolute ones count with their latest reading, doubtful ones not at all."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from weighup.retrieve.sources.dating import last_moment, moment


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("May 31, 2024", "2024-05-31T23:59:59+00:00"),
        ("31 May 2024", "2024-05-31T23:59:59+00:00"),
        ("Sept. 5, 2023", "2023-09-05T23:59:59+00:00"),
        ("2024年5月31日", "2024-05-31T23:59:59+00:00"),
        ("20240531", "2024-05-31T23:59:59+00:00"),
        ("20230918T031500Z", "2023-09-18T03:15:00+00:00"),
        ("2024-05-31T10:00:00", "2024-05-31T10:00:00+00:00"),
        ("2024-05-31T10:00:00+08:00", "2024-05-31T02:00:00+00:00"),
        # Midnight is a day without a time, in the zone it is written in.
        ("2024-05-31T00:00:00", "2024-05-31T23:59:59+00:00"),
        ("2024-05-31T00:00:00+08:00", "2024-05-31T15:59:59+00:00"),
        ("Fri, 31 May 2024 00:00:00 GMT", "2024-05-31T23:59:59+00:00"),
        ("Fri, 31 May 2024 08:30:00 +0200", "2024-05-31T06:30:00+00:00"),
    ],
)
def test_absolute_dates(written: str, read: str) -> None:
    assert moment(written) == datetime.fromisoformat(read)


@pytest.mark.parametrize(
    "written", ["3 days ago", "yesterday", "1 hour ago", "3小时前", "2024", "2024-05", "", "May 45, 2024", None, 17, []]
)
def test_no_date(written: object) -> None:
    assert moment(written) is None


def test_last_moment_is_strictly_before() -> None:
    assert last_moment(datetime(2024, 5, 31, tzinfo=UTC)) == datetime(2024, 5, 30, 23, 59, 59, tzinfo=UTC)
    assert last_moment(datetime(2024, 5, 31, 12, 0, 0, 5, tzinfo=UTC)) == datetime(2024, 5, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("written", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "9999-12-31T00:00:00-05:00"])
def test_beyond_the_calendar_is_no_date(written: str) -> None:
    assert moment(written) is None


def test_a_zone_that_is_not_known_is_the_farthest_west() -> None:
    assert moment("Fri, 31 May 2024 23:30:00 AKDT") == datetime(2024, 6, 1, 11, 30, tzinfo=UTC)
    assert moment("Fri, 31 May 2024 23:30:00 EST") == datetime(2024, 6, 1, 4, 30, tzinfo=UTC)
    assert moment("Fri, 31 May 2024 23:30:00 GMT") == datetime(2024, 5, 31, 23, 30, tzinfo=UTC)
