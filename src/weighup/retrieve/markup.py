"""XML from strangers, made safe before any parser sees it: bounded, of one encoding, and without a DTD.

A DTD is where entity bombs, external entities and parameter entities live, and no feed needs one: it is cut out, not
interpreted. Nesting and the number of tags are bounded. What is not well-formed is repaired by libxml2, so that
feedparser only ever sees well-formed UTF-8 (its lenient second parser is slow on hostile input).
"""

from __future__ import annotations

import html.entities
import io
import re
import zlib
from collections.abc import Mapping
from typing import Any

from weighup.errors import PageRefused
from weighup.retrieve.guard import shown
from weighup.retrieve.receive import decode

MAX_BYTES = 20_000_000
"""Bytes of a feed, unpacked."""

MAX_TAGS = 600_000
"""Tags of a feed, opening and closing ones: the largest sitemap (50,000 pages, sitemaps.org) has 500,000."""

MAX_DEPTH = 100
"""Elements within elements. RSS has four, XHTML within Atom perhaps twenty more."""

_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})["']""", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,400}\?>")
_DTD = re.compile(r"<!\s*(?:DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)\b[^>]{0,2000}>?", re.IGNORECASE)
# What XML 1.0, section 2.2, does not let stand in a document.
_NO_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAMED = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_BARE = re.compile(r"&(?!#\d{1,7};|#x[0-9A-Fa-f]{1,6};|(?:amp|lt|gt|quot|apos);)")
_SHIELDED = re.compile(r"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)", re.DOTALL)
_TAG = re.compile(r"<(/?)([A-Za-z_][^\s/>]{0,200})(?:[^<>]*?(/?)>)?")
_BLANKS = re.compile(r"\s{8,}")
_DOCTYPE_LENGTH = 20_000
_XML_ONLY = frozenset({"amp", "lt", "gt", "quot", "apos"})


def unpacked(content: bytes, url: str) -> bytes:
    """The bytes, unpacked where they are a gzip file (as sitemaps often are). Raises PageRefused for too many."""
    if content.startswith(b"\x1f\x8b"):
        unpack = zlib.decompressobj(wbits=31)
        try:
            content = unpack.decompress(content, MAX_BYTES + 1)
        except zlib.error:
            raise PageRefused(f"{shown(url)} was not read: it is a damaged gzip file") from None
    if len(content) > MAX_BYTES:
        raise PageRefused(f"{shown(url)} was not read: it has over {MAX_BYTES:,} bytes, too many for a feed")
    return content


def parsed_feed(
    content: bytes, url: str, encoding: str | None = None, *, headers: Mapping[str, str] | None = None
) -> Any:
    """What feedparser makes of a feed, with its `headers` of the reply. Raises PageRefused for what is no feed, or too
    large, too deep or too broken to be one."""
    import feedparser

    data = well_formed(as_text(unpacked(content, url), encoding), url)
    # A stream: feedparser opens bare text and bytes as a file or an address where they read as one.
    try:
        return feedparser.parse(io.BytesIO(data), response_headers=dict(headers or {}))
    except Exception as error:  # it lets plain errors of many kinds through on hostile feeds
        raise PageRefused(f"{shown(url)} was not read: it is no sound feed ({type(error).__name__})") from error


def as_text(content: bytes, encoding: str | None = None) -> str:
    """The document as text: by its byte order mark, its own declaration, its server's, or a guess. Never fails."""
    declared = _ENCODING.search(content[:400])
    return decode(content, declared[1].decode("ascii") if declared else None, encoding).lstrip("\ufeff")


def well_formed(text: str, url: str) -> bytes:
    """The document as well-formed UTF-8 without declaration or DTD. Raises PageRefused for one that is too large, too
    deep, or no XML whatever is done to it."""
    from lxml import etree

    if text.count("<") > MAX_TAGS:
        raise PageRefused(f"{shown(url)} was not read: it has over {MAX_TAGS:,} tags, too many for a feed")
    text = _BLANKS.sub("\n", _NO_CHARACTER.sub("", text))  # feedparser's search for a DTD is quadratic in blanks
    text = _named(_without_dtd(_DECLARATION.sub("", text)))
    _check_depth(text, url)
    data = text.strip().encode("utf-8", "replace")
    try:
        etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError):
        return _repaired(text, url)
    return data


def _repaired(text: str, url: str) -> bytes:
    from lxml import etree

    # Junk before the first tag and bare ampersands are the common faults; libxml2 mends the rest.
    start = text.find("<")
    if start < 0:
        raise PageRefused(f"{shown(url)} was not read: it is not XML")
    parts: list[str] = []
    end = start
    for shield in _SHIELDED.finditer(text, start):
        parts += [_BARE.sub("&amp;", text[end : shield.start()]), shield[0]]
        end = shield.end()
    parts.append(_BARE.sub("&amp;", text[end:]))
    try:
        root: Any = etree.fromstring("".join(parts).encode("utf-8", "replace"), _parser(recover=True))
    except (etree.LxmlError, ValueError):
        root = None
    if root is None:
        raise PageRefused(f"{shown(url)} was not read: it is not XML")
    mended: bytes = etree.tostring(root, encoding="utf-8")
    return mended


def _parser(*, recover: bool = False) -> Any:
    from lxml import etree

    return etree.XMLParser(
        recover=recover,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_pis=True,
        encoding="utf-8",
    )


def _without_dtd(text: str) -> str:
    """The document without its DOCTYPE, and with anything else that looks like a part of a DTD taken out as well:
    quoted in an article it is no loss, and no parser can then mistake it for one."""
    match = re.search(r"<!DOCTYPE", text[:10_000], re.IGNORECASE)
    if match:
        end = _end_of_doctype(text, match.end())
        text = text[: match.start()] + text[end:]
    return _DTD.sub(" ", text) if "<!" in text else text


def _end_of_doctype(text: str, at: int) -> int:
    """Just after the `>` that closes a DOCTYPE, its internal subset and quoted strings passed over."""
    depth = 0
    for token in re.finditer(r"\"[^\"]*\"|'[^']*'|<!--.*?-->|[\[\]>]", text[at : at + _DOCTYPE_LENGTH], re.DOTALL):
        if token[0] == "[":
            depth += 1
        elif token[0] == "]":
            depth -= 1
        elif token[0] == ">" and depth <= 0:
            return at + token.end()
    return at


def _named(text: str) -> str:
    """HTML's named characters as themselves: XML without a DTD knows five of them only."""

    def character(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name in _XML_ONLY else html.entities.html5.get(f"{name};", match[0])

    found = _NAMED.sub(character, text) if "&" in text else text
    return _NO_CHARACTER.sub("", found)


def _check_depth(text: str, url: str) -> None:
    open_tags: list[str] = []
    for tag in _TAG.finditer(_SHIELDED.sub("", text)):
        closing, name, empty = tag.groups()
        if empty:
            continue
        if not closing:
            open_tags.append(name)
            if len(open_tags) > MAX_DEPTH:
                raise PageRefused(f"{shown(url)} was not read: its elements lie over {MAX_DEPTH} deep in each other")
        elif name in open_tags[-8:]:  # tags left open, such as HTML's <br>, close with the one around them
            while open_tags.pop() != name:
                pass
