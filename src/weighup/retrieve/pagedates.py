"""When a page says it was published, and when changed, by htmldate (Barbaresi 2020, doi:10.21105/joss.02439).

htmldate looks at a page's metadata, then at elements that look like dates, and even in its strict mode takes a date
out of running text at last. A date *in* an article is often of what it tells, not of when it told it, and would pass
tomorrow's article off as yesterday's. So htmldate is shown the metadata alone first, and else only the elements that
are marked as dates: never titles, paragraphs, or the dates of other articles in side columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from weighup.dates import now, published_or_none

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_DATED = re.compile(r"date|publi|posted|timestamp|updated|modified|\btime\b|pubtime", re.IGNORECASE)
_ELSEWHERE = re.compile(
    r"related|recommend|sidebar|side-bar|comment|most-?(?:read|popular)|trending|teaser|promo|widget|footer|copyright"
    r"|latest|more-(?:news|stories)|read-?(?:more|next)|upcoming|event",
    re.IGNORECASE,
)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?Z| ?[+-]\d{2}:?\d{2})")
_MAIL = re.compile(r"(?:\w{3}, )?\d{1,2} \w{3} \d{4} \d{2}:\d{2}(?::\d{2})? [+-]\d{4}")  # RFC 2822 with an offset
_PUBLISHED = frozenset({"article:published_time", "og:published_time", "datepublished", "parsely-pub-date", "pubdate"})
_CHANGED = frozenset({"article:modified_time", "og:updated_time", "og:modified_time", "datemodified", "lastmod"})
_HAN = re.compile(r".*?(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日.*")  # htmldate reads it only alone
_LONGEST_JSON = 500_000
_LONGEST_DATE = 100


@dataclass(frozen=True, slots=True)
class PageDates:
    """Aware UTC moments, at the latest they can mean and never in the future: `first` when the page was published,
    `last` when its words as they stand were public (the later of publication and change). None: it does not say.
    `future` tells that it states a date that has not come yet, which was not used."""

    first: datetime | None = None
    last: datetime | None = None
    future: bool = False


@dataclass(frozen=True, slots=True)
class _Stated:
    """A moment with its zone: the day as written on the page, the moment in UTC, and whether it is named as that of
    the change, of publication, or as neither."""

    day: str
    moment: datetime
    changed: bool
    named: bool = True


def page_dates(tree: HtmlElement, url: str | None = None) -> PageDates:
    """The dates a page states. Reads scripts too (JSON-LD), so call it before they are stripped."""
    soon = now() + timedelta(days=1)  # where the page was written it may be tomorrow already
    stated = list(_stated(tree))
    past = [one for one in stated if one.moment <= soon]
    future = any(one.named for one in stated if one.moment > soon)
    metadata = _metadata(tree)
    first = _find(metadata, original=True, url=url, latest=soon)
    if first is None:
        # Elements shown as dates: the latest of them, as nothing says which is which.
        shown_day = _find(_date_elements(tree), original=False, url=None, latest=soon)
        begun = _capped(_at_latest(shown_day, past))
        return PageDates(begun, begun, future=future)
    begun = _at_latest(first, [one for one in past if not one.changed])
    last = _at_latest(_find(metadata, original=False, url=None, latest=soon), past)
    changes = [one.moment for one in past if one.changed]
    ended = max((moment for moment in (begun, last, *changes) if moment is not None), default=None)
    return PageDates(_capped(begun), _capped(ended), future=future)


def _find(tree: HtmlElement, *, original: bool, url: str | None, latest: datetime) -> str | None:
    from htmldate import find_date

    found: str | None = find_date(
        tree, original_date=original, extensive_search=False, url=url, max_date=latest.date().isoformat()
    )
    return found


def _at_latest(day: str | None, stated: Sequence[_Stated]) -> datetime | None:
    """The last moment that a day can mean, unless the metadata tells the very moment. A moment of that day that is
    not named only counts if it is later: 23:30 in New York is the next day in UTC."""
    if day is None:
        return None
    exact = [one.moment for one in stated if one.day == day and one.named]
    known = max(exact) if exact else published_or_none(day)
    others = [one.moment for one in stated if one.day == day and not one.named]
    return max((moment for moment in (known, *others) if moment is not None), default=None)


def _capped(moment: datetime | None) -> datetime | None:
    """A page that has been read was published before now, whatever day it writes."""
    return None if moment is None else min(moment, now())


def _metadata(tree: HtmlElement) -> HtmlElement:
    """The page's metadata alone, as a page: meta elements, and scripts with JSON-LD."""
    from lxml import html

    bare = html.Element("html")
    head = html.Element("head")
    bare.append(head)
    for element in tree.iter("meta", "script"):
        if element.tag == "meta" or "json" in (element.get("type") or ""):
            copy = html.Element(element.tag, dict(element.attrib))
            copy.text = element.text
            head.append(copy)
    bare.append(html.Element("body"))
    return bare


