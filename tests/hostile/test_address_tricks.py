"""No trick makes this machine connect inward: by `check --url`, feeds, webhooks or the API. Good addresses still work.

The connector records where a fetch would have gone and leads everything to a listener on loopback; the listener must
stay untouched. Beneath it, the sockets themselves refuse all but loopback (conftest).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpcore
import pytest
from address_tricks import GOOD, NAMED, PORTS, WRITTEN
from webserver import LoopbackServer, Response

from weighup.errors import AddressRefused, InvalidInput, WeighupError
from weighup.retrieve import transport
from weighup.retrieve.web import WebClient
from weighup.settings import RetrieveSettings, Settings, WatchSettings

PUBLIC = "93.184.215.14"
SECRET = "a secret of the tests, long enough"
FEED = '<rss version="2.0"><channel><title>News</title><item><title>Bridge closed</title></item></channel></rss>'


class Recorder:
    """A connector that answers from a table, notes what was to be reached, and opens loopback only."""

    def __init__(self, port: int, names: dict[str, Any] | None = None) -> None:
        self.port = port
        self.names = names or {}
        self.asked: list[str] = []
        self.reached: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
        self.asked.append(host)
        answer = self.names.get(host, [PUBLIC] if host.endswith("example") else [host])
        if callable(answer):
            answer = answer()
        return list(answer)

    def connect(self, ip: str, port: int, timeout: float | None = None) -> httpcore.NetworkStream:
        self.reached.append((ip, port))
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.port, timeout=timeout)


@dataclass
class World:
    """The listener, the connector that leads to it, and the ways in."""

    server: LoopbackServer
    recorder: Recorder

    def fetch(self, url: str) -> None:
        settings = RetrieveSettings(timeout=2, per_host_per_second=1000)
        with WebClient(settings, connector=self.recorder) as client:
            client.get(url)

    def page(self, url: str) -> None:
        from weighup.cli.checking import _page

        _page(url, None, Settings(retrieve=RetrieveSettings(timeout=2, per_host_per_second=1000)))

    def feed(self, url: str) -> None:
        from weighup.serve.feeds.client import FeedClient
        from weighup.serve.feeds.poll import FeedState, Poller

        settings = RetrieveSettings(timeout=2, per_host_per_second=1000)
        with FeedClient(settings, connector=self.recorder) as client:
            for trusted in (False, True):
                done = Poller(client, trusted=trusted).poll(FeedState(url))
                if done.outcome == "failed":
                    raise InvalidInput(done.state.error or "failed")

    def webhook(self, url: str) -> None:
        pytest.importorskip("sqlalchemy")
        from weighup.serve.alerts.delivery import Undelivered
        from weighup.serve.alerts.targets import targets
        from weighup.serve.alerts.webhook import Webhook

        target = targets(Settings(watch=WatchSettings(webhook=url))).webhook
        assert target is not None
        hook = Webhook(target, timeout=2, connector=self.recorder)
        try:
            hook.send(alert())
        except Undelivered as error:
            raise InvalidInput(str(error)) from None
        finally:
            hook.close()


def alert() -> Any:
    from weighup.serve.db.records import Alert

    known = {"id": 1, "attempts": 1, "payload": {}, "created": datetime.now(UTC)}
    return Alert(**{f.name: known.get(f.name, _some(f)) for f in dataclasses.fields(Alert)})


def _some(field: Any) -> Any:
    return None if field.default is dataclasses.MISSING else field.default


WAYS: dict[str, Callable[[World, str], None]] = {
    "fetch": World.fetch,
    "check --url": World.page,
    "feed": World.feed,
    "webhook": World.webhook,
}


@pytest.fixture(scope="module")
def listener() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, clean_environment: Path, listener: LoopbackServer) -> World:
    monkeypatch.setenv(WatchSettings().webhook_secret_env, SECRET)
    listener.routes.clear()
    listener.routes.update({"*": Response(FEED, type="application/rss+xml"), "/robots.txt": Response("", 404)})
    listener.requests.clear()
    recorder = Recorder(listener.port)
    monkeypatch.setattr(transport, "SystemConnector", lambda: recorder)
    return World(listener, recorder)


def taken(world: World, way: str, urls: Mapping[str, str]) -> list[str]:
    """Those of the addresses that a way in does not refuse."""
    found = []
    for name, url in urls.items():
        try:
            WAYS[way](world, url)
        except WeighupError:
            continue
        found.append(name)
    return found


def untouched(world: World) -> None:
    assert not world.recorder.reached, "the guard let it through to a connection"
    assert not world.server.requests


def test_there_are_enough_tricks() -> None:
    assert len(WRITTEN) + len(NAMED) + len(PORTS) >= 60


@pytest.mark.parametrize("way", WAYS)
def test_an_address_as_written_is_refused(world: World, way: str) -> None:
    assert taken(world, way, WRITTEN) == []
    untouched(world)


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_leads_inward_is_refused(world: World, way: str) -> None:
    for number, answer in enumerate(NAMED.values()):
        world.recorder.names[f"n{number}.example"] = answer
    assert taken(world, way, {name: f"http://n{i}.example/feed" for i, name in enumerate(NAMED)}) == []
    assert len(world.recorder.asked) >= len(NAMED), "the names were never looked up"
    untouched(world)


@pytest.mark.parametrize("way", ["fetch", "check --url"])
def test_a_port_that_is_no_web_servers_is_refused(world: World, way: str) -> None:
    assert taken(world, way, {name: f"http://news.example:{port}/" for name, port in PORTS.items()}) == []
    untouched(world)


def test_what_is_told_of_the_guard_is_seen_by_the_listener(world: World) -> None:
    """Were the guard gone, these tests would fail: the connector leads what passes to the listener."""
    stream = world.recorder.connect("10.0.0.5", 80)
    stream.write(b"GET /x HTTP/1.0\r\n\r\n")
    assert stream.read(100)
    stream.close()
    with pytest.raises(AssertionError):
        untouched(world)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_a_redirect_leads_inward_at_no_hop(world: World, status: int, hops: int) -> None:
    for trick in ("loopback", "aws", "decimal", "mapped", "file", "gopher", "user", "localhost", "zero"):
        world.server.requests.clear()
        world.recorder.reached.clear()
        for hop in range(hops - 1):
            world.server.routes[f"/{hop}"] = Response("", status, headers={"Location": f"/{hop + 1}"})
        world.server.routes[f"/{hops - 1}"] = Response("", status, headers={"Location": WRITTEN[trick]})
        with pytest.raises(WeighupError):
            world.fetch("http://news.example/0")
        assert {ip for ip, _ in world.recorder.reached} == {PUBLIC}
        assert len(world.server.asked(f"/{hops - 1}")) == 1


def test_a_redirect_of_a_feed_or_a_webhook_is_not_followed_inward(world: World) -> None:
    world.server.routes["/feed"] = Response("", 301, headers={"Location": "http://169.254.169.254/latest/"})
    for way in ("feed", "check --url", "webhook"):
        with pytest.raises(WeighupError):
            WAYS[way](world, "http://news.example/feed")
    assert {ip for ip, _ in world.recorder.reached} == {PUBLIC}
    assert {request.path for request in world.server.requests} <= {"/feed", "/robots.txt"}


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_changes_its_mind_is_connected_to_by_the_number_that_was_checked(world: World, way: str) -> None:
    answers = iter([[PUBLIC], *[["127.0.0.1"]] * 50])
    world.recorder.names["news.example"] = lambda: next(answers)
    with contextlib.suppress(WeighupError):  # its second answer may be asked for, and refused
        WAYS[way](world, "http://news.example/feed")
    assert {ip for ip, _ in world.recorder.reached} <= {PUBLIC}


def test_a_redirect_to_the_same_name_is_resolved_and_checked_again(world: World) -> None:
    answers = iter([[PUBLIC], *[["10.0.0.1"]] * 50])
    world.recorder.names["news.example"] = lambda: next(answers)
    world.server.routes["/a"] = Response("", 302, headers={"Location": "/b"}, length=False)
    with pytest.raises(AddressRefused):
        world.fetch("http://news.example/a")
    assert {ip for ip, _ in world.recorder.reached} == {PUBLIC}


@pytest.mark.parametrize("way", ["fetch", "feed", "webhook"])
def test_good_addresses_still_pass(world: World, way: str) -> None:
    good = {name: url for name, url in GOOD.items() if name != "secure"}
    assert taken(world, way, good) == list(good)
    assert len(world.server.requests) >= len(good)


def test_a_secure_address_is_reached_for(world: World) -> None:
    with pytest.raises(WeighupError, match=r"reach|broke|answer"):  # the listener speaks no TLS
        world.fetch(GOOD["secure"])
    assert (PUBLIC, 443) in world.recorder.reached


def test_the_command_itself_refuses(world: World) -> None:
    from typer.testing import CliRunner

    from weighup.cli.main import app

    for trick in ("decimal", "mapped", "file", "fullwidth", "aws", "user"):
        done = CliRunner().invoke(app, ["check", "--url", WRITTEN[trick], "--brief", "--no-search", "--quiet"])
        assert done.exit_code != 0
    untouched(world)


def test_a_feeds_entry_that_links_inward_is_not_read(world: World) -> None:
    pytest.importorskip("sqlalchemy")
    from weighup.serve.db.records import FeedItem
    from weighup.serve.watch.claims import with_pages

    now = datetime.now(UTC)
    known = {f.name: _some(f) for f in dataclasses.fields(FeedItem)} | {"title": "", "text": "", "published": now}
    items = [FeedItem(**known | {"id": i, "url": url}) for i, url in enumerate(WRITTEN.values())]  # type: ignore[arg-type]
    with WebClient(RetrieveSettings(timeout=2, per_host_per_second=1000), connector=world.recorder) as client:
        why = [reason for _, reason in with_pages(items, client, now)]
    assert all(why)
    untouched(world)


def test_the_server_neither_watches_nor_opens_them(world: World, tmp_path: Path) -> None:
    """Feeds are refused when they are added; addresses of claims and passages are kept as said and never opened."""
    pytest.importorskip("fastapi")
    from api_samples import serving

    with serving(tmp_path) as served, served.client() as client:
        added = {n: client.post("/v1/feeds", json={"url": u}).status_code for n, u in WRITTEN.items()}
        assert {n: code for n, code in added.items() if code != 422} == {}
        assert client.get("/v1/feeds").json()["feeds"] == []
        for url in WRITTEN.values():
            passage = {"text": "The bridge was closed on Monday.", "url": url}
            asked = {"text": "The bridge is closed, it is real.", "url": url, "evidence": [passage]}
            assert client.post("/v1/checks", json=asked).status_code in (200, 422)
    untouched(world)


def test_a_feed_that_was_added_is_guarded_when_it_is_polled(world: World, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    from weighup.serve.db import Database
    from weighup.serve.feeds.client import FeedClient
    from weighup.serve.watch.polling import Polling

    world.recorder.names["turned.example"] = ["10.0.0.1"]
    urls = ["http://turned.example/feed", "http://127.0.0.1/feed", "http://169.254.169.254/feed"]
    settings = RetrieveSettings(timeout=2, per_host_per_second=1000)
    with Database.open(f"sqlite:///{tmp_path / 'w.sqlite'}") as database:
        database.feeds.add("a", urls, kind="feed", every=60)
        with FeedClient(settings, connector=world.recorder) as client:
            Polling(database, client, name="w").once()
        assert [feed.url for feed in database.feeds.watched("a") if not feed.last_error] == []
    untouched(world)
