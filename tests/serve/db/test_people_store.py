"""Human labels, the audit log that nobody can rewrite, and retention that spares what people labelled."""

from __future__ import annotations

import uuid

import pytest
from db_samples import NOON, check, later
from sqlalchemy import text

from weighup.errors import InvalidInput, StoreError
from weighup.serve.db import Database
from weighup.serve.db.records import AuditEntry, Feedback, FeedItemOutcome, ItemOutcome, NewAlert, NewItem, Poll


def test_a_label_is_kept_once_and_written_into_the_log(db: Database) -> None:
    (done,) = db.verdicts.record([check("Claim", tenant="t")])
    one = Feedback(done.id, "real", "ana", note="saw it", at=NOON, id=uuid.uuid4())
    assert db.feedback.add("t", [one]) == db.feedback.add("t", [one, one])[:1] == [one.id]
    assert db.feedback.of("t", [done.id]) == [[one]]
    assert db.feedback.since("t", NOON) == [one]
    assert db.feedback.since("t", later(hours=1)) == db.feedback.since("other") == []
    (entry,) = db.audit.read("t")
    assert (entry.who, entry.what, entry.subject) == ("ana", "feedback", f"verdict:{done.id}")
    assert entry.before == {"label": "fake"}
    assert entry.after == {"label": "real", "note": "saw it", "feedback": str(one.id)}
    assert db.audit.read("t", subject="verdict:0") == db.audit.read("other") == []


def test_a_label_on_nothing_or_anothers_is_refused(db: Database) -> None:
    (done,) = db.verdicts.record([check("Claim", tenant="t")])
    for bad in (Feedback(uuid.uuid4(), "real", "ana"), Feedback(done.id, "perhaps", "ana")):  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="feedback"):
            db.feedback.add("t", [Feedback(done.id, "real", "ana"), bad])
    with pytest.raises(InvalidInput, match="no verdict"):
        db.feedback.add("other", [Feedback(done.id, "real", "ana")])
    assert db.feedback.since("t") == []
    assert db.audit.read("t") == []


def test_the_log_is_read_back_in_pages(db: Database) -> None:
    numbers = db.audit.write([AuditEntry("ana", "did", f"thing:{i}", at=NOON, after={"n": i}) for i in range(5)])
    assert numbers == sorted(numbers)
    first = db.audit.read("", limit=2)
    assert [e.subject for e in first] == ["thing:4", "thing:3"]
    assert [e.subject for e in db.audit.read("", before=first[-1].id)] == ["thing:2", "thing:1", "thing:0"]


ANY = ["UPDATE audit SET who = 'eve'", "DELETE FROM audit", "INSERT INTO audit SELECT * FROM audit"]
REPLACE = "INSERT OR REPLACE INTO audit SELECT id, tenant, at, 'eve', what, subject, before, after FROM audit"
REWRITES = {"sqlite": [*ANY, REPLACE], "postgresql": [*ANY, "TRUNCATE audit"]}


def test_the_database_refuses_to_change_the_log(db: Database) -> None:
    db.audit.write([AuditEntry("ana", "did", "thing:1")])
    for statement in REWRITES[db.kind]:
        with pytest.raises(StoreError), db._sessions.writing() as session:
            session.execute(text(statement))
        assert [e.who for e in db.audit.read("")] == ["ana"], statement


def fill(db: Database) -> None:
    old = [check(f"Old {i}", next_check=NOON) for i in range(7)]
    done = db.verdicts.record([*old, check("Labelled"), check("Young", at=later(days=20))])
    db.verdicts.record([check("Old 6", key="again", at=later(days=20))])
    db.feedback.add("", [Feedback(done[7].id, "real", "ana")])
    (feed,) = db.feeds.add("", ["https://example.org/feed"], now=NOON)
    items = [NewItem(str(i), "text") for i in range(3)]
    db.feeds.polled([Poll(feed.id, items)], now=NOON)
    taken = db.feeds.take_items("w", limit=2, now=NOON)
    db.feeds.finish_items([FeedItemOutcome(i.id, "checked", check("Old 1", key=i.check_key)) for i in taken])
    db.stories.put("", "Story", [taken[0].id], now=NOON)
    db.jobs.submit("", [{}, {}], now=NOON)
    outcomes = [ItemOutcome(i.id, {}, check=check("Old 2", key=i.check_key)) for i in db.jobs.take("w", now=NOON)]
    db.jobs.finish("w", outcomes, now=NOON)
    db.jobs.submit("", [{}], now=NOON)
    db.alerts.put([NewAlert("k", "console", "-", {}, verdict_id=done[0].id)])
    db.idempotency.begin("", "k", b"", now=NOON)


def test_retention_deletes_what_is_old_in_small_batches_and_spares_labels_and_open_work(db: Database) -> None:
    fill(db)
    steps: list[float] = []
    pruned = db.retention.prune(10, batch=2, now=later(days=21), on_progress=lambda count: steps.append(count))
    assert pruned.counts == {"verdict": 6, "feed_item": 2, "job": 1, "story": 1, "idempotency": 1}
    assert max(steps) == 2
    assert sorted(v.claim for v in db.verdicts.page("").verdicts) == ["Labelled", "Old 6", "Young"]
    assert [i.state for i in db.feeds.items("")] == ["new"]
    assert len(db.alerts.take("w")) == 1
    assert db.retention.prune(10, now=later(days=21)).counts == {}
    db.verdicts.record([check("Old 1", key="z")])
    assert [v.claim for v in db.verdicts.page("").verdicts if v.claim == "Old 1"] == ["Old 1"]


def test_retention_of_nothing_is_refused(db: Database) -> None:
    for days, batch in ((0, 1), (-1, 1), (float("nan"), 1), (1, 0)):
        with pytest.raises(InvalidInput):
            db.retention.prune(days, batch=batch)


def test_a_labelled_verdict_cannot_be_deleted_even_by_hand(db: Database) -> None:
    (done,) = db.verdicts.record([check("Claim")])
    db.feedback.add("", [Feedback(done.id, "real", "ana")])
    with pytest.raises(StoreError, match="break"), db._sessions.writing() as session:
        session.execute(text("DELETE FROM verdict"))
