"""What goes over the wire to a model's server: time limits, sizes, proxies."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from model_server import Canned, model_server, openai_text

from weighup.errors import ModelUnavailable
from weighup.models import Prompt
from weighup.models.client import Client
from weighup.models.openai import OpenAIBackend
from weighup.settings import ModelSettings, Price


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def client_of(url: str, **settings: Any) -> Client:
    models = ModelSettings(base_url=f"{url}/v1", **{"timeout": 20.0, "retries": 0, **settings})
    return Client(OpenAIBackend.load("m", models), models, price=Price(), backoff=0.01)


@contextmanager
def dripping_headers() -> Iterator[str]:
    """A server whose headers never end: a byte at a time, until the test is over."""
    over = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not over.wait(0.05):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        over.set()
        thread.join(5)
        listening.close()


def test_headers_that_never_end_are_left_after_the_timeout() -> None:
    with dripping_headers() as url:
        reply = client_of(url, timeout=0.4).generate([Prompt("x")])[0]
    assert "no answer" in str(reply.error)


def test_a_server_on_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with model_server(openai_text("direct")) as server, model_server(openai_text("through the proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
        monkeypatch.setenv("http_proxy", proxy.url)
        reply = client_of(server.url).generate([Prompt("x")])[0]
    assert reply.text == "direct"
    assert proxy.requests == []


def test_other_servers_are_reached_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with model_server(openai_text("ok")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://me:p%40ss@"))
        reply = client_of("http://proxied.example").generate([Prompt("x")])[0]
    assert reply.text == "ok"
    assert proxy.requests[0].path == "http://proxied.example/v1/chat/completions"
    assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


def test_a_proxy_that_cannot_be_used_is_an_unavailable_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "gopher://me:secret@127.0.0.1:9")
    reply = client_of("http://unproxied.example").generate([Prompt("x")])[0]
    assert isinstance(reply.error, ModelUnavailable)
    assert "gopher" in str(reply.error)
    assert "secret" not in f"{reply.error} {reply.error.__cause__!r}"


def test_an_answer_packed_unasked_is_unpacked_up_to_a_size() -> None:
    packed = Canned(gzip.compress(json.dumps(openai_text("ok").body).encode()), headers={"Content-Encoding": "gzip"})
    bomb = Canned(gzip.compress(bytes(30_000_000)), headers={"Content-Encoding": "gzip"})
    with model_server(packed, bomb) as server:
        client = client_of(server.url)
        good, bad = client.generate([Prompt("x")])[0], client.generate([Prompt("y")])[0]
    assert good.text == "ok"
    assert "more than 20 MB" in str(bad.error)
    assert server.requests[0].headers["accept-encoding"] == "identity"
