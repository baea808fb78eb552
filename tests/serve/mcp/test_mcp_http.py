"""`weighup mcp --http`: who gets in, by which name, and whose verdicts they see. Real processes on loopback."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from db_samples import check
from mcp_helpers import COMMAND, Served, bearer, content, environment, error, over_http, session_at

from weighup.serve.db import Database

HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}},
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@dataclass(frozen=True)
class Keyed:
    """A server with keys in force, and verdicts of two tenants."""

    server: Served
    checker: str
    reader: str
    other: str
    slow: str
    revoked: str
    mine: uuid.UUID
    theirs: uuid.UUID

    @property
    def texts(self) -> tuple[str, ...]:
        return self.checker, self.reader, self.other, self.slow, self.revoked


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """No keys: this machine's user."""
    folder = tmp_path_factory.mktemp("local")
    with over_http(environment(folder / "serve.sqlite"), log=folder / "log") as server:
        yield server


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    path = folder / "serve.sqlite"
    with Database.open(path) as db:
        keys = db.api_keys
        checker, reader = (
            keys.create("c", tenant="a", scopes=["read", "check"]),
            keys.create("r", tenant="a", scopes=["read"]),
        )
        other, slow = keys.create("o", tenant="b", scopes=["admin"]), keys.create("s", scopes=["read"], per_minute=2)
        revoked = keys.create("x", tenant="a", scopes=["admin"])
        keys.revoke([revoked[0].prefix])
        mine, theirs = db.verdicts.record([check("The dam broke.", tenant="a"), check("The dam broke.", tenant="b")])
    env = environment(path, WEIGHUP_SERVE__PUBLIC_URL="https://weighup.example", WEIGHUP_LOG="debug")
    with over_http(env, "--allow-host", "proxy.example", log=folder / "log") as server:
        yield Keyed(server, checker[1], reader[1], other[1], slow[1], revoked[1], mine.id, theirs.id)


def post(url: str, body: object = HELLO, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.post(url, json=body, headers=ACCEPT | headers)


def test_this_machines_user_needs_no_key_where_there_is_none(models_ready: Path, local: Served) -> None:
    async def use() -> None:
        async with session_at(local.url) as session:
            steps: list[str | None] = []

            async def follow(done: float, total: float | None, doing: str | None) -> None:
                steps.append(doing)

            claim = {"text": "The Eiffel Tower is in Berlin."}
            got = content(await session.call_tool("check_claim", claim, progress_callback=follow))
            assert "gathering evidence and judging" in steps
            found = content(await session.call_tool("get_verdict", {"id": got["id"]}))
            assert found["verdicts"][0]["probability_fake"] == got["probability_fake"]
            assert content(await session.call_tool("search_evidence", {"query": "Paris"}))["passages"]

    asyncio.run(use())


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "0.0.0.0"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},  # another program's page on this machine
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
    ],
    ids=str,
)
def test_no_web_page_and_no_proxy_passes_for_this_machines_user(local: Served, headers: dict[str, str]) -> None:
    answer = post(local.url, **headers)
    assert answer.status_code == 401, answer.text
    assert "mcp-session-id" not in answer.headers


def test_tools_over_http_with_a_key(keyed: Keyed) -> None:
    async def use() -> None:
        async with session_at(keyed.server.url, **bearer(keyed.reader)) as session:
            assert len((await session.list_tools()).tools) == 4
            [mine] = content(await session.call_tool("get_verdict", {"id": str(keyed.mine)}))["verdicts"]
            assert "The dam broke." in mine["claim"]
            [found] = content(await session.call_tool("get_verdict", {"claim": "dam"}))["verdicts"]
            assert found["id"] == str(keyed.mine)
            assert "no verdict of this id" in error(await session.call_tool("get_verdict", {"id": str(keyed.theirs)}))
            told = error(await session.call_tool("check_claim", {"text": "The dam broke."}))
            assert told == "this API key does not allow it; one with the scope `check` does"
        async with session_at(keyed.server.url, **bearer(keyed.other)) as session:
            [found] = content(await session.call_tool("get_verdict", {"claim": "dam"}))["verdicts"]
            assert found["id"] == str(keyed.theirs)
            assert "no verdict of this id" in error(await session.call_tool("get_verdict", {"id": str(keyed.mine)}))

    asyncio.run(use())


def test_without_a_right_key_nobody_gets_in(keyed: Keyed) -> None:
    name, prefix, secret = keyed.checker.split("_")
    wrong = [
        {},
        {"Authorization": "Bearer"},
        bearer(f"{name}_{prefix}_{'0' * 64}"),
        bearer(f"{name}_{'0' * 12}_{secret}"),
        bearer(keyed.revoked),
        bearer(keyed.checker + "x"),
        {"Authorization": f"Basic {keyed.checker}"},
        {"X-Api-Key": keyed.checker},
    ]
    for headers in wrong:
        for method in ("POST", "GET", "DELETE"):
            with httpx.Client(trust_env=False, timeout=60) as client:
                answer = client.request(method, keyed.server.url, json=HELLO, headers=ACCEPT | headers)
            assert answer.status_code == 401, (headers, method)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
            assert "mcp-session-id" not in answer.headers
    assert post(f"{keyed.server.url}?key={keyed.checker}").status_code == 401
    assert post(f"{keyed.server.url.removesuffix('/mcp')}/elsewhere").status_code == 401
    assert post(f"{keyed.server.url.removesuffix('/mcp')}/elsewhere", **bearer(keyed.checker)).status_code == 404


