"""Polling against real servers on loopback: what is asked again, when, how much comes, and where it may not lead."""

from __future__ import annotations

import gzip
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from feed_bodies import ATOM, SITEMAP, rss, sitemap_index, story
from webserver import FakeInternet, LoopbackServer, Request, Response

from weighup.serve.feeds.client import FeedClient
from weighup.serve.feeds.poll import OLDER, FeedState, Polled, Poller, due
from weighup.serve.feeds.schedule import EVERY, LONGEST, after_failure, freshness
from weighup.settings import RetrieveSettings

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
PUBLIC, OTHER = "93.184.215.14", "151.101.1.1"


def settings(**changes: Any) -> RetrieveSettings:
    return RetrieveSettings(**{"allow_loopback": True, "timeout": 5, **changes})


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as opened:
        yield opened


@pytest.fixture
def poller() -> Iterator[Poller]:
    with FeedClient(settings()) as client:
        yield Poller(client, chance=random.Random(1))


class Conditional:
    """A feed that answers conditional requests, and counts the bytes of bodies that it sent."""

    def __init__(
        self, body: str | bytes, *, etag: str | None = '"1"', modified: str | None = None, **headers: str
    ) -> None:
        self.body = body.encode() if isinstance(body, str) else body
        self.headers = {"ETag": etag} if etag else {}
        self.headers |= {"Last-Modified": modified} if modified else {}
        self.extra = headers
        self.sent = 0

    def __call__(self, request: Request) -> Response:
        asked = (request.headers.get("if-none-match"), request.headers.get("if-modified-since"))
        held = (self.headers.get("ETag"), self.headers.get("Last-Modified"))
        same = any(mine is not None and mine == theirs for mine, theirs in zip(held, asked, strict=True))
        body = b"" if same else self.body
        self.sent += len(body)
        return Response(body, 304 if same else 200, type="application/xml", headers={**self.headers, **self.extra})


def wait(polled: Polled) -> float:
    assert polled.state.next_poll is not None
    return (polled.state.next_poll - NOW).total_seconds()


@pytest.mark.parametrize(
    "validators", [{}, {"etag": None, "modified": "Fri, 31 May 2024 08:00:00 GMT"}, {"etag": 'W/"x"'}]
)
def test_an_unchanged_feed_sends_no_body_and_a_changed_one_only_news(
    server: LoopbackServer, poller: Poller, validators: dict[str, Any]
) -> None:
    feed = Conditional(rss([story(1), story(2)]), **validators)
    server.routes["/feed"] = feed
    first = poller.poll(FeedState(server.url + "/feed"), NOW)
    assert (first.outcome, len(first.items), first.state.kind) == ("read", 2, "rss")
    sent = feed.sent
    second = poller.poll(first.state, NOW)
    assert (second.outcome, second.items, feed.sent) == ("unchanged", (), sent)
    server.routes["/feed"] = Conditional(rss([story(3), story(1), story(2)]), etag='"2"')
    third = poller.poll(second.state, NOW)
    assert [item.guid for item in third.items] == ["https://north.example/3"]
    assert len(third.state.seen) == 3


def test_a_server_without_validators_is_read_once(server: LoopbackServer, poller: Poller) -> None:
    server.routes["/feed"] = Response(gzip.compress(ATOM.encode()), headers={"Content-Encoding": "gzip"})
    first = poller.poll(FeedState(server.url + "/feed"), NOW)
    assert (len(first.items), first.state.kind) == (1, "atom")
    assert poller.poll(first.state, NOW).outcome == "unchanged"
    server.routes["/feed"] = Response(ATOM.replace("09:30:00Z", "10:30:00Z"))
    assert len(poller.poll(first.state, NOW).items) == 1  # the same item, updated


def test_what_was_seen_stays_bounded(server: LoopbackServer, poller: Poller) -> None:
    state = FeedState(server.url + "/feed")
    for start in range(0, 1_000, 200):
        server.routes["/feed"] = Response(rss([story(n) for n in range(start, start + 200)]))
        polled = poller.poll(state, NOW)
        state = polled.state
        assert len(polled.items) == 200
    assert len(state.seen) == OLDER + 200


@pytest.mark.parametrize(
    ("headers", "extra", "seconds"),
    [
        ({}, "", EVERY),
        ({"Cache-Control": "public, max-age=3600", "Age": "600"}, "", 3000),
        ({"Cache-Control": "max-age=60"}, "", EVERY),
        ({"Cache-Control": "no-cache, max-age=3600"}, "", EVERY),
        ({"Cache-Control": "max-age=99999999"}, "", LONGEST),
        ({"Expires": "0"}, "", EVERY),
        ({}, "<ttl>120</ttl>", 7200),
        ({"Cache-Control": "max-age=1800"}, "<ttl>-5</ttl>", 1800),
    ],
)
def test_the_servers_pace_is_kept(
    server: LoopbackServer, poller: Poller, headers: dict[str, str], extra: str, seconds: float
) -> None:
    server.routes["/feed"] = Conditional(rss([story(1)], extra=extra), **headers)
    first = poller.poll(FeedState(server.url + "/feed"), NOW)
    assert wait(first) == seconds
    assert wait(poller.poll(first.state, NOW)) == seconds  # also told by a 304


