"""What an entry of a feed claims, and what it says as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from weighup.dates import iso, parse_bound
from weighup.errors import SourceUnavailable
from weighup.retrieve.types import Document
from weighup.serve.db.records import FeedItem
from weighup.serve.feeds.items import MAX_TEXT, host
from weighup.serve.feeds.stories import WINDOW
from weighup.serve.watch.placing import as_item
from weighup.texts import shorten
from weighup.verify.types import Claim

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient

_AT_ONCE = 8  # pages read side by side


def claim_of(item: FeedItem, now: datetime) -> Claim:
    """An entry's claim: what its title and text say, at the time when it was published.

    A bare day is its first second, as for every claim; a date that is still ahead counts as now.
    """
    bound = None if item.published is None else min(parse_bound(iso(item.published) or ""), now.replace(microsecond=0))
    return Claim(
        text=as_item(item).said,
        date=bound,
        source=item.source or (host(item.url) if item.url else None) or None,
        lang=item.lang,
        url=item.url,
    )


def document_of(item: FeedItem) -> Document:
    """An entry as evidence, under its own date."""
    return Document(
        text=item.text or item.title or "",
        id=f"feed:{item.entry or item.id}",
        url=item.url,
        title=item.title,
        published=item.published,
        source=item.source or (host(item.url) if item.url else ""),
        lang=item.lang,
    )


def with_pages(items: Sequence[FeedItem], client: WebClient | None, now: datetime) -> list[tuple[FeedItem, str | None]]:
    """The entries, those that only link with what their page says; and in place of that, why it was not read.

    Only pages that are dated and news still are fetched: a sitemap lists all that a site ever had.
    """
    links = [item for item in items if not as_item(item).said and item.url]
    if not links:
        return [(item, None) for item in items]
    with ThreadPoolExecutor(min(_AT_ONCE, len(links)), thread_name_prefix="weighup-page") as pool:
        read = dict(zip((item.id for item in links), pool.map(lambda i: _page(i, client, now), links), strict=True))
    return [read.get(item.id, (item, None)) for item in items]


def _page(item: FeedItem, client: WebClient | None, now: datetime) -> tuple[FeedItem, str | None]:
    from weighup.retrieve.pages import read_page

    if client is None:
        return item, "it only links to a page, and pages are not read offline"
    if item.published is None or item.published < now - WINDOW:
        return item, "it only links to a page that is not known to be new"
    try:
        page = read_page(item.url or "", client)
    except SourceUnavailable as error:
        return item, str(error)
    if not page.text.strip():
        return item, "no readable text was found on its page"
    return replace(item, title=page.title or item.title, text=shorten(page.text, MAX_TEXT)), None
