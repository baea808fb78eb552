"""What the fuzzers give to whom: every reader of what strangers write, true samples for each, and ways to spoil them.

A reader may read an input or refuse it by one of our own errors; anything else is a crash. `mutated` gives Hypothesis
strategies: a sample with bytes changed, cut, doubled and joined, and words of its format put where they do not belong.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import signal
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

URL = "https://news.example/a"


class Hang(BaseException):
    """An input took longer than it may; not an Exception, so that no reader can swallow it."""


@dataclass(frozen=True)
class Reader:
    """A reader of bytes, true samples of what it reads, and words of its format."""

    read: Callable[[bytes], object]
    samples: Sequence[bytes]
    words: Sequence[bytes]


def _feed(content: bytes) -> object:
    from weighup.serve.feeds.read import read_feed

    return read_feed(content, URL)


def _html(content: bytes) -> object:
    from weighup.retrieve.pages import read_html

    return read_html(content, URL)


def _fetched(content: bytes) -> object:
    from weighup.retrieve.pages import read_fetched
    from weighup.retrieve.receive import Fetched

    kind, _, rest = content.partition(b"\n")
    return read_fetched(Fetched(URL, 200, {}, rest, kind.decode("latin-1")[:60], "utf-8"))


def _pdf(content: bytes) -> object:
    from weighup.retrieve.pages import read_pdf

    return read_pdf(content, URL)


def _lines(content: bytes) -> object:
    from weighup.serve.feeds.folder import read_lines

    return list(read_lines(io.BytesIO(content), on_broken=lambda broken: None))


def _received(content: bytes) -> object:
    """An HTTP reply's body, packed as its first line says."""
    import httpcore

    from weighup.retrieve.receive import receive

    packing, _, body = content.partition(b"\n")
    chunks = iter([body[i : i + 65_536] for i in range(0, len(body), 65_536)])
    headers = [(b"Content-Type", b"text/html"), (b"Content-Encoding", packing[:40])]
    return receive(httpcore.Response(200, headers=headers, content=chunks), URL, 5_000_000, ("text/html",)).text


def _rows(suffix: str) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        from weighup.verify.row_files import read_rows

        with _file(content, suffix) as path:
            return sum(1 for _ in read_rows(path))

    return read


def _documents(suffix: str) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        from weighup.retrieve.ingest import read_documents

        with _file(content, suffix) as path:
            return sum(1 for _ in read_documents([path], on_broken=lambda broken: None))

    return read


@contextmanager
def _file(content: bytes, suffix: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder, f"input{suffix}")
        path.write_bytes(content)
        yield path


_ITEM = (
    "<item><title>Bridge closed</title><link>https://news.example/1</link><guid>1</guid><pubDate>Mon, 06 May 2024"
    " 10:00:00 GMT</pubDate><description>The bridge was closed on Monday &amp; stays shut.</description></item>"
)
RSS = f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><ttl>60</ttl>{_ITEM * 3}</channel></rss>'
ATOM = (
    '<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>N</title><entry><id>urn:1'
    '</id><title type="html">A &lt;b&gt;fire&lt;/b&gt;</title><link href="/2"/><updated>2024-05-06T10:00:00Z</updated>'
    "<content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><p>It burnt.</p></div></content></entry></feed>"
)
JSON_FEED = json.dumps(
    {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "N",
        "items": [
            {"id": "1", "url": URL, "content_html": "<p>It burnt.</p>", "date_published": "2024-05-06T10:00:00Z"}
        ],
    }
)
SITEMAP = (
    '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>https://news.example/a</loc><lastmod>'
    "2024-05-06</lastmod></url></urlset>"
)
_PARAGRAPHS = "".join(f"<p>On day {i} the council of Lyon met and said the bridge stays closed.</p>" for i in range(9))
HTML = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bridge</title><meta property='
    '"article:published_time" content="2024-05-06T10:00:00Z"><link rel="canonical" href="https://news.example/a">'
    '<style>.x{display:none}</style><script type="application/ld+json">{"@type":"NewsArticle","datePublished":'
    f'"2024-05-06"}}</script></head><body><main><article><h1>Bridge</h1>{_PARAGRAPHS}<p class="x" style="color:#fff">'
    "Hidden</p></article></main></body></html>"
)
ROWS = (
    json.dumps(
        {"text": "The bridge is closed.", "id": 1, "date": "2024-05-06", "evidence": [{"text": "It is.", "url": URL}]}
    )
    + "\n"
    + json.dumps({"text": "水是湿的。", "lang": "zh", "source": "news.example", "title": "W", "credibility": 0.5})
    + "\n"
)
CSV = (
    'text,id,date,source,evidence\n"The bridge, is ""closed"".",1,2024-05-06,news.example,"[{""text"": ""It is.""}]"\n'
)


