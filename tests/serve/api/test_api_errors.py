"""Every error that the description of the API names can be met, at every operation that it is named for."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from api_samples import Served, operations_described, serving, settings_of, verdict

from weighup.errors import StoreError
from weighup.serve.api.openapi import examples
from weighup.serve.api.problems import ABOUT, KINDS, ProblemView
from weighup.serve.db.records import Check

OPERATIONS = operations_described()
BODIES: dict[str, dict[str, Any]] = {
    "check": {"text": "It is real."},
    "label": {"verdict_id": str(uuid.uuid4()), "label": "fake"},
    "watch": {"url": "https://example.org/news.rss"},
    "pause": {"enabled": False},
    "create_key": {"name": "mine", "scopes": ["read"]},
}
NAMED = [
    pytest.param(path, method, operation, kind, id=f"{operation['operationId']}-{kind}")
    for path, method, operation in OPERATIONS
    for status, response in operation["responses"].items()
    if not status.startswith("2")
    for kind in response["content"]["application/problem+json"]["examples"]
]


class Asking:
    """Asks for one operation, in such a way that one kind of problem comes of it."""

    def __init__(self, served: Served, hasty: Served, path: str, method: str, operation: dict[str, Any]) -> None:
        self.served, self.hasty = served, hasty
        self.path = path.replace("{id}", str(uuid.uuid4())).replace("{prefix}", "0" * 12)
        self.method, self.operation = method, operation
        self.body = BODIES[operation["operationId"]] if "requestBody" in operation else None
        self.tenant = uuid.uuid4().hex

    def ask(self, key: str | None = None, *, at: Served | None = None, **more: Any) -> httpx.Response:
        there = at or self.served
        text = there.key("admin", tenant=self.tenant, per_day=100_000) if key is None else key
        query = {"q": "dam"} if self.path == "/v1/evidence" else {}
        with there.client(text) as client:
            told = {"params": query, "json": self.body, **more}
            return client.request(self.method.upper(), self.path, **told)

    def unauthenticated(self) -> httpx.Response:
        return self.ask("wu_0123456789ab_0")

    def forbidden(self) -> httpx.Response:
        return self.ask(self.served.database.api_keys.create("none")[1])

    def misdirected(self) -> httpx.Response:
        return self.ask(headers={"Host": "evil.example"})

    def rate_limited(self) -> httpx.Response:
        key = self.served.key("admin", per_minute=1)
        self.ask(key, params={"unknown": 1})
        return self.ask(key)

    def quota_spent(self) -> httpx.Response:
        key = self.served.key("admin", per_day=1)
        self.ask(key, params={"unknown": 1})
        return self.ask(key)

    def internal(self) -> httpx.Response:
        return self.paced(RuntimeError("nobody foresaw this"))

    def unavailable(self) -> httpx.Response:
        if self.path == "/readyz":
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(self.served.database, "ping", raising(StoreError("gone")))
                return self.ask()
        return self.paced(StoreError("gone"))

    def paced(self, error: Exception) -> httpx.Response:
        """With an error where the key's use is counted, which asks the database."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(self.served.parts.gate, "spend", raising(error))
            return self.ask()

    def overloaded(self) -> httpx.Response:
        key = self.served.key("admin", per_day=100)
        self.ask(key, params={"unknown": 1})
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(self.served.parts.pool, "inside", 10**6)
            return self.ask(key)

    def stopping(self) -> httpx.Response:
        key = self.served.key("admin")
        self.served.parts.stopping.set()
        try:
            return self.ask(key)
        finally:
            self.served.parts.stopping.clear()

    def too_slow(self) -> httpx.Response:
        async def sleep(*_: object) -> None:
            await asyncio.sleep(20)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(self.hasty.parts.gate, "pace", sleep)
            return self.ask(at=self.hasty)

    def timeout(self) -> httpx.Response:
        key = self.hasty.key("admin")
        host, port = self.hasty.url.removeprefix("http://").split(":")
        head = f"{self.method.upper()} {self.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n".encode() + b"{")
            answer = b""
            while more := connection.recv(65_536):
                answer += more
        top, _, body = answer.partition(b"\r\n\r\n")
        lines = top.decode().split("\r\n")
        return httpx.Response(int(lines[0].split()[1]), headers=[h.split(": ", 1) for h in lines[1:]], content=body)

    def bad_request(self) -> httpx.Response:
        return self.ask(json=None, content=b"{", headers={"Content-Type": "application/json"})

    def too_large(self) -> httpx.Response:
        more = b" " * (self.served.parts.settings.serve.max_body_bytes + 1)
        return self.ask(json=None, content=more, headers={"Content-Type": "application/json"})

    def unsupported_media_type(self) -> httpx.Response:
        return self.ask(json=None, content=b"{}", headers={"Content-Type": "text/plain"})

    def invalid(self) -> httpx.Response:
        return self.ask(params={"unknown": 1})

    def not_found(self) -> httpx.Response:
        return self.ask()

    def not_acceptable(self) -> httpx.Response:
        nothing = verdict("Hello there!", 0.5).model_copy(update={"verdict": "not_checkable", "expert": None})
        self.path = f"/v1/verdicts/{self.served.database.verdicts.record([Check(nothing, 'k', self.tenant)])[0].id}"
        return self.ask(headers={"Accept": "application/ld+json"})

    def in_progress(self) -> httpx.Response:
        self.known()
        made = httpx.Request(self.method.upper(), self.served.url + self.path, json=self.body)
        told = f"{made.method} {self.path}?\n".encode() + made.content
        self.served.database.idempotency.begin(self.tenant, "k", told)
        return self.ask(headers={"Idempotency-Key": "k"})

    def key_reused(self) -> httpx.Response:
        self.known()
        self.served.database.idempotency.begin(self.tenant, "k", b"another")
        return self.ask(headers={"Idempotency-Key": "k"})

    def known(self) -> None:
        """A label is for a verdict that is there."""
        if self.operation["operationId"] == "label" and self.body is not None:
            number = self.served.database.verdicts.record([Check(verdict("It is real.", 0.1), "k", self.tenant)])[0].id
            self.body = {**self.body, "verdict_id": str(number)}


