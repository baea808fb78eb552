"""Several waits at once, in threads that never keep the process alive.

The standard library's pools are joined when the interpreter ends, so one hanging page would hold up a command that has
long had its answer. These threads are daemons: what is still at work at the end is dropped.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], items: Sequence[T], *, at_once: int) -> list[R]:
    """`work` on every item, at most `at_once` together; results in order. Raises the first item's error, if any."""
    results: list[R | None] = [None] * len(items)
    errors: dict[int, BaseException] = {}
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(items)):
        waiting.put(index)

    def take() -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results[index] = work(items[index])
            except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
                errors[index] = error

    threads = [threading.Thread(target=take, daemon=True) for _ in range(min(len(items), at_once))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[min(errors)]
    return results  # type: ignore[return-value]  # every place is filled once no error is left