def test_a_right_key_does_not_open_the_door_to_a_foreign_name_or_page(keyed: Keyed) -> None:
    key = bearer(keyed.checker)
    for host in ("evil.example", "weighup.example.evil.example", "localhost.evil.example:80", "169.254.169.254"):
        assert post(keyed.server.url, **key, Host=host).status_code == 421, host
    for origin in ("https://evil.example", "null", "http://weighup.example", "https://weighup.example.evil.example"):
        assert post(keyed.server.url, **key, Origin=origin).status_code == 403, origin
    for host in ("weighup.example", "proxy.example", "proxy.example:8443", "localhost:1"):
        assert post(keyed.server.url, **key, Host=host).status_code == 200, host
    assert post(keyed.server.url, **key, Origin="https://weighup.example").status_code == 200


def test_a_session_is_of_the_key_that_began_it(keyed: Keyed) -> None:
    begun = post(keyed.server.url, **bearer(keyed.checker))
    mine = {"Mcp-Session-Id": begun.headers["mcp-session-id"]}
    assert post(keyed.server.url, LIST, **bearer(keyed.other), **mine).status_code == 404
    with httpx.Client(trust_env=False, timeout=60) as client:
        gone = client.delete(keyed.server.url, headers=ACCEPT | bearer(keyed.other) | mine)
    assert gone.status_code == 404
    assert post(keyed.server.url, LIST, **mine).status_code == 401
    done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert post(keyed.server.url, done, **bearer(keyed.checker), **mine).status_code == 202
    assert "check_claim" in post(keyed.server.url, LIST, **bearer(keyed.checker), **mine).text


def test_a_key_may_ask_no_faster_than_it_may(keyed: Keyed) -> None:
    async def use() -> None:
        async with session_at(keyed.server.url, **bearer(keyed.slow)) as session:
            results = [await session.call_tool("list_methods", {}) for _ in range(8)]
        refused = [error(one) for one in results if one.isError]
        assert refused
        assert not results[0].isError
        assert all("this key asks faster than it may; try again in" in told for told in refused)

    asyncio.run(use())


def test_broken_and_oversized_requests_are_refused(keyed: Keyed) -> None:
    key = bearer(keyed.checker)
    huge = HELLO | {"params": {"x": "x" * 2_100_000}}
    assert post(keyed.server.url, huge, **key).status_code == 413
    with httpx.Client(trust_env=False, timeout=60) as client:
        for body in (b"", b"{", b"\xff\xfe", b"[]", b'{"jsonrpc":"2.0"}', b"[" * 10_000):
            answer = client.post(
                keyed.server.url, content=body, headers=ACCEPT | key | {"Content-Type": "application/json"}
            )
            # The SDK's reader answers 500 to what is nested without end; it must go on all the same.
            assert answer.status_code == (500 if len(body) == 10_000 else 400), (body[:20], answer.text)
            assert "Traceback" not in answer.text
        assert client.get(keyed.server.url, headers=key).status_code in (400, 406)
    assert post(keyed.server.url, **key).status_code == 200


def test_no_key_is_ever_logged(keyed: Keyed) -> None:
    post(keyed.server.url, **bearer(keyed.checker))
    assert keyed.server.told
    for key in keyed.texts:
        assert key.rpartition("_")[2] not in keyed.server.told


def refused(folder: Path, *arguments: str, database: Path | None = None) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(database or folder / "none.sqlite"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_it_is_not_opened_to_others_without_a_key(tmp_path: Path) -> None:
    path = tmp_path / "serve.sqlite"
    for host in ("0.0.0.0", "::", "192.0.2.1", "weighup.example"):
        assert "there is no API key" in refused(tmp_path, "--http", "--host", host, "--port", "0", database=path)
    with Database.open(path) as db:
        key, _ = db.api_keys.create("gone", scopes=["admin"])
        db.api_keys.revoke([key.prefix])
    assert "there is no API key" in refused(tmp_path, "--http", "--host", "0.0.0.0", "--port", "0", database=path)


def test_bad_usage_is_told(tmp_path: Path) -> None:
    assert "go with --http" in refused(tmp_path, "--port", "8643")
    assert "--config" in refused(tmp_path, "--config", "none.toml")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        told = refused(tmp_path, "--http", "--port", str(taken.getsockname()[1]))
        assert "name another" in told
