"""Reading a page: its main text, title and dates, from HTML, PDF or plain text, as something a stranger wrote.

What a reader would not see is taken out first (`hidden`), the main text is found by trafilatura (Barbaresi 2021,
https://aclanthology.org/2021.acl-demo.15, favouring precision), and what reads as an order to a language model is
taken out of what is left (`hostile`). `Page.warnings` says what was done. Dates: see `pagedates`.
"""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urljoin, urlsplit

from weighup.errors import PageRefused, SourceUnavailable
from weighup.retrieve.guard import shown
from weighup.retrieve.hostile import defuse, suspicious_instructions
from weighup.retrieve.receive import Fetched, decode
from weighup.texts import clean, language, shorten

if TYPE_CHECKING:
    from lxml.html import HtmlElement

    from weighup.retrieve.web import WebClient

PAGE_TYPES = (
    "text/html",
    "application/xhtml+xml",
    "text/plain",
    "text/markdown",
    "application/pdf",
    "application/x-pdf",
)
"""Content types that hold an article."""

MAX_ELEMENTS = 40_000
"""Elements of a page. News pages have 1,000 to 10,000; finding the main text takes 0.1 to 0.2 s per 1,000."""

FAST_FROM = 15_000
"""Elements from which trafilatura's second and third opinions, which cost most of the time, are not asked."""

MAX_TEXT = 400_000
"""Characters of text kept, about 65,000 words; the rest is cut off with a warning."""

MAX_PDF_PAGES = 60
MAX_PDF_SECONDS = 20.0
MAX_PDF_STREAM = 20_000_000
"""Bytes of one of its streams, unpacked."""

MAX_PDF_WORDS = 400_000
"""Operators and operands of one page's stream; a page of dense text has 20,000."""

SHORTEST = 25
"""Characters; less is a headline's stub, not a text to judge by."""

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_WALL = re.compile(
    r"enable (?:javascript|cookies)|javascript is (?:disabled|required)|verify (?:that )?you are (?:a )?human"
    r"|checking (?:if the site connection|your browser)|unusual traffic|are you a robot|complete the captcha"
    r"|(?:accept|manage) (?:all )?cookies|subscribe to (?:continue|read)|(?:sign|log) in to (?:continue|read)"
    r"|^access (?:to this page )?(?:is |has been )?denied"
    r"|^(?:404\b.{0,20})?page (?:not found|cannot be found|doesn.t exist)",
    re.IGNORECASE | re.MULTILINE,
)
_WALL_LENGTH = 500
# lxml reads these in names of attributes, and then cannot give the attributes back.
_NO_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Page:
    """A page as read. `url` is the address finally reached; `text` is clean and defused.

    `published` is when these words were public at the latest: the later of the dates of publication and of change that
    the page states, so that an article rewritten tomorrow is not yesterday's. `first_published` is the former alone.
    Both are aware UTC, a bare day is its last second, None means undated; never in the future.
    `source` is the host without `www.`; `site` what the site calls itself, on its own word only. `lang` is `en`, `zh` …
    """

    url: str
    text: str
    title: str | None = None
    published: datetime | None = None
    first_published: datetime | None = None
    source: str = ""
    site: str | None = None
    lang: str | None = None
    canonical: str | None = None
    warnings: tuple[str, ...] = ()


def read_page(url: str, client: WebClient) -> Page:
    """Fetch and read a page, under all limits of the client, robots.txt included.

    Raises AddressRefused, PageRefused (too large, wrong type, no text to read, 4xx), or SourceUnavailable (5xx, 429, no
    answer).
    """
    fetched = client.get(url, accept=PAGE_TYPES, headers={"Accept-Language": "en, zh;q=0.8, *;q=0.5"})
    if fetched.status == 429 or fetched.status >= 500:
        raise SourceUnavailable(f"{shown(url)} answered with HTTP status {fetched.status}; try again later")
    if not 200 <= fetched.status < 300:
        raise PageRefused(f"{shown(url)} was not read: the site answered with HTTP status {fetched.status}")
    return read_fetched(fetched)


