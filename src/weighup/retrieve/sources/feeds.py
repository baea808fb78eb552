"""RSS and Atom feeds the user follows, from the setting `retrieve.feeds`.

Formats: https://www.rssboard.org/rss-specification, https://www.rfc-editor.org/rfc/rfc4287; parsed by feedparser from
bytes that our own client fetched. A feed cannot be searched: its entries are ranked by how many of the query's words
they share. An entry revised later (`updated`) may say what was not known before, so the later of its dates counts.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from weighup.errors import PageRefused, SettingsError, SourceUnavailable
from weighup.retrieve.markup import parsed_feed
from weighup.retrieve.sources.dating import moment, only_before
from weighup.retrieve.sources.hits import domain
from weighup.retrieve.sources.queries import content_words
from weighup.retrieve.sources.replies import fetch, plain, web_address
from weighup.retrieve.sources.threads import side_by_side
from weighup.retrieve.types import Document

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings

logger = logging.getLogger(__name__)


class Feeds:
    """Entries of the feeds at `urls` that share words with the query."""

    name = "feeds"

    def __init__(self, client: WebClient, *, urls: Sequence[str]) -> None:
        for url in urls:
            if web_address(url) is None:
                raise SettingsError(f"setting retrieve.feeds: {url[:60]!r} is not an http(s) address")
        self.client = client
        self.urls = tuple(urls)

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """Entries published (and last revised) before the bound. Raises SourceUnavailable if no feed answered."""
        wanted = set(content_words(query))
        if not wanted or not self.urls:
            return []
        read = side_by_side(self._read, self.urls, at_once=8)
        failures = [outcome for outcome in read if isinstance(outcome, SourceUnavailable)]
        if len(failures) == len(read):
            raise SourceUnavailable(f"feeds: none of {len(read)} answered; the first said: {failures[0]}")
        scored: list[tuple[float, Document]] = []
        for outcome in read:
            if isinstance(outcome, SourceUnavailable):
                logger.warning("a feed was left out: %s", outcome)
                continue
            for document in outcome:
                shared = wanted & set(content_words(f"{document.title or ''} {document.text}"))
                # One common word is chance unless the query has no more than two.
                if len(shared) >= min(2, len(wanted)):
                    scored.append((len(shared) / len(wanted), document))
        scored.sort(key=lambda pair: -pair[0])
        return only_before((document for _, document in scored), before, limit)

    def _read(self, url: str) -> list[Document] | SourceUnavailable:
        """The feed's entries, or why there are none: one broken feed must not silence the others."""
        try:
            fetched = fetch(f"feed {domain(url)}", self.client, url)
        except SourceUnavailable as error:
            return error
        try:
            # No `content-type` is passed on: servers label feeds wrongly.
            parsed = parsed_feed(fetched.content, url, fetched.encoding, headers={"content-location": url})
        except PageRefused as error:
            return SourceUnavailable(f"{url} is not an RSS or Atom feed: {error}")
        if not parsed.entries and not parsed.get("version"):
            return SourceUnavailable(f"{url} is not an RSS or Atom feed")
        publisher = plain(parsed.feed.get("title")) or domain(url)
        return [found for entry in parsed.entries if (found := document_from(entry, publisher)) is not None]


def document_from(entry: Any, publisher: str) -> Document | None:
    """An entry as feedparser gives it, from the feed named `publisher`; None if it has no text."""
    title, link = plain(entry.get("title")), web_address(entry.get("link"))
    bodies = [plain(part.get("value")) for part in entry.get("content", []) if isinstance(part, dict)]
    body = max([plain(entry.get("summary")), *bodies], key=len)
    text = body if title in body else f"{title}. {body}".removesuffix(". ")
    if not text:
        return None
    source = entry.get("source")
    return Document(
        text=text,
        id=plain(entry.get("id")) or link or title,
        url=link,
        title=title or None,
        published=_dated(entry),
        # Aggregators name where an entry came from.
        source=(plain(source.get("title")) if isinstance(source, dict) else "") or publisher,
    )


def _dated(entry: Any) -> datetime | None:
    """The later of `published` and `updated`, as the feed writes them: feedparser's own reading turns a bare day into
    its first second. An entry with a date that cannot be read is undated, whatever the other says."""
    raw = dict(entry)  # feedparser's own look-up lets either date stand in for the other
    written = [plain(raw[name]) for name in ("published", "updated") if name in raw]
    read = [moment(text) for text in written if text]
    known = [found for found in read if found is not None]
    return max(known) if known and len(known) == len(read) else None


def open_source(settings: RetrieveSettings, client: WebClient) -> Feeds:
    """As the registry opens it. Raises SettingsError without feeds."""
    if not settings.feeds:
        raise SettingsError(
            'source feeds has none to read: set retrieve.feeds, for example ["https://example.org/rss"]'
        )
    return Feeds(client, urls=settings.feeds)
