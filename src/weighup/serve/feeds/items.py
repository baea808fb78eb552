"""One item of a feed, whatever kind of feed it came in, and how strangers' fields become its clean ones.

Titles and summaries are HTML as often as not. They are parsed, never matched: what a reader would not see is taken out
(`retrieve.hidden`), and so is what reads as an order to a language model (`retrieve.hostile`).
"""

from __future__ import annotations

import hashlib
import html as entities
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from weighup.dates import iso, now
from weighup.retrieve.hostile import defuse, suspicious_instructions
from weighup.retrieve.sources.dating import moment
from weighup.texts import clean, language, shorten

logger = logging.getLogger(__name__)

MAX_HTML = 200_000
"""Characters of HTML read of one field."""

MAX_TEXT = 20_000
"""Characters of text kept of one item, about 3,000 words: a feed carries an article's start, seldom all of it."""

MAX_TITLE = 300
MAX_ADDRESS = 2_000
_MAX_GUID = 500

_MARKUP = re.compile(r"<[A-Za-z/!?]|&[#A-Za-z]")
_BLOCKS = frozenset(
    "address article aside blockquote br dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header hr li main nav"
    " ol p pre section table td th tr ul".split()
)
_TRACKING = re.compile(
    r"utm_\w+|(?:fb|g|dc|gb|y|ms|tt|tw)cl(?:id|src)|wbraid|gbraid|igshid|mc_[ce]id|_hs\w+|mkt_tok|vero_id|oly_\w+"
    r"|ns_(?:mchannel|source|campaign|linkname|fee)|at_(?:medium|campaign|custom\d|link_\w+|bbc_team|ptr_name|format)"
    r"|cmpid|cmp|ocid|ito|smid|partner|rss|ref|ref_src|source|share|sh|xtor|traffic_source",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Item:
    """Something a feed shows. `guid` names it among all feeds' items; `text` is what the feed says of it ("" where it
    only links); `published` and `updated` are aware UTC at their latest reading, None where unknown, never more than a
    day ahead; `source` is who published it; `lang` is `en`, `zh` …"""

    guid: str
    url: str | None = None
    title: str = ""
    text: str = ""
    published: datetime | None = None
    updated: datetime | None = None
    lang: str | None = None
    source: str = ""

    @property
    def key(self) -> str:
        """16 hex digits for this item as it stands: another `updated` is another key."""
        return digest(f"{self.guid}\0{iso(self.updated)}")

    @property
    def said(self) -> str:
        """Title and text on after the other, the title once."""
        return self.text if not self.title or self.text.startswith(self.title) else f"{self.title}\n{self.text}".strip()


def digest(text: str) -> str:
    """16 hex digits that tell texts apart."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def item(
    *,
    base: str,
    guid: Any = None,
    link: Any = None,
    title: Any = None,
    texts: Iterable[Any] = (),
    published: Any = None,
    updated: Any = None,
    lang: Any = None,
    source: Any = None,
    publisher: str = "",
) -> Item | None:
    """An item from fields as a stranger wrote them, of any type; None if nothing can be read in it.

    `base` is the feed's address. The longest of `texts` counts. A `guid` that is no address of its own gets the feed's
    host before it, since a bare `12345` is some other site's item as well.
    """
    url = address(link, base)
    heading = shorten(line(title), MAX_TITLE)
    text = max((shorten(plain(part), MAX_TEXT) for part in texts), key=len, default="")
    if not heading and not text and url is None:
        return None
    name = clean(str(guid)) if isinstance(guid, str | int) and not isinstance(guid, bool) else ""
    if len(name) > _MAX_GUID:
        name = digest(name)
    if name and ":" not in name:
        name = f"{host(base)}#{name}"
    return Item(
        guid=name or url or f"{host(base)}#{digest(heading + text)}",
        url=url,
        title=heading,
        text=text,
        published=when(published),
        updated=when(updated),
        lang=_lang(lang, f"{heading} {text[:1000]}"),
        source=shorten(line(source), 80) or publisher,
    )


def distinct(found: Iterable[Item]) -> Iterator[Item]:
    """Items under names of their own: a repeated one is dropped, and where a feed gives one name to different items,
    the later ones are named by their address or words."""
    taken: dict[str, Item] = {}
    for one in found:
        first = taken.get(one.guid)
        if first is not None:
            if (first.url, first.title) == (one.url, one.title):
                continue
            one = replace(one, guid=f"{one.guid}#{digest(one.url or one.title + one.text)}")
            if one.guid in taken:
                continue
        taken[one.guid] = one
        yield one


def plain(value: Any) -> str:
    """A field as clean text, paragraphs kept: markup read, the unseen and orders to models taken out. Never fails."""
    if not isinstance(value, str) or not value:
        return ""
    value = value[:MAX_HTML]
    text = clean(_html_text(value) if _MARKUP.search(value) else value)
    if not suspicious_instructions(text):
        return text
    return clean("\n".join(defuse(part) for part in text.split("\n")))


def line(value: Any) -> str:
    """As `plain`, on one line."""
    return " ".join(plain(value).split())


def when(value: Any) -> datetime | None:
    """A date as written in the wild, as an aware moment; None for what cannot be read or lies over a day ahead."""
    found = moment(value[:100] if isinstance(value, str) else value)
    return found if found is not None and found <= now() + timedelta(days=1) else None


def address(value: Any, base: str) -> str | None:
    """An http(s) address, resolved against the feed's own; None for anything else. Nothing is fetched."""
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_ADDRESS:
        return None
    try:
        url = urljoin(base, re.sub(r"[\x00-\x20\x7f-\x9f]+", "", value) if "\n" in value else value.strip())
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return None
    return clean(url) if sound and not re.search(r"[\s\x00-\x1f\ud800-\udfff<>\"]", url) else None


def canonical(url: str) -> str:
    """One spelling for the addresses of one page, to compare by, not to fetch: no scheme, `www.`, `m.` or `amp.`, port,
    fragment, closing slash or tracking parameters; parameters in order of name."""
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=200)
        site = re.sub(r"^(?:www|m|mobile|amp)\.", "", (parts.hostname or "").lower().rstrip("."))
        port = parts.port
    except ValueError:
        return url
    query = urlencode(sorted(pair for pair in pairs if not _TRACKING.fullmatch(pair[0])))
    site = site if port in (None, 80, 443) else f"{site}:{port}"
    return urlunsplit(("", site, re.sub(r"/(?:index\.html?|amp/?)?$", "", parts.path), query, ""))


