"""Nothing from the claim's day or after may be found: leaks are tried through every way into the results."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighup.dates import is_before, parse_bound, parse_published
from weighup.retrieve import schema, vectors
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document

TODAY = parse_bound("2024-05-10")


def near(vector: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    return (vector + np.random.default_rng(seed).normal(scale=0.05, size=(count, len(vector)))).astype(np.float32)


@pytest.mark.parametrize("published", ["2024-05-11", "2024-05-10", "2024-05-10T00:00:00Z", "2024-05", "2024", None])
def test_tomorrow_today_and_the_undated_do_not_get_through(published: str | None) -> None:
    moment = None if published is None else parse_published(published)
    direction = np.zeros((1, 8), np.float32)
    direction[0, 3] = 1
    with EvidenceStore.open() as store:
        store.add([Document("The dam broke at night.", published=moment)], vectors=direction)
        assert store.search(["dam broke"], before=TODAY) == [[]]
        assert store.search(["dam broke"], before=TODAY, vectors=direction) == [[]]
        assert store.search(["nothing alike"], before=TODAY, vectors=direction) == [[]]
        assert len(store.search(["dam broke"])[0]) == 1


@pytest.mark.parametrize("published", ["2024-05-09", "2024-05-09T23:59:59.999999Z", "2024-04", "2023"])
def test_yesterday_gets_through(published: str) -> None:
    with EvidenceStore.open() as store:
        store.add([Document("The dam broke at night.", published=parse_published(published))])
        assert len(store.search(["dam broke"], before=TODAY)[0]) == 1


def test_the_bound_is_exclusive_to_the_microsecond() -> None:
    with EvidenceStore.open() as store:
        store.add([Document("The dam broke.", published=TODAY)])
        assert store.search(["dam"], before=TODAY) == [[]]
        assert len(store.search(["dam"], before=TODAY + timedelta(microseconds=1))[0]) == 1


def test_a_bound_in_another_zone_is_the_same_moment() -> None:
    moment = datetime.fromisoformat("2024-05-10T01:00:00+08:00")  # 9 May, 17:00 UTC
    with EvidenceStore.open() as store:
        store.add([Document("The dam broke.", published=moment)])
        assert len(store.search(["dam"], before=TODAY)[0]) == 1
        assert store.search(["dam"], before=datetime.fromisoformat("2024-05-10T01:00:00+08:00")) == [[]]


def test_later_words_never_get_an_earlier_date() -> None:
    body = " ".join(f"word{(i * 37) % 991}" for i in range(200))
    with EvidenceStore.open() as store:
        store.add([Document(body + " Later forty were found dead.", published=parse_published("2024-06-01"))])
        store.add([Document(body, published=parse_published("2024-05-01"))])
        [found] = store.search(["forty found dead word0 word37"], before=TODAY)
        assert found
        assert all("forty" not in item.text for item in found)


def test_a_narrow_bound_loses_nothing_among_many_later_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighup.retrieve.lexical.MAX_POSTINGS", 100)
    later, earlier = parse_published("2024-06-01"), parse_published("2024-05-01")
    with EvidenceStore.open() as store:
        store.add(Document(f"storm flood warning {i}", published=later) for i in range(3_000))
        store.add(Document(f"storm flood warning {i} early", published=earlier) for i in range(12))
        for query in ("storm", "storm flood warning", "warning 77 storm"):
            [found] = store.search([query], before=TODAY, limit=12)
            assert len(found) == 12
            assert all(item.text.endswith("early") for item in found)


def test_a_narrow_bound_loses_nothing_in_sealed_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "SEGMENT", 12_000)
    chance = np.random.default_rng(0)
    later, earlier = parse_published("2024-06-01"), parse_published("2024-05-01")
    rows = chance.normal(size=(12_020, 16)).astype(np.float32)
    rows[6_000:6_015] = near(rows[0], 15)
    dated = [earlier if 6_000 <= i < 6_015 else later if i % 7 else None for i in range(12_020)]
    with EvidenceStore.open() as store:
        store.add((Document(f"p{i}", published=dated[i]) for i in range(12_020)), vectors=rows)
        query = rows[:1] / np.linalg.norm(rows[0])
        [found] = store.search(["nothing alike"], before=TODAY, limit=15, vectors=query)
        assert {item.text for item in found} == {f"p{i}" for i in range(6_000, 6_015)}
        assert store.search(["nothing alike"], before=parse_bound("2020"), vectors=query) == [[]]
        assert "p0" in {item.text for item in store.search(["nothing alike"], limit=16, vectors=query)[0]}


def test_an_earlier_copy_makes_a_sealed_passage_findable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "SEGMENT", 10_000)
    rows = np.random.default_rng(1).normal(size=(10_001, 8)).astype(np.float32)
    later = parse_published("2024-06-01")
    with EvidenceStore.open() as store:
        store.add((Document(f"p{i}", published=later) for i in range(10_001)), vectors=rows)
        query = rows[5:6] / np.linalg.norm(rows[5])
        assert store.search(["nothing alike"], before=TODAY, vectors=query) == [[]]
        store.add([Document("p5", published=parse_published("2024-05-01"))], vectors=rows[:1])
        [found] = store.search(["nothing alike"], before=TODAY, vectors=query)
        assert [item.text for item in found] == ["p5"]


moments = st.none() | st.datetimes(datetime(2024, 1, 1), datetime(2024, 1, 3), timezones=st.just(UTC))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["dam", "river", "dam river", "storm", "水坝 dam"]), moments), max_size=12),
    moments,
    st.sampled_from(["dam", "river dam", "storm", "zebra", "水坝"]),
    st.booleans(),
)
def test_no_result_breaks_the_bound_and_none_that_may_be_found_is_missing(
    written: list[tuple[str, datetime | None]], before: datetime | None, query: str, embedded: bool
) -> None:
    documents = [Document(f"{words} {i}", published=moment) for i, (words, moment) in enumerate(written)]
    rows = np.random.default_rng(2).normal(size=(len(documents), 4)).astype(np.float32)
    with EvidenceStore.open() as store:
        store.add(documents, vectors=rows if embedded else None)
        asked = np.ones((1, 4), np.float32) / 2 if embedded else None
        [found] = store.search([query], before=before, limit=50, vectors=asked)
    assert all(is_before(item.published, before) for item in found)
    terms = set(query.split())
    allowed = {d.text for d in documents if is_before(d.published, before)}
    if not embedded:
        allowed = {text for text in allowed if terms & set(text.split())}
    assert {item.text for item in found} == allowed


def test_what_another_connection_adds_is_found_by_words_never_seen_before(tmp_path: Path) -> None:
    with EvidenceStore.open(tmp_path / "e.sqlite") as one, EvidenceStore.open(tmp_path / "e.sqlite") as other:
        one.add([Document("Nothing of the kind.")])
        assert one.search(["zebra"]) == [[]]
        other.add([Document("A zebra crossed the road.")])
        assert [item.text for item in one.search(["zebra"])[0]] == ["A zebra crossed the road."]


class Raced(sqlite3.Connection):
    """A connection beside which another one makes the store, between `statement` and the one after it."""

    path: Path
    statement: str
    last = ""

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        if self.statement in self.last:
            self.statement = "never again"
            EvidenceStore.open(self.path).close()
        self.last = sql
        return super().execute(sql, *args)


@pytest.mark.parametrize("statement", ["user_version", "application_id", "sqlite_master"])
def test_a_new_store_that_another_process_makes_meanwhile_is_ours_too(statement: str, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "e.sqlite", isolation_level=None, factory=Raced)
    connection.path, connection.statement = tmp_path / "e.sqlite", statement
    schema.prepare(connection, connection.path, "mine")
    connection.close()


def test_a_new_store_that_another_process_is_making_is_waited_for(tmp_path: Path) -> None:
    maker = sqlite3.connect(tmp_path / "e.sqlite", isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, maker.execute, ["ROLLBACK"])
    timer.start()
    EvidenceStore.open(tmp_path / "e.sqlite").close()
    timer.join()
    maker.close()
