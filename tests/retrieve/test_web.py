"""The web client against servers that lead astray, never end, swell, drip, hang, stumble, or ask to be left alone."""

from __future__ import annotations

import gzip
import itertools
import logging
import shutil
import ssl
import subprocess
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from webserver import FakeInternet, LoopbackServer, Request, Response, Write

from weighup.errors import AddressRefused, PageRefused, SourceUnavailable
from weighup.retrieve.pacing import Pacer
from weighup.retrieve.web import WebClient
from weighup.settings import RetrieveSettings

PUBLIC = "93.184.215.14"
OTHER = "151.101.1.1"


def settings(**changes: Any) -> RetrieveSettings:
    return RetrieveSettings(**{"allow_loopback": True, "timeout": 5, "per_host_per_second": 1000, **changes})


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as opened:
        yield opened


@pytest.fixture
def client() -> Iterator[WebClient]:
    with WebClient(settings()) as opened:
        yield opened


@pytest.fixture
def hasty() -> Iterator[WebClient]:
    """Gives up after half a second."""
    with WebClient(settings(timeout=0.5)) as opened:
        yield opened


def redirect(target: str, status: int = 302) -> Response:
    return Response(status=status, headers={"Location": target})


def test_a_page_comes_with_all_about_it(server: LoopbackServer, client: WebClient) -> None:
    server.routes["/a"] = Response("grüße".encode("latin-1"), type="Text/HTML; Charset=ISO-8859-1")
    fetched = client.get(server.url + "/a", params={"q": "a b", "none": None, "yes": True, "many": [1, 2]})
    assert (fetched.status, fetched.content_type, fetched.encoding) == (200, "text/html", "iso-8859-1")
    assert fetched.text == "grüße"
    assert fetched.url == server.url + "/a?q=a+b&yes=true&many=1&many=2"
    asked = server.asked("/a")[0]
    assert asked.params == {"q": "a b", "yes": "true", "many": "2"}
    assert asked.headers["user-agent"].startswith("weighup/")
    assert "cookie" not in asked.headers


def test_json_goes_out_and_comes_back(server: LoopbackServer, client: WebClient) -> None:
    server.routes["/api"] = lambda request: Response(request.body, type="application/json")
    fetched = client.post_json(server.url + "/api", {"q": "水"}, headers={"X-API-KEY": "k"}, trusted=True)
    assert fetched.json() == {"q": "水"}
    asked = server.asked("/api")[0]
    assert (asked.method, asked.headers["x-api-key"], asked.headers["content-type"]) == (
        "POST",
        "k",
        "application/json",
    )
    server.routes["/api"] = Response("<html>", type="text/html")
    with pytest.raises(SourceUnavailable, match="not JSON"):
        client.get(server.url + "/api", trusted=True).json()


def test_final_statuses_are_answers(server: LoopbackServer, client: WebClient) -> None:
    for status in (404, 403, 500):
        server.routes["/x"] = Response("no", status)
        assert client.get(server.url + "/x").status == status


# Where it goes


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://localhost/", "http://127.0.0.1:6379/",
        "http://[::1]/", "http://2130706433/", "http://metadata.google.internal/", "//10.0.0.1/", "file:///etc/passwd",
        "http://inner.example/", "http://user:word@news.example/", "http://news.example:22/", "gopher://news.example/",
        "http://mixed.example/", "http://mapped.example/", "http://[",
    ],
)  # fmt: skip
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_no_redirect_leads_inside(server: LoopbackServer, target: str, allow_loopback: bool) -> None:
    names = {
        "news.example": [PUBLIC],
        "inner.example": ["192.168.0.1"],
        "mixed.example": [PUBLIC, "10.0.0.1"],
        "mapped.example": ["::ffff:127.0.0.1"],
        "localhost": ["127.0.0.1"],
    }
    world = FakeInternet(names, {PUBLIC: server.port})
    server.routes["/go"] = redirect(target)
    with WebClient(settings(allow_loopback=allow_loopback), connector=world) as client:
        with pytest.raises((AddressRefused, PageRefused)):
            client.get("http://news.example/go")
        with pytest.raises((AddressRefused, PageRefused)):
            client.get("http://news.example/go", trusted=True)
    assert {ip for ip, _ in world.connected} == {PUBLIC}