def test_expires_counts_without_max_age() -> None:
    from email.utils import format_datetime

    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3590 < freshness({"expires": later}) <= 3600
    assert freshness({"expires": later, "cache-control": "max-age=5"}) == 5


def test_failures_back_off_up_to_a_day_and_are_forgotten(server: LoopbackServer, poller: Poller) -> None:
    server.routes["/feed"] = Response("down", 500)
    state = FeedState(server.url + "/feed", etag='"1"')
    waits = []
    for number in range(1, 12):
        polled = poller.poll(state, NOW)
        state = polled.state
        assert (polled.outcome, state.failures) == ("failed", number)
        waits.append(wait(polled))
    assert len(server.asked("/feed")) == 11  # never again at once
    for number, seconds in enumerate(waits):
        full = min(EVERY * 2**number, LONGEST)
        assert full / 2 <= seconds <= full
    assert "HTTP status 500" in str(state.error)
    server.routes["/feed"] = Response(rss([story(1)]))
    good = poller.poll(state, NOW).state
    assert (good.failures, good.error) == (0, None)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(server: LoopbackServer, poller: Poller, status: int) -> None:
    server.routes["/feed"] = Response("later", status, headers={"Retry-After": "7200"})
    assert wait(poller.poll(FeedState(server.url + "/feed"), NOW)) == 7200
    assert len(server.asked("/feed")) == 1
    assert after_failure(1, {"retry-after": "9" * 50}, random.Random(1)) == 7 * 24 * 3600


def test_what_is_gone_is_not_asked_again(server: LoopbackServer, poller: Poller) -> None:
    server.routes["/feed"] = Response("", 410)
    polled = poller.poll(FeedState(server.url + "/feed"), NOW)
    assert (polled.outcome, polled.state.gone) == ("gone", True)
    assert due([polled.state], NOW + timedelta(days=900)) == []


def test_due_in_order_of_waiting() -> None:
    late = FeedState("http://a.example/1", next_poll=NOW - timedelta(hours=1))
    just, soon = FeedState("http://a.example/2", next_poll=NOW), FeedState("u", next_poll=NOW + timedelta(seconds=1))
    new = FeedState("http://a.example/3")
    assert due([just, soon, late, new], NOW) == [new, late, just]


def test_permanent_moves_are_kept_and_others_are_not(server: LoopbackServer, poller: Poller) -> None:
    def to(target: str, status: int) -> Response:
        return Response(status=status, headers={"Location": target})

    server.routes |= {
        "/robots.txt": to("/rules", 301),
        "/old": to("/new", 301),
        "/new": to("/here", 308),
        "/for-now": to("/old", 302),
        "/half": to("/for-now", 301),
        "/broken": to("/nowhere", 301),
        "/here": Response(rss([story(1)])),
    }
    moved = {"/old": "/here", "/for-now": "/for-now", "/half": "/for-now", "/broken": "/broken", "/here": "/here"}
    for path, place in moved.items():
        polled = poller.poll(FeedState(server.url + path), NOW)
        assert (polled.asked, polled.state.url) == (server.url + path, server.url + place)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/",
        "http://10.0.0.1/f",
        "http://127.0.0.1/f",
        "file:///etc/passwd",
        "http://inner.example/f",
    ],
)
@pytest.mark.parametrize("status", [301, 302])
def test_no_redirect_sitemap_or_feed_leads_inside(server: LoopbackServer, target: str, status: int) -> None:
    names = {"news.example": [PUBLIC], "inner.example": ["192.168.0.1"]}
    world = FakeInternet(names, {PUBLIC: server.port, "127.0.0.1": server.port})
    server.routes |= {
        "/go": Response(status=status, headers={"Location": target}),
        "/index": Response(sitemap_index(target, target.replace("169", "news.example"))),
        "/feed": Response(rss([story(1, link=target, guid=target)], extra=f"<atom:link href='{target}'/>")),
    }
    with FeedClient(settings(per_host_per_second=1000), connector=world) as client:
        for trusted in (False, True):
            poller = Poller(client, trusted=trusted)
            led = poller.poll(FeedState("http://news.example/go"), NOW)
            assert (led.outcome, led.state.url) == ("failed", "http://news.example/go")
            assert poller.poll(FeedState(target), NOW).outcome == "failed"
            poller.poll(FeedState("http://news.example/index"), NOW)
            assert len(poller.poll(FeedState("http://news.example/feed"), NOW).items) == 1
    assert {ip for ip, _ in world.connected} <= {PUBLIC, "127.0.0.1"}
    if not target.startswith("http://127"):
        assert {ip for ip, _ in world.connected} == {PUBLIC}


def test_loopback_is_closed_without_the_setting(server: LoopbackServer) -> None:
    with FeedClient(settings(allow_loopback=False)) as client:
        polled = Poller(client).poll(FeedState(server.url + "/feed"), NOW)
    assert "allow_loopback" in str(polled.state.error)
    assert server.requests == []


