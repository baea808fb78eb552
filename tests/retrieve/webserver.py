"""A web server on loopback whose pages are functions, and a connector that stands in for the internet.

`LoopbackServer` answers each path with what its route returns, or lets the route write to the socket itself (drip,
hang, never end). Every request is recorded. `FakeInternet` resolves names from a table and leads every *allowed*
connection to a loopback server, recording where it would have gone: nothing leaves this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpcore


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names in lower case, of repeated parameters the last."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """`type` None sends no Content-Type; a Content-Length is sent unless `headers` has one or `length` is False."""

    body: bytes | str = b""
    status: int = 200
    type: str | None = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    length: bool = True


Write = Callable[[bytes], None]
Route = Callable[[Request], "Response | Callable[[Write], None]"]
"""A route returns a reply, or a function that writes raw bytes (status line and all) to the client."""


class LoopbackServer:
    """`LoopbackServer({"/a": lambda request: Response("hello")})`; use `.url`, `.requests`, and as a context manager.

    A path without a route is 404; a route named `*` takes all of those. Routes may be changed while it runs. `stopping`
    is set when it closes, so that a hanging route can let go.
    """

    def __init__(self, routes: Mapping[str, Route | Response] | None = None) -> None:
        self.routes: dict[str, Route | Response] = dict(routes or {})
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Silent: requests are recorded instead."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Clients that hang up on a page are what these tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def __enter__(self) -> LoopbackServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def asked(self, path: str) -> list[Request]:
        """The requests for that path, in order."""
        return [request for request in self.requests if request.path == path]

    def use_tls(self, context: Any) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        request = Request(
            handler.command,
            parts.path,
            {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()},
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0)),
        )
        self.requests.append(request)
        route = self.routes.get(request.path) or self.routes.get("*") or Response("no such page", 404)
        reply = route if isinstance(route, Response) else route(request)
        if isinstance(reply, Response):
            _send(handler, reply)
        else:
            handler.close_connection = True
            reply(handler.wfile.write)


def _send(handler: BaseHTTPRequestHandler, reply: Response) -> None:
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    handler.send_response(reply.status)
    if reply.type is not None:
        handler.send_header("Content-Type", reply.type)
    if reply.length and "Content-Length" not in reply.headers:
        handler.send_header("Content-Length", str(len(body)))
    if not reply.length or "Content-Length" in reply.headers:
        handler.send_header("Connection", "close")
        handler.close_connection = True
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


class FakeInternet:
    """A connector for `WebClient`: names from a table, connections recorded and led to loopback ports.

    `names` maps a host to its addresses, or to a list of such answers used one after the other (a rebinding name).
    `servers` maps an address to the loopback port that stands for it; an address without one refuses connections.
    """

    def __init__(self, names: Mapping[str, Sequence[Any]], servers: Mapping[str, int] | None = None) -> None:
        self.names = {name: list(answers) for name, answers in names.items()}
        self.servers = dict(servers or {})
        self.resolved: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int, timeout: float | None = None) -> Sequence[str]:
        self.resolved.append(host)
        answers = self.names.get(host, [])
        if answers and not isinstance(answers[0], str):
            return list(answers.pop(0) if len(answers) > 1 else answers[0])
        return list(answers)

    def connect(self, ip: str, port: int, timeout: float | None = None) -> httpcore.NetworkStream:
        self.connected.append((ip, port))
        if ip not in self.servers:
            raise httpcore.ConnectError(f"{ip} is not on this make-believe internet")
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self.servers[ip], timeout=timeout)