def test_a_rebinding_name_gains_nothing(server: LoopbackServer) -> None:
    # Public when checked, private a moment later: it is asked once a connection, and that answer is connected to.
    world = FakeInternet({"evil.example": [[PUBLIC], ["127.0.0.1"]]}, {PUBLIC: server.port, "127.0.0.1": server.port})
    server.routes["/a"] = Response("hello", headers={"Content-Length": "5"})  # closes, so the next needs a connection
    with WebClient(settings(), connector=world) as client:
        assert client.get("http://evil.example/a", trusted=True).text == "hello"
        assert world.connected == [(PUBLIC, 80)]
        assert world.resolved == ["evil.example"]
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.1"):
            client.get("http://evil.example/a", trusted=True)
    assert world.connected == [(PUBLIC, 80)]


def test_without_the_flag_loopback_is_closed_to_all(server: LoopbackServer) -> None:
    with WebClient(settings(allow_loopback=False)) as client:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            for trusted in (False, True):
                with pytest.raises(AddressRefused, match="allow_loopback"):
                    client.get(url, trusted=trusted)
        with pytest.raises(AddressRefused):
            client.post_json(server.url, {}, trusted=True)
    assert server.requests == []


def test_the_environment_names_no_proxy(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.routes["/a"] = Response("direct")
    with WebClient(settings()) as client:
        assert client.get(server.url + "/a").text == "direct"


def test_the_host_keeps_its_name_though_reached_by_number(server: LoopbackServer) -> None:
    world = FakeInternet({"news.example": [OTHER, PUBLIC]}, {PUBLIC: server.port})
    server.routes["/a"] = Response("hello")
    with WebClient(settings(), connector=world) as client:
        assert client.get("http://news.example:8080/a").text == "hello"
    assert server.asked("/a")[0].headers["host"] == "news.example:8080"
    assert (OTHER, 8080) in world.connected  # the first address was dead, the second answered


def test_tls_checks_the_name_not_the_number(
    server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=news.example"]
    subprocess.run([*made, "-addext", "subjectAltName=DNS:news.example"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    asked_for: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    server.use_tls(context)
    server.routes["/a"] = Response("sealed")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    world = FakeInternet({"news.example": [PUBLIC], "other.example": [PUBLIC]}, {PUBLIC: server.port})
    with WebClient(settings(), connector=world) as client:
        assert client.get("https://news.example/a").text == "sealed"
        with pytest.raises(SourceUnavailable, match="certificate"):
            client.get("https://other.example/a")
    assert set(asked_for) == {"news.example", "other.example"}


# Redirects


def test_redirects_are_followed_and_the_last_address_told(server: LoopbackServer, client: WebClient) -> None:
    server.routes |= {"/1": redirect("/2", 301), "/2": redirect("3?x=1#part", 308), "/3": Response("end")}
    fetched = client.get(server.url + "/1")
    assert (fetched.text, fetched.url) == ("end", server.url + "/3?x=1")


def test_redirects_without_end_are_given_up(server: LoopbackServer, client: WebClient) -> None:
    server.routes["/loop"] = redirect("/loop")
    with pytest.raises(PageRefused, match="more than 5 redirects"):
        client.get(server.url + "/loop")
    assert len(server.asked("/loop")) == 6


def test_keys_stay_with_the_host_they_are_for(server: LoopbackServer) -> None:
    world = FakeInternet({"api.example": [PUBLIC], "evil.example": [OTHER]}, {PUBLIC: server.port, OTHER: server.port})
    server.routes |= {
        "/here": redirect("/end"),
        "/away": redirect("http://evil.example/end"),
        "/port": redirect("http://api.example:8080/end"),
        "/end": Response("end"),
    }
    keys = {"Authorization": "Bearer S", "X-Subscription-Token": "S", "Accept-Language": "en"}
    with WebClient(settings(), connector=world) as client:
        for path in ("/here", "/away", "/port"):
            client.get("http://api.example" + path, headers=keys, trusted=True)
    here, away, port = server.asked("/end")
    assert here.headers["authorization"] == "Bearer S"
    for asked in (away, port):
        assert "authorization" not in asked.headers
        assert "x-subscription-token" not in asked.headers
        assert asked.headers["accept-language"] == "en"


def test_what_is_posted_goes_to_one_address_only(server: LoopbackServer, client: WebClient) -> None:
    server.routes |= {"/api": redirect("/new", 307), "/new": Response("{}")}
    with pytest.raises(PageRefused, match="moved"):
        client.post_json(server.url + "/api", {"key": "S"}, trusted=True)
    assert server.asked("/new") == []


# How much, how long, what


def test_a_declared_giant_is_refused_unread(server: LoopbackServer, client: WebClient) -> None:
    def giant(_: Request) -> Any:
        return lambda write: write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 500000000\r\n\r\nx")

    server.routes["/giant"] = giant
    with pytest.raises(PageRefused, match="500,000,000"):
        client.get(server.url + "/giant")


def test_an_endless_body_is_cut_off(server: LoopbackServer, client: WebClient) -> None:
    sent = itertools.count()

    def endless(_: Request) -> Any:
        def write_on(write: Write) -> None:
            write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not server.stopping.is_set():
                write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                next(sent)

        return write_on

    server.routes["/endless"] = endless
    with pytest.raises(PageRefused, match="the limit is 200,000 bytes"):
        client.get(server.url + "/endless", max_bytes=200_000)
    with pytest.raises(PageRefused, match="the limit is 5,000,000 bytes"), WebClient(settings(timeout=20)) as patient:
        patient.get(server.url + "/endless")
    assert next(sent) < 500  # 32 MB: what fits into socket buffers besides the limit


@pytest.mark.parametrize(
    ("packing", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", lambda data: zlib.compress(data, wbits=-15))],
)
def test_packed_pages_unpack_but_bombs_do_not(
    server: LoopbackServer, client: WebClient, packing: str, pack: Any
) -> None:
    packed = {"Content-Encoding": packing}
    server.routes["/page"] = Response(pack(b"hello " * 1000), headers=packed)
    assert client.get(server.url + "/page").content == b"hello " * 1000
    server.routes["/bomb"] = Response(pack(bytes(50_000_000)), headers=packed)
    with pytest.raises(PageRefused, match="unpacks to more"):
        client.get(server.url + "/bomb")
    server.routes["/torn"] = Response(pack(b"hello " * 1000)[:-12], headers=packed)
    with pytest.raises(SourceUnavailable, match=r"broke off|damaged"):
        client.get(server.url + "/torn")


@pytest.mark.parametrize("packing", ["br", "gzip, gzip", "compress"])
def test_other_packings_are_refused(server: LoopbackServer, client: WebClient, packing: str) -> None:
    server.routes["/page"] = Response(gzip.compress(gzip.compress(b"x")), headers={"Content-Encoding": packing})
    with pytest.raises(PageRefused, match="packed as"):
        client.get(server.url + "/page")


def test_only_wanted_types_are_read(server: LoopbackServer, client: WebClient) -> None:
    server.routes["/film"] = Response(b"x", type="video/mp4")
    with pytest.raises(PageRefused, match="video/mp4, not text/html"):
        client.get(server.url + "/film", accept=("text/html",))
    assert client.get(server.url + "/film", accept=("video/*",)).content == b"x"
    assert client.get(server.url + "/film").content == b"x"
    server.routes["/film"] = Response(b"gone", 404, type="application/xml")
    assert client.get(server.url + "/film", accept=("text/html",)).status == 404


@pytest.mark.parametrize("part", ["headers", "body"])
def test_slow_drips_end_with_the_time(server: LoopbackServer, hasty: WebClient, part: str) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"

    def drip(_: Request) -> Any:
        def write_slowly(write: Write) -> None:
            write(start if part == "headers" else start + b"\r\n")
            while not server.stopping.wait(0.05):  # always sooner than any pause between bytes would be noticed
                write(b"X" if part == "body" else b"X: y\r\n")

        return write_slowly

    server.routes["/drip"] = drip
    with pytest.raises(SourceUnavailable, match=r"did not answer within 0\.5 seconds"):
        hasty.get(server.url + "/drip", trusted=True)


def test_a_hanging_server_is_left_after_the_time(server: LoopbackServer, hasty: WebClient) -> None:
    server.routes["/hang"] = lambda _: lambda _write: server.stopping.wait(30) and None
    with pytest.raises(SourceUnavailable, match="did not answer"):
        hasty.get(server.url + "/hang", trusted=True)


def test_a_server_that_hangs_once_is_asked_again(server: LoopbackServer) -> None:
    waits: list[Any] = [lambda _write: server.stopping.wait(30) and None]
    server.routes["/a"] = lambda _: waits.pop() if waits else Response("awake")
    with WebClient(settings(timeout=1.5)) as client:
        assert client.get(server.url + "/a", trusted=True).text == "awake"


def test_a_hanging_resolver_is_left_after_the_time() -> None:
    class Deaf(FakeInternet):
        def resolve(self, host: str, port: int, timeout: float | None = None) -> list[str]:
            import httpcore

            assert timeout is not None
            assert timeout <= 0.5
            raise httpcore.ConnectTimeout("no answer")

    with (
        WebClient(settings(timeout=0.5), connector=Deaf({})) as deaf,
        pytest.raises(SourceUnavailable, match="did not answer"),
    ):
        deaf.get("http://news.example/", trusted=True)


def test_headers_without_end_are_refused(server: LoopbackServer, client: WebClient) -> None:
    def swell(_: Request) -> Any:
        return lambda write: write(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 2_000_000 + b"\r\n\r\n")

    server.routes["/swell"] = swell
    with pytest.raises(SourceUnavailable):
        client.get(server.url + "/swell", trusted=True)


@pytest.mark.parametrize(
    "raw", [b"", b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"\x16\x03\x01"]
)
def test_junk_is_no_answer(server: LoopbackServer, client: WebClient, raw: bytes) -> None:
    server.routes["/junk"] = lambda _: lambda write: write(raw) if raw else None
    with pytest.raises(SourceUnavailable, match="broke off"):
        client.get(server.url + "/junk", trusted=True)


def test_nobody_there(client: WebClient) -> None:
    with LoopbackServer() as gone:
        url = gone.url
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        client.get(url, trusted=True)


# Again, and not too often


def test_troubles_that_pass_are_waited_out(server: LoopbackServer, client: WebClient) -> None:
    for trouble in (429, 502, 503, 504):
        replies = iter([Response(status=trouble, headers={"Retry-After": "0"}), Response("fine")])
        server.routes["/a"] = lambda _, replies=replies: next(replies)
        assert client.get(server.url + "/a").text == "fine"


def test_an_answer_cut_short_is_asked_for_again(server: LoopbackServer, client: WebClient) -> None:
    torn: list[Any] = [lambda write: write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal")]
    server.routes["/a"] = lambda _: torn.pop() if torn else Response("whole")
    assert client.get(server.url + "/a", trusted=True).text == "whole"


def test_troubles_that_stay_are_told(server: LoopbackServer) -> None:
    server.routes["/a"] = Response("slow down", 429, headers={"Retry-After": "0"})
    with WebClient(settings()) as client:
        assert client.get(server.url + "/a", trusted=True).status == 429
    assert len(server.asked("/a")) == 3


@pytest.mark.parametrize("after", ["3600", "Wed, 21 Oct 2065 07:28:00 GMT"])
def test_a_host_that_asks_for_an_hour_is_not_asked_again(server: LoopbackServer, client: WebClient, after: str) -> None:
    server.routes["/a"] = Response("later", 503, headers={"Retry-After": after})
    assert client.get(server.url + "/a", trusted=True).status == 503
    assert len(server.asked("/a")) == 1


def test_a_host_keeps_its_pace_and_holds_up_no_other() -> None:
    now = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pacer = Pacer(4, clock=lambda: now[0], sleep=sleep)
    for host in ("a", "a", "b", "a"):
        with pacer.turn(host):
            pass
    assert slept == [0.25, 0.25]
    now[0] += 10
    with pacer.turn("a"):
        assert len(slept) == 2
    for number in range(3000):  # keeps no host for ever
        now[0] += 1
        with pacer.turn(str(number)):
            pass
    assert len(pacer._lanes) < 1100


def test_a_host_is_not_crowded(server: LoopbackServer) -> None:
    lock = threading.Lock()
    inside: list[int] = [0, 0]

    def crowd(_: Request) -> Response:
        with lock:
            inside[0] += 1
            inside[1] = max(inside)
        server.stopping.wait(0.05)
        with lock:
            inside[0] -= 1
        return Response("x")

    server.routes["/a"] = crowd
    with WebClient(settings()) as client, ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: client.get(server.url + "/a", trusted=True), range(24)))
    assert inside[1] <= 4


# What the site asks


def test_robots_txt_is_asked_once_and_kept_to(server: LoopbackServer, client: WebClient) -> None:
    server.routes |= {
        "/robots.txt": Response("User-agent: *\nDisallow: /private\n", type="text/plain"),
        "*": Response("page"),
    }
    assert client.get(server.url + "/public").text == "page"
    with pytest.raises(PageRefused, match=r"robots\.txt asks not to"):
        client.get(server.url + "/private/a")
    assert client.get(server.url + "/private/api", trusted=True).text == "page"
    assert len(server.asked("/robots.txt")) == 1
    assert server.asked("/private/a") == []


def test_robots_txt_counts_where_a_redirect_leads(server: LoopbackServer, client: WebClient) -> None:
    server.routes |= {
        "/robots.txt": Response("User-agent: weighup\nDisallow: /no\n", type="text/plain"),
        "/go": redirect("/no"),
    }
    with pytest.raises(PageRefused, match=r"robots\.txt"):
        client.get(server.url + "/go")
    assert server.asked("/no") == []


def test_a_site_without_robots_txt_is_open_and_a_broken_one_closed(server: LoopbackServer) -> None:
    server.routes |= {"/robots.txt": Response("", 403), "*": Response("page")}
    with WebClient(settings()) as client:
        assert client.get(server.url + "/a").text == "page"
    server.routes["/robots.txt"] = Response("", 500)
    with WebClient(settings()) as client:
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match=r"robots\.txt could not be: .*500"):
                client.get(server.url + "/b")
    assert server.asked("/b") == []
    assert len(server.asked("/robots.txt")) == 2


def test_robots_txt_cannot_lead_inside_either(server: LoopbackServer) -> None:
    world = FakeInternet({"news.example": [PUBLIC]}, {PUBLIC: server.port})
    server.routes |= {"/robots.txt": redirect("http://169.254.169.254/"), "*": Response("page")}
    with WebClient(settings(), connector=world) as client, pytest.raises(AddressRefused):
        client.get("http://news.example/a")
    assert world.connected == [(PUBLIC, 80)]


# Secrets


def test_no_secret_is_in_messages_or_logs(
    server: LoopbackServer, client: WebClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.routes["/hang"] = lambda _: lambda _write: None
    server.routes["/ok"] = Response("{}")
    said = []
    with caplog.at_level(logging.DEBUG):
        client.get(server.url + "/ok", params={"key": "S3CRET"}, headers={"X-API-KEY": "S3CRET"}, trusted=True)
        for url in (server.url + "/hang", "http://10.0.0.1/", "http://127.0.0.1:1/"):
            with pytest.raises(SourceUnavailable) as refused:
                client.get(url, params={"key": "S3CRET", "api_key": "S3CRET"}, trusted=True)
            said.append(str(refused.value))
    assert "S3CRET" not in caplog.text + " ".join(said)


def test_a_closed_client_opens_again(server: LoopbackServer) -> None:
    server.routes["/a"] = Response("x")
    client = WebClient(settings())
    for _ in range(2):
        assert client.get(server.url + "/a").text == "x"
        client.close()


def test_a_redirect_in_bare_utf8_is_followed_to_where_it_means() -> None:
    moved = {"Location": "/新闻".encode().decode("latin-1")}
    with LoopbackServer({"/a": Response(status=302, headers=moved)}) as server:
        server.routes["/%E6%96%B0%E9%97%BB"] = Response("there")
        with WebClient(RetrieveSettings(allow_loopback=True, per_host_per_second=1000)) as client:
            assert client.get(f"{server.url}/a").text == "there"


def test_a_retry_after_beyond_the_calendar_is_none() -> None:
    from weighup.retrieve.web import _retry_after

    assert _retry_after("Mon, 01 Jan 99999999999999999999 00:00:00 GMT") is None
