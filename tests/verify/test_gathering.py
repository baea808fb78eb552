"""Candidate passages: the claim's own first, then what was found, and never anything from its date on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import SourceUnavailable
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document, Evidence
from weighup.verify.counting import trusting
from weighup.verify.gathering import Gatherer, Wanted, best_own

BOUND = datetime(2024, 5, 1, tzinfo=UTC)
CLAIM = "The mayor of Lyon resigned over the bridge contract"


def _document(text: str, published: datetime | None, **more: str) -> Document:
    return Document(text=text, published=published, source="test.example", **more)


class Shelf:
    """A source that hands out what it has, whatever the bound: a plug-in that leaks."""

    name = "shelf"

    def __init__(self, *documents: Document) -> None:
        self.documents = documents

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> Sequence[Document]:
        return self.documents


class Down:
    name = "down"

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> Sequence[Document]:
        raise SourceUnavailable("down: answered 503 four times")


def test_own_evidence_comes_first_and_the_store_fills_up() -> None:
    own = Evidence(text="Lyon's mayor resigned.", origin="row")
    with EvidenceStore.open() as store:
        store.add([_document("The mayor of Lyon resigned in April over a bridge contract.", BOUND - timedelta(days=3))])
        found = Gatherer([store], [], None, 3).gather([Wanted(CLAIM, "en", BOUND, (own,))])[0]
    assert [p.origin for p in found.passages] == ["row", "store"]
    assert found.queries == [CLAIM]


def test_enough_own_evidence_asks_nobody() -> None:
    own = tuple(Evidence(text=f"{CLAIM} {i}", origin="row") for i in range(3))
    found = Gatherer([], [Down()], None, 3).gather([Wanted(CLAIM, "en", BOUND, own)])[0]
    assert len(found.passages) == 3
    assert not found.unavailable


def test_a_store_and_a_leaking_source_cannot_bring_in_tomorrow() -> None:
    tomorrow = _document(f"{CLAIM}, it emerged.", BOUND + timedelta(days=1))
    same_moment = _document(f"{CLAIM}, now.", BOUND)
    undated = _document(f"{CLAIM}, undated.", None)
    before = _document(f"{CLAIM}, said in April.", BOUND - timedelta(days=9))
    with EvidenceStore.open() as store:
        store.add([tomorrow, same_moment, undated])
        gatherer = Gatherer([store], [Shelf(tomorrow, same_moment, undated, before)], None, 5)
        found = gatherer.gather([Wanted(CLAIM, "en", BOUND, ())])[0]
    assert [p.text for p in found.passages] == [before.text]


def test_a_source_that_is_down_is_told_and_the_others_go_on() -> None:
    good = _document(f"{CLAIM}, said in April.", BOUND - timedelta(days=9))
    found = Gatherer([], [Down(), Shelf(good)], None, 5).gather([Wanted(CLAIM, "en", BOUND, ())])[0]
    assert len(found.passages) == 1
    assert "503" in found.unavailable["down"]


def test_what_is_not_about_the_claim_is_left_out() -> None:
    other = _document("Rainfall in Peru was above average.", BOUND - timedelta(days=9))
    assert Gatherer([], [Shelf(other)], None, 5).gather([Wanted(CLAIM, "en", BOUND, ())])[0].passages == []


@given(st.lists(st.text(min_size=1, max_size=30), max_size=12), st.integers(1, 6))
def test_best_own_keeps_order_and_limit(texts: list[str], limit: int) -> None:
    own = tuple(Evidence(text=t, origin="row") for t in texts)
    kept = best_own(CLAIM, own, limit, trusting())
    assert len(kept) == min(limit, len(own))
    places = [next(i for i, o in enumerate(own) if o is k) for k in kept]
    assert places == sorted(places)


def test_the_page_on_which_a_claim_was_made_is_no_evidence_for_it() -> None:
    text, before = "The mayor of Lyon resigned in April over a bridge contract.", BOUND - timedelta(days=3)
    with EvidenceStore.open() as store:
        store.add([_document(text, before, url="https://a.example/1")])
        store.add([_document(f"{text} He said so at noon.", before, url="https://b.example/2")])
        want = Wanted(CLAIM, "en", BOUND, (), url="https://a.example/1")
        found = Gatherer([store], [], None, 3).gather([want])[0]
    assert [p.url for p in found.passages] == ["https://b.example/2"]
