"""How work that takes its time behaves beside requests that do not: it gives way, memory is given back, and what stays
is not searched for garbage again and again.

The first two are for Linux with glibc; elsewhere they do nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Literal

NICENESS = 10
TRIM_EVERY = 5.0
"""Seconds."""
LONG = 0.02
"""Seconds that a full garbage collection may stop all threads for before what survived it is set aside."""
ASIDE = 8
"""How often, so that what was set aside and is garbage later stays bounded."""
_ARENAS, _ARENA_MAX = 2, -8  # mallopt's M_ARENA_MAX


def give_way() -> None:
    """Let this thread, and those that it starts from now on, have the processor where a request does not want it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


@contextlib.contextmanager
def then_gives_way() -> Iterator[None]:
    """What is done within goes at the usual pace; the threads that it leaves behind give way from then on."""
    before = _threads()
    yield
    for thread in _threads() - before:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, NICENESS)


def few_arenas() -> None:
    """Let threads share heaps, before there are any: else each that has once worked on a large batch keeps one."""
    libc = _libc()
    if libc is not None:
        libc.mallopt(_ARENA_MAX, _ARENAS)


def give_back_memory(stop: threading.Event) -> None:
    """Return what is free to the system now and then, until `stop` is set: the size of batches goes up and down."""
    libc = _libc()
    while not stop.wait(TRIM_EVERY):
        if libc is not None:
            libc.malloc_trim(0)


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """While this is entered: after a full garbage collection that took long, what survived it (modules, weights, the
    schemas of the API) is no longer looked through. Every thread stands still meanwhile, a tenth of a second for some
    170,000 objects, and that comes every few seconds under load."""
    begun, times = 0.0, 0

    def watch(phase: Literal["start", "stop"], info: dict[str, int]) -> None:
        nonlocal begun, times
        if info["generation"] < 2:
            return
        if phase == "start":
            begun = time.perf_counter()
        elif time.perf_counter() - begun > LONG and times < ASIDE:
            times += 1
            gc.freeze()

    gc.callbacks.append(watch)
    try:
        yield
    finally:
        gc.callbacks.remove(watch)
        gc.unfreeze()


def _threads() -> set[int]:
    """Ids of this process's threads."""
    return {int(name) for name in os.listdir("/proc/self/task")} if sys.platform == "linux" else set()


def _libc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError):
        libc = ctypes.CDLL("libc.so.6")
        if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
            return libc
    return None