def read_fetched(fetched: Fetched) -> Page:
    """Read a reply by what it is, whatever it says it is. Raises PageRefused if it is nothing that can be read."""
    content, kind = fetched.content, fetched.content_type
    if b"%PDF-" in content[:1024]:
        return read_pdf(content, fetched.url)
    if "pdf" in kind:
        raise PageRefused(f"{shown(fetched.url)} was not read: it says it is a PDF and is not")
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    if not marked and b"\x00" in content[:4096]:
        raise PageRefused(f"{shown(fetched.url)} was not read: it is binary data")
    is_html = "html" in kind or (not kind and re.search(rb"<(?:!doctype html|html|head|body)\b", content[:2048], re.I))
    if is_html:
        return read_html(content, fetched.url, encoding=fetched.encoding)
    return _page(fetched.url, decode(content, fetched.encoding))


def read_html(content: bytes | str, url: str, *, encoding: str | None = None) -> Page:
    """Read an HTML page at hand. `encoding` is the charset its server declared. Raises PageRefused."""
    text = content if isinstance(content, str) else decode(content, encoding, _declared(content))
    tree = _tree(text, url)
    from weighup.retrieve.hidden import strip_hidden
    from weighup.retrieve.pagedates import page_dates

    dates = page_dates(tree, url)
    title, site = _title(tree), _meta(tree, "og:site_name")
    canonical = _canonical(tree, url)
    lang = _lang(tree)
    warnings: list[str] = []
    if dates.future:
        warnings.append("the page states a date in the future; it was not used")
    unseen = strip_hidden(tree)
    if unseen >= SHORTEST:
        warnings.append(f"{unseen:,} characters that a reader would not see were left out")
    page = _page(url, _main_text(tree), title=title, site=site, warnings=warnings)
    return Page(
        page.url,
        page.text,
        page.title,
        published=dates.last,
        first_published=dates.first,
        source=page.source,
        site=page.site,
        lang=lang or page.lang,
        canonical=canonical,
        warnings=page.warnings,
    )


def read_pdf(content: bytes, url: str) -> Page:
    """The text of a PDF, undated: its own dates tell when the file was made. Raises PageRefused."""
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it reports each oddity of a file; we report the file
    end = time.monotonic() + MAX_PDF_SECONDS
    warnings: list[str] = []
    parts: list[str] = []
    try:
        with pdf_limits():
            pdf = PdfReader(io.BytesIO(content))
            if pdf.is_encrypted and not pdf.decrypt(""):
                raise PageRefused(f"{shown(url)} was not read: the PDF is protected by a password")
            pages = len(pdf.pages)
            for number in range(min(pages, MAX_PDF_PAGES)):
                if time.monotonic() > end or sum(map(len, parts)) > MAX_TEXT:
                    break
                parts.append(pdf.pages[number].extract_text(visitor_operand_before=until(end)))
            title = pdf.metadata.title if pdf.metadata else None
    except (PageRefused, MemoryError):
        raise
    except Exception as error:  # pypdf lets plain errors of many kinds through on damaged or hostile files
        reason = shorten(" ".join(str(error).split()), 100) or type(error).__name__
        raise PageRefused(f"{shown(url)} was not read: it is not a readable PDF ({reason})") from error
    if len(parts) < pages:
        warnings.append(f"only the first {len(parts)} of {pages} PDF pages were read")
    return _page(url, "\n\n".join(parts), title=str(title) if title else None, warnings=warnings)


def pdf_limits() -> AbstractContextManager[object]:
    """pypdf's own limits for one stream, lower than it has them (from version 7 on): it makes objects of every word."""
    import pypdf

    narrow: Any = getattr(pypdf, "apply_configuration", None)
    if narrow is None:
        return nullcontext()
    return cast(
        AbstractContextManager[object],
        narrow(
            zlib_maximum_output_length=MAX_PDF_STREAM,
            lzw_maximum_output_length=MAX_PDF_STREAM,
            run_length_maximum_output_length=MAX_PDF_STREAM,
            array_based_stream_maximum_output_length=MAX_PDF_STREAM,
            stream_parsing_work_maximum_count=MAX_PDF_WORDS,
        ),
    )


def until(end: float) -> Callable[..., None]:
    """What pypdf calls before each operator of a page: raises ValueError after `end`, by the monotonic clock."""

    def check(*_: object) -> None:
        if time.monotonic() > end:
            raise ValueError("a page of it takes too long to read")

    return check


