"""Every route refuses whoever may not: made from the API's own description, so that no new route is forgotten."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_samples import SCOPES, Served, operations_described, serving, settings_of, verdict
from starlette.requests import HTTPConnection

from weighup.serve.api.auth import FAILURES, LOCAL, Caller, KeyRing, is_local
from weighup.serve.db import Database
from weighup.serve.db.records import Check, NewAlert, NewItem, Poll

OPEN = {("/healthz", "get"), ("/readyz", "get")}


OPERATIONS = operations_described()
GUARDED = [pytest.param(p, m, o, id=o["operationId"]) for p, m, o in OPERATIONS if (p, m) not in OPEN]
NAMED = [one for one in GUARDED if "{" in one.values[0] or one.values[2]["operationId"] == "label"]


@dataclass
class Things:
    """One of everything, of tenant "owner"."""

    verdict: str
    job: str
    feed: str
    story: str
    alert: str
    prefix: str
    ended: str  # a job that was cancelled, whose stream of events ends at once


@dataclass
class House:
    served: Served
    things: Things
    keys: dict[str, str]
    anyone: httpx.Client

    def ask(self, path: str, method: str, operation: dict[str, Any], **headers: str) -> httpx.Response:
        """As whoever sends the headers, for the owner's things."""
        things = self.things
        kind = path.split("/")[2] if path.startswith("/v1/") else ""
        kinds = {"jobs": things.job, "verdicts": things.verdict, "feeds": things.feed, "stories": things.story}
        number = {**kinds, "alerts": things.alert}.get(kind, "")
        number = things.ended if path.endswith("/events") else number
        filled = path.replace("{id}", number).replace("{prefix}", things.prefix)
        query = {"q": "never"} if path == "/v1/evidence" else {}
        return self.anyone.request(method.upper(), filled, headers=headers, params=query, json=self.body(operation))

    def body(self, operation: dict[str, Any]) -> dict[str, Any] | None:
        bodies: dict[str, dict[str, Any]] = {
            "check": {"text": "It is real."},
            "label": {"verdict_id": self.things.verdict, "label": "fake"},
            "watch": {"url": "https://example.org/other.rss"},
            "pause": {"enabled": False},
            "create_key": {"name": "mine", "scopes": ["admin"]},
        }
        return bodies.get(operation["operationId"]) if "requestBody" in operation else None

    def state(self) -> tuple[Any, ...]:
        """What of the owner's a stranger might have changed."""
        database = self.served.database
        return (
            database.jobs.get("owner", [uuid.UUID(self.things.job)]),
            database.feeds.watched("owner"),
            database.feedback.since("owner"),
            [(key.prefix, key.revoked_at) for key in database.api_keys.known("owner")],
            database.alerts.dead("owner"),
            database.verdicts.page("owner").verdicts,
        )


def owned(database: Database, prefix: str) -> Things:
    recorded = database.verdicts.record([Check(verdict("It is fake.", 0.9), "k", "owner")])[0]
    job = database.jobs.submit("owner", [{"text": "It is real."}])
    ended = database.jobs.submit("owner", [{"text": "It is real."}])
    database.jobs.cancel("owner", ended.id)
    feed = database.feeds.add("owner", ["https://example.org/news.rss"])[0]
    database.feeds.polled([Poll(feed.id, [NewItem("1", "It is fake.", title="It")])])
    item = database.feeds.items("owner")[0]
    story = database.stories.put("owner", "It", [item.id])
    database.alerts.put([NewAlert("k", "webhook", "https://example.org/hook", {"type": "test"}, "owner")])
    alert = database.alerts.take("w")[0]
    database.alerts.failed(alert.id, "gone", final=True)
    return Things(str(recorded.id), str(job.id), str(feed.id), str(story), str(alert.id), prefix, str(ended.id))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("auth"), settings=settings_of(per_minute=100_000)) as served:
        keys = served.database.api_keys
        past = datetime.now(UTC) - timedelta(seconds=1)
        owner = served.key("admin", tenant="owner")
        made = {scope: served.key(scope, tenant="owner") for scope in SCOPES}
        made["stranger"] = served.key("admin", tenant="stranger")
        made["nothing"] = keys.create("nothing", tenant="owner")[1]
        made["expired"] = keys.create("expired", tenant="owner", scopes=SCOPES, expires_at=past)[1]
        revoked, made["revoked"] = keys.create("revoked", tenant="owner", scopes=SCOPES)
        keys.revoke([revoked.prefix])
        with served.client() as anyone:
            yield House(served, owned(served.database, owner.split("_")[1]), {**made, "owner": owner}, anyone)


