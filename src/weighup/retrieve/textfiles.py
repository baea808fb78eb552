"""Documents from files of prose: plain text, HTML pages, PDF, and RSS or Atom feeds saved to disk.

Pages are read by `pages` (trafilatura, htmldate), PDF by pypdf, feeds by feedparser. A page that was changed has the
date of the change: its words may be as late as that. A PDF's own dates say when the file was made, not when it was
published, so a PDF is undated unless the caller dates it.
"""

from __future__ import annotations

import codecs
import logging
import re
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from weighup.retrieve.rowfiles import Broken, not_text
from weighup.retrieve.types import Document

BLOCK = 1_000_000  # characters: a longer text becomes several documents, so that memory stays bounded
MAX_PAGE = 20_000_000  # bytes of HTML or of a feed
MAX_PDF = 200_000_000
MAX_PAGE_SECONDS = 30.0  # for one page of a PDF; a scanned book's takes a tenth of one
# A saved page's address, as it states it itself.
_ADDRESS = re.compile(
    rb"""<link[^>]{0,200}rel=["']?canonical["']?[^>]{0,200}href=["'](https?://[^"'\s>]{1,2000})"""
    rb"""|<meta[^>]{0,200}property=["']?og:url["']?[^>]{0,200}content=["'](https?://[^"'\s>]{1,2000})""",
    re.IGNORECASE,
)
# What pypdf lets through on damaged files, besides its own errors.
_PDF_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    NotImplementedError,
    zlib.error,
    struct.error,
)


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
    """A page's main text, title, site and date, read with the same care as one from the net."""
    from weighup.errors import PageRefused
    from weighup.retrieve import pages

    content = file.read(MAX_PAGE + 1)
    if len(content) > MAX_PAGE:
        yield Broken(name, None, f"is over {MAX_PAGE // 1_000_000} MB, too large for a page")
        return
    stated = _ADDRESS.search(content, 0, 200_000)
    url = next((part.decode("utf-8", "replace") for part in stated.groups() if part), None) if stated else None
    try:
        page = pages.read_html(content, url or name)
    except PageRefused as error:
        yield Broken(name, None, str(error).partition(" was not read: ")[2] or str(error))
        return
    yield Document(
        page.text,
        id=url or name,
        url=url,
        title=page.title,
        published=page.published,
        source=page.site or (page.source if url else ""),
        lang=page.lang,
    )


def read_pdf(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """The text of all pages, a blank line between them."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    from weighup.retrieve.pages import pdf_limits, until

    expected: tuple[type[Exception], ...] = (PyPdfError, *_PDF_ERRORS)
    file.seek(0, 2)
    if file.tell() > MAX_PDF:
        yield Broken(name, None, f"is over {MAX_PDF // 1_000_000} MB, too large to be read")
        return
    file.seek(0)
    try:
        with _quiet("pypdf"), pdf_limits():
            pdf = PdfReader(file)
            if pdf.is_encrypted and not pdf.decrypt(""):
                yield Broken(name, None, "is protected by a password")
                return
            ends = (until(time.monotonic() + MAX_PAGE_SECONDS) for _ in pdf.pages)
            pages = zip(pdf.pages, ends, strict=False)
            text = "\n\n".join(page.extract_text(visitor_operand_before=end) for page, end in pages).strip()
            title = pdf.metadata.title if pdf.metadata else None
    except expected as error:
        yield Broken(name, None, f"is not a readable PDF ({str(error)[:120] or type(error).__name__})")
        return
    if text:
        yield Document(text, id=Path(name).stem, title=str(title).strip() if title else Path(name).stem)
    else:
        yield Broken(name, None, "has no text (scanned pages?); run character recognition first")


def read_feed(file: BinaryIO, name: str) -> Iterator[Document | Broken]:
    """Every entry of a saved feed."""
    from weighup.errors import PageRefused
    from weighup.retrieve.markup import parsed_feed
    from weighup.retrieve.sources.feeds import document_from

    content = file.read(MAX_PAGE + 1)
    if len(content) > MAX_PAGE:
        yield Broken(name, None, f"is over {MAX_PAGE // 1_000_000} MB, too large for a feed")
        return
    try:
        parsed = parsed_feed(content, name)
    except PageRefused as error:
        yield Broken(name, None, f"is not an RSS or Atom feed: {str(error).partition(' was not read: ')[2] or error}")
        return
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