def raising(error: Exception) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error

    return call


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """A server that takes its time, and one that does not."""
    told = {"per_minute": 100_000, "max_body_bytes": 10_000}
    with (
        pytest.MonkeyPatch.context() as patched,
        serving(tmp_path_factory.mktemp("patient"), settings=settings_of(**told)) as served,
        serving(tmp_path_factory.mktemp("hasty"), settings=settings_of(**told, request_seconds=0.4)) as hasty,
    ):
        patched.setattr("weighup.serve.api.auth.FAILURES", 1_000_000)
        yield served, hasty


@pytest.mark.parametrize(("path", "method", "operation", "kind"), NAMED)
def test_every_error_that_is_described_can_be_met(
    both: tuple[Served, Served], path: str, method: str, operation: dict[str, Any], kind: str
) -> None:
    asking = Asking(*both, path, method, operation)
    answer = getattr(asking, kind.replace("-", "_"))()
    assert answer.headers["content-type"] == "application/problem+json"
    told = ProblemView.model_validate(answer.json())
    assert (answer.status_code, told.type) == (KINDS[kind].status, ABOUT + kind)
    described = operation["responses"][str(answer.status_code)]
    for name in described["headers"]:
        assert answer.headers.get(name), name


def test_every_kind_of_problem_is_described_somewhere() -> None:
    named = {one.values[3] for one in NAMED}
    assert set(KINDS) - named == {"method-not-allowed"}  # no operation: see test_paths_and_methods_that_are_none


def test_every_kind_is_explained_where_its_type_points(request: pytest.FixtureRequest) -> None:
    page = request.config.rootpath / "docs" / "howto" / "api.md"
    text = page.read_text(encoding="utf-8")
    assert not [kind for kind in KINDS if f"### {kind}\n" not in text]


def test_every_answer_has_an_example_that_is_as_described(both: tuple[Served, Served]) -> None:
    app: Any = both[0].server.app
    told = app.openapi()
    given = examples()
    used = set()
    for _, _, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            if status.startswith("2") and status != "204":
                used.add(operation["operationId"] + ("_job" if status == "202" else ""))
                for content in response["content"].values():
                    schema = {**content.get("schema", {}), "components": told["components"]}
                    jsonschema.validate(content["example"], schema, cls=jsonschema.Draft202012Validator)
    assert used == set(given)


def test_the_description_is_openapi_3_1(both: tuple[Served, Served]) -> None:
    with both[0].client() as client:
        told = client.get("/openapi.json").json()
    assert told["openapi"].startswith("3.1")
    assert all(operation["summary"] and operation["operationId"] for _, _, operation in OPERATIONS)
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)
    for schema in told["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
