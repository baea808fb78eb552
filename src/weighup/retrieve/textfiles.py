"""Documents from files of prose: plain text, HTML pages, PDF, and RSS or Atom feeds saved to disk.

Pages are read by trafilatura and dated by htmldate, PDF by pypdf, feeds by feedparser. A page that states both when it
was published and when it was changed has the later date: its words may be as late as that. A PDF's own dates say when
the file was made, not when it was published, so a PDF is undated unless the caller dates it.
"""

from __future__ import annotations

import codecs
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from weighup.dates import published_or_none
from weighup.retrieve.rowfiles import Broken, not_text
from weighup.retrieve.types import Document

BLOCK = 1_000_000  # characters: a longer text becomes several documents, so that memory stays bounded
MAX_PAGE = 20_000_000  # bytes of HTML or of a feed
MAX_PDF = 200_000_000


def read_text(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """A UTF-8 text under its file's name; a long one in blocks cut at paragraphs."""
    if (refusal := not_text(file, name)) is not None:
        yield refusal
        return
    title = Path(name.removesuffix(".gz")).stem
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    held, number, done = "", 0, 0
    while True:
        raw = file.read(BLOCK)
        try:
            held += decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            yield Broken(name, None, f"is not UTF-8 from about byte {done + error.start}; convert it")
            return
        done += len(raw)
        while len(held) >= BLOCK:
            cut = next((at for mark in ("\n\n", "\n", " ") if (at := held.rfind(mark, BLOCK // 2, BLOCK)) > 0), BLOCK)
            number += 1
            yield Document(held[:cut], id=f"{title}#{number}", title=title)
            held = held[cut:]
        if not raw:
            break
    if held.strip():
        yield Document(held, id=f"{title}#{number + 1}" if number else title, title=title)
    elif not number:
        yield Broken(name, None, "is empty")


def read_html(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """A page's main text, title, site and date."""
    import trafilatura

    page = file.read(MAX_PAGE + 1)
    if len(page) > MAX_PAGE:
        yield Broken(name, None, f"is over {MAX_PAGE // 1_000_000} MB, too large for a page")
        return
    with _quiet("trafilatura", "htmldate"):
        found: Any = trafilatura.bare_extraction(page, with_metadata=True, include_comments=False)
        read: dict[str, Any] = {} if found is None else found.as_dict()
        text = read.get("text")
        if not text:
            yield Broken(name, None, "no article text was found in the page")
            return
        yield Document(
            text,
            id=read.get("url") or name,
            url=read.get("url"),
            title=read.get("title"),
            published=page_date(page),
            source=read.get("sitename") or read.get("hostname") or "",
            lang=read.get("language"),
        )


def page_date(page: bytes) -> datetime | None:
    """When a page's words were public at the latest: the later of the dates of publication and change it states."""
    from htmldate import find_date

    # Without the extensive search only what the page states counts, not any date that stands somewhere in it.
    written = [find_date(page, original_date=first, extensive_search=False) for first in (True, False)]
    dates = [moment for text in written if (moment := published_or_none(text)) is not None]
    return max(dates, default=None)


def read_pdf(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """The text of all pages, a blank line between them."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    file.seek(0, 2)
    if file.tell() > MAX_PDF:
        yield Broken(name, None, f"is over {MAX_PDF // 1_000_000} MB, too large to be read")
        return
    file.seek(0)
    try:
        with _quiet("pypdf"):
            pdf = PdfReader(file)
            if pdf.is_encrypted and not pdf.decrypt(""):
                yield Broken(name, None, "is protected by a password")
                return
            text = "\n\n".join(page.extract_text() for page in pdf.pages).strip()
            title = pdf.metadata.title if pdf.metadata else None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        # pypdf lets plain errors through on damaged files
        yield Broken(name, None, f"is not a readable PDF ({str(error)[:120] or type(error).__name__})")
        return
    if text:
        yield Document(text, id=Path(name).stem, title=str(title).strip() if title else Path(name).stem)
    else:
        yield Broken(name, None, "has no text (scanned pages?); run character recognition first")


def read_feed(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """Every entry of a saved feed."""
    import feedparser

    from weighup.retrieve.sources.feeds import document_from

    content = file.read(MAX_PAGE + 1)
    if len(content) > MAX_PAGE:
        yield Broken(name, None, f"is over {MAX_PAGE // 1_000_000} MB, too large for a feed")
        return
    parsed = feedparser.parse(content)
    if not parsed.entries:
        yield Broken(name, None, "has no entries" if parsed.get("version") else "is not an RSS or Atom feed")
        return
    publisher = str(parsed.feed.get("title") or Path(name).stem)
    for number, entry in enumerate(parsed.entries, start=1):
        yield document_from(entry, publisher) or Broken(name, None, f"entry {number} has no text")


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Hold back what a parser logs about a file's oddities: what matters is reported as Broken."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
