"""Reading a feed of any kind from the bytes that came: RSS, Atom, JSON Feed or a sitemap, told apart by what they are.

Formats: https://www.rssboard.org/rss-specification, https://www.rfc-editor.org/rfc/rfc4287 (both by feedparser),
https://www.jsonfeed.org/version/1.1/, https://www.sitemaps.org/protocol.html with Google's news extension
(http://www.google.com/schemas/sitemap-news/0.9). Bytes in, items out: nothing here opens a file or an address, however
the feed asks for it (`markup` takes out what could ask).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

from weighup.errors import PageRefused
from weighup.retrieve.guard import shown
from weighup.retrieve.markup import as_text, unpacked, well_formed
from weighup.serve.feeds.items import Item, address, distinct, host, item, line, when
from weighup.texts import shorten

Kind = Literal["rss", "atom", "json", "sitemap", "sitemapindex"]

MAX_ITEMS = 2_000
"""Items read of one feed, the first ones; of a sitemap, which has no order, those changed last."""

MAX_PARTS = 20
"""Sitemaps followed of an index, those changed last."""

MAX_TTL = 7 * 24 * 60
"""Minutes; a feed that asks for a longer rest is asked again after a week."""

_MAX_ENTRIES = 50_000  # the most that a sitemap may list
_MAX_BRACKETS = 500_000
_ROOT = re.compile(r"<([A-Za-z_][\w.-]*:)?(rss|feed|RDF|urlset|sitemapindex|channel)(?=[\s>/])", re.IGNORECASE)
_ENTRY = re.compile(r"<(?:[\w.-]{1,40}:)?(?:item|entry)(?=[\s>/])", re.IGNORECASE)
_HEAD = 20_000


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed as read: items under distinct names, in its order. `ttl` in seconds is how long it asks to be left alone;
    `parts` are the sitemaps that an index lists, all on its own host."""

    kind: Kind
    title: str
    items: tuple[Item, ...]
    ttl: float | None = None
    parts: tuple[str, ...] = ()


def read_feed(content: bytes, url: str, *, encoding: str | None = None) -> Feed:
    """Read a feed's body. `url` is where it came from; `encoding` the charset its server declared.

    Raises PageRefused for what is no feed, or too large, too deep or too broken to be one.
    """
    text = as_text(unpacked(content, url), encoding)
    if text.lstrip().startswith("{"):
        return _read_json(text, url)
    root = _ROOT.search(text[:_HEAD])
    if root is None:
        raise PageRefused(f"{shown(url)} is no feed: neither RSS, Atom, JSON Feed nor a sitemap")
    if root[2].lower() not in ("urlset", "sitemapindex"):
        # Cut before the parsers see it: what is left open is closed by the repair.
        more = next(islice(_ENTRY.finditer(text), MAX_ITEMS, None), None)
        text = text[: more.start()] if more else text
    data = well_formed(text, url)
    if root[2].lower() in ("urlset", "sitemapindex"):
        return _read_sitemap(data, url, index=root[2].lower() == "sitemapindex")
    return _read_xml(data, url)


