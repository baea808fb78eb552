"""Connections to model servers, whose every step ends by the call's deadline (`deadlines.py`).

Proxies are those of the environment; a server on this machine is always reached without one.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

from weighup.models.deadlines import BoundedStream, deadline, left

_AT_ONCE = 256


class TooLarge(Exception):
    """The answer has more bytes than are read of one."""


class Answer(NamedTuple):
    """An HTTP answer read to its end; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    data: bytes


def post(
    pool: httpcore.ConnectionPool, url: str, content: bytes, headers: Mapping[str, str], *, timeout: float, most: int
) -> Answer:
    """The answer within `timeout` seconds for all of it. Raises httpcore's errors, or TooLarge beyond `most` bytes."""
    asked = {"Accept": "application/json", "Accept-Encoding": "identity", "Content-Type": "application/json", **headers}
    with (
        deadline(time.monotonic() + timeout),
        pool.stream(
            "POST", url, headers=list(asked.items()), content=content, extensions={"timeout": {"pool": timeout}}
        ) as answer,
    ):
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        data = bytearray()
        for part in answer.iter_stream():
            data += part
            if len(data) > most:
                raise TooLarge
            left(None)
    return Answer(answer.status, found, _unpacked(bytes(data), found.get("content-encoding", ""), most))


def open_pool(url: str, *, local: bool) -> httpcore.ConnectionPool:
    """Connections to the server at `url`. Raises ValueError, OSError or RuntimeError if the environment's proxy or
    certificates cannot be used; the message shows no password."""
    import httpx

    options: dict[str, Any] = {
        "ssl_context": httpx.create_ssl_context(),
        "max_connections": _AT_ONCE,
        "keepalive_expiry": 5.0,
        "network_backend": _Backend(),
    }
    parts = urlsplit(url)
    proxies = {} if local or proxy_bypass(parts.hostname or "") else getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return httpcore.ConnectionPool(**options)
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.scheme in ("http", "https"):
        return httpcore.HTTPProxy(address, proxy_auth=auth, **options)
    if parts.scheme in ("socks5", "socks5h"):
        return httpcore.SOCKSProxy(address, proxy_auth=auth, **options)
    raise ValueError(f"a proxy of kind {parts.scheme!r}")


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return BoundedStream(super().connect_tcp(host, port, left(timeout), local_address, socket_options))


def _unpacked(data: bytes, encoding: str, most: int) -> bytes:
    """What a server that packs unasked has sent; bytes that do not unpack are left for the reader to refuse."""
    if encoding not in ("gzip", "deflate"):
        return data
    try:
        unpacked = zlib.decompressobj(47).decompress(data, most + 1)
    except zlib.error:
        return data
    if len(unpacked) > most:
        raise TooLarge
    return unpacked
