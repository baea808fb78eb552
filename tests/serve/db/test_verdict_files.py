"""Verdicts out to a file and in again: nothing lost on the way, nothing doubled, broken lines told by number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from db_samples import NOON, check, later

from weighup.errors import InvalidInput
from weighup.serve.db import Database
from weighup.serve.db.exchange import PARQUET
from weighup.serve.db.records import Feedback

KINDS = pytest.mark.parametrize("ending", ["jsonl", "parquet"])


def fill(db: Database, count: int = 5) -> None:
    done = db.verdicts.record(
        [check(f"Claim {i} 桥", i / count, seen=(f"e{i}",), next_check=NOON, lang="en") for i in range(count)]
    )
    db.verdicts.record([check("Claim 1 桥", 0.9, key="b", seen=("new",), at=later(hours=1), reason="new_evidence")])
    db.verdicts.record([check("Another's", tenant="other")])
    db.feedback.add("", [Feedback(done[0].id, "real", "ana", "saw it", NOON), Feedback(done[0].id, "fake", "bob")])


def everything(db: Database, tenant: str = "") -> object:
    found = db.verdicts.page(tenant, limit=1_000).verdicts
    ids = [one.id for one in found]
    return found, db.verdicts.timelines(tenant, ids), db.feedback.of(tenant, ids)


@KINDS
def test_everything_arrives_and_a_second_time_adds_nothing(
    new_url: Callable[[], str], tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"out.{ending}"
    with Database.open(new_url()) as one, Database.open(new_url()) as other:
        fill(one)
        assert one.transfer.export("", path) == 5
        report = other.transfer.import_file("", path)
        assert (report.seen, report.verdicts_added, report.checks_added, report.labels_added) == (5, 5, 6, 2)
        assert everything(other) == everything(one)
        again = other.transfer.import_file("", path)
        assert (again.seen, again.verdicts_added, again.checks_added, again.labels_added) == (5, 0, 0, 0)
        assert everything(other) == everything(one)
        assert [e.what for e in other.audit.read("")] == ["feedback.import"] * 2
        assert other.verdicts.count("other") == {}


@KINDS
def test_the_file_is_the_same_from_either_database(new_url: Callable[[], str], tmp_path: Path, ending: str) -> None:
    """By way of SQLite and back: a team that moves to PostgreSQL takes everything along."""
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    with Database.open(new_url()) as one, Database.open(tmp_path / "lite.sqlite") as lite:
        fill(one)
        one.transfer.export("", first)
        lite.transfer.import_file("", first)
        lite.transfer.export("", second)
        assert everything(lite) == everything(one)
    if ending == "jsonl":
        assert [json.loads(line) for line in first.open()] == [json.loads(line) for line in second.open()]


def test_what_is_known_takes_over_newer_checks_and_keeps_its_own(new_url: Callable[[], str], tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Database.open(new_url()) as one, Database.open(new_url()) as other:
        (mine,) = other.verdicts.record([check("Claim", 0.1, key="mine", at=later(hours=2))])
        other.verdicts.record([check("Older", 0.1, key="mine", at=later(hours=-2))])
        one.verdicts.record([check("Claim", 0.9), check("Older", 0.9)])
        one.transfer.export("", path)
        report = other.transfer.import_file("", path)
        assert (report.verdicts_added, report.checks_added) == (0, 2)
        found = {v.claim: v.probability for v in other.verdicts.page("").verdicts}
        assert found == {"Claim": 0.1, "Older": 0.9}
        assert [e.check_key for e in other.verdicts.timelines("", [mine.id])[0]] == ["a", "mine"]


def test_another_tenants_verdicts_are_copied_not_taken(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    db.verdicts.record([check("Claim", tenant="a")])
    db.transfer.export("a", path)
    assert db.transfer.import_file("b", path).verdicts_added == 1
    (one,), (other,) = db.verdicts.page("a").verdicts, db.verdicts.page("b").verdicts
    assert one.id != other.id
    assert one.verdict == other.verdict


def test_broken_lines_are_told_by_number_and_the_others_come_in(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fill(db, 3)
    db.transfer.export("", path)
    good = path.read_text().splitlines()
    wrong = json.loads(good[1])
    wrong["probability"] = 7
    path.write_bytes(
        "\n".join([good[0], "{", "", "[" * 5_000, json.dumps(wrong), '"text"']).encode()
        + b"\n\xff\xfe\n"
        + good[2].encode()
    )
    report = db.transfer.import_file("new", path)
    assert [line for line, _ in report.broken] == [2, 4, 5, 6, 7]
    assert "probability" in report.broken[2][1]
    assert (report.seen, report.verdicts_added, report.broken_total) == (7, 2, 5)


def test_a_line_without_end_is_not_read_into_memory(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    db.verdicts.record([check("Claim")])
    db.transfer.export("", path)
    monkeypatch.setattr("weighup.serve.db.exchange.MAX_LINE", 100_000)
    path.write_bytes(b"x" * 350_000 + b"\n" + path.read_bytes())
    report = db.transfer.import_file("new", path)
    assert report.broken == [(1, "is longer than 100,000 bytes")]
    assert report.verdicts_added == 1


@pytest.mark.parametrize("name", ["out.csv", "none.jsonl", "none.parquet", "text.parquet", "other.parquet"])
def test_a_file_that_cannot_be_read_at_all_is_refused(tmp_path: Path, name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "text.parquet").write_text("none")
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "other.parquet")
    with Database.open(tmp_path / "serve.sqlite") as db, pytest.raises(InvalidInput, match=name):
        db.transfer.import_file("", tmp_path / name)


def test_a_broken_row_of_parquet_is_told_by_number(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "out.parquet"
    with Database.open(tmp_path / "serve.sqlite") as db:
        fill(db, 3)
        db.transfer.export("", path)
        rows = pq.read_table(path).to_pylist()
        rows[1]["timeline"] = "{"
        pq.write_table(type(pq.read_table(path)).from_pylist(rows, schema=PARQUET), path)
        report = db.transfer.import_file("new", path)
        assert [line for line, _ in report.broken] == [2]
        assert report.verdicts_added == 2


def test_an_export_that_fails_leaves_the_old_file(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    fill(db)

    def fails(_count: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.transfer.export("", path, on_progress=fails)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == ["out.jsonl"]
    with pytest.raises(InvalidInput, match="cannot be written"):
        db.transfer.export("", tmp_path / "no" / "out.jsonl")


def test_more_than_a_batch_goes_through(new_url: Callable[[], str], tmp_path: Path) -> None:
    with Database.open(new_url()) as one, Database.open(new_url()) as other:
        one.verdicts.record([check(f"Claim {i}") for i in range(450)])
        assert one.transfer.export("", tmp_path / "out.parquet") == 450
        assert other.transfer.import_file("", tmp_path / "out.parquet").verdicts_added == 450
        assert other.verdicts.count("") == {"fake": 450}
