"""What polling remembers goes through the database unharmed: validators, digests, moved addresses, sitemaps, files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from db_samples import NOON
from feed_bodies import SITEMAP, rss, sitemap_index, story
from webserver import LoopbackServer, Request, Response

from weighup.serve.db import Database
from weighup.serve.db.records import Feed
from weighup.serve.feeds.client import FeedClient
from weighup.serve.watch.memory import state_of
from weighup.serve.watch.polling import Brought, Polling
from weighup.settings import RetrieveSettings


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as opened:
        yield opened


@pytest.fixture
def client() -> Iterator[FeedClient]:
    with FeedClient(RetrieveSettings(allow_loopback=True, timeout=5)) as opened:
        yield opened


class Tagged:
    """A body with an ETag; counts how often it was sent whole."""

    def __init__(self, body: str) -> None:
        self.body, self.sent = body, 0

    def __call__(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == '"1"':
            return Response(b"", 304, headers={"ETag": '"1"'})
        self.sent += 1
        return Response(self.body, type="application/xml", headers={"ETag": '"1"'})


def only(db: Database) -> Feed:
    (feed,) = db.feeds.watched("")
    return feed


def poll(db: Database, client: FeedClient, days: int) -> Brought:
    polling = Polling(db, client, name=f"p{days}", clock=lambda: NOON + timedelta(days=days))
    return polling.once()


def test_a_second_poll_transfers_no_body_and_brings_nothing(
    db: Database, client: FeedClient, server: LoopbackServer
) -> None:
    server.routes["/feed"] = feed = Tagged(rss([story(1), story(2)]))
    db.feeds.add("", [f"{server.url}/feed"], every=900, now=NOON)
    assert poll(db, client, 0) == Brought(1, 0, 0, 2)
    assert (only(db).title, only(db).etag) == ("North News", '"1"')
    assert poll(db, client, 1) == Brought(1, 0, 1, 0)
    assert feed.sent == 1


def test_without_validators_the_same_body_is_known_by_its_digest(
    db: Database, client: FeedClient, server: LoopbackServer
) -> None:
    server.routes["/feed"] = Response(rss([story(1)]), type="application/xml")
    db.feeds.add("", [f"{server.url}/feed"], now=NOON)
    assert poll(db, client, 0).items == 1
    assert poll(db, client, 1) == Brought(1, 0, 1, 0)
    server.routes["/feed"] = Response(rss([story(1), story(2)]), type="application/xml")
    assert poll(db, client, 2) == Brought(1, 0, 0, 1)


def test_a_feed_that_moved_for_good_is_asked_where_it_is(
    db: Database, client: FeedClient, server: LoopbackServer
) -> None:
    server.routes["/old"] = Response(b"", 301, headers={"Location": "/new"})
    server.routes["/new"] = Tagged(rss([story(1)]))
    db.feeds.add("", [f"{server.url}/old"], now=NOON)
    poll(db, client, 0)
    assert state_of(only(db)).url == f"{server.url}/new"
    poll(db, client, 1)
    assert [r.path for r in server.requests if r.path != "/robots.txt"] == ["/old", "/new", "/new"]
    assert only(db).url == f"{server.url}/old"  # still the name that its owner gave it


def test_the_sitemaps_of_an_index_keep_their_own_validators(
    db: Database, client: FeedClient, server: LoopbackServer
) -> None:
    server.routes["/a.xml"] = part = Tagged(SITEMAP)
    server.routes["/index.xml"] = Tagged(sitemap_index(f"{server.url}/a.xml"))
    db.feeds.add("", [f"{server.url}/index.xml"], now=NOON)
    assert poll(db, client, 0).items == 2
    assert poll(db, client, 1).items == 0
    assert part.sent == 1


def test_a_failure_keeps_what_was_known(db: Database, client: FeedClient, server: LoopbackServer) -> None:
    server.routes["/feed"] = feed = Tagged(rss([story(1)]))
    db.feeds.add("", [f"{server.url}/feed"], now=NOON)
    poll(db, client, 0)
    server.routes["/feed"] = Response(b"", 500)
    assert poll(db, client, 1).failed == 1
    assert (only(db).errors, only(db).etag) == (1, '"1"')
    server.routes["/feed"] = feed
    assert poll(db, client, 2) == Brought(1, 0, 1, 0)
    assert (only(db).errors, feed.sent) == (0, 1)


def test_a_folder_is_read_again_only_where_it_changed(db: Database, client: FeedClient, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.txt").write_text("The northern dam broke on Friday.")
    db.feeds.add("", [str(drop)], kind="folder", now=NOON)

    def scan(days: int) -> Brought:
        clock = NOON + timedelta(days=days)
        return Polling(db, client, name="f", folders=True, clock=lambda: clock).once()

    assert scan(0) == Brought(1, 0, 0, 1)
    assert scan(1) == Brought(1, 0, 1, 0)
    (drop / "b.txt").write_text("Inflation fell to three per cent in April.")
    assert scan(2) == Brought(1, 0, 0, 1)
    assert {(item.title, item.text) for item in db.feeds.items("")} == {
        (None, "The northern dam broke on Friday."),
        (None, "Inflation fell to three per cent in April."),
    }
    (drop / "a.txt").unlink()
    (drop / "b.txt").unlink()
    drop.rmdir()
    assert scan(3) == Brought(1, 1, 0, 0)
    assert "no such folder" in str(only(db).last_error)