def pdf(*contents: bytes, stream: bytes = b"", filters: bytes = b"/FlateDecode") -> bytes:
    """A small PDF with one page for each content; `stream` instead, as it stands and packed as `filters` say."""
    bodies = [zlib.compress(content) for content in contents] or [stream]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(len(bodies)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[" + kids + b"]/Count %d>>" % len(bodies),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for i, body in enumerate(bodies):
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</Font<</F1 3 0 R>>>>>>"
        objects.append(page % (5 + 2 * i))
        objects.append(b"<</Length %d/Filter %s>>stream\n" % (len(body), filters) + body + b"\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj" % number + one + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
        + table
        + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    )


def parquet(columns: dict[str, list[Any]], **options: Any) -> bytes:
    """A table as a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink, **options)
    return sink.getvalue()


_SHOWN = b"BT /F1 12 Tf 72 720 Td (The bridge of Lyon was closed on Monday, it was said.) Tj ET"
_XML_WORDS = (
    b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"&x;", b"&#0;", b"&#x110000;", b"<![CDATA[", b"]]>", b"<!--", b"-->",
    b"<?xml?>", b"<?x ?>", b"</item>", b"<item>", b"<entry>", b"<channel>", b"xmlns:a='b'", b"\x1f\x8b",
    b"encoding='utf-7'", b"</", b"<sitemapindex>", b"<loc>file:///etc/passwd</loc>",
    b"<pubDate>99999999999</pubDate>", b"\xff\xfe", b"\xed\xa0\x80",
)  # fmt: skip
_HTML_WORDS = (
    b"<table>", b"</p>", b"<p style='", b"<style>", b"</style>", b"{", b"}", b"@media", b"/*", b"<svg>", b"<math>",
    b"<!--", b"<template>", b"<script type='application/ld+json'>", b"{\"@graph\":[", b"&#x1F600",
    b"<meta charset=utf-16>", b"<a href='//", b"datetime='-1-1-1'", b"\x00", b"\xc0\x80", b"<font color=",
    b"<div>" * 50, b"<li>" * 50, b"<plaintext>", b"color:rgb(1", b"999999999999999", b"<time>32/13/2024</time>",
    b"![x](", b"<|im_start|>", b"\xe2\x80\xae",
)  # fmt: skip
_PDF_WORDS = (
    b"obj", b"endobj", b"stream", b"endstream", b"xref", b"trailer", b"<<", b">>", b"/Kids[2 0 R]", b"/Parent 4 0 R",
    b"/Count -1", b"/Filter[/FlateDecode/FlateDecode]", b"/Filter/LZWDecode", b"/Filter/ASCII85Decode",
    b"/Filter/RunLengthDecode", b"/DecodeParms<</Predictor 12/Columns 999999999>>", b"/Length 99999999",
    b"/Length 5 0 R", b"/Encrypt 1 0 R", b"/Prev 9", b"/ToUnicode 5 0 R", b"/Type/ObjStm/N 9/First 9", b"(\\999",
    b"<zz>", b"1e999", b"BI /W 9 ID", b"/XObject<</X 4 0 R>>", b"/X Do",
)  # fmt: skip
_JSON_WORDS = (
    b"[" * 60, b"]", b"{", b"}", b'"', b"\\ud800", b"\\u0000", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"\n",
    b"\r", b"\x00", b'"text":', b'"evidence":', b"null", b"true", b'"date":"0000-00-00"',
    b'"date":"9999-12-31T24:00"', b"\xef\xbb\xbf", b"\xff", b'"lang":7', b'"credibility":"x"', b'"url":"http://[::1"',
    b'"id":{}',
)  # fmt: skip
_CSV_WORDS = (
    b",",
    b'"',
    b'""',
    b"\n",
    b"\r",
    b"\x00",
    b"\t",
    b"text",
    b"\xff",
    b"=1+1",
    b"[[[",
    b'"[{',
    b"\xef\xbb\xbf",
)
_PARQUET_WORDS = (
    b"PAR1", b"\x15\x00", b"\x00" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80\x80\x80\x80\x10",
)  # fmt: skip
_PACK_WORDS = (
    b"gzip\n",
    b"deflate\n",
    b"br\n",
    b"gzip, gzip\n",
    b"\x1f\x8b\x08",
    b"\x78\x9c",
    b"\x00\x00\xff\xff",
    b"\xff" * 20,
)


def readers() -> dict[str, Reader]:
    """Every reader by name."""
    rows, csv = ROWS.encode(), CSV.encode()
    tables = [
        parquet(
            {"text": ["The bridge is closed."] * 3, "id": [1, 2, 3], "evidence": ['[{"text": "It is."}]', None, ""]}
        ),
        parquet({"text": ["a", None], "date": ["2024-05-06", "x"]}, compression="zstd"),
    ]
    packed = [b"gzip\n" + gzip.compress(HTML.encode()), b"deflate\n" + zlib.compress(HTML.encode()), b"\nplain"]
    feeds = [RSS.encode(), ATOM.encode(), JSON_FEED.encode(), SITEMAP.encode(), gzip.compress(SITEMAP.encode())]
    pages = [HTML.encode(), HTML.encode("utf-16")]
    files = [pdf(_SHOWN), pdf(_SHOWN, _SHOWN), pdf(stream=_SHOWN.hex().encode() + b">", filters=b"/ASCIIHexDecode")]
    kinds = [
        b"text/html\n" + HTML.encode(),
        b"application/pdf\n" + files[0],
        b"text/plain\nThe bridge is closed. " * 9,
        b"\n<p>x",
    ]
    return {
        "feed": Reader(_feed, feeds, (*_XML_WORDS, *_JSON_WORDS)),
        "saved feed": Reader(_documents(".xml"), feeds[:2], _XML_WORDS),
        "HTML": Reader(_html, pages, _HTML_WORDS),
        "saved HTML": Reader(_documents(".html"), pages, _HTML_WORDS),
        "page": Reader(_fetched, kinds, (*_HTML_WORDS, *_PDF_WORDS)),
        "PDF": Reader(_pdf, files, _PDF_WORDS),
        "saved PDF": Reader(_documents(".pdf"), files, _PDF_WORDS),
        "JSONL rows": Reader(_rows(".jsonl"), [rows], _JSON_WORDS),
        "packed rows": Reader(_rows(".jsonl.gz"), [gzip.compress(rows), gzip.compress(rows) * 2], _PACK_WORDS),
        "CSV rows": Reader(_rows(".csv"), [csv], _CSV_WORDS),
        "Parquet rows": Reader(_rows(".parquet"), tables, _PARQUET_WORDS),
        "JSONL documents": Reader(_documents(".jsonl"), [rows], _JSON_WORDS),
        "CSV documents": Reader(_documents(".csv"), [csv], _CSV_WORDS),
        "Parquet documents": Reader(_documents(".parquet"), tables, _PARQUET_WORDS),
        "lines": Reader(_lines, [rows, b"The bridge is closed.\n"], _JSON_WORDS),
        "packed reply": Reader(_received, packed, _PACK_WORDS),
    }


@st.composite
def mutated(draw: st.DrawFn, samples: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A sample spoilt in up to eight places, or words of the format on their own."""
    piece = st.one_of(st.sampled_from(list(words)), st.binary(max_size=12))
    if draw(st.integers(0, 9)) == 0:
        return b"".join(draw(st.lists(piece, max_size=40)))
    data = draw(st.sampled_from(list(samples)))
    for _ in range(draw(st.integers(0, 8))):
        size = len(data)
        at, other = draw(st.integers(0, size)), draw(st.integers(0, size))
        low, high = min(at, other), max(at, other)
        how = draw(st.sampled_from(["put", "put", "over", "cut", "double", "end", "repeat", "swap"]))
        if how == "put":
            data = data[:at] + draw(piece) + data[at:]
        elif how == "over":
            new = draw(piece)
            data = data[:at] + new + data[at + len(new) :]
        elif how == "cut":
            data = data[:low] + data[min(high, low + 200) :]
        elif how == "double":
            data = data[:high] + data[low:high][:5_000] + data[high:]
        elif how == "end":
            data = data[:at]
        elif how == "repeat":
            data = data[:at] + draw(piece) * draw(st.integers(1, 3_000)) + data[at:]
        else:
            data = data[:low] + draw(st.binary(min_size=1, max_size=4)) + data[low + 1 :]
        data = data[:200_000]
    return data


@contextmanager
def bounded(*, megabytes: int, seconds: float) -> Iterator[None]:
    """A block in which this process may map that much more memory, and take that long: MemoryError or Hang else.

    The main thread's, on Linux. What C code does at a stretch is only stopped when it returns.
    """
    page = resource.getpagesize()
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * page
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = mapped + megabytes * 1_000_000

    def late(number: int, frame: object) -> None:
        raise Hang(f"took over {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
