"""What is too large, too slow, too often or too much is refused with what to do about it, and nothing else suffers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_samples import Served, serving, settings_of, until

from weighup.serve.api import running
from weighup.serve.api.limits import Buckets


def kind(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code
    return answer.status_code, told["type"].partition("#")[2]


def raw(served: Served, *pieces: bytes, wait: bool = True) -> bytes:
    """What a server answers to bytes on a connection of their own; all of it, until it hangs up."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while wait and (more := connection.recv(65_536)):
            answer += more
        return answer


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(tmp_path: Path, chunked: bool) -> None:
    with serving(tmp_path, settings=settings_of(max_body_bytes=1000)) as served, served.client() as client:
        body = b'{"text": "' + b"x" * 2000 + b'"}'
        told: Any = iter([body[:500], body[500:]]) if chunked else body
        answer = client.post("/v1/checks", content=told, headers={"Content-Type": "application/json"})
        assert kind(answer) == (413, "too-large")
        assert client.post("/v1/checks", json={"text": "It is real."}).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_who_still_sends_what_is_too_large_hears_so_instead_of_a_connection_reset(
    tmp_path: Path, chunked: bool
) -> None:
    head = "POST /v1/checks HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{}\r\n\r\n"
    size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {40 * 200_000}"
    piece = b"30d40\r\n" + b"x" * 200_000 + b"\r\n" if chunked else b"x" * 200_000
    with serving(tmp_path, settings=settings_of(max_body_bytes=1000)) as served:
        begun = head.format(served.url.removeprefix("http://"), size).encode()
        answer = raw(served, begun, *[piece] * 40, *([b"0\r\n\r\n"] if chunked else []))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"too-large" in answer


@pytest.mark.parametrize("body", [b"{", b"text=1", b"\xff\xfe", b"[" * 50_000])
def test_a_body_that_is_no_json_is_refused(served: Served, client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/checks", content=body, headers={"Content-Type": "application/json"})
    assert kind(answer) == (400, "bad-request")


def test_a_body_of_another_type_is_refused(client: httpx.Client) -> None:
    assert kind(client.post("/v1/checks", data={"text": "It is real."})) == (415, "unsupported-media-type")
    assert kind(client.post("/v1/checks", content=b"{}")) == (415, "unsupported-media-type")


def test_paths_and_methods_that_are_none(client: httpx.Client) -> None:
    assert kind(client.get("/v1/nothing")) == (404, "not-found")
    refused = client.put("/v1/verdicts", json={})
    assert kind(refused) == (405, "method-not-allowed")
    assert refused.headers["allow"]


def test_a_body_that_comes_in_too_slowly_is_given_up(tmp_path: Path) -> None:
    with serving(tmp_path, settings=settings_of(request_seconds=0.5)) as served:
        head = b"POST /v1/checks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: 100\r\n\r\n"
        answer = raw(served, head, b'{"text"')
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"#timeout" in answer


def test_a_check_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with serving(tmp_path, settings=settings_of(request_seconds=0.5)) as served, served.client() as client:
        served.reader.go.clear()
        answer = client.post("/v1/checks", json={"text": "It is real."})
        assert kind(answer) == (503, "too-slow")
        assert int(answer.headers["retry-after"]) >= 1


def test_who_sends_no_request_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "HEADERS", 0.3)
    with serving(tmp_path) as served, served.client() as client:
        assert raw(served) == b""
        assert raw(served, b"GET /healthz HTT") == b""
        assert client.get("/healthz").status_code == 200


