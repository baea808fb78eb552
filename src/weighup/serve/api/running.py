"""The HTTP server: uvicorn, which tells the app that it stops before it waits for what is under way, and which hangs up
on those who connect and then send nothing, or send it a byte at a time."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from fastapi import FastAPI

HEADERS = 15.0
"""Seconds in which a request's headers must arrive."""
CONNECTIONS = 4_096
"""Connections at the same time; one more is hung up on at once."""
_FILES = 65_536
_SWITCH = 0.0005
"""Seconds after which a thread that computes lets another have its turn: at Python's own 5 ms, a read that changes
threads four times would wait 20 ms beside a check."""


class Patient(HttpToolsProtocol):
    """HTTP/1.1 with an end to its patience."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._rest()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._rest()
        self._waiting = self.loop.call_later(HEADERS, self.transport.abort)

    def _rest(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class Server(uvicorn.Server):
    """Serves an app of `create_app`. `ready` is called when it listens."""

    def __init__(self, app: FastAPI, *, ready: Callable[[], None] | None = None) -> None:
        self.app = app
        self._ready = ready
        told = app.state.parts.settings.serve
        super().__init__(
            uvicorn.Config(
                app,
                http=Patient,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(told.trusted_proxies),
                forwarded_allow_ips=list(told.trusted_proxies),
                backlog=1024,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=round(told.request_seconds) + 5,
            )
        )

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        sys.setswitchinterval(_SWITCH)
        await super().startup(list(sockets) if sockets is not None else None)
        if self.started and self._ready is not None:
            self._ready()

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        self.app.state.parts.stopping.set()
        await super().shutdown(list(sockets) if sockets is not None else None)
        # It would kill this process by the signal that stopped it; there is still a database to close.
        self._captured_signals.clear()


def more_files() -> None:
    """Let this process have as many connections open as the system allows it; the usual 1,024 are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
