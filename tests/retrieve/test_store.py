"""The store keeps documents once, finds them, survives what goes wrong, and says so."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from weighup.errors import InvalidInput, StoreError
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document
from weighup.retrieve.writer import AddReport


def day(number: int, hour: int = 12) -> datetime:
    return datetime(2024, 5, number, hour, tzinfo=UTC)


def article(seed: int = 0, extra: str = "") -> str:
    """A text long enough to be compared nearly."""
    words = [f"word{(i * 37 + seed * 101) % 991}" for i in range(200)]
    return " ".join(words) + extra


def texts(store: EvidenceStore, query: str, **how: object) -> list[str]:
    return [item.text for item in store.search([query], **how)[0]]  # type: ignore[arg-type]


def test_what_was_added_is_found_with_its_origin() -> None:
    document = Document(
        "The dam above the village broke at night.",
        id="a1",
        url="https://example.org/dam",
        title="Dam breaks",
        published=day(3),
        source="Example News",
        lang="en",
        credibility=0.7,
    )
    with EvidenceStore.open() as store:
        assert store.add([document, Document("The football club won again.")]).added == 2
        [best, *_] = store.search(["broken dam"])[0]
    assert best.text == document.text
    assert (best.url, best.title, best.published) == (document.url, document.title, document.published)
    assert (best.source, best.credibility, best.origin, best.query) == ("Example News", 0.7, "store", "broken dam")
    assert best.score == 1.0


def test_queries_are_answered_in_order_and_blank_ones_with_nothing() -> None:
    with EvidenceStore.open() as store:
        store.add([Document("Dam news."), Document("Football news.")])
        found = store.search(["football", " ", "dam", "zebra"])
    assert [[item.text for item in one] for one in found] == [["Football news."], [], ["Dam news."], []]


def test_limit_is_kept_and_must_be_positive() -> None:
    with EvidenceStore.open() as store:
        store.add(Document(f"storm number {i}") for i in range(30))
        assert len(store.search(["storm"], limit=7)[0]) == 7
        assert len(store.search(["storm"], limit=100)[0]) == 30
        with pytest.raises(InvalidInput, match="limit"):
            store.search(["storm"], limit=0)


def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    documents = [Document(article(i), title=f"t{i}", published=day(1 + i)) for i in range(5)]
    with EvidenceStore.open(tmp_path / "s.sqlite") as store:
        store.add(documents)
        before = store.stats()
        report = store.add(documents)
        after = store.stats()
    assert report == AddReport(duplicates=5)
    assert {key: after[key] for key in ("documents", "passages")} == {
        key: before[key] for key in ("documents", "passages")
    }


def test_empty_documents_are_counted_not_kept() -> None:
    with EvidenceStore.open() as store:
        assert store.add([Document(""), Document(" \n\u200b ")]) == AddReport(empty=2)
        assert store.stats()["documents"] == 0


def test_an_exact_copy_dated_earlier_gives_its_date_and_origin() -> None:
    with EvidenceStore.open() as store:
        store.add([Document("The dam broke.", url="https://late.example", published=day(9))])
        report = store.add([Document("The dam  BROKE.", url="https://early.example", published=day(2))])
        assert (report.duplicates, report.redated) == (1, 1)
        [found] = store.search(["dam"], before=day(5))[0]
        assert (found.url, found.published) == ("https://early.example", day(2))


def test_an_exact_copy_dated_later_or_undated_changes_nothing() -> None:
    with EvidenceStore.open() as store:
        store.add([Document("The dam broke.", published=day(2))])
        assert store.add([Document("The dam broke.", published=day(9)), Document("The dam broke.")]).redated == 0
        assert store.search(["dam"])[0][0].published == day(2)


def test_near_copies_collapse_onto_the_earlier() -> None:
    with EvidenceStore.open() as store:
        store.add([Document(article(), published=day(2))])
        assert store.add([Document(article(extra=" Correction."), published=day(3))]).near_duplicates == 1
        assert store.add([Document(article(extra=" Share this."))]).near_duplicates == 1
        assert store.add([Document(article(seed=5), published=day(3))]).added == 1
        assert store.stats()["documents"] == 2


def test_an_earlier_near_copy_is_kept_beside_and_only_one_of_them_returned() -> None:
    with EvidenceStore.open() as store:
        store.add([Document(article(extra=" Updated: forty dead."), published=day(9))])
        assert store.add([Document(article(), published=day(2))]).added == 1
        [under] = {item.published for item in store.search([article()[:60]], before=day(5))[0]}
        assert under == day(2)
        assert len({item.published for item in store.search([article()[:60]])[0]}) == 1
        assert store.stats()["clusters"] == 1


def test_short_texts_that_differ_by_a_word_are_both_kept() -> None:
    with EvidenceStore.open() as store:
        assert store.add([Document("10 dead in dam break."), Document("12 dead in dam break.")]).added == 2


def test_overlapping_windows_are_returned_once() -> None:
    text = " ".join(f"Sentence {i} tells of the great dam and of the people who lived below it then." for i in range(9))
    with EvidenceStore.open() as store:
        store.add([Document(text)])
        found = texts(store, "great dam people")
    assert len(found) >= 2
    assert all(not set(a.split(". ")) & set(b.split(". ")) for a in found for b in found if a is not b)


def test_chinese_is_found() -> None:
    with EvidenceStore.open() as store:
        store.add([Document("北京市卫健委通报新增病例十二例。"), Document("上海今日天气晴朗。")])
        assert texts(store, "新增病例") == ["北京市卫健委通报新增病例十二例。"]


def test_text_that_no_file_can_hold_is_mended() -> None:
    with EvidenceStore.open() as store:
        store.add([Document("The dam \ud800broke \x00here.", title="\udfff", source="x\ud800", url="http://a/\ud800")])
        [found] = store.search(["dam"])[0]
    assert found.text == "The dam broke here."


def test_documents_may_be_a_stream_and_progress_is_told() -> None:
    told: list[int] = []

    def stream() -> Iterator[Document]:
        for i in range(45_000):
            yield Document(f"passage {i}")

    with EvidenceStore.open() as store:
        store.add(stream(), on_progress=lambda step=1, *, note=None: told.append(step))
        assert store.stats()["passages"] == 45_000
    assert sum(told) == 45_000
    assert len(told) > 1


def test_a_failing_stream_keeps_whole_batches_and_the_store_goes_on() -> None:
    def stream() -> Iterator[Document]:
        for i in range(30_000):
            yield Document(f"passage {i}")
        raise RuntimeError("the feed broke")

    with EvidenceStore.open() as store:
        with pytest.raises(RuntimeError, match="feed broke"):
            store.add(stream())
        kept = store.stats()["documents"]
        assert isinstance(kept, int)
        assert 0 < kept < 30_000
        assert store.add([Document("passage 29999")]).added == 1


def test_export_reads_back_the_same(tmp_path: Path) -> None:
    from weighup.retrieve.ingest import read_documents

    documents = [
        Document("One.", id="1", published=datetime(2024, 5, 1, 10, 0, 0, 123456, tzinfo=UTC), source="s", lang="en"),
        Document("Two.\n\nMore.", id="2", url="https://e.org", title="T", credibility=0.5, source="s"),
        Document("三。", id="3", published=datetime(2024, 5, 1, 23, 59, 59, tzinfo=UTC), source="s"),
    ]
    for name in ("out.jsonl", "out.jsonl.gz"):
        with EvidenceStore.open() as store:
            store.add(documents)
            assert store.export(tmp_path / name) == 3
        assert list(read_documents([tmp_path / name], on_broken=pytest.fail)) == documents
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.gz"]
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8").splitlines()[2])["date"] == "2024-05-01"


def test_many_threads_search_while_one_adds(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    with EvidenceStore.open(tmp_path / "s.sqlite") as store:
        store.add(Document(f"storm report {i}", published=day(1)) for i in range(200))
        stop = threading.Event()

        def look() -> None:
            try:
                while not stop.is_set():
                    assert len(store.search(["storm report"], before=day(2))[0]) == 10
            except (StoreError, AssertionError, sqlite3.Error) as error:
                failures.append(error)

        threads = [threading.Thread(target=look) for _ in range(6)]
        for thread in threads:
            thread.start()
        for part in range(5):
            store.add(Document(f"flood report {part} {i}", published=day(3)) for i in range(400))
        stop.set()
        for thread in threads:
            thread.join()
        assert store.stats()["documents"] == 2_200
    assert failures == []


def test_another_process_sees_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with EvidenceStore.open(path) as first, EvidenceStore.open(path) as second:
        first.add([Document("The dam broke.")])
        assert texts(second, "dam") == ["The dam broke."]
        second.add([Document("The dam was mended.")])
        assert len(texts(first, "dam")) == 2


def test_a_temporary_store_leaves_nothing_behind() -> None:
    store = EvidenceStore.open()
    folder = store.path.parent
    store.add([Document("gone soon")])
    store.close()
    store.close()
    assert not folder.exists()
    with pytest.raises(StoreError, match="closed"):
        store.search(["gone"])


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "junk.sqlite"
    junk.write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(StoreError, match=r"junk\.sqlite.*not an evidence store"):
        EvidenceStore.open(junk)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE shopping(item)")
    connection.close()
    with pytest.raises(StoreError, match=r"other\.sqlite.*another program"):
        EvidenceStore.open(other)
    with pytest.raises(StoreError, match="is a folder"):
        EvidenceStore.open(tmp_path)
    with pytest.raises(StoreError, match="there is no evidence store"):
        EvidenceStore.open(tmp_path / "none.sqlite", create=False)
    assert not (tmp_path / "none.sqlite").exists()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    EvidenceStore.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match=r"newer weighup.*99"):
        EvidenceStore.open(path)


def test_a_damaged_store_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with EvidenceStore.open(path) as store:
        store.add(Document(f"storm report number {i}") for i in range(3_000))
        store.settle()
    content = bytearray(path.read_bytes())
    for at in range(8_192, len(content), 4_096):
        content[at : at + 2_000] = os.urandom(2_000)
    path.write_bytes(content)

    def use() -> None:
        with EvidenceStore.open(path) as store:
            store.search(["storm report"])
            store.add([Document("one more storm")])

    with pytest.raises(StoreError, match=r"s\.sqlite: is damaged"):
        use()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=r"s\.sqlite.*--store"):
            EvidenceStore.open(tmp_path / "s.sqlite")
    finally:
        tmp_path.chmod(0o700)


def test_a_place_where_no_folder_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be read or written"):
        EvidenceStore.open(tmp_path / "file" / "s.sqlite")


def test_a_full_disk_undoes_the_batch(tmp_path: Path) -> None:
    with EvidenceStore.open(tmp_path / "s.sqlite") as store:
        store.add([Document("The dam broke.")])
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count={pages + 20}")  # SQLite's own way of running out of room
        with pytest.raises(StoreError, match="disk is full"):
            store.add(Document(article(i)) for i in range(2_000))
        store._writer.execute("PRAGMA max_page_count=1000000000")
        assert store.stats()["documents"] == 1
        assert store.add([Document("The dam was mended.")]).added == 1


def test_a_settled_store_is_one_file_that_may_be_copied(tmp_path: Path) -> None:
    with EvidenceStore.open(tmp_path / "a.sqlite") as store:
        store.add([Document("The dam broke.")])
        store.settle()
        shutil.copy(tmp_path / "a.sqlite", tmp_path / "b.sqlite")
    with EvidenceStore.open(tmp_path / "b.sqlite") as copy:
        assert texts(copy, "dam") == ["The dam broke."]
