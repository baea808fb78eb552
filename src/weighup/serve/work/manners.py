"""How work that takes its time behaves beside requests that do not: it gives way, and memory is given back.

Both are for Linux with glibc; elsewhere they do nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

NICENESS = 10
TRIM_EVERY = 15.0
"""Seconds."""
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
