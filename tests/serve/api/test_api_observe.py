"""What the server tells of itself, and what it must never tell."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from api_samples import Served, serving

from weighup.serve.api.observe import JsonLines, without_keys


class Kept(logging.Handler):
    """Keeps formatted lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[Kept]:
    """Everything that is logged in this process, at the level that the test is parametrized with (info)."""
    level = getattr(request, "param", logging.INFO)
    kept, root, ours = Kept(), logging.getLogger(), logging.getLogger("weighup")
    before = root.level, ours.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG if level == logging.DEBUG else logging.WARNING)
    ours.setLevel(level)
    yield kept
    root.removeHandler(kept)
    root.setLevel(before[0])
    ours.setLevel(before[1])


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/verdicts", "/v1/nothing", "/openapi.json", "/v1/methods", "/metrics"]
)
def test_every_answer_has_headers_that_keep_browsers_out_of_trouble(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"]
    assert "server" not in headers


def test_refusals_and_failures_have_them_too(served: Served) -> None:
    with served.client() as client:
        for answer in (client.get("/v1/verdicts"), client.get("/v1/methods", headers={"Host": "evil.example"})):
            assert answer.status_code in (401, 421)
            assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_request_id_is_taken_over_and_named_in_problems(client: httpx.Client) -> None:
    answer = client.get("/v1/nothing", headers={"X-Request-ID": "desk-7"})
    assert answer.headers["x-request-id"] == "desk-7"
    assert answer.json()["request_id"] == "desk-7"
    for strange in ("a b", "x" * 65, "wu_0123456789ab_secret", '{"a": 1}'):
        assert client.get("/healthz", headers={"X-Request-ID": strange}).headers["x-request-id"] != strange


def test_measurements_count_requests_by_route_and_never_by_id(client: httpx.Client, served: Served) -> None:
    made = client.post("/v1/checks", json={"text": "This is fake."}).json()
    client.get(f"/v1/verdicts/{made['id']}")
    page = client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert 'weighup_requests_total{method="GET",route="/v1/verdicts/{id}",status="200"}' in page.text
    assert 'weighup_verdicts_total{label="fake"} ' in page.text
    assert "weighup_request_seconds_bucket" in page.text
    assert "process_resident_memory_bytes" in page.text
    assert made["id"] not in page.text


def test_a_request_is_one_line_without_query_or_claim(client: httpx.Client, log: Kept) -> None:
    client.post("/v1/checks", json={"text": "A claim nobody may read in a log is fake."})
    client.get("/v1/verdicts", params={"q": "nobody"})
    told = [json.loads(line) for line in log.lines]
    requests = [one for one in told if one["message"] == "request"]
    assert [(one["method"], one["route"], one["status"]) for one in requests] == [
        ("POST", "/v1/checks", 200),
        ("GET", "/v1/verdicts", 200),
    ]
    assert all({"time", "level", "request_id", "seconds", "client", "key"} <= set(one) for one in requests)
    assert "nobody" not in "".join(log.lines).lower().replace("test_a_request_is_one_line", "")


def test_an_error_that_nobody_foresaw_shows_nothing_and_logs_no_words(
    client: httpx.Client, served: Served, log: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ValueError("a claim nobody may read")

    monkeypatch.setattr(served.database.verdicts, "page", break_down)
    answer = client.get("/v1/verdicts")
    assert (answer.status_code, answer.json()["type"].partition("#")[2]) == (500, "internal")
    assert "nobody may read" not in answer.text + "".join(log.lines)
    line = next(json.loads(line) for line in log.lines if "unexpected" in line)
    assert (line["error"], line["request_id"]) == ("ValueError", answer.json()["request_id"])
    assert "break_down" in line["at"][-1]


@pytest.mark.parametrize("log", [logging.DEBUG], indirect=True)
def test_keys_are_never_logged_however_they_are_sent(tmp_path: Path, log: Kept) -> None:
    with serving(tmp_path) as served:
        right = served.key("admin")
        secret = right.rpartition("_")[2]
        wrong_secret = "f00d" * 16
        wrong = f"wu_0123456789ab_{wrong_secret}"
        with served.client() as client:
            for key in (right, wrong):
                bearer = {"Authorization": f"Bearer {key}"}
                client.get("/v1/verdicts", headers=bearer)
                client.get("/v1/verdicts", headers={"Authorization": f"Basic {key}"})
                client.get("/v1/verdicts", headers={"X-Request-ID": key, "X-API-Key": key, "Cookie": f"session={key}"})
                client.get(f"/v1/verdicts/{key}", headers=bearer)
                client.get("/v1/verdicts", params={"q": key, "key": key, "cursor": key}, headers=bearer)
                client.get(f"/{key}", headers=bearer)
                client.post("/v1/checks", json={"text": f"explode {key}"}, headers={**bearer, "Idempotency-Key": key})
                client.post("/v1/checks", json={key: key}, headers=bearer)
                client.post("/v1/checks", content=key.encode(), headers={**bearer, "Content-Type": "application/json"})
            metrics = client.get("/metrics", headers={"Authorization": f"Bearer {right}"}).text
            new = client.post(
                "/v1/keys", json={"name": "n", "scopes": ["read"]}, headers={"Authorization": f"Bearer {right}"}
            ).json()["key"]
        told = "\n".join(
            line for line in log.lines if '"logger": "httpc' not in line and '"logger": "httpx' not in line
        )
        assert "weighup.serve" in told
        for hidden in (secret, wrong_secret, new.rpartition("_")[2]):
            assert hidden not in told
            assert hidden not in metrics


def test_what_looks_like_a_key_is_struck_out_of_any_line() -> None:
    struck = without_keys('{"m": "wu_0123456789ab_deadbeef and wu_aa_x,\\"wu_bb_c\\""}')
    assert struck == '{"m": "wu_0123456789ab_*** and wu_aa_***,\\"wu_bb_***\\""}'


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP receiver on loopback: its address, and what it was sent."""
    bodies: list[bytes] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Take) as listening:
        thread = Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", bodies
        listening.shutdown()
        thread.join()


def test_traces_are_sent_with_the_callers_own_and_without_claims(
    tmp_path: Path, collector: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    address, bodies = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    with serving(tmp_path) as served, served.client() as client:
        trace = "0af7651916cd43dd8448eb211c80319c"
        client.post(
            "/v1/checks",
            json={"text": "A claim nobody may trace is fake."},
            headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Request-ID": "desk-8"},
        )
    spans = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    span = next(one for one in spans if one.name == "POST /v1/checks")
    attributes = {one.key: one.value for one in span.attributes}
    assert span.trace_id.hex() == trace
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["weighup.request_id"].string_value == "desk-8"
    assert b"nobody may trace" not in b"".join(bodies)
