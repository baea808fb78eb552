"""From search hits to documents: the top few pages are read, and every date known about a page must allow it.

A hit carries the date the search service gave; a page carries its own. The later of the two counts as published, so
an article that was indexed early and rewritten later is dropped under a bound, and so is one that only claims to be
old. A hit whose page cannot be read stays as title and snippet, dated by the service.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from weighup.dates import is_before
from weighup.errors import SourceUnavailable
from weighup.retrieve.sources.dating import only_before
from weighup.retrieve.sources.threads import side_by_side
from weighup.retrieve.types import Document

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. `published` is the service's own date for it, None when it gives none."""

    url: str
    title: str
    snippet: str = ""
    published: datetime | None = None
    source: str = ""
    lang: str | None = None


def documents(
    hits: Iterable[Hit], client: WebClient, *, before: datetime | None, limit: int, pages: int
) -> list[Document]:
    """At most `limit` documents, best first; the first `pages` of them with their page's text.

    Hits that the service itself dates at or after the bound are dropped unread; undated ones must be dated by their
    page, so under a bound those beyond the first `pages` are dropped.
    """
    if limit <= 0:
        return []
    wanted = [hit for hit in unique(hits) if hit.published is None or is_before(hit.published, before)]
    # Undated hits need their page to count at all, so a few more than `limit` are looked at.
    wanted = wanted[: limit + pages]
    read = wanted[:pages]
    found = side_by_side(lambda hit: read_hit(hit, client), read, at_once=4)
    found += [as_document(hit) for hit in wanted[pages:]]
    return only_before((document for document in found if document.text), before, limit)


def as_document(hit: Hit) -> Document:
    """A hit by itself: title and snippet are its text."""
    text = hit.title if hit.snippet in hit.title else f"{hit.title}. {hit.snippet}".removeprefix(". ")
    return Document(
        text=text,
        id=hit.url,
        url=hit.url,
        title=hit.title or None,
        published=hit.published,
        source=hit.source or domain(hit.url),
        lang=hit.lang,
    )


def read_hit(hit: Hit, client: WebClient) -> Document:
    """A hit with its page's text; dated by the later of both dates. Without a readable page: the hit by itself."""
    from weighup.retrieve.pages import read_page

    document = as_document(hit)
    try:
        page = read_page(hit.url, client)
    except SourceUnavailable as error:
        logger.info("%s was not read, its title and snippet stand in: %s", hit.url, error)
        return document
    dates = [day for day in (hit.published, page.published) if day is not None]
    return replace(
        document,
        text=page.text,
        url=page.canonical or page.url,
        title=hit.title or page.title,
        published=max(dates, default=None),
        source=hit.source or page.source,
        lang=page.lang or hit.lang,
    )


def unique(hits: Iterable[Hit]) -> list[Hit]:
    """The hits, each address once, the first kept."""
    return list({hit.url: hit for hit in reversed(list(hits))}.values())[::-1]


def enough(hits: Sequence[Hit], before: datetime | None, limit: int) -> bool:
    """Whether paging may stop: as many usable hits as were asked for."""
    return sum(hit.published is not None and is_before(hit.published, before) for hit in hits) >= limit


def domain(url: str) -> str:
    """The host of an address without `www.`; empty if it has none."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""
