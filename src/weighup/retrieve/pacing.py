"""Politeness: so many requests a second to one host, and so many at a time, shared by all threads of a client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

AT_ONCE = 4
"""Requests open to one host at the same time, about what a browser allows itself (6)."""

_MANY = 1024


@dataclass(slots=True)
class _Lane:
    """One host's turn: `free` is when the next request may start, in seconds of the clock."""

    free: float = 0.0
    users: int = 0
    places: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(AT_ONCE))


class Pacer:
    """Holds callers back until their host may be asked again. Thread-safe; keeps no host for ever."""

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap = 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, host: str) -> Iterator[None]:
        """Wait for this host's turn, then hold one of its places for the block."""
        lane = self._enter(host)
        try:
            with lane.places:
                self._wait(lane)
                yield
        finally:
            with self._lock:
                lane.users -= 1

    def _enter(self, host: str) -> _Lane:
        with self._lock:
            if len(self._lanes) > _MANY:
                now = self._clock()
                self._lanes = {name: lane for name, lane in self._lanes.items() if lane.users or lane.free > now}
            lane = self._lanes.setdefault(host, _Lane())
            lane.users += 1
            return lane

    def _wait(self, lane: _Lane) -> None:
        with self._lock:
            now = self._clock()
            start = max(now, lane.free)
            lane.free = start + self._gap
        if start > now:
            self._sleep(start - now)