def _page(
    url: str, raw: str, *, title: str | None = None, site: str | None = None, warnings: list[str] | None = None
) -> Page:
    """What all kinds of pages share: cleaning, cutting, defusing, and saying no to what is no article."""
    said = list(warnings or [])
    text = clean(raw)
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT]
        said.append(f"the text was cut at {MAX_TEXT:,} characters")
    text, orders = _defused(text)
    if orders:
        said.append(f"{orders} passages that read as orders to a language model were taken out")
    if len(text) < SHORTEST:
        raise PageRefused(f"{shown(url)} was not read: no article text was found on it")
    if len(text) < _WALL_LENGTH and _WALL.search(text):
        raise PageRefused(f"{shown(url)} was not read: it shows a wall, not an article ({shorten(text, 60)!r})")
    known = language(text)
    return Page(
        url,
        text,
        _label(title, 300),
        source=(urlsplit(url).hostname or "").removeprefix("www."),
        site=_label(site, 80),
        lang=known if known in ("en", "zh") else None,
        warnings=tuple(said),
    )


def _defused(text: str) -> tuple[str, int]:
    """The text without orders to a model, its paragraphs kept, and how many were taken out."""
    orders = 0
    kept: list[str] = []
    for paragraph in text.split("\n"):
        found = suspicious_instructions(paragraph)
        orders += len(found)
        kept.append(defuse(paragraph) if found else paragraph)
    return clean("\n".join(kept)), orders


def _label(value: str | None, limit: int) -> str | None:
    """A title or name on one line; what reads as an order is taken out of it too."""
    text = " ".join(defuse(clean(value or "")).split())
    return shorten(text, limit) or None


def _tree(text: str, url: str) -> HtmlElement:
    from lxml import etree, html

    # As bytes: lxml refuses text that carries an encoding declaration of its own.
    parser = html.HTMLParser(encoding="utf-8", remove_pis=True, no_network=True, huge_tree=False)
    data = _NO_CHARACTER.sub("", text).encode("utf-8", errors="replace")
    try:
        tree: Any = html.document_fromstring(data, parser=parser) if data.strip() else None
    except (etree.LxmlError, ValueError) as error:
        raise PageRefused(f"{shown(url)} was not read: it cannot be parsed ({shorten(str(error), 80)})") from None
    if tree is None:
        raise PageRefused(f"{shown(url)} was not read: the page is empty")
    elements = sum(1 for _ in tree.iter())
    if elements > MAX_ELEMENTS:
        raise PageRefused(f"{shown(url)} was not read: it has {elements:,} elements; the limit is {MAX_ELEMENTS:,}")
    return tree


def _main_text(tree: HtmlElement) -> str:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # what matters is said in PageRefused
    fast = sum(1 for _ in tree.iter()) > FAST_FROM
    found: Any = trafilatura.bare_extraction(
        tree, favor_precision=True, include_comments=False, with_metadata=False, fast=fast
    )
    return str(found.text or "") if found is not None else ""


def _declared(content: bytes) -> str | None:
    """The charset that the page itself declares near its start."""
    found = _META_CHARSET.search(content[:4096])
    return found[1].decode("ascii", errors="replace") if found else None


def _title(tree: HtmlElement) -> str | None:
    title = _meta(tree, "og:title")
    for name in ("h1", "title"):
        if title is None and (element := next(tree.iter(name), None)) is not None:
            title = "".join(element.itertext()).strip() or None
    return title


def _meta(tree: HtmlElement, name: str) -> str | None:
    for element in tree.iter("meta"):
        if (element.get("property") or element.get("name") or "").lower() == name:
            return (element.get("content") or "").strip() or None
    return None


def _lang(tree: HtmlElement) -> str | None:
    declared = re.match(r"[A-Za-z]{2,3}(?=[-_]|$)", (tree.get("lang") or tree.get("xml:lang") or "").strip())
    return declared[0].lower() if declared else None


def _canonical(tree: HtmlElement, url: str) -> str | None:
    """The page's own address as it states it, believed only within its site: no borrowing of another's name."""
    for element in tree.iter("link"):
        if "canonical" in (element.get("rel") or "").lower().split():
            try:
                found = urljoin(url, (element.get("href") or "").strip())
                host, own = _site(found), _site(url)
            except ValueError:
                return None
            same = bool(host) and (host == own or host.endswith(f".{own}") or own.endswith(f".{host}"))
            return found if same and found.startswith(("http://", "https://")) else None
    return None


def _site(url: str) -> str:
    return re.sub(r"^(?:www|m|mobile|amp)\.", "", (urlsplit(url).hostname or "").lower())
