"""API keys whose secrets are nowhere kept, and requests that are carried out once."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from db_samples import NOON, later
from sqlalchemy import text

from weighup.errors import InvalidInput
from weighup.serve.db import Database
from weighup.serve.db.access import HELD, KEPT
from weighup.serve.db.records import Answer


def test_a_key_opens_until_it_is_revoked_or_expires(db: Database) -> None:
    key, secret = db.api_keys.create("desk", tenant="t", scopes=["write", "read"], per_minute=60, per_day=1_000)
    assert secret.startswith(f"wu_{key.prefix}_")
    assert db.api_keys.verify(secret) == key
    assert (key.scopes, key.tenant, key.per_minute, key.per_day) == (frozenset({"read", "write"}), "t", 60, 1_000)
    assert db.api_keys.revoke([key.prefix]) == 1
    assert db.api_keys.revoke([key.prefix]) == 0
    assert db.api_keys.verify(secret) is None
    soon, other = db.api_keys.create("soon", expires_at=NOON)
    assert db.api_keys.verify(other, now=NOON - timedelta(seconds=1)) == soon
    assert db.api_keys.verify(other, now=NOON) is None
    assert [k.name for k in db.api_keys.known()] == ["desk", "soon"]
    assert [k.name for k in db.api_keys.known("t")] == ["desk"]


def test_the_secret_is_not_in_the_database(db: Database) -> None:
    _, secret = db.api_keys.create("desk")
    with db._sessions.reading() as session:
        (row,) = session.execute(text("SELECT * FROM api_key")).all()
    assert secret.rsplit("_", 1)[1] not in str(row)
    assert "$argon2id$" in str(row)


def test_anything_else_does_not(db: Database) -> None:
    _, secret = db.api_keys.create("desk")
    for wrong in ("", "wu", "wu_", "wu__", "wu_x_y", "{}x", "{}\0", "WU{}", "wu_%_x", "é" * 5_000, "\ud800"):
        assert db.api_keys.verify(wrong.format(secret)) is None, wrong


def test_a_prefix_with_another_keys_secret_does_not(db: Database) -> None:
    (one, _), (_, other) = db.api_keys.create("one"), db.api_keys.create("other")
    assert db.api_keys.verify(f"wu_{one.prefix}_{other.rsplit('_', 1)[1]}") is None


def test_use_is_counted_by_day(db: Database) -> None:
    key, _ = db.api_keys.create("desk")
    day = date(2026, 5, 10)
    assert [db.api_keys.spend(key.id, day=day), db.api_keys.spend(key.id, 4, day=day)] == [1, 5]
    assert db.api_keys.spend(key.id, day=date(2026, 5, 11)) == 1
    with pytest.raises(InvalidInput, match="quota"):
        db.api_keys.create("none", per_day=0)


def test_a_request_is_carried_out_once_and_answered_the_same(db: Database) -> None:
    again = db.idempotency
    assert again.begin("t", "k", b"one", now=NOON).state == "new"
    assert again.begin("t", "k", b"one", now=NOON).state == "running"
    assert again.begin("t", "k", b"two", now=NOON).state == "different"
    assert again.begin("other", "k", b"two", now=NOON).state == "new"
    answer = Answer(202, {"id": "1", "nul": "\0"}, "/v1/jobs/1")
    again.finish("t", "k", answer)
    again.finish("t", "k", Answer(500, {}))
    said = again.begin("t", "k", b"one", now=NOON)
    assert said.state == "answered"
    assert said.answer == Answer(202, {"id": "1", "nul": "\ufffd"}, "/v1/jobs/1")
    assert again.begin("t", "k", b"two", now=NOON + timedelta(seconds=KEPT)).state == "new"


def test_a_request_whose_server_died_or_that_failed_may_be_tried_again(db: Database) -> None:
    again = db.idempotency
    again.begin("", "k", b"one", now=NOON)
    assert again.begin("", "k", b"one", now=NOON + timedelta(seconds=HELD)).state == "new"
    again.finish("", "k", None)
    assert again.begin("", "k", b"two", now=later(hours=1)).state == "new"
    with pytest.raises(InvalidInput, match="Idempotency-Key"):
        again.begin("", "x" * 201, b"")
