"""Dates as people and servers write them."""

from __future__ import annotations

import pytest

from weighup.dates import parse_bound, parse_published, published_or_none
from weighup.errors import InvalidInput


@pytest.mark.parametrize(
    "text", ["Fri, 31 May 2024 10:00:00 +99999999999999999999", "9999-12-31T23:59:59-05:00", "31 May 99999999999"]
)
def test_what_no_calendar_holds_is_refused_and_never_a_crash(text: str) -> None:
    for read in (parse_bound, parse_published):
        with pytest.raises(InvalidInput):
            read(text)
    assert published_or_none(text) is None