def test_only_health_is_open_and_every_route_is_described(house: House) -> None:
    assert {(p, m) for p, m, o in OPERATIONS if "x-scopes" not in o} == OPEN
    assert {scope for _, _, o in OPERATIONS for scope in o.get("x-scopes", [])} <= set(SCOPES)
    known = {(p, m) for p, m, _ in OPERATIONS}
    app: Any = house.served.server.app
    hidden = [
        (route.path, method)
        for route in app.routes
        for method in getattr(route, "methods", None) or ()
        if route.path.startswith("/v1") and method != "HEAD" and (route.path, method.lower()) not in known
    ]
    assert not hidden


@pytest.mark.parametrize(("path", "method", "operation"), GUARDED)
def test_no_key_or_one_that_is_not_right_is_refused(
    house: House, path: str, method: str, operation: dict[str, Any]
) -> None:
    right = house.keys["owner"]
    mark, prefix, secret = right.split("_")
    wrong = [
        {},
        {"Authorization": f"Basic {right}"},
        {"Authorization": right},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {mark}_{prefix}_{secret[:-1]}"},
        {"Authorization": f"Bearer {house.keys['revoked']}"},
        {"Authorization": f"Bearer {house.keys['expired']}"},
        {"X-API-Key": right},
        {"Cookie": f"session={right}"},
    ]
    before = house.state()
    for headers in wrong:
        house.served.parts.gate._failures._levels.clear()  # how many wrong ones are let try has its own test
        answer = house.ask(path, method, operation, **headers)
        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    assert house.state() == before


@pytest.mark.parametrize(("path", "method", "operation"), GUARDED)
def test_a_key_without_the_scope_is_refused(house: House, path: str, method: str, operation: dict[str, Any]) -> None:
    allowed = {*operation["x-scopes"], "admin"}
    before = house.state()
    for name in ["nothing", *(scope for scope in SCOPES if scope not in allowed)]:
        answer = house.ask(path, method, operation, Authorization=f"Bearer {house.keys[name]}")
        assert answer.status_code == 403, name
        assert answer.json()["type"].endswith("#forbidden")
    assert house.state() == before


@pytest.mark.parametrize(("path", "method", "operation"), NAMED)
def test_another_tenants_id_is_not_found(house: House, path: str, method: str, operation: dict[str, Any]) -> None:
    before = house.state()
    answer = house.ask(path, method, operation, Authorization=f"Bearer {house.keys['stranger']}")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("#not-found")
    assert house.state() == before


@pytest.mark.parametrize(
    "path", ["/v1/verdicts", "/v1/feeds", "/v1/stories", "/v1/feedback", "/v1/alerts", "/v1/audit"]
)
def test_lists_hold_nothing_of_another_tenant(house: House, path: str) -> None:
    with house.served.client(house.keys["stranger"]) as stranger, house.served.client(house.keys["owner"]) as owner:
        mine = owner.get(path).json()
        theirs = stranger.get(path).json()
    told = {
        value
        for one in next(iter(mine.values()))
        for value in one.values()
        if isinstance(value, str) and len(value) > 30
    }
    assert not next(iter(theirs.values()))
    assert not told or not any(value in str(theirs) for value in told)


@pytest.mark.parametrize(("path", "method", "operation"), GUARDED)
def test_each_scope_that_is_named_is_enough(house: House, path: str, method: str, operation: dict[str, Any]) -> None:
    if method == "get":
        for scope in operation["x-scopes"]:
            answer = house.ask(path, method, operation, Authorization=f"Bearer {house.keys[scope]}")
            assert answer.status_code not in (401, 403), scope


def test_scopes_that_include_others() -> None:
    writer = Caller("", frozenset({"write"}))
    assert all(writer.may(scope) for scope in ("check", "feeds", "review"))
    assert not writer.may("read")
    assert not writer.may("admin")
    assert Caller("", frozenset({"admin"})).may("read")


