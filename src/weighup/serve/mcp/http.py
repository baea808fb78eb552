"""MCP over streamable HTTP: who may reach it, by which name, and with which key.

Bound to loopback and without any API key in the database, this machine's own user may use it; else every request
needs a key (`Authorization: Bearer wu_…`), by the same gate as the API's. Host and Origin must be names that are
known to be ours, so that no web page can reach it through a name of its own (DNS rebinding). A session belongs to the
key that began it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio.to_thread
import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from weighup.errors import WeighupError
from weighup.serve.api.auth import Caller, Gate
from weighup.serve.api.binding import address_of, bind, require_key
from weighup.serve.api.limits import Pool
from weighup.serve.api.problems import Problem, problem_of
from weighup.serve.mcp.running import Busy
from weighup.serve.mcp.server import CALLER, Server, make
from weighup.serve.mcp.service import Service

if TYPE_CHECKING:
    from weighup.serve.db import Database

PATH = "/mcp"
SESSIONS = 500
IDLE = 900.0
"""Seconds after which a session nobody uses is forgotten."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def names(host: str, public_url: str | None, more: Sequence[str] = ()) -> TransportSecuritySettings:
    """By which names the server may be asked: loopback, where it is bound, its public address, and `more`."""
    bound = f"[{host}]" if ":" in host else host
    known = [*_LOOPBACK, *([bound] if host not in ("0.0.0.0", "::", "") else []), *more]
    hosts = [form for name in dict.fromkeys(known) for form in (name, f"{name}:*")]
    origins = [f"{scheme}://{name}" for name in hosts for scheme in ("http", "https")]
    if public_url:
        parts = urlsplit(public_url)
        hosts.append(parts.netloc)
        origins.append(f"{parts.scheme}://{parts.netloc}")
    return TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins)


class Door:
    """ASGI middleware: finds out who asks, and lets nobody else in."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            caller = await self.gate.authenticate(HTTPConnection(scope))
        except (Problem, WeighupError) as error:
            await problem_of(error).answer()(scope, receive, send)
            return
        scope[CALLER] = caller
        # What the SDK ties a session to. The key itself is not handed on.
        token = AccessToken(token="", client_id=str(caller.key_id), scopes=sorted(caller.scopes))
        scope["user"] = AuthenticatedUser(token)
        await self.app(scope, receive, send)


def make_app(service: Service, database: Database, *, host: str, more_names: Sequence[str] = ()) -> Starlette:
    """The ASGI application, for `host` as it is bound."""
    limits = service.settings.serve
    gate = Gate(database, limits, Pool(threads=4))

    async def pace(caller: Caller) -> None:
        try:
            await gate.pace(caller)
        except Problem as problem:
            wait = (problem.headers or {}).get("Retry-After")
            raise Busy(f"{problem.detail}; try again in {wait} s") from None

    server = make(
        service,
        pace=pace,
        streamable_http_path=PATH,
        transport_security=names(host, limits.public_url, more_names),
        max_request_body_size=limits.max_body_bytes,
        max_sessions=SESSIONS,
        session_idle_timeout=IDLE,
    )
    app = server.streamable_http_app()
    app.add_middleware(Door, gate=gate)
    _close_with(app, server)
    return app


def serve(service: Service, database: Database, *, host: str, port: int, more_names: Sequence[str] = ()) -> None:
    """Serve until told to stop. Raises InvalidInput if `host` and `port` cannot be bound, or are open without a key."""
    import typer

    require_key(database, host)
    app = make_app(service, database, host=host, more_names=more_names)
    bound = bind(host, port)
    bound.listen()  # so that the address can be reached as soon as it is told
    typer.echo(f"weighup: MCP on {address_of(bound, host)}{PATH}", err=True)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=4 * service.settings.serve.waiting + SESSIONS,
        timeout_graceful_shutdown=5,
    )
    with bound:
        uvicorn.Server(config).run(sockets=[bound])


def _close_with(app: Starlette, server: Server) -> None:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(inside: Starlette) -> AsyncIterator[None]:
        async with inner(inside):
            yield
        await anyio.to_thread.run_sync(server.runner.close)

    app.router.lifespan_context = lifespan
