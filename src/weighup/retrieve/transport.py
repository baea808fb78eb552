"""From checked addresses to sockets: names are resolved once, checked, and connected to by number.

Everything the web client sends passes `GuardedBackend.connect_tcp`, so no redirect, retry or second thought of a
library goes round the guard. TLS still sees the name (SNI and certificate check), only the socket goes by number.
A connector does the two things that touch the outside, so that tests can record where a fetch would have gone.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import httpcore

from weighup.errors import AddressRefused, SourceUnavailable
from weighup.models.deadlines import BoundedStream, left
from weighup.retrieve.guard import checked_ips

_LONGEST_STEP = 60.0  # seconds


class Connector(Protocol):
    """Where names become numbers and numbers become connections. `timeout` is in seconds."""

    def resolve(self, host: str, port: int, timeout: float | None = None) -> Sequence[str]: ...

    def connect(self, ip: str, port: int, timeout: float | None = None) -> httpcore.NetworkStream: ...


class SystemConnector:
    """The machine's own resolver and network."""

    def resolve(self, host: str, port: int, timeout: float | None = None) -> Sequence[str]:
        """Every address of a host, best first. Raises SourceUnavailable if there is none, or none in time."""
        answer: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                answer.put([str(entry[4][0]) for entry in found])
            except (OSError, UnicodeError) as error:
                answer.put(error if isinstance(error, OSError) else OSError(str(error)))

        # getaddrinfo takes no timeout; a daemon thread lets us stop waiting for it.
        threading.Thread(target=ask, name="weighup-resolve", daemon=True).start()
        try:
            got = answer.get(timeout=timeout)
        except queue.Empty:
            raise httpcore.ConnectTimeout(f"no answer to who {host} is") from None
        if isinstance(got, OSError):
            raise SourceUnavailable(f"{host} cannot be found ({got.strerror or got}); is the address right?")
        return got

    def connect(self, ip: str, port: int, timeout: float | None = None) -> httpcore.NetworkStream:
        """A connection to that number."""
        return httpcore.SyncBackend().connect_tcp(ip, port, timeout=timeout)


class GuardedBackend(httpcore.NetworkBackend):
    """The only way out: resolve once, check everything, connect to what was checked."""

    def __init__(self, connector: Connector, *, allow_loopback: bool) -> None:
        self.connector = connector
        self.allow_loopback = allow_loopback

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Called by httpcore for every new connection. Raises AddressRefused before anything is sent."""
        host = host.strip("[]")
        ips = checked_ips(
            host,
            self.connector.resolve(host, port, left(_LONGEST_STEP if timeout is None else timeout)),
            allow_loopback=self.allow_loopback,
        )
        for place, ip in enumerate(ips[:4]):
            last = place == len(ips[:4]) - 1
            budget = left(_LONGEST_STEP if timeout is None else timeout)
            try:
                # A dead address must leave time for the next one.
                return BoundedStream(self.connector.connect(ip, port, budget if last else budget / 2))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if last:
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Never: no web address leads to a file."""
        raise AddressRefused("a local socket is not a web address")


def open_pool(connector: Connector | None, *, allow_loopback: bool) -> httpcore.ConnectionPool:
    """The connection pool that all requests of one client share. No proxy and no environment is consulted, except
    SSL_CERT_FILE and SSL_CERT_DIR for the roots of trust."""
    import httpx

    return httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(),
        max_connections=32,
        max_keepalive_connections=8,
        keepalive_expiry=15.0,
        network_backend=GuardedBackend(connector or SystemConnector(), allow_loopback=allow_loopback),
    )
