"""Dates as search services write them, read so that a doubt never lets a later article pass as an earlier one.

A moment at exactly midnight is how services write a day whose time they do not know, so it counts as that day's end.
Relative dates ("3 days ago") depend on when the index was asked and are rounded: they count as no date at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from weighup.dates import is_before, parse_published, published_or_none
from weighup.retrieve.types import Document

_MONTHS = {
    name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)
}
_MONTH_FIRST = re.compile(r"([A-Za-z]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})")
_DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?\s+([A-Za-z]{3,9})\.?,?\s+(\d{4})")
_MIDNIGHT = re.compile(r"[T ]00:?00(?::?00(?:\.0+)?)?(?![\d:])")
_ZONE = re.compile(r":\d{2}(?:\.\d+)?\s*\(?([A-Za-z]+)\)?$")
_ZONES = frozenset("Z UT UTC GMT EST EDT CST CDT MST MDT PST PDT AST ADT".split())  # those that `email` reads
_WEST = timedelta(hours=12)  # the farthest that a place's clock is behind UTC
_HAN = re.compile(r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日")


def moment(value: object) -> datetime | None:
    """An absolute date in a reply as an aware moment, its latest possible reading; None if there is none.

    Reads ISO 8601, RFC 2822, `May 31, 2024`, `31 May 2024` and `2024年5月31日`.
    """
    try:
        return _moment(value)
    except OverflowError:  # a year that no calendar here reaches
        return None


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        value = value.strip()
        named = _named_day(value)
        if named:
            return parse_published(named)
        if len(value) < 8:  # a bare year or month, or "3h": too vague to come from a dated article
            return None
    found = published_or_none(value)
    if found is not None and isinstance(value, str) and _unknown_zone(value):
        found += _WEST
    # Midnight where it was written, whatever its zone: a day's start in +08:00 is 16:00 of the day before in UTC.
    if found is not None and isinstance(value, str) and _MIDNIGHT.search(value):
        return found + timedelta(hours=23, minutes=59, seconds=59)
    return found


def _unknown_zone(text: str) -> bool:
    """Whether a moment ends in letters for a zone that is no zone of RFC 2822's, such as AKDT: it was read as UTC."""
    named = _ZONE.search(text)
    return named is not None and named[1].upper() not in _ZONES


def last_moment(before: datetime) -> datetime:
    """The last whole second strictly before the bound, for services whose own bounds are inclusive."""
    return (before.astimezone(UTC) - timedelta(microseconds=1)).replace(microsecond=0)


def only_before(documents: Iterable[Document], before: datetime | None, limit: int) -> list[Document]:
    """Those certainly published before the bound, at most `limit`, in order."""
    kept = [document for document in documents if is_before(document.published, before)]
    return kept[: max(limit, 0)]


def _named_day(text: str) -> date | None:
    if match := _HAN.fullmatch(text):
        year, month, day = (int(part) for part in match.groups())
    elif match := _MONTH_FIRST.fullmatch(text):
        year, month, day = int(match[3]), _MONTHS.get(match[1][:3].lower(), 0), int(match[2])
    elif match := _DAY_FIRST.fullmatch(text):
        year, month, day = int(match[3]), _MONTHS.get(match[2][:3].lower(), 0), int(match[1])
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None