def _date_elements(tree: HtmlElement) -> HtmlElement:
    """Short elements that are marked as the page's date, as a page of their own, in order."""
    from lxml import html

    bare = html.Element("html")
    body = html.Element("body")
    bare.append(body)
    elsewhere = _elsewhere(tree)
    for element in tree.iter("time", "abbr", "span", "div", "p", "small", "em", "li"):
        marks = " ".join(element.get(name) or "" for name in ("class", "id", "itemprop", "pubdate"))
        if element.tag not in ("time", "abbr") and not _DATED.search(marks):
            continue
        text = " ".join("".join(element.itertext()).split())
        if len(text) > _LONGEST_DATE or element in elsewhere:
            continue
        copy = html.Element(element.tag, dict(element.attrib))
        copy.text = _HAN.sub(r"\1-\2-\3", text)
        body.append(copy)
    return bare


def _elsewhere(tree: HtmlElement) -> set[HtmlElement]:
    """The elements that stand in a part of the page that is about other pages."""
    found: set[HtmlElement] = set()
    for element in tree.iter("*"):  # parents come before their children
        if (
            element.getparent() in found
            or element.tag in ("aside", "footer", "nav")
            or _ELSEWHERE.search(f"{element.get('class') or ''} {element.get('id') or ''}")
        ):
            found.add(element)
    return found


def _stated(tree: HtmlElement) -> Iterator[_Stated]:
    """Full moments, with zone and time of day, in meta elements, elements that show a date, and JSON-LD. Midnight is
    how a bare day is written."""
    pairs: list[tuple[str, str]] = []
    elsewhere = _elsewhere(tree)
    for element in tree.iter("meta", "time", "abbr"):
        name = element.get("property") or element.get("itemprop") or element.get("name") or ""
        if element.tag == "meta" or element not in elsewhere:
            value = element.get("content") or element.get("datetime") or element.get("title") or element.text or ""
            pairs.append((name, value))
    for script in tree.iter("script"):
        if (script.get("type") or "").strip().lower() == "application/ld+json":
            pairs += _json_pairs(script.text or "")
    for name, value in pairs:
        name, value = name.strip().lower(), value.strip()
        read = _read(value) if len(value) <= _LONGEST_DATE else None
        if read is not None:
            yield _Stated(*read, name in _CHANGED, name in _CHANGED or name in _PUBLISHED)


def _read(value: str) -> tuple[str, datetime] | None:
    """The day as written and the moment in UTC of a date with time and zone; None for any other."""
    if iso := _MOMENT.fullmatch(value):
        day, moment = iso[1], published_or_none(f"{iso[1]}T{value[11:].replace(' ', '')}")
    elif _MAIL.fullmatch(value):
        moment = published_or_none(value)
        try:
            day = parsedate_to_datetime(value).date().isoformat()
        except ValueError:
            return None
    else:
        return None
    if moment is None:
        return None
    bare_day = re.search(r"[T ]00:00", value) is not None and moment.year < datetime.max.year
    return day, moment + timedelta(days=1, seconds=-1) * bare_day


def _json_pairs(text: str) -> list[tuple[str, str]]:
    """Every text value under a date's name in a piece of JSON-LD; none if it is too large or not JSON."""
    if len(text) > _LONGEST_JSON:
        return []
    try:
        waiting: list[Any] = [json.loads(text)]
    except (ValueError, RecursionError):
        return []
    found: list[tuple[str, str]] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            found += [(key, value) for key, value in node.items() if key.startswith("date") and isinstance(value, str)]
    return found
