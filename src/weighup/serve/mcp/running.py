"""Blocking work for an event loop: in a few threads, a bounded number waiting, a time limit, and progress meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from weighup.errors import WeighupError

T = TypeVar("T")
Tell = Callable[[str], None]
"""Called by the work with what it is doing now."""
Report = Callable[[float, str], Awaitable[None]]
"""Called in the event loop with the seconds so far and what is being done."""

_LOOK = 0.25  # seconds between looks at how far the work is
_AT_LEAST = 5.0  # seconds between reports though nothing changed


class Busy(WeighupError):
    """As much work as may wait is waiting."""


class TooLong(WeighupError):
    """The time for one piece of work is over."""


class Runner:
    """`threads` pieces of work at a time, `waiting` more in line, `seconds` for each from when it was handed in."""

    def __init__(self, threads: int, waiting: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mcp")
        self._places = threading.BoundedSemaphore(threads + waiting)
        self._seconds = seconds

    async def run(self, work: Callable[[Tell], T], report: Report) -> T:
        """The result of `work`. Raises what it raises, Busy at once, TooLong in the end.

        Work that was cancelled or took too long is not begun if it still waits; begun, it goes on, and its place is
        free again when it ends: a thread cannot be stopped.
        """
        if not self._places.acquire(blocking=False):
            raise Busy("as many checks as may wait are waiting; try again in a few seconds")
        doing = ["waiting for a free thread"]
        handed = self._pool.submit(work, lambda stage: doing.__setitem__(0, stage))
        handed.add_done_callback(lambda _: self._places.release())
        result = asyncio.wrap_future(handed)
        started = reported = time.monotonic()
        told = None
        try:
            while not result.done():
                now = time.monotonic()
                if now - started > self._seconds:
                    raise TooLong(f"not done after {self._seconds:g} s; ask for less, or try again later")
                if doing[0] != told or now - reported > _AT_LEAST:
                    told, reported = doing[0], now
                    await report(now - started, told)
                await asyncio.wait({result}, timeout=_LOOK)
            return result.result()
        finally:
            result.cancel()

    def close(self) -> None:
        """Drop what waits, and wait for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)
