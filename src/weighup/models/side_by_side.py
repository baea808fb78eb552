"""Do the same to many items, some at a time, in threads; results in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(do: Callable[[T], R], items: Sequence[T], *, workers: int, leave_behind: bool) -> list[R]:
    """`[do(item) for item in items]` with up to `workers` at a time. The first exception is raised, the rest dropped.

    `leave_behind`: after an exception or Ctrl-C the process may end while an item is still being waited for (a reply
    that may never come). Native engines must not be left: they are given time to finish.
    """
    if min(workers, len(items)) <= 1:
        return [do(item) for item in items]
    results: dict[int, R] = {}
    failures: list[BaseException] = []
    todo = iter(range(len(items)))
    taking = threading.Lock()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            with taking:
                index = next(todo, None)
            if index is None:
                return
            try:
                results[index] = do(items[index])
            except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
                failures.append(error)
                stopped.set()

    threads = [
        threading.Thread(target=work, name=f"weighup-model-{n}", daemon=leave_behind)
        for n in range(min(workers, len(items)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stopped.set()
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(items))]
