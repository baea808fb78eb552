"""Receiving a reply without being overrun: size is bounded as declared, as it streams in, and as it unpacks.

A gzip bomb grows a thousandfold, so unpacking stops at the limit rather than after it. One layer of gzip or deflate is
asked for and understood; layers upon layers, and other packings, are refused.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weighup.errors import PageRefused, SourceUnavailable
from weighup.retrieve.guard import shown

if TYPE_CHECKING:
    import httpcore

# As browsers do (WHATWG Encoding): these names are used for supersets of what they say.
_SUPERSETS = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}
_NO_CHARSET = frozenset({"utf-7", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

BROKEN = 0.01
"""Share of unreadable characters up to which a page is only damaged, not in another charset."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A reply. `url` is the address finally reached, `headers` have lower-case names, `content` is unpacked;
    `content_type` is lower-case without parameters ("" if none was sent), `encoding` the charset declared in it."""

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    content_type: str = ""
    encoding: str | None = None

    @property
    def text(self) -> str:
        """The content as text: see `decode`."""
        return decode(self.content, self.encoding)

    def json(self) -> Any:
        """The content as JSON. Raises SourceUnavailable naming the address if it is not."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            raise SourceUnavailable(f"{shown(self.url)} answered with something that is not JSON") from None


def decode(content: bytes, *declared: str | None) -> str:
    """Bytes as text; never fails. A byte order mark counts first. What reads as UTF-8 is UTF-8, whatever is declared
    (other texts hardly ever read so by chance); then the declared charsets in order; then a guess."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(name, errors="replace")
    codecs_declared = [codec for codec in map(charset, declared) if codec]
    # Seven-bit texts are valid UTF-8 in any case, so there a declared ISO-2022-JP must be believed.
    for codec in [*codecs_declared, "utf-8"] if content.isascii() else ["utf-8", *codecs_declared]:
        try:
            return content.decode(codec)
        except UnicodeDecodeError:
            continue
    for codec in [*codecs_declared, "utf-8"]:
        text = content.decode(codec, errors="replace")
        if text.count("\ufffd") <= len(text) * BROKEN:
            return text
    from charset_normalizer import from_bytes

    # The start tells the charset; the whole might take long.
    guess = from_bytes(content[:50_000]).best()
    return content.decode(guess.encoding if guess else "cp1252", errors="replace")


def charset(declared: str | None) -> str | None:
    """The codec for a declared charset, None for one that is unknown, no charset (Python lists `zip`), or a disguise
    for markup (UTF-7)."""
    if not declared or len(declared) > 40:
        return None
    try:
        found = codecs.lookup(declared.strip("\"' "))
        "".encode(found.name)
    except (LookupError, ValueError, UnicodeError):
        return None
    return None if found.name in _NO_CHARSET else _SUPERSETS.get(found.name, found.name)


def receive(response: httpcore.Response, url: str, max_bytes: int, accept: tuple[str, ...] | None) -> Fetched:
    """Read a reply whose headers have come. Raises PageRefused for what is too large or of another type."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    content_type, encoding = _content_type(headers.get("content-type", ""))
    good = 200 <= response.status < 300
    if good and accept and content_type and not any(_covers(one, content_type) for one in accept):
        raise PageRefused(f"{shown(url)} was not read: its type is {content_type[:60]}, not {' or '.join(accept)}")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(url, max_bytes, f"it says it has {int(declared):,} bytes")
    content = b"" if 300 <= response.status < 400 else _body(response, url, headers, max_bytes)
    return Fetched(url, response.status, headers, content, content_type, encoding)


def _body(response: httpcore.Response, url: str, headers: Mapping[str, str], max_bytes: int) -> bytes:
    packing = headers.get("content-encoding", "").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise PageRefused(f"{shown(url)} was not read: it is packed as {packing[:60]!r}, which was not asked for")
    unpack = _Unpacker() if packing not in ("", "identity") else None
    parts: list[bytes] = []
    size = received = 0
    for chunk in response.iter_stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(url, max_bytes, "more than that came")
        try:
            part = unpack.feed(chunk, max_bytes - size + 1) if unpack else chunk
        except zlib.error:
            raise SourceUnavailable(f"{shown(url)} sent a damaged {packing} stream") from None
        size += len(part)
        if size > max_bytes:
            raise _too_large(url, max_bytes, f"it unpacks to more ({received:,} bytes came)")
        parts.append(part)
    if unpack and received and not unpack.done:
        raise SourceUnavailable(f"{shown(url)} broke off its {packing} stream")
    return b"".join(parts)


class _Unpacker:
    """gzip, zlib, and the bare deflate that some servers send by that name."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=47)  # 32 + 15: tells gzip from zlib by itself
        self._begun = False

    @property
    def done(self) -> bool:
        return self._zlib.eof

    def feed(self, chunk: bytes, room: int) -> bytes:
        """At most `room` bytes; what was held back comes out with the next chunk, and is then too much."""
        data = self._zlib.unconsumed_tail + chunk
        try:
            part = self._zlib.decompress(data, room)
        except zlib.error:
            if self._begun:
                raise
            self._zlib = zlib.decompressobj(wbits=-15)
            part = self._zlib.decompress(data, room)
        self._begun = True
        return part


def _content_type(header: str) -> tuple[str, str | None]:
    kind = header.partition(";")[0].strip().lower()
    named = re.search(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", header, re.IGNORECASE)
    return kind, named[1].lower() if named else None


def _covers(pattern: str, content_type: str) -> bool:
    pattern = pattern.partition(";")[0].strip().lower()
    return pattern in ("*/*", content_type) or (pattern.endswith("/*") and content_type.startswith(pattern[:-1]))


def _too_large(url: str, limit: int, why: str) -> PageRefused:
    return PageRefused(f"{shown(url)} was not read: the limit is {limit:,} bytes and {why}")