def test_more_connections_than_there_may_be_are_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CONNECTIONS", 3)
    with serving(tmp_path) as served:
        host, port = served.url.removeprefix("http://").split(":")
        held = [socket.create_connection((host, int(port)), timeout=30) for _ in range(3)]
        until(lambda: len(served.server.server_state.connections) == 3)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)), served.client() as client:
            client.get("/healthz")
        for connection in held:
            connection.close()
        until(lambda: not served.server.server_state.connections)
        with served.client() as client:
            assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:80", True),
        ("[::1]:8642", True),
        ("10.1.2.3", True),
        ("news.example", True),
        ("news.example:8642", True),
        ("desk.example", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example#localhost", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_only_names_that_are_ours_are_answered(tmp_path: Path, host: str, known: bool) -> None:
    told = settings_of(public_url="https://news.example/weighup")
    with serving(tmp_path, settings=told, names=["desk.example"]) as served:
        key = served.key("read")
        with served.client(key) as client:
            answer = client.get("/v1/methods", headers={"Host": host})
            assert (answer.status_code == 200) is known
            if not known:
                assert kind(answer) == (421, "misdirected")
            assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_two_hosts_are_none(served: Served) -> None:
    answer = raw(
        served, b"GET /v1/methods HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert answer.split()[1] in (b"400", b"421")


def test_a_key_that_asks_faster_than_it_may_is_told_when_to_come_again(served: Served) -> None:
    with served.client(served.key(per_minute=3)) as hasty, served.client(served.key(per_minute=3)) as other:
        seen = [hasty.get("/v1/methods") for _ in range(4)]
        assert [one.status_code for one in seen] == [200, 200, 200, 429]
        assert kind(seen[3]) == (429, "rate-limited")
        assert 1 <= int(seen[3].headers["retry-after"]) <= 21
        assert other.get("/v1/methods").status_code == 200


def test_a_days_quota_counts_the_rows_of_jobs(served: Served) -> None:
    with served.client(served.key(per_day=5)) as small:
        rows = [{"text": f"Row {n} is real."} for n in range(4)]
        assert small.post("/v1/checks", json={"rows": rows}).status_code == 202
        too_many = small.post("/v1/checks", json={"rows": rows})
        assert kind(too_many) == (429, "quota-spent")
        assert 1 <= int(too_many.headers["retry-after"]) <= timedelta(days=1).total_seconds() + 1
        assert kind(small.get("/v1/methods")) == (429, "quota-spent")


def test_more_requests_than_may_be_under_way_are_refused_but_health_is_told(tmp_path: Path) -> None:
    with (
        serving(tmp_path, settings=settings_of(waiting=2)) as served,
        served.client() as client,
        ThreadPoolExecutor(12) as aside,
    ):
        served.reader.go.clear()
        middleware = until(lambda: limits_of(served))
        middleware.under_way = middleware.most
        assert kind(client.get("/v1/methods")) == (503, "overloaded")
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        middleware.under_way = 0
        assert aside.submit(client.get, "/v1/methods").result().status_code == 200


def limits_of(served: Served) -> Any:
    """The middleware of a server that has begun to answer."""
    with served.client() as client:
        client.get("/healthz")
    app: Any = served.server.app
    layer = app.middleware_stack
    while layer is not None and type(layer).__name__ != "Limits":
        layer = getattr(layer, "app", None)
    return layer


def test_under_way_is_counted_back_down(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as client:
        for path in ("/v1/methods", "/v1/nothing", "/healthz"):
            client.get(path)
        client.post("/v1/checks", content=b"{", headers={"Content-Type": "application/json"})
        assert limits_of(served).under_way == 0


@pytest.fixture
def clock() -> Callable[[], float]:
    def tell() -> float:
        return tell.now  # type: ignore[attr-defined, no-any-return]

    tell.now = 0.0  # type: ignore[attr-defined]
    return tell


def test_a_bucket_fills_again_as_time_goes_by(clock: Any) -> None:
    buckets = Buckets(clock)
    assert [buckets.take("a", 60) for _ in range(60)] == [0.0] * 60
    assert buckets.take("a", 60) == pytest.approx(1.0)
    assert buckets.take("b", 60) == 0.0
    clock.now = 1.0
    assert buckets.take("a", 60) == 0.0
    assert buckets.wait("a", 60) == pytest.approx(1.0)
    clock.now = 1000.0
    assert [buckets.take("a", 60) for _ in range(61)][-1] == pytest.approx(1.0)
