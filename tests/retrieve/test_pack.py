"""The starter pack: what it holds, where it comes from, and that it is made once and whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weighup.dates import parse_bound, parse_published
from weighup.errors import StoreError
from weighup.retrieve.pack import VECTORS_BY, open_starter_pack, pack_documents
from weighup.retrieve.types import Document


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(pack_documents())


def test_every_document_is_attributed_and_dated(documents: list[Document]) -> None:
    assert len(documents) > 1_500
    dates = {parse_published("2020-12"), parse_published("2021-04")}
    for document in documents:
        assert document.title
        assert document.source == "Wikipedia"
        assert (document.url or "").startswith("https://en.wikipedia.org/wiki/")
        assert document.published in dates
        assert document.lang == "en"


def test_it_is_small_enough_to_ship() -> None:
    import weighup

    folder = Path(weighup.__file__).parent / "_data"
    assert sum(file.stat().st_size for file in folder.glob("starter_pack.*")) <= 10_000_000


def test_it_finds_something_and_keeps_to_the_bound(cache: Path) -> None:
    with open_starter_pack() as store:
        counted = store.stats()
        assert counted["passages"] == counted["vectors"]
        assert counted["encoder"] == VECTORS_BY
        [found] = store.search(["polar bear population"], limit=5)
        assert found[0].title == "Polar bear"
        assert store.search(["polar bear population"], before=parse_bound("2020-12-31")) == [[]]
        [early] = store.search(["polar bear population"], before=parse_bound("2021-01-01"))
        assert early
        assert all(item.published == parse_published("2020-12") for item in early)


def test_it_is_made_once_even_when_two_ask_at_the_same_time(cache: Path) -> None:
    code = "from weighup.retrieve.pack import open_starter_pack as o; s = o(); print(s.stats()['passages']); s.close()"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert said[0] == said[1]
    assert int(said[0]) > 15_000
    [made] = [path for path in (cache / "packs").iterdir() if path.suffix == ".sqlite"]
    written = made.stat().st_mtime_ns
    with open_starter_pack():
        assert made.stat().st_mtime_ns == written
    assert not list((cache / "packs").glob(".making-*"))


def test_a_cache_folder_that_cannot_be_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="WEIGHUP_CACHE_DIR"):
        open_starter_pack()


def test_no_claim_stands_in_it(
    documents: list[Document], news_rows: Callable[[str, str], list[dict[str, Any]]]
) -> None:
    sentences = {part for document in documents for part in document.text.split("\n\n")}
    for name, split in (("fool_me_twice", "valid"), ("fool_me_twice", "test"), ("climate_fever", "test")):
        rows = news_rows(name, split)
        evidence = {" ".join(item["text"].split()) for row in rows for item in row["evidence"]}
        claims = {" ".join(row["text"].split()) for row in rows} - evidence
        assert evidence <= sentences
        assert not claims & sentences


def test_the_vectors_are_the_embedded_encoders(models_ready: Path, documents: list[Document]) -> None:
    from weighup.models.onnx_encoder import OnnxEncoder
    from weighup.retrieve.writer import prepare

    encoder = OnnxEncoder.load()
    assert f"{encoder.name} {encoder.version}" == VECTORS_BY
    chosen = [prepare(document) for document in documents[::150]]
    asked = encoder.encode([item.passages()[0] for item in chosen])
    with open_starter_pack() as store:
        found = store.search(["zzzz"] * len(chosen), limit=1, vectors=asked)
    assert [one.text for [one] in found] == [item.text[slice(*item.spans[0])] for item in chosen]