def host(url: str) -> str:
    """The host without `www.`; "" where there is none."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _html_text(markup: str) -> str:
    """What a reader would see of a piece of HTML, a line for each block."""
    from lxml import etree, html

    from weighup.retrieve.hidden import strip_hidden

    if "<" not in markup:
        return entities.unescape(markup)
    parser = html.HTMLParser(encoding="utf-8", remove_pis=True, no_network=True, huge_tree=False)
    data = f"<div>{markup}</div>".replace("\x00", "").encode("utf-8", "replace")
    try:
        tree: Any = html.document_fromstring(data, parser=parser)
        strip_hidden(tree)
    except (etree.LxmlError, ValueError, AssertionError, RecursionError) as error:
        logger.debug("a field's HTML was not read: %s", error)
        return entities.unescape(re.sub(r"<[^<>]*>", " ", markup))
    parts: list[str] = []
    for event, element in etree.iterwalk(tree, events=("start", "end")):
        if element.tag in _BLOCKS:
            parts.append("\n")
        if event == "start":
            parts.append((element.text or "").replace("\n", " "))
        elif element is not tree:
            parts.append((element.tail or "").replace("\n", " "))
    return re.sub(r"\s*\n\s*", "\n", "".join(parts))


def _lang(declared: Any, text: str) -> str | None:
    known = language(text)
    if known in ("en", "zh"):  # by script, which is surer for `zh` and which feeds' labels often get wrong
        named = re.match(r"[A-Za-z]{2,3}(?![A-Za-z])", declared.strip()) if isinstance(declared, str) else None
        return named[0].lower() if named and known == "en" else known
    named = re.match(r"[A-Za-z]{2,3}(?![A-Za-z])", declared.strip()) if isinstance(declared, str) else None
    return named[0].lower() if named else None
