"""A checker that reads its verdict off the claim, and a server around it on loopback."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from weighup.dates import iso
from weighup.serve.api.app import create_app
from weighup.serve.api.binding import address_of, bind
from weighup.serve.api.openapi import operations
from weighup.serve.api.parts import Parts
from weighup.serve.api.running import Server
from weighup.serve.db import Database
from weighup.serve.desk import Desk
from weighup.settings import Settings
from weighup.verify.contract import AssessmentView, EvidenceView, PerspectiveView, UsageView, Verdict
from weighup.verify.types import Claim

SCOPES = ("read", "check", "feeds", "review", "admin")


def verdict(claim: str, probability: float, *, date: str | None = None) -> Verdict:
    label = "fake" if probability > 0.6 else "real" if probability < 0.4 else "unknown"
    view = PerspectiveView(
        available=True,
        text="What was found.",
        verdict=label,
        probability_real=1 - probability,
        probability_fake=probability,
        probability_unknown=0.0,
        assessment=AssessmentView(reliable=True, probability=0.8, why="two sources"),
        weight=1.0,
        chosen=True,
    )
    passage = EvidenceView(
        text="It was never so.",
        stance="refutes",
        supports=0.1,
        refutes=0.8,
        neutral=0.1,
        url="https://example.org/never",
        title="Never",
        date="2026-05-09",
        source="example.org",
        origin="store",
    )
    return Verdict(
        claim=claim,
        date=date,
        verdict=label,  # type: ignore[arg-type]
        probability_fake=probability,
        interval=(max(0.0, probability - 0.1), min(1.0, probability + 0.1)),
        expert="evidence",
        why="two sources refute it",
        perspectives={"evidence": view},
        evidence=[passage],
        usage=UsageView(calls=1, seconds=0.1),
        model_versions={"reader": "1"},
    )


@dataclass
class Reader:
    """`real`, `fake` or nothing of the kind in a claim decides. It waits while `go` is not set, for every batch."""

    go: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)
    brief: bool = True

    def __post_init__(self) -> None:
        self.go.set()

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        self.begun.set()
        assert self.go.wait(60)
        self.sizes.append(len(items))
        return [self.read(item) for item in items if isinstance(item, Claim)]

    def read(self, claim: Claim) -> Verdict:
        if "explode" in claim.text:
            raise RuntimeError(f"cannot read {claim.text}")
        probability = 0.9 if "fake" in claim.text else 0.1 if "real" in claim.text else 0.5
        return verdict(claim.text, probability, date=iso(claim.date))


@dataclass
class Served:
    """A running server."""

    url: str
    parts: Parts
    reader: Reader
    server: Server

    @property
    def database(self) -> Database:
        return self.parts.database

    def client(self, key: str | None = None, **more: Any) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=False, **more)

    def key(self, *scopes: str, tenant: str = "a", **more: Any) -> str:
        """A new key's text; the server knows at once that there is one."""
        made = self.database.api_keys.create("test", tenant=tenant, scopes=scopes or SCOPES, **more)[1]
        self.parts.gate.keys.look(now=True)
        return made


def settings_of(**serve: Any) -> Settings:
    """Settings that tell nobody and poll nothing, with these for the server."""
    more: dict[str, Any] = {"workers": 0, "port": 0, **serve}
    return Settings(watch={"console": False}, serve=more)  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(folder: Path, *, settings: Settings | None = None, **more: Any) -> Iterator[Served]:
    """A server in a thread, on a database in `folder`."""
    told, reader = settings or settings_of(), Reader()
    with Database.open(folder / "serve.sqlite") as database, bind("127.0.0.1", 0) as bound:
        app = create_app(told, database, Desk(reader, database), **more)
        up = threading.Event()
        server = Server(app, ready=up.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        assert up.wait(120)
        try:
            yield Served(address_of(bound, "127.0.0.1"), app.state.parts, reader, server)
        finally:
            reader.go.set()
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What `condition` gives once it is true."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.01)
    return found


def operations_described() -> list[tuple[str, str, dict[str, Any]]]:
    """All operations; an empty database is enough to ask what there are."""
    with tempfile.TemporaryDirectory() as folder, Database.open(f"sqlite:///{folder}/described.sqlite") as database:
        return list(operations(create_app(settings_of(), database, Desk(Reader(), database)).openapi()))
