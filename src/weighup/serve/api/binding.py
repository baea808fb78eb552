"""Where a server may listen, and by which names it may be asked.

Bound to loopback, only this machine can reach it; elsewhere nobody may without an API key. The header Host must be a
name that is known to be ours, so that no web page can reach the server through a name of its own (DNS rebinding). An
IP address cannot be rebound, so any is taken.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from weighup.errors import InvalidInput
from weighup.serve.api.limits import ALWAYS
from weighup.serve.api.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from weighup.serve.db import Database


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_key(database: Database, host: str) -> None:
    """Raises InvalidInput if `host` can be reached from elsewhere and no API key is in force."""
    now = datetime.now(UTC)
    keys = database.api_keys.known()
    if is_loopback(host) or any(k.revoked_at is None and (k.expires_at is None or k.expires_at > now) for k in keys):
        return
    raise InvalidInput(
        f"--host {host}: others could reach this, and there is no API key in {database.name}; make one first with "
        "`weighup keys create`, or leave --host out"
    )


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port` (0: any free one), not listening yet. Raises InvalidInput."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise InvalidInput(f"--host {host} --port {port}: {error.strerror or error}; name another") from None
    return bound


def address_of(bound: socket.socket, host: str) -> str:
    """Where a bound socket is reached: `http://127.0.0.1:8642`."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{bound.getsockname()[1]}"


class Hosts:
    """Middleware: refuses requests for a host that is not us. What `ALWAYS` lists tells nothing and is let through."""

    def __init__(self, app: ASGIApp, *, host: str, public_url: str | None = None, more: Iterable[str] = ()) -> None:
        self.app = app
        public = urlsplit(public_url).hostname if public_url else None
        self.names = {name.lower() for name in ("localhost", host, socket.gethostname(), public or "", *more) if name}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in ALWAYS and not self.ours(scope):
            said = "this server does not go by that name; whoever runs it can add it with --allow-host"
            await Problem("misdirected", said).answer(scope["state"].get("request_id"))(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def ours(self, scope: Scope) -> bool:
        """Whether a request is for us: one Host, which is an IP address or one of our names."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        try:
            host = urlsplit(f"//{hosts[0].decode('latin-1')}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host.lower() in self.names
        return True
