"""A newsroom's desk: a server with verdicts, stories and feeds, and a browser without JavaScript to look at it with."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import examples
import httpx
from api_samples import Served, serving, settings_of

from weighup.retrieve.store import EvidenceStore
from weighup.serve.db import Database
from weighup.serve.db.claim_vectors import ClaimVector
from weighup.serve.db.records import Check, FeedItemOutcome, NewItem, Poll
from weighup.verify.contract import Verdict

NOW = datetime.now(UTC).replace(microsecond=0)
HOSTILE = (
    "\u202e<script>window.hurt=1</script><img src=x onerror=window.hurt=1> javascript:alert(1) {{7*7}} " + "W" * 300
)


def before(**spans: float) -> datetime:
    return NOW - timedelta(**spans)


@dataclass
class Desk:
    """A running server and where its samples are."""

    served: Served
    ids: dict[str, uuid.UUID]
    story: uuid.UUID
    feed: uuid.UUID

    @property
    def url(self) -> str:
        return self.served.url

    @property
    def database(self) -> Database:
        return self.served.database

    def reader(self, **more: Any) -> Reader:
        """A browser that knows no JavaScript."""
        return Reader(httpx.Client(base_url=self.url, timeout=30, follow_redirects=True, **more))


class Reader:
    """Follows links and sends forms, as a browser without JavaScript does."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.page: httpx.Response | None = None

    def open(self, path: str, **more: Any) -> httpx.Response:
        self.page = self.client.get(path, headers={"Accept": "text/html", **more.pop("headers", {})}, **more)
        return self.page

    @property
    def text(self) -> str:
        assert self.page is not None
        return self.page.text

    def token(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.text)
        assert found is not None, self.text[:2000]
        return found[1]

    def send(self, action: str, *, headers: dict[str, str] | None = None, **given: str) -> httpx.Response:
        """Send a form of the page that is open; `csrf` is its own unless given."""
        data = given if "csrf" in given else {"csrf": self.token(), **given}
        origin = str(self.client.base_url).rstrip("/")
        told = {"Accept": "text/html", "Origin": origin, "Sec-Fetch-Site": "same-origin", **(headers or {})}
        self.page = self.client.post(action, data=data, headers=told)
        return self.page


class Parsed(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def moved() -> list[tuple[str, Verdict, timedelta]]:
    """One claim, checked four times as evidence arrived."""
    whole = examples.verdict(claim="The mayor of Lyon closed the Wilson bridge after cracks were found.", date=None)
    steps = []
    for days, share, interval, expert, label in (
        (6, 0.52, (0.2, 0.83), "reasoning", "unknown"),
        (5.5, 0.61, (0.35, 0.82), "reasoning", "unknown"),
        (3, 0.34, (0.18, 0.55), "evidence", "unknown"),
        (0.2, 0.12, (0.05, 0.26), "evidence", "real"),
    ):
        seen = whole.evidence[: {6: 0, 5.5: 1, 3: 2, 0.2: 4}[days]]
        changed = {"probability_fake": share, "interval": interval, "expert": expert, "verdict": label}
        steps.append((f"m{days}", whole.model_copy(update={**changed, "evidence": seen}), timedelta(days=days)))
    return steps


def fill(database: Database, tenant: str = "") -> tuple[dict[str, uuid.UUID], uuid.UUID, uuid.UUID]:
    """Put the samples into a tenant; the ids of the verdicts by name, of the story and of the feed."""
    hostile = examples.hostile().model_copy(update={"claim": HOSTILE, "why": HOSTILE})
    samples = {
        "fake": examples.verdict(),
        "real": examples.real(),
        "open": examples.without_evidence(),
        "none": examples.not_checkable(),
        "hostile": hostile,
    }
    checks = [
        Check(
            verdict,
            name,
            tenant,
            at=before(hours=2 + place),
            source="a.example" if place % 2 else None,
            vector=ClaimVector.of("samples@1", [1.0, 0.1 * place]) if name in ("fake", "hostile") else None,
        )
        for place, (name, verdict) in enumerate(samples.items())
    ]
    ids = dict(zip(samples, [one.id for one in database.verdicts.record(checks)], strict=True))
    for key, verdict, age in moved():
        check = Check(verdict, key, tenant, at=NOW - age, next_check=NOW + timedelta(hours=5), reason="new_evidence")
        ids["moved"] = database.verdicts.record([check])[0].id
    feed = database.feeds.add(tenant, ["https://www.example.com/news.rss", "https://desk.example.org/atom.xml"])[1]
    items = [
        NewItem("1", "Bridge closed after cracks", "https://www.example.com/1", "Bridge closed", before(hours=9)),
        NewItem("2", HOSTILE, "javascript:alert(1)", HOSTILE, before(hours=8)),
    ]
    database.feeds.polled([Poll(feed.id, items, title="Example News")])
    broken = database.feeds.watched(tenant)[0]
    database.feeds.polled([Poll(broken.id, error=f"503 {HOSTILE[:80]}")])
    taken = [item for item in database.feeds.take_items("samples") if item.tenant == tenant]
    story = database.stories.put(tenant, "Wilson bridge", [item.id for item in taken])
    first = Check(moved()[-1][1], "item", tenant, at=before(hours=1))
    database.feeds.finish_items(
        [
            FeedItemOutcome(item.id, "checked" if place == 0 else "skipped", first if place == 0 else None)
            for place, item in enumerate(taken)
        ]
    )
    return ids, story, feed.id


@contextlib.contextmanager
def desk(folder: Path, *, tenant: str = "", **serve: Any) -> Iterator[Desk]:
    """A server with one worker, the samples in its database and an evidence store."""
    from weighup.retrieve.types import Document

    told = settings_of(workers=1, **serve)
    with EvidenceStore.open(folder / "store.sqlite", create=True) as store:
        store.add([Document(text="The Wilson bridge in Lyon was closed after inspectors found cracks.")])
        with serving(folder, settings=told, stores=[store]) as served:
            ids, story, feed = fill(served.database, tenant)
            yield Desk(served, ids, story, feed)