def _read_xml(data: bytes, url: str) -> Feed:
    import feedparser

    # A stream: feedparser opens bare text and bytes as a file or an address where they read as one. It need not clean
    # HTML, of which only the text is kept.
    try:
        parsed = feedparser.parse(
            io.BytesIO(data),
            response_headers={"content-location": url, "content-type": "application/xml; charset=utf-8"},
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    except Exception as error:  # feedparser lets plain errors of many kinds through on hostile feeds
        raise PageRefused(f"{shown(url)} was not read: it is no sound feed ({type(error).__name__})") from error
    if not parsed.entries and not parsed.get("version"):
        raise PageRefused(f"{shown(url)} is no feed: it has no entries")
    head = parsed.feed
    title = shorten(line(head.get("title")), 80) or host(url)
    found = (_entry(entry, url, title, head.get("language")) for entry in parsed.entries[:MAX_ITEMS])
    ttl = str(head.get("ttl") or "").strip()
    return Feed(
        kind="atom" if str(parsed.get("version") or "").startswith("atom") else "rss",
        title=title,
        items=tuple(distinct(one for one in found if one is not None)),
        ttl=60.0 * min(int(ttl), MAX_TTL) if ttl.isascii() and ttl.isdecimal() and len(ttl) < 10 else None,
    )


def _entry(entry: Any, url: str, publisher: str, lang: Any) -> Item | None:
    raw = dict(entry)  # feedparser's own look-up lets one field stand in for another
    bodies = [part.get("value") for part in _list(raw.get("content")) if isinstance(part, dict)]
    source = raw.get("source")
    detail = raw.get("title_detail")
    title = raw.get("title")
    if isinstance(detail, dict) and detail.get("type") == "text/plain" and isinstance(title, str):
        title = title.replace("<", "&lt;") if "</" not in title else title
    return item(
        base=url,
        guid=raw.get("id"),
        link=raw.get("link") or _first_link(raw),
        title=title,
        texts=[raw.get("summary"), *bodies],
        published=raw.get("published"),
        updated=raw.get("updated"),
        lang=entry.get("language") or lang,
        source=source.get("title") if isinstance(source, dict) else None,
        publisher=publisher,
    )


def _first_link(entry: dict[str, Any]) -> Any:
    links = [link for link in _list(entry.get("links")) if isinstance(link, dict)]
    return next((link.get("href") for link in links if link.get("rel") in (None, "alternate")), None)


def _read_json(text: str, url: str) -> Feed:
    if text.count("[") + text.count("{") > _MAX_BRACKETS:
        raise PageRefused(f"{shown(url)} was not read: it has over {_MAX_BRACKETS:,} lists and objects")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise PageRefused(f"{shown(url)} is no feed: it is not JSON") from None
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, str) or "jsonfeed.org/version/" not in version:
        raise PageRefused(f"{shown(url)} is no feed: its JSON has no `version` of jsonfeed.org")
    title = shorten(line(found.get("title")), 80) or host(url)
    rows = [row for row in _list(found.get("items")) if isinstance(row, dict)][:MAX_ITEMS]
    items = (
        item(
            base=url,
            guid=row.get("id"),
            link=row.get("url") or row.get("external_url"),
            title=row.get("title"),
            texts=[row.get("content_html"), _escaped(row.get("content_text")), _escaped(row.get("summary"))],
            published=row.get("date_published"),
            updated=row.get("date_modified"),
            lang=row.get("language") or found.get("language"),
            publisher=title,
        )
        for row in rows
    )
    return Feed("json", title, tuple(distinct(one for one in items if one is not None)))


def _escaped(value: Any) -> Any:
    """Text that a format says is no HTML, so that it is not read as such."""
    return value.replace("&", "&amp;").replace("<", "&lt;") if isinstance(value, str) else None


def _read_sitemap(data: bytes, url: str, *, index: bool) -> Feed:
    rows = list(islice(_rows(data, "sitemap" if index else "url"), _MAX_ENTRIES))
    dated = sorted(enumerate(rows), key=lambda pair: (-_stamp(pair[1]), pair[0]))
    site = host(url)
    if index:
        found = (address(row.get("loc"), url) for _, row in dated)
        own = dict.fromkeys(part for part in found if part is not None and host(part) == site and part != url)
        return Feed("sitemapindex", site, (), parts=tuple(islice(own, MAX_PARTS)))
    kept = [row for _, row in sorted(dated[:MAX_ITEMS])]
    items = (
        item(
            base=url,
            link=row.get("loc"),
            title=row.get("title"),
            published=row.get("publication_date"),
            updated=row.get("lastmod"),
            lang=row.get("language"),
            source=row.get("name"),
            publisher=site,
        )
        for row in kept
        if address(row.get("loc"), url) is not None
    )
    return Feed("sitemap", site, tuple(distinct(one for one in items if one is not None)))


def _rows(data: bytes, name: str) -> Iterator[dict[str, str]]:
    """The entries of a sitemap: the text of each one's elements by local name, the first of a name (so that an image's
    `loc` does not stand in for the page's)."""
    from lxml import etree

    walk = etree.iterparse(
        io.BytesIO(data), events=("end",), recover=True, resolve_entities=False, no_network=True, load_dtd=False
    )
    row: dict[str, str] = {}
    for _, element in walk:
        if not isinstance(element.tag, str):
            continue
        local = re.split(r"[}:]", element.tag)[-1]
        if local == name:
            yield row
            row = {}
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
        elif len(row) < 20 and element.text and element.text.strip():
            row.setdefault(local, element.text.strip())


def _stamp(row: dict[str, str]) -> float:
    """When an entry changed last, in seconds; undated ones count as older than all."""
    found = when(row.get("lastmod") or row.get("publication_date"))
    return (found or datetime(1, 1, 1, tzinfo=UTC)).timestamp()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