def test_a_revoked_key_is_refused_at_once_and_the_last_one_leaves_the_door_shut(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as anyone:
        assert anyone.get("/v1/verdicts").status_code == 200
        made = anyone.post("/v1/keys", json={"name": "only", "scopes": ["admin"]}).json()
        assert anyone.get("/v1/verdicts").status_code == 401
        with served.client(made["key"]) as holder:
            assert holder.get("/v1/verdicts").status_code == 200
            assert holder.delete(f"/v1/keys/{made['prefix']}").status_code == 204
            assert holder.get("/v1/verdicts").status_code == 401
        assert anyone.get("/v1/verdicts").status_code == 401


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        right = served.key("read")
        with served.client("wu_0123456789ab_nothing") as guesser:
            seen = [guesser.get("/v1/verdicts").status_code for _ in range(FAILURES + 3)]
            last = guesser.get("/v1/verdicts")
        assert seen[:FAILURES] == [401] * FAILURES
        assert last.status_code == 429
        assert int(last.headers["retry-after"]) >= 1
        served.parts.gate.keys.verify(right)  # as one who came before
        with served.client(right) as holder:
            assert holder.get("/v1/verdicts").status_code == 200


class Hashing:
    """Counts how often a secret is compared with a hash."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from argon2 import PasswordHasher

        self.done = 0
        inner = PasswordHasher.verify

        def verify(hasher: PasswordHasher, *args: Any) -> bool:
            self.done += 1
            return inner(hasher, *args)

        monkeypatch.setattr(PasswordHasher, "verify", verify)


def test_every_wrong_key_costs_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database.open(tmp_path / "x.sqlite") as database:
        key, text = database.api_keys.create("k", scopes=("read",))
        revoked, ended = database.api_keys.create("r", scopes=("read",))
        database.api_keys.revoke([revoked.prefix])
        ring, hashing = KeyRing(database), Hashing(monkeypatch)
        for wrong in (
            f"wu_{key.prefix}_{'0' * 64}",
            f"wu_ffffffffffff_{'0' * 64}",
            text[:-1],
            ended,
            "",
            "wu_",
            "x" * 150,
        ):
            before = hashing.done
            assert ring.verify(wrong) is None
            assert hashing.done == before + 1, wrong


def test_a_key_is_remembered_as_a_keyed_digest_and_found_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database.open(tmp_path / "x.sqlite") as database:
        text = database.api_keys.create("k", scopes=("read",))[1]
        now = [0.0]
        ring, other, hashing = KeyRing(database, lambda: now[0]), KeyRing(database), Hashing(monkeypatch)
        assert ring.remembered(text) is None
        assert ring.verify(text) is not None
        assert ring.remembered(text) is not None
        assert ring.remembered(text[:-1] + "_") is None
        assert ring.verify(text) is not None
        assert hashing.done == 1
        secret = text.rpartition("_")[2]
        assert secret not in repr(vars(ring))
        assert ring.digest(text) != other.digest(text)
        now[0] = 61.0
        assert ring.remembered(text) is None


def connection(client: str = "127.0.0.1", host: str = "127.0.0.1:8642", **headers: str) -> HTTPConnection:
    named = [(b"host", host.encode())] + [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
    return HTTPConnection({"type": "http", "client": (client, 1), "headers": named, "path": "/"})


@pytest.mark.parametrize(
    ("asked", "local"),
    [
        (connection(), True),
        (connection(host="localhost:1"), True),
        (connection("::1", "[::1]:8642"), True),
        (connection("10.0.0.3"), False),
        (connection(host="evil.example"), False),
        (connection(host="127.0.0.1.evil.example"), False),
        (connection(host="localhost@evil.example"), False),
        (connection(x_forwarded_for="127.0.0.1"), False),
        (connection(forwarded="for=127.0.0.1"), False),
        (connection(x_real_ip="127.0.0.1"), False),
        (connection(origin="http://127.0.0.1:8642"), True),
        (connection(origin="http://evil.example"), False),
        (connection(origin="null"), False),
        (connection(origin="http://127.0.0.1:9999"), False),
        (connection(sec_fetch_site="cross-site"), False),
        (connection(sec_fetch_site="same-site"), False),
        (connection(sec_fetch_site="same-origin"), True),
    ],
)
def test_only_this_machines_own_user_may_do_without_a_key(asked: HTTPConnection, local: bool) -> None:
    assert is_local(asked) is local


def test_the_local_user_asks_as_nobody_in_particular(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as client:
        assert client.post("/v1/checks", json={"text": "It is real."}).status_code == 200
        assert len(served.database.verdicts.page(LOCAL.tenant).verdicts) == 1
        for header in ({"Origin": "http://evil.example"}, {"X-Forwarded-For": "127.0.0.1"}):
            assert client.get("/v1/verdicts", headers=header).status_code == 401


def test_many_requests_with_one_new_key_cost_one_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as served:
        key, hashing, seen = served.key("read"), Hashing(monkeypatch), []

        def ask() -> None:
            with served.client(key) as client:
                seen.append(client.get("/v1/methods").status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [200] * 8
        assert hashing.done == 1
