"""Verdicts and timelines: recorded once, found by filters, page by page, and rechecked when due."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from db_samples import NOON, check, later, verdict

from weighup.errors import InvalidInput
from weighup.serve.db import Database
from weighup.serve.db.records import Check, NewAlert, Recorded, VerdictFilter
from weighup.serve.db.words import claim_key


def claims(db: Database, wanted: VerdictFilter | None = None, tenant: str = "") -> list[str]:
    return [one.claim for one in db.verdicts.page(tenant, wanted).verdicts]


def test_a_verdict_comes_back_as_it_went_in(db: Database) -> None:
    one = check("The dam broke.", 0.83, seen=("it holds",), lang="en", source="Wire", url="https://example.org/1")
    (done,) = db.verdicts.record([one])
    (back,) = db.verdicts.get("", [done.id])
    assert back is not None
    assert back.verdict == one.verdict
    assert (back.probability, back.label, back.expert, back.settled) == (0.83, "fake", "evidence", False)
    assert (back.lang, back.source, back.url) == ("en", "Wire", "https://example.org/1")
    assert back.created_at == back.checked_at == NOON
    assert back.claim_date == NOON.replace(hour=0)
    assert db.verdicts.find("", [back.claim_key, "0"]) == [back, None]


def test_a_check_recorded_twice_counts_once(db: Database) -> None:
    one = check("The dam broke.")
    (first,) = db.verdicts.record([one])
    again = db.verdicts.record([one, one])
    assert first.created
    assert first.counted
    assert [(r.id, r.created, r.counted) for r in again] == [(first.id, False, False)] * 2
    assert [len(t) for t in db.verdicts.timelines("", [first.id])] == [1]
    assert db.verdicts.count("") == {"fake": 1}


def test_the_same_claim_in_other_dress_is_one_verdict_and_on_another_day_another(db: Database) -> None:
    checks = [
        check("The dam broke!", key="a"),
        check("  the DAM   broke", 0.2, key="b", at=later(hours=1)),
        check("The dam broke", key="c", date="2026-05-11"),
        check("The dam broke", key="d", date=None),
    ]
    done = db.verdicts.record(checks)
    assert [r.created for r in done] == [True, False, True, True]
    assert done[0].id == done[1].id
    assert len({r.id for r in done}) == 3
    assert (done[1].before, done[1].label_before, done[1].probability) == (0.9, "fake", 0.2)


def test_the_timeline_says_what_changed_and_what_was_added(db: Database) -> None:
    (first,) = db.verdicts.record([check("The dam broke.", 0.9, seen=("it holds",))])
    db.verdicts.record(
        [check("The dam broke.", 0.5, key="b", seen=("it holds", "water everywhere"), at=later(hours=1))]
    )
    db.verdicts.record(
        [
            check(
                "The dam broke.", 0.1, key="c", seen=("photos",), at=later(hours=2), reason="new_evidence", settled=True
            )
        ]
    )
    (timeline,) = db.verdicts.timelines("", [first.id])
    assert [entry.reason for entry in timeline] == ["first", "recheck", "new_evidence"]
    assert [entry.label for entry in timeline] == ["fake", "unknown", "real"]
    assert [entry.probability for entry in timeline] == [0.9, 0.5, 0.1]
    assert timeline[0].interval == (0.8, 1.0)
    assert [[e["title"] for e in entry.evidence_added] for entry in timeline] == [
        ["It Holds"],
        ["Water Everywhere"],
        ["Photos"],
    ]
    (now,) = db.verdicts.get("", [first.id])
    assert now is not None
    assert (now.label, now.settled, now.checked_at) == ("real", True, later(hours=2))


def test_an_older_check_that_arrives_late_does_not_undo_a_newer_one(db: Database) -> None:
    (first,) = db.verdicts.record([check("The dam broke.", 0.1, at=later(hours=2))])
    db.verdicts.record([check("The dam broke.", 0.9, key="late")])
    (now,) = db.verdicts.get("", [first.id])
    assert now is not None
    assert now.probability == 0.1
    assert [e.probability for e in db.verdicts.timelines("", [first.id])[0]] == [0.9, 0.1]


def test_one_tenant_never_sees_anothers(db: Database) -> None:
    mine, theirs = db.verdicts.record([check("The dam broke.", tenant="a"), check("The dam broke.", tenant="b")])
    assert mine.id != theirs.id
    assert db.verdicts.get("a", [theirs.id, uuid.uuid4()]) == [None, None]
    assert db.verdicts.timelines("a", [theirs.id]) == [[]]
    assert db.verdicts.schedule("a", [theirs.id], NOON) == 0
    assert claims(db, tenant="c") == []
    assert db.verdicts.count("a") == {"fake": 1}


def test_all_or_nothing(db: Database) -> None:
    with pytest.raises(InvalidInput, match="check_key"):
        db.verdicts.record([check("The dam broke."), check("Another.", key="")])
    assert claims(db) == []

    def fails(_check: Check, _done: Recorded) -> list[NewAlert]:
        raise RuntimeError("outbox")

    with pytest.raises(RuntimeError, match="outbox"):
        db.verdicts.record([check("The dam broke.")], outbox=fails)
    assert claims(db) == []


def test_alerts_are_put_with_the_check_that_raises_them_once(db: Database) -> None:
    def raised(one: Check, done: Recorded) -> list[NewAlert]:
        payload = {"from": done.before, "to": done.probability}
        return [NewAlert(f"{done.id}:{one.check_key}", "console", "-", payload, verdict_id=done.id)]

    for _ in range(2):
        db.verdicts.record([check("The dam broke.")], outbox=raised)
    alerts = db.alerts.take("w", limit=10)
    assert [dict(alert.payload) for alert in alerts] == [{"from": None, "to": 0.9}]


def test_any_text_can_be_kept(db: Database) -> None:
    for text in ("nul \0 byte", "half \ud83d of a pair", "😀 whole", "'; DROP TABLE verdict; --"):
        (done,) = db.verdicts.record([check(text, seen=("nul \0 too",), source=text, url=text)])
        (back,) = db.verdicts.get("", [done.id])
        assert back is not None
        assert back.claim == back.url == text.replace("\0", "\ufffd").replace("\ud83d", "\ufffd")


@pytest.fixture
def shelf(db: Database) -> Database:
    rows = [
        ("Árbol cae en Madrid", 0.94, "2026-01-05"),
        ("The mayor resigned over the dam", 0.55, "2026-02-05"),
        ("The dam is safe", 0.05, "2026-03-05"),
        ("Dams were damaged", 0.48, None),
        ("武汉的桥塌了", 0.7, "2026-04-05"),
    ]
    db.verdicts.record([check(c, p, date=d, at=later(minutes=i)) for i, (c, p, d) in enumerate(rows)])
    return db


FILTERS: list[tuple[VerdictFilter, list[int]]] = [
    (VerdictFilter(), [4, 3, 2, 1, 0]),
    (VerdictFilter(order="uncertain"), [3, 1, 4, 0, 2]),
    (VerdictFilter(labels=["real", "unknown"]), [3, 2, 1]),
    (VerdictFilter(since=later(minutes=1), until=later(minutes=3)), [2, 1]),
    (VerdictFilter(dated_since=later(days=-90), dated_until=later(days=-60)), [2]),
    (VerdictFilter(probability=(0.5, 0.7)), [4, 1]),
    (VerdictFilter(text="dam"), [3, 2, 1]),
    (VerdictFilter(text="dam the"), [2, 1]),
    (VerdictFilter(text="DAM over"), [1]),
    (VerdictFilter(text="arbol"), [0]),
    (VerdictFilter(text="ÁRBOL mad"), [0]),
    (VerdictFilter(text="桥塌"), [4]),
    (VerdictFilter(text="桥"), [4]),
    (VerdictFilter(text="nothing like it"), []),
    (VerdictFilter(text='dam" OR "x* & | ! <-> :*', labels=["real"]), []),
    (VerdictFilter(text="dam", order="uncertain", labels=["unknown"]), [3, 1]),
    (VerdictFilter(settled=True), []),
    (VerdictFilter(reviewed=True), []),
    (VerdictFilter(reviewed=False, labels=["fake"]), [4, 0]),
]


def test_filters(shelf: Database) -> None:
    order = ["Árbol", "The mayor", "The dam is", "Dams", "武汉"]
    for wanted, found in FILTERS:
        shown = [next(i for i, o in enumerate(order) if c.startswith(o)) for c in claims(shelf, wanted)]
        assert shown == found, wanted


@pytest.mark.parametrize("order", ["newest", "uncertain"])
def test_pages_hold_everything_once_even_with_equals(db: Database, order: str) -> None:
    db.verdicts.record([check(f"Claim {i}", (i % 3) / 4, at=later(minutes=i % 2)) for i in range(23)])
    seen, cursor = [], None
    while True:
        page = db.verdicts.page("", VerdictFilter(order=order), limit=4, cursor=cursor)  # type: ignore[arg-type]
        seen += [one.claim for one in page.verdicts]
        if page.cursor is None:
            break
        if cursor is None:  # what comes in meanwhile does not push anything onto the next page again
            db.verdicts.record([check("New", 0.5, at=later(days=1))])
        cursor = page.cursor
    seen = [claim for claim in seen if claim != "New"]
    assert sorted(seen) == sorted(f"Claim {i}" for i in range(23))


def test_what_is_no_filter_is_refused(db: Database) -> None:
    db.verdicts.record([check(f"Claim {i}") for i in range(3)])
    cursor = db.verdicts.page("", limit=1).cursor
    for bad in ("", "x", "e30", "AAAA" * 80, "☃"):
        with pytest.raises(InvalidInput, match="cursor"):
            db.verdicts.page("", cursor=bad)
    with pytest.raises(InvalidInput, match="another order"):
        db.verdicts.page("", VerdictFilter(order="uncertain"), cursor=cursor)
    with pytest.raises(InvalidInput, match="no word"):
        db.verdicts.page("", VerdictFilter(text="?!"))
    with pytest.raises(InvalidInput, match="probability"):
        db.verdicts.page("", VerdictFilter(probability=(0.9, 0.1)))
    with pytest.raises(InvalidInput, match="limit"):
        db.verdicts.page("", limit=0)


def test_what_is_due_is_taken_by_one_and_again_if_that_one_dies(db: Database) -> None:
    db.verdicts.record([check(f"Claim {i}", next_check=later(hours=i)) for i in range(3)])
    db.verdicts.record([check("Settled", settled=True, next_check=NOON), check("Never")])
    now = later(hours=1)
    one = db.verdicts.take_due("one", now=now, seconds=60)
    assert [v.claim for v in one] == ["Claim 0", "Claim 1"]
    assert db.verdicts.take_due("two", now=now + timedelta(seconds=59)) == []
    assert db.verdicts.extend("one", [one[0].id], now=now, seconds=3_600) == [one[0].id]
    two = db.verdicts.take_due("two", now=now + timedelta(seconds=61))
    assert [v.claim for v in two] == ["Claim 1"]
    assert db.verdicts.extend("one", [two[0].id]) == []
    db.verdicts.record([check("Claim 1", key="b", at=now, next_check=later(hours=9))])
    assert db.verdicts.take_due("two", now=later(hours=8), limit=1, seconds=9_999)[0].claim == "Claim 0"
    assert [v.claim for v in db.verdicts.take_due("two", now=later(hours=9))] == ["Claim 2", "Claim 1"]


def test_new_evidence_brings_a_check_forward(db: Database) -> None:
    (done,) = db.verdicts.record([check("Claim", next_check=later(days=9))])
    assert db.verdicts.take_due("w", now=later(days=1)) == []
    assert db.verdicts.schedule("", [done.id], NOON) == 1
    assert [v.id for v in db.verdicts.take_due("w", now=later(days=1))] == [done.id]


def test_claim_keys_do_not_depend_on_dress() -> None:
    assert claim_key("Ünïted, they say", None) == claim_key("united they say?", None)
    assert claim_key("united", None) != claim_key("united", NOON)
    assert claim_key("?!", None) != claim_key("!?", None)
    assert verdict("x").claim == "x"
