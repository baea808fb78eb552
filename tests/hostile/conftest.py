"""For tests of hostile input: nothing but loopback can be connected to, whatever the code under test does."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
for _place in (_ROOT / "tests" / "retrieve", _ROOT / "tests" / "serve" / "api", _ROOT / "benchmarks"):
    if str(_place) not in sys.path:
        sys.path.append(str(_place))


@pytest.fixture(autouse=True)
def nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every connection and every name asked for beyond this machine is refused before it is tried, and fails the test
    at its end, also where the code under test swallowed the error."""
    tried: list[Any] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback:
            tried.append(address)
            raise ConnectionRefusedError(f"a test may not connect to {address}")
        connect(self, address)

    def resolved(host: Any, *more: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "", "localhost", "127.0.0.1", "::1"):
            tried.append(name)
            raise socket.gaierror(socket.EAI_NONAME, "a test may not ask for names")
        return resolve(host, *more, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    yield tried
    assert not tried, f"something was to be reached beyond this machine: {tried}"
