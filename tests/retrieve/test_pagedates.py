"""Dates of pages west of Greenwich: 23:30 of a day in New York is the next day in UTC, however the page writes it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from lxml import html

from weighup.retrieve.pagedates import page_dates

LATE = datetime(2024, 6, 1, 4, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "stated",
    [
        '<meta property="article:published_time" content="2024-05-31T23:30:00-05:00">',
        '<meta property="article:published_time" content="2024-05-31 23:30:00-05:00">',
        '<meta property="article:published_time" content="2024-05-31 23:30:00 -0500">',
        '<meta property="article:published_time" content="Fri, 31 May 2024 23:30:00 -0500">',
        '<meta name="date" content="2024-05-31T23:30:00-05:00">',
        '<meta name="dc.date.issued" content="2024-05-31T23:30:00-05:00">',
        '<time datetime="2024-05-31T23:30:00-05:00">May 31, 2024</time>',
        "<time>2024-05-31T23:30:00-05:00</time>",
        '<abbr class="published" title="2024-05-31T23:30:00-05:00">May 31, 2024</abbr>',
    ],
)
def test_a_moment_late_in_the_day_and_in_the_west_does_not_pass_for_that_day(stated: str) -> None:
    assert page_dates(html.document_fromstring(f"<html><body>{stated}<p>Text.</p></body></html>")).last == LATE


@pytest.mark.parametrize(
    "other",
    [
        '<meta name="upload" content="2024-05-31T02:00:00Z">',
        '<time datetime="2024-06-02T23:30:00-05:00">a comment</time>',
        '<aside><time datetime="2024-05-31T23:30:00-05:00">another story</time></aside>',
    ],
)
def test_other_moments_make_a_day_neither_earlier_nor_much_later(other: str) -> None:
    tree = html.document_fromstring(f'<meta property="article:published_time" content="2024-05-31"><p>Text.</p>{other}')
    assert page_dates(tree).first == datetime(2024, 5, 31, 23, 59, 59, tzinfo=UTC)


def test_the_calendars_last_day_is_a_date_in_the_future() -> None:
    tree = html.document_fromstring('<meta property="article:published_time" content="9999-12-31T00:00:00-05:00">')
    dates = page_dates(tree)
    assert (dates.last, dates.future) == (None, True)


@pytest.mark.timeout(60)
def test_a_long_class_above_many_dates_is_read_once() -> None:
    body = f'<div class="{"abc " * 100_000}">{"<time>x</time>" * 3_000}</div>'
    assert page_dates(html.document_fromstring(body)).last is None
