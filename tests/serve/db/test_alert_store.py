"""The outbox: every alert leaves or is among the dead letters; none is raised twice."""

from __future__ import annotations

from datetime import timedelta

from db_samples import NOON

from weighup.serve.db import Database
from weighup.serve.db.alerts import ATTEMPTS
from weighup.serve.db.records import NewAlert
from weighup.serve.db.sessions import present


def alert(key: str, tenant: str = "") -> NewAlert:
    return NewAlert(key, "webhook", "https://example.org/hook", {"n": key}, tenant)


def test_an_alert_is_put_once_taken_once_and_sent_once(db: Database) -> None:
    assert db.alerts.put([alert("a"), alert("a"), alert("b"), alert("a", "t")]) == 3
    assert db.alerts.put([alert("a")]) == 0
    now = present()
    taken = db.alerts.take("one", now=now)
    assert sorted(one.payload["n"] for one in taken) == ["a", "a", "b"]
    assert db.alerts.take("two", now=now) == []
    assert db.alerts.sent([one.id for one in taken]) == 3
    assert db.alerts.sent([one.id for one in taken]) == 0
    assert db.alerts.take("one", now=now + timedelta(days=9)) == []


def test_one_that_fails_waits_longer_each_time_then_is_dead_and_can_be_revived(db: Database) -> None:
    db.alerts.put([alert("a")])
    now = start = present()
    waits = []
    for _ in range(ATTEMPTS):
        (one,) = db.alerts.take("w", now=now)
        state = db.alerts.failed(one.id, "500\0", now=now)
        waits.append(next(s for s in range(0, 10**5, 30) if state == "dead" or _due(db, now, s)))
        now += timedelta(seconds=waits[-1])
    assert waits == [30, 60, 120, 240, 480, 960, 1_920, 0]
    assert db.alerts.take("w", now=start + timedelta(days=9)) == []
    (dead,) = db.alerts.dead("")
    assert (dead.state, dead.attempts, dead.last_error) == ("dead", ATTEMPTS, "500\ufffd")
    assert db.alerts.dead("other") == []
    assert db.alerts.revive("other", [dead.id]) == 0
    assert db.alerts.revive("", [dead.id], now=NOON) == 1
    assert [one.attempts for one in db.alerts.take("w")] == [1]


def _due(db: Database, now: object, seconds: int) -> bool:
    from sqlalchemy import select

    from weighup.serve.db.tables import AlertRow

    with db._sessions.reading() as session:
        return session.scalars(select(AlertRow.next_try)).one() == now + timedelta(seconds=seconds)  # type: ignore[operator]


def test_what_can_never_be_sent_is_dead_at_once(db: Database) -> None:
    db.alerts.put([alert("a")])
    (one,) = db.alerts.take("w")
    assert db.alerts.failed(one.id, "410 Gone", final=True) == "dead"
    assert db.alerts.failed(one.id, "late") is None


def test_one_that_kills_whoever_sends_it_ends(db: Database) -> None:
    db.alerts.put([alert("a")])
    now = present()
    for attempt in range(ATTEMPTS):
        assert len(db.alerts.take("w", now=now + timedelta(hours=attempt))) == 1
    assert db.alerts.take("w", now=now + timedelta(days=1)) == []
    assert [one.last_error for one in db.alerts.dead("")] == ["whoever sent it ended each time"]
