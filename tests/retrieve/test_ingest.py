"""Files of every kind become documents; what cannot be read is named by file and line, and the rest goes on."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weighup.dates import parse_published
from weighup.errors import InvalidInput
from weighup.retrieve.ingest import files_in, read_documents
from weighup.retrieve.rowfiles import Broken
from weighup.retrieve.types import Document


def read(*paths: Path, **how: object) -> tuple[list[Document], list[Broken]]:
    broken: list[Broken] = []
    return list(read_documents(paths, on_broken=broken.append, **how)), broken  # type: ignore[arg-type]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_json_lines_with_broken_ones_between(tmp_path: Path) -> None:
    lines = [
        '{"text": "One.", "date": "2024-05-31", "url": "https://e.org/1", "title": "T", "id": 7, "credibility": 0.4}',
        "{broken",
        "",
        '["no object"]',
        '{"text": ""}',
        '{"text": "Bad date.", "date": "soon"}',
        '{"text": "Bad share.", "credibility": 3}',
        '{"text": 5}',
        '{"text": "Two.", "published": "Fri, 31 May 2024 18:00:00 GMT", "source": "S", "other": [1]}',
    ]
    path = written(tmp_path / "a.jsonl", "\ufeff" + "\n".join(lines))
    with path.open("ab") as file:
        file.write(b'\n{"text": "caf\xe9"}\n')
    documents, broken = read(path)
    assert documents == [
        Document(
            "One.",
            id="7",
            url="https://e.org/1",
            title="T",
            published=parse_published("2024-05-31"),
            source="a.jsonl",
            credibility=0.4,
        ),
        Document("Two.", published=datetime(2024, 5, 31, 18, tzinfo=UTC), source="S"),
    ]
    assert [item.line for item in broken] == [2, 4, 5, 6, 7, 8, 10]
    assert str(broken[0]).startswith(f"{path}:2: is not JSON")
    assert "not UTF-8" in broken[-1].reason


def test_an_endless_line_does_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighup.retrieve.rowfiles.MAX_LINE", 1_000)
    path = written(tmp_path / "a.jsonl", "x" * 10_500 + '\n{"text": "After."}\n')
    documents, broken = read(path)
    assert [item.text for item in documents] == ["After."]
    assert [item.line for item in broken] == [1]


def test_compressed_lines_and_one_cut_short(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(json.dumps({"text": f"Passage {i}."}).encode() + b"\n" for i in range(5_000)))
    assert len(read(written(tmp_path / "a.jsonl.gz", whole))[0]) == 5_000
    documents, broken = read(written(tmp_path / "b.jsonl.gz", whole[: len(whole) // 2]))
    assert 0 < len(documents) < 5_000
    assert "b.jsonl.gz" in str(broken[0])
    assert "cannot be read" in read(written(tmp_path / "c.jsonl.gz", b"plain"))[1][0].reason


def test_csv_and_tsv_by_header(tmp_path: Path) -> None:
    table = 'Title,TEXT,date\nA,"One, with\na line break.",2024-05-31\nB,,\nC,Two.,\n'
    documents, broken = read(written(tmp_path / "a.csv", table))
    assert [(item.title, item.text) for item in documents] == [("A", "One, with\na line break."), ("C", "Two.")]
    assert [item.line for item in broken] == [4]
    assert [item.text for item in read(written(tmp_path / "a.tsv", "text\tid\nOne, two.\t1\n"))[0]] == ["One, two."]
    spoilt = b"text\nGood.\ncaf\xe9\nAlso good.\n"
    documents, broken = read(written(tmp_path / "b.csv", spoilt))
    assert [item.text for item in documents] == ["Good.", "Also good."]
    assert [(item.line, item.reason) for item in broken] == [(3, "is not UTF-8; convert the file")]
    assert "no `text` field" in read(written(tmp_path / "c.csv", "a,b\n1,2\n"))[1][0].reason
    assert "no `text` field" in read(written(tmp_path / "d.csv", ""))[1][0].reason


def test_parquet_with_real_dates(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    moment = datetime(2024, 5, 31, 9, tzinfo=UTC)
    pq.write_table(pa.table({"text": ["One.", None, "Two."], "date": [moment, None, None], "n": [1, 2, 3]}), path)
    documents, broken = read(path)
    assert [(item.text, item.published) for item in documents] == [("One.", moment), ("Two.", None)]
    assert [item.line for item in broken] == [2]
    pq.write_table(pa.table({"words": ["x"]}), path)
    assert "no `text` column" in read(path)[1][0].reason
    assert "not readable Parquet" in read(written(path, b"PAR1 this is no such file PAR1"))[1][0].reason


def test_plain_text_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "report.txt", "\ufeffThe dam broke.\n")
    assert read(path)[0] == [Document("The dam broke.\n", id="report", title="report", source="report.txt")]
    monkeypatch.setattr("weighup.retrieve.textfiles.BLOCK", 100)
    text = "\n\n".join(f"Paragraph {i} on the déluge of that year." for i in range(40))
    documents, broken = read(written(tmp_path / "long.txt", text))
    assert broken == []
    assert "".join(item.text for item in documents) == text
    assert len(documents) > 5
    assert max(len(item.text) for item in documents) <= 200
    assert len({item.id for item in documents}) == len(documents)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "Größe".encode("latin-1"), "is not UTF-8"),
        ("a.txt", "The dam.".encode("utf-16"), "is UTF-16"),
        ("a.jsonl", '{"text": "x"}'.encode("utf-16"), "is UTF-16"),
        ("a.csv", b"\x89PNG\0\0\0", "is binary"),
        ("a.txt", b"\x7fELF\0\1", "is binary"),
        ("a.txt", b"", "is empty"),
        ("a.html", b"", "the page is empty"),
        ("a.html", b"<html><body></body></html>", "no article text"),
        ("a.pdf", b"%PDF-1.4 broken", "is not a readable PDF"),
        ("a.pdf", b"", "is not a readable PDF"),
        ("a.rss", b"<html><p>no feed</p></html>", "is not an RSS or Atom feed"),
        ("a.xml", b"\0\1\2", "is not an RSS or Atom feed"),
    ],
)
def test_what_is_not_what_it_says_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    good = written(tmp_path / "good.jsonl", '{"text": "Good."}')
    documents, broken = read(written(tmp_path / name, content), good)
    assert [item.text for item in documents] == ["Good."]
    assert len(broken) == 1
    assert name in broken[0].file
    assert reason in broken[0].reason


PAGE = """<html lang="en"><head><title>Dam breaks above village</title>
<meta property="og:url" content="https://news.example/dam"><meta property="og:site_name" content="News Example">
<meta property="article:published_time" content="2024-05-03T08:00:00Z">{more}</head><body><nav>Home Sport</nav>
<article><h1>Dam breaks above village</h1><p>The dam above the village broke on Thursday night after nine days of rain,
and the water reached the school before anybody could be warned by the council.</p><p>Engineers had reported cracks in
the wall in the spring, according to documents that were seen by this newspaper.</p></article></body></html>"""


def test_a_page_has_its_text_title_site_and_date(tmp_path: Path) -> None:
    [document] = read(written(tmp_path / "page.html", PAGE.format(more="")))[0]
    assert "The dam above the village broke" in document.text
    assert "Home Sport" not in document.text
    assert (document.title, document.url) == ("Dam breaks above village", "https://news.example/dam")
    assert document.source == "News Example"
    assert document.published == parse_published("2024-05-03T08:00:00Z")


def test_a_page_changed_later_is_dated_later(tmp_path: Path) -> None:
    more = '<meta property="article:modified_time" content="2024-05-09T08:00:00Z">'
    [document] = read(written(tmp_path / "page.html", PAGE.format(more=more)))[0]
    assert document.published == parse_published("2024-05-09T08:00:00Z")


def test_an_undated_page_is_undated_unless_the_caller_dates_it(tmp_path: Path) -> None:
    page = PAGE.format(more="").replace("2024-05-03T08:00:00Z", "")
    path = written(tmp_path / "page.html", page)
    assert read(path)[0][0].published is None
    given = parse_published("2024-06-01")
    assert read(path, published=given)[0][0].published == given


def pdf(text: str) -> bytes:
    """A one-page PDF with one line of text, and a creation date that must not count as a publication date."""
    stream = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Title(Report on the dam)/CreationDate(D:20200101000000Z)>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R/Info 6 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (
            size,
            table,
            size,
            len(out),
        )
    )


def test_pdf_text_and_title_but_not_its_file_date(tmp_path: Path) -> None:
    [document] = read(written(tmp_path / "r.pdf", pdf("The dam broke at night.")))[0]
    assert (document.text, document.title) == ("The dam broke at night.", "Report on the dam")
    assert document.published is None
    assert "scanned" in read(written(tmp_path / "empty.pdf", pdf("")))[1][0].reason


def test_saved_feeds(tmp_path: Path) -> None:
    feed = """<?xml version="1.0"?><rss version="2.0"><channel><title>News Example</title>
    <item><title>Dam breaks</title><link>https://e.org/1</link><description>&lt;p&gt;It broke.&lt;/p&gt;</description>
    <pubDate>Fri, 03 May 2024 10:00:00 GMT</pubDate></item>
    <item><title>Undated</title><description>Nobody knows when.</description></item></channel></rss>"""
    documents, broken = read(written(tmp_path / "f.rss", feed))
    assert broken == []
    assert [(item.title, item.source) for item in documents] == [
        ("Dam breaks", "News Example"),
        ("Undated", "News Example"),
    ]
    assert "It broke." in documents[0].text
    assert "<p>" not in documents[0].text
    assert [item.published for item in documents] == [datetime(2024, 5, 3, 10, tzinfo=UTC), None]


def test_folders_are_walked_in_order_and_other_files_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.txt", "1.JSONL", "picture.png", "b/3.csv.gz"):
        written(tmp_path / name, "x")
    assert [path.name for path in files_in([tmp_path])] == ["1.JSONL", "2.txt", "3.csv.gz"]


def test_paths_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        files_in([tmp_path / "none.txt"])
    with pytest.raises(InvalidInput, match=r"picture\.png.*known are"):
        files_in([written(tmp_path / "picture.png", "x")])
    with pytest.raises(InvalidInput, match="no files"):
        files_in([tmp_path / "picture.png"][:0])


def test_progress_tells_the_bytes_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "Some words here."}\n' * 3_000)
    told: list[int] = []
    read(path, on_bytes=told.append)
    assert sum(told) >= path.stat().st_size
