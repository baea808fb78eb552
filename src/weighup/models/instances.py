"""One engine instance per process: heavy objects made once, shared by all threads, made anew after a fork.

The native engines (onnxruntime, llama.cpp) hold worker threads, which a forked child does not inherit: using the
parent's object in a child waits for ever, and so does destroying it. A child therefore starts with an empty
shelf, what it inherited is kept alive, untouched, until it ends, and its end skips the engines' C++ destructors.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class _Shelf:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.made: dict[Hashable, Any] = {}


_shelf = _Shelf()


def shared(key: Hashable, make: Callable[[], T]) -> T:
    """The process's one object for `key`, made by `make` at first use; other threads wait for it."""
    found: T | None = _shelf.made.get(key)
    if found is not None:
        return found
    with _shelf.lock:
        if key not in _shelf.made:
            _shelf.made[key] = make()
        made: T = _shelf.made[key]
        return made


def _after_fork() -> None:
    global _shelf
    if not _shelf.made:
        _shelf = _Shelf()
        return
    # One reference too many: the interpreter never frees the parent's engines in the child, not even at its end.
    for inherited in (_shelf.made, *_shelf.made.values()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
    _shelf = _Shelf()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        # glibc runs these last in, first out: `_exit(status)` comes before the destructors of static C++ objects,
        # which would wait for the parent's threads. Python has flushed and finalised by then.
        libc.on_exit(libc._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