def test_robots_txt_and_sizes_hold_for_feeds(server: LoopbackServer, poller: Poller) -> None:
    server.routes |= {
        "/robots.txt": Response("User-agent: *\nDisallow: /closed\n"),
        "/closed": Response(rss([story(1)])),
        "/bomb": Response(gzip.compress(bytes(30_000_000)), headers={"Content-Encoding": "gzip"}),
        "/page": Response("<html><body>No feed.</body></html>"),
    }
    for path, why in (("/closed", "robots.txt"), ("/bomb", "unpacks to more"), ("/page", "is no feed")):
        polled = poller.poll(FeedState(server.url + path), NOW)
        assert polled.outcome == "failed"
        assert why in str(polled.state.error)


def test_sitemaps_of_an_index_keep_their_own_states(server: LoopbackServer, poller: Poller) -> None:
    first, second = Conditional(SITEMAP), Conditional(SITEMAP.replace("n.example", "m.example").replace("/b", "/c"))
    index = Conditional(sitemap_index("/1.xml", "/2.xml", "/index", "/deep"))
    deep = Conditional(sitemap_index("/3.xml"))
    server.routes |= {"/index": index, "/1.xml": first, "/2.xml": second, "/deep": deep}
    polled = poller.poll(FeedState(server.url + "/index"), NOW)
    assert (polled.outcome, len(polled.items)) == ("read", 4)
    assert [part.kind for part in polled.state.parts] == ["sitemap", "sitemap", ""]
    assert "within another" in str(polled.state.parts[2].error)
    sent = index.sent + first.sent + second.sent
    later = poller.poll(polled.state, NOW + timedelta(days=2))
    assert (later.items, index.sent + first.sent + second.sent) == ((), sent)
    assert server.asked("/3.xml") == []


# Many


def many(server: LoopbackServer, feeds: int, items: int) -> tuple[list[Conditional], list[FeedState]]:
    made = [Conditional(rss([story(f * 1000 + n) for n in range(items)])) for f in range(feeds)]
    server.routes |= {f"/{number}": feed for number, feed in enumerate(made)}
    return made, [FeedState(f"{server.url}/{number}") for number in range(feeds)]


def test_two_hundred_feeds_come_in_and_a_second_round_transfers_no_bodies(
    server: LoopbackServer, poller: Poller
) -> None:
    made, states = many(server, 200, 20)
    first = list(poller.poll_many(states, NOW))
    assert sorted(polled.asked for polled in first) == sorted(state.url for state in states)
    assert sum(len(polled.items) for polled in first) == 4_000
    sent = sum(feed.sent for feed in made)
    second = list(poller.poll_many([polled.state for polled in first], NOW))
    assert {polled.outcome for polled in second} == {"unchanged"}
    assert sum(feed.sent for feed in made) == sent


def test_a_thousand_unchanged_feeds_take_their_transfer_time(server: LoopbackServer, poller: Poller) -> None:
    body = Conditional(rss([story(1)]))
    server.routes["*"] = body
    server.routes["/robots.txt"] = Response("", 404)
    start = time.monotonic()
    polled = list(poller.poll_many([FeedState(f"{server.url}/{n}", etag='"1"') for n in range(1_000)], NOW))
    assert {one.outcome for one in polled} == {"unchanged"}
    assert body.sent == 0
    assert time.monotonic() - start < 60  # at the pace of strange hosts it would take 500 seconds


def test_a_slow_host_holds_up_its_own_feeds_only() -> None:
    lock, inside = threading.Lock(), [0, 0]

    def slow(_: Request) -> Response:
        with lock:
            inside[0] += 1
            inside[1] = max(inside)
        time.sleep(0.2)
        with lock:
            inside[0] -= 1
        return Response(rss([story(1)]))

    names = {"slow.example": [PUBLIC], "quick.example": [OTHER]}
    with LoopbackServer({"/robots.txt": Response("", 404), "*": slow}) as tardy, LoopbackServer() as brisk:
        brisk.routes["*"] = Response(rss([story(2)]))
        world = FakeInternet(names, {PUBLIC: tardy.port, OTHER: brisk.port})
        with FeedClient(settings(per_host_per_second=1000), connector=world) as client:
            states = [FeedState(f"http://slow.example/{n}") for n in range(24)]
            states += [FeedState(f"http://quick.example/{n}") for n in range(8)]
            order = [polled.asked for polled in Poller(client).poll_many(states, NOW, at_once=8)]
    assert len(order) == 32
    assert inside[1] <= 4
    assert max(order.index(f"http://quick.example/{n}") for n in range(8)) < 20


def test_leaving_early_starts_no_others(server: LoopbackServer, poller: Poller) -> None:
    _, states = many(server, 60, 1)
    results = poller.poll_many(states, NOW, at_once=2)
    next(results)
    results.close()
    time.sleep(0.3)
    assert len([request for request in server.requests if request.path != "/robots.txt"]) < 20
    assert list(poller.poll_many([], NOW)) == []
