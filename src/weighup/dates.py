"""Moments in time, always aware and in UTC.

A day without a time is ambiguous by 24 hours. Which end is taken decides whether tomorrow's news can leak, so
callers say it: a *bound* (a claim's date) is read as the day's start, a *publication* as the day's last second.
A document then counts as before a claim only if it certainly was: `published < bound`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime

from weighup.errors import InvalidInput

EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The present moment, aware, UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def parse_bound(value: str | date | datetime, *, where: str = "date") -> datetime:
    """A claim's date: ISO 8601 day or moment. A bare day is its first second. Raises InvalidInput naming `where`."""
    return _parse(value, where, end_of_day=False)


def parse_published(value: str | date | datetime, *, where: str = "date") -> datetime:
    """A publication date: ISO 8601 or RFC 2822. A bare day (month, year) is its last second. Raises InvalidInput."""
    return _parse(value, where, end_of_day=True)


def published_or_none(value: object) -> datetime | None:
    """As `parse_published`, for dates found in the wild: what cannot be read is None (undated)."""
    if not isinstance(value, str | date) or value == "":
        return None
    try:
        return parse_published(value)
    except InvalidInput:
        return None


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 with a trailing Z, or None; a day's last second is written as the bare day."""
    if moment is None:
        return None
    moment = moment.astimezone(UTC)
    if moment.time().replace(microsecond=0) == time(23, 59, 59):
        return moment.date().isoformat()
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def seconds_until(http_date: str) -> float | None:
    """Seconds from now to an HTTP date (RFC 9110, section 5.6.7), 0 if it is past; None if it cannot be read."""
    try:
        moment = parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def is_before(published: datetime | None, before: datetime | None) -> bool:
    """Whether something published then may be used for a claim bounded by `before`. Undated never may."""
    if before is None:
        return True
    return published is not None and published < before


def _parse(value: str | date | datetime, where: str, *, end_of_day: bool) -> datetime:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    if isinstance(value, date):
        return _day(value, end_of_day)
    text = value.strip()
    try:
        if len(text) == 4 and text.isdigit():
            return _day(date(int(text), 12, 31) if end_of_day else date(int(text), 1, 1), end_of_day)
        if len(text) == 7 and text[4] == "-":
            first = date(int(text[:4]), int(text[5:]), 1)
            last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
            return _day(last if end_of_day else first, end_of_day)
        if len(text) <= 10:  # also 20240531 and 2024-W22-5: every moment is written longer
            return _day(date.fromisoformat(text), end_of_day)
        parsed = datetime.fromisoformat(text)
    except ValueError:
        try:
            parsed = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            raise InvalidInput(
                f"{where}: {text[:40]!r} is not a date; write it as 2024-05-31 or 2024-05-31T18:00:00Z"
            ) from None
    try:
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{where}: {text[:40]!r} is outside the calendar") from None


def _day(day: date, end_of_day: bool) -> datetime:
    return datetime.combine(day, time(23, 59, 59) if end_of_day else time(0), tzinfo=UTC)
