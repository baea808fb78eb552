"""Network steps that end by a deadline, however slowly the other side drips. For every client built on httpcore.

A client's own time limits start anew with every byte, and cover neither headers nor body as a whole.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


@contextmanager
def deadline(moment: float) -> Iterator[None]:
    """Everything this thread does on the network inside the block ends by `moment` (seconds of `time.monotonic`)."""
    token = _deadline.set(moment)
    try:
        yield
    finally:
        _deadline.reset(token)


def left(timeout: float | None) -> float:
    """Seconds this step may take. Raises ReadTimeout when the deadline is past."""
    remaining = _deadline.get() - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout("the time for this request is over")
    return remaining if timeout is None else min(remaining, timeout)


class BoundedStream(httpcore.NetworkStream):
    """A connection whose every step ends by the deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
