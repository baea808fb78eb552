"""Small inputs that unpack, nest or refer to themselves without end are refused or cut short, in bounded memory."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import sys
import zlib
from collections.abc import Callable

import pytest
from fuzz_inputs import RSS, bounded, parquet, pdf, readers

from weighup.errors import WeighupError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by what Linux offers")
READERS = readers()
UNPACKED = 250
"""Megabytes that a bomb unpacks to."""
ALLOWED = 200
"""Megabytes that a reader may take for it; less than the bomb."""


@functools.cache
def zeros(wbits: int, fill: bytes = b"\x00") -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    block = fill * (1_000_000 // len(fill))
    return b"".join(packer.compress(block) for _ in range(UNPACKED)) + packer.flush()


def entities(depth: int, breadth: int) -> str:
    lines = [f'<!ENTITY e{i} "{f"&e{i - 1};" * breadth}">' for i in range(1, depth)]
    return f'<!DOCTYPE rss [<!ENTITY e0 "{"a" * 100}">{"".join(lines)}]>'


def xml(doctype: str, body: str) -> bytes:
    return RSS.replace("<rss", f"{doctype}<rss", 1).replace("Bridge closed", body).encode()


def nested_pdf() -> bytes:
    """A page tree that is its own child, and a content stream with three layers of packing."""
    return pdf(b"BT ET").replace(b"/Kids[4 0 R]", b"/Kids[2 0 R]")


def layers() -> bytes:
    return pdf(stream=zlib.compress(zeros(15)), filters=b"[/FlateDecode/FlateDecode]")


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip reply": ("packed reply", lambda: b"gzip\n" + zeros(31)),
    "deflate reply": ("packed reply", lambda: b"deflate\n" + zeros(15)),
    "bare deflate reply": ("packed reply", lambda: b"deflate\n" + zeros(-15)),
    "gzip in gzip": ("packed reply", lambda: b"gzip, gzip\n" + gzip.compress(zeros(31))),
    "brotli reply": ("packed reply", lambda: b"br\n" + zeros(15)),
    "zstd reply": ("packed reply", lambda: b"zstd\n" + zeros(15)),
    "zip reply": ("page", lambda: b"application/zip\nPK\x03\x04\x00\x00" + zeros(-15)),
    "gzip feed": ("feed", lambda: zeros(31)),
    "gzip feed of tags": ("feed", lambda: zeros(31, b"<rss><item>")),
    "gzip rows": ("packed rows", lambda: zeros(31, b"a")),
    "gzip rows of brackets": ("packed rows", lambda: zeros(31, b"[")),
    "entities, ten to the tenth": ("feed", lambda: xml(entities(10, 10), "&e9;")),
    "entities, one long many times": ("feed", lambda: xml(entities(2, 1), "&e1;" * 100_000)),
    "entities in a saved feed": ("saved feed", lambda: xml(entities(10, 10), "&e9;")),
    "entities, quadratic": ("saved feed", lambda: xml(f'<!DOCTYPE r [<!ENTITY e "{"a" * 50_000}">]>', "&e;" * 20_000)),
    "a file as an entity": ("feed", lambda: xml('<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "&e;")),
    "an address as a DTD": ("saved feed", lambda: xml('<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd">', "x")),
    "deep XML": ("feed", lambda: b"<rss>" + b"<a>" * 300_000),
    "deep saved XML": ("saved feed", lambda: b"<rss>" + b"<a>" * 300_000),
    "many items": ("feed", lambda: RSS.replace("<item>", "<item>" * 200_000, 1).encode()),
    "many attributes": ("feed", lambda: RSS.replace("<item>", "<item " + "a='b' " * 100_000 + ">", 1).encode()),
    "deep HTML": ("HTML", lambda: b"<div>" * 300_000 + b"text"),
    "many elements": ("HTML", lambda: b"<p>a" * 500_000),
    "one long attribute": ("HTML", lambda: b"<p style='" + b"color:red;" * 400_000 + b"'>text"),
    "many selectors": ("HTML", lambda: b"<style>" + b".a .b .c{display:none}" * 50_000 + b"</style><p>text</p>" * 500),
    "PDF of zeros": ("PDF", lambda: pdf(stream=zeros(15))),
    "PDF of operators": ("PDF", lambda: pdf(stream=zeros(15, b"1 0 0 1 0 0 cm "))),
    "PDF of texts": ("PDF", lambda: pdf(b"(a) Tj " * 2_800_000)),
    "PDF of brackets": ("PDF", lambda: pdf(stream=zeros(15, b"["))),
    "PDF in layers": ("PDF", layers),
    "PDF of lines": ("PDF", lambda: pdf(stream=b"\x81A" * 3_000_000, filters=b"/RunLengthDecode")),
    "PDF that is its own page": ("PDF", nested_pdf),
    "saved PDF of operators": ("saved PDF", lambda: pdf(stream=zeros(15, b"1 0 0 1 0 0 cm "))),
    "deep JSON feed": ("feed", lambda: b'{"version":"https://jsonfeed.org/version/1","items":' + b"[" * 1_000_000),
    "deep JSON rows": ("JSONL rows", lambda: b'{"text":' + b"[" * 1_000_000 + b"\n" + b'{"a":' * 1_000_000),
    "a number without end": ("JSONL rows", lambda: b'{"text":"a","id":' + b"9" * 1_000_000 + b"}"),
    "deep lines": ("lines", lambda: b'{"text":' + b"[" * 99_000 + b"\n"),
    "CSV, a quote never closed": ("CSV rows", lambda: b'text\n"' + b"a,\n" * 3_000_000),
    "CSV of many columns": ("CSV rows", lambda: b"text" + b",a" * 1_000_000 + b"\n" + b"," * 1_000_000),
    "Parquet of one text": ("Parquet rows", lambda: same(1_000_000, 250)),
    "Parquet of one text, documents": ("Parquet documents", lambda: same(1_000_000, 250)),
}  # fmt: skip


def same(size: int, rows: int) -> bytes:
    """A table that says one long text many times: its file holds it once, packed."""
    return parquet({"text": ["a" * size] * rows}, compression="zstd", use_dictionary=True)


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """What is imported on first use takes memory that is not the bomb's."""
    for name, reader in READERS.items():
        if importlib.util.find_spec("feedparser") or name not in ("feed", "lines"):
            reader.read(reader.samples[0])


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_bounded(bomb: str) -> None:
    name, make = BOMBS[bomb]
    if name in ("feed", "lines"):
        pytest.importorskip("feedparser")
    data = make()
    cause, said = None, ""
    with bounded(megabytes=ALLOWED, seconds=100):
        try:
            said = str(READERS[name].read(data))
        except WeighupError as error:
            cause = error.__cause__
    assert not isinstance(cause, MemoryError)
    assert "root:" not in said
