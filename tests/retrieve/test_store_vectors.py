"""Hybrid search: vectors handed in or made, whose they are, and the sealed index against exact search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from weighup.errors import InvalidInput, StoreError
from weighup.models.types import TokenStates
from weighup.retrieve import vectors
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document
from weighup.retrieve.vectors import quantise

MEANINGS = (("dam", "barrage", "weir"), ("doctor", "physician"), ("storm", "gale"))


class Synonyms:
    """A small encoder that knows three meanings: synonyms share a direction."""

    def __init__(self, version: str = "1") -> None:
        self.name, self.version, self.dimension = "synonyms", version, 4
        self.seen = 0

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> NDArray[np.float32]:
        self.seen += len(texts)
        rows = np.full((len(texts), 4), 1e-3, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for i, words in enumerate(MEANINGS):
                row[i] += sum(word in text.lower() for word in words)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates:
        return TokenStates(np.zeros((len(texts), 1, 4), np.float32), np.ones((len(texts), 1), np.bool_))


def best(store: EvidenceStore, query: str) -> str:
    return store.search([query])[0][0].text


def test_meaning_finds_what_words_do_not(tmp_path: Path) -> None:
    documents = [Document("The barrage gave way."), Document("A gale is coming."), Document("The physician left.")]
    with EvidenceStore.open(tmp_path / "s.sqlite", encoder=Synonyms()) as store:
        assert store.add(documents).vectors == 3
        assert best(store, "dam") == "The barrage gave way."
        assert best(store, "storm") == "A gale is coming."
    with EvidenceStore.open(tmp_path / "s.sqlite") as words_only:
        assert words_only.search(["dam"]) == [[]]
        assert best(words_only, "barrage") == "The barrage gave way."


def test_the_title_is_part_of_the_meaning() -> None:
    with EvidenceStore.open(encoder=Synonyms()) as store:
        store.add([Document("It gave way at night.", title="Weir"), Document("It is coming.", title="Gale")])
        assert best(store, "dam") == "It gave way at night."


def test_copies_are_not_embedded_again() -> None:
    encoder = Synonyms()
    with EvidenceStore.open(encoder=encoder) as store:
        store.add([Document("The dam broke."), Document("The dam broke.")])
        store.add([Document("the dam broke.")])
    assert encoder.seen == 1


def test_vectors_of_different_encoders_are_not_mixed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.sqlite"
    with EvidenceStore.open(path, encoder=Synonyms("1")) as store:
        store.add([Document("The barrage gave way.")])
    with EvidenceStore.open(path, encoder=Synonyms("2")) as store:
        with pytest.raises(StoreError, match=r"vectors of synonyms 1.*not of synonyms 2"):
            store.add([Document("A gale is coming.")])
        assert store.search(["dam"]) == [[]]
        assert "searching words only" in caplog.text


def test_vectors_that_do_not_fit_are_refused() -> None:
    with EvidenceStore.open() as store:
        two = [Document("One dam."), Document("Two dams.")]
        with pytest.raises(InvalidInput, match="only 1 rows"):
            store.add(two, vectors=np.ones((1, 4), np.float32))
        assert store.stats()["documents"] == 0
        with pytest.raises(InvalidInput, match="1 rows are left"):
            store.add(two, vectors=np.ones((3, 4), np.float32))
        with pytest.raises(InvalidInput, match="shape"):
            store.add(two, vectors=np.ones(3, np.float32))
        with pytest.raises(StoreError, match="4 dimensions"):
            store.add(two, vectors=np.ones((2, 5), np.float32))
        with pytest.raises(InvalidInput, match="5 dimensions"):
            store.search(["dam"], vectors=np.ones((1, 5), np.float32))
        with pytest.raises(InvalidInput, match="2 rows for 1 queries"):
            store.search(["dam"], vectors=np.ones((2, 4), np.float32))


def test_documents_without_vectors_are_still_found_by_words(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with EvidenceStore.open(path) as store:
        store.add([Document("The weir held.")])
    with EvidenceStore.open(path, encoder=Synonyms()) as store:
        store.add([Document("The barrage gave way.")])
        assert {item.text for item in store.search(["weir"])[0]} == {"The weir held.", "The barrage gave way."}


def test_int8_keeps_direction() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 384)).astype(np.float32)
    small = quantise(rows).astype(np.float32)
    cosine = (rows * small).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(small, axis=1)
    assert cosine.min() > 0.9995
    assert not quantise(np.zeros((1, 8), np.float32)).any()
    assert quantise(np.zeros((0, 8), np.float32)).shape == (0, 8)


def test_sealed_and_unsealed_rows_agree_with_exact_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vectors, "SEGMENT", 20_000)
    chance = np.random.default_rng(3)
    centres = chance.normal(size=(300, 32))
    rows = (centres[chance.integers(300, size=45_000)] + chance.normal(scale=0.5, size=(45_000, 32))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    path = tmp_path / "s.sqlite"
    with EvidenceStore.open(path) as store:
        store.add((Document(f"p{i}") for i in range(45_000)), vectors=rows)
        assert store.stats()["vectors"] == 45_000
    with EvidenceStore.open(path) as store:  # as another process finds it
        shared = 0
        for query in rows[::1_500]:
            found = store.search(["nothing alike"], vectors=query[None])[0]
            exact = np.argsort(-(rows @ query))[:10]
            shared += len({item.text for item in found} & {f"p{i}" for i in exact})
    assert shared / (10 * len(rows[::1_500])) > 0.9


@pytest.mark.parametrize("sealed", [False, True])
def test_the_cosine_to_the_query_is_told(sealed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "SEGMENT", 200 if sealed else 1_000)
    encoder = Synonyms()
    texts = [f"The {('barrage', 'physician', 'gale', 'weir and gale')[i % 4]} of place {i}." for i in range(201)]
    with EvidenceStore.open(encoder=encoder) as store:
        store.add(Document(text) for text in texts)
        [found] = store.search(["barrage gale"], limit=20)
    query = encoder.encode(["barrage gale"])[0]
    assert len(found) == 20
    for item in found:
        assert item.similarity == pytest.approx(float(encoder.encode([item.text])[0] @ query), abs=0.02)


def test_a_cosine_is_told_only_where_the_vectors_are_the_encoders_own(caplog: pytest.LogCaptureFixture) -> None:
    rows = Synonyms().encode(["The barrage gave way."])
    with EvidenceStore.open() as store:
        store.add([Document("The barrage gave way.")], vectors=rows)
        assert store.search(["barrage"], vectors=rows)[0][0].similarity is None
    with EvidenceStore.open(encoder=Synonyms("2")) as store, caplog.at_level("WARNING", logger="weighup"):
        store.add([Document("The barrage gave way.")], vectors=rows, made_by="synonyms 1")
        assert store.search(["dam"], vectors=rows) == [[]], "these vectors are another encoder's"
    assert "searching words only" in caplog.text
