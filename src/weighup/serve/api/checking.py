"""Single checks that are answered at once: a bounded line, and one thread that checks as a batch what stands in it.

Sixteen people who ask in the same moment cost one pass of each model, not sixteen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weighup.serve.api.problems import Problem
from weighup.serve.work.manners import give_way

if TYPE_CHECKING:
    from weighup.serve.desk import Answer, Asked, Desk

TOGETHER = 16
"""Claims checked in one batch."""
Told = Callable[[int, float], None]
"""Called after each batch with its size and its seconds."""

logger = logging.getLogger("weighup.serve")


@dataclass(slots=True)
class _Waiting:
    asked: Asked
    answer: asyncio.Future[Answer]
    loop: asyncio.AbstractEventLoop
    since: float = field(default_factory=time.monotonic)


class Line:
    """Where single checks wait: at most `waiting` of them, and none that would have to wait for more than `patience`
    seconds by what checks took of late. Who gives up waiting before its turn is not checked."""

    def __init__(
        self,
        desk: Desk,
        *,
        waiting: int,
        patience: float = 30.0,
        together: int = TOGETHER,
        told: Told | None = None,
    ) -> None:
        self.desk = desk
        self.waiting = waiting
        self.patience = patience
        self.together = together
        self._told = told
        self._line: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._seconds = 0.5  # for one claim, as it was of late

    def __len__(self) -> int:
        return len(self._line)

    async def check(self, asked: Asked) -> Answer:
        """The answer, when its turn has come. Raises Problem if the line is full, and what `Desk.check` raises."""
        loop = asyncio.get_running_loop()
        one = _Waiting(asked, loop.create_future(), loop)
        with self._changed:
            if self._closed:
                raise Problem("stopping", "the server is shutting down; ask again soon", retry_after=5)
            wait = self._seconds * len(self._line)
            if len(self._line) >= self.waiting or wait > self.patience:
                said = f"{len(self._line)} checks are waiting already; come again later, or hand in a job"
                raise Problem("overloaded", said, retry_after=min(60.0, wait))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="weighup-checks", daemon=True)
                self._thread.start()
            self._line.append(one)
            self._changed.notify()
        try:
            return await one.answer
        except asyncio.CancelledError:
            with self._changed, contextlib.suppress(ValueError):
                self._line.remove(one)
            raise

    def close(self, seconds: float = 30.0) -> None:
        """Take no more, answer those who wait, end; waits at most `seconds`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self) -> None:
        give_way()
        while True:
            with self._changed:
                while not self._line and not self._closed:
                    self._changed.wait()
                if not self._line:
                    return
                batch = [self._line.popleft() for _ in range(min(self.together, len(self._line)))]
            self._answer([one for one in batch if not one.answer.cancelled()])

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        begun = time.monotonic()
        found: Sequence[Answer] | None = None
        failure: Exception | None = None
        try:
            found = self.desk.check([one.asked for one in batch])
        except Exception as error:  # noqa: BLE001 (whoever asked is told; the thread must go on for the others)
            failure = error
        seconds = time.monotonic() - begun
        self._seconds = 0.8 * self._seconds + 0.2 * seconds / len(batch)
        if self._told is not None:
            self._told(len(batch), seconds)
        for place, one in enumerate(batch):
            answer = None if found is None else found[place]
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever asked
                one.loop.call_soon_threadsafe(_settle, one.answer, answer, failure)


def _settle(future: asyncio.Future[Answer], answer: Answer | None, failure: Exception | None) -> None:
    if future.done():
        return
    if answer is not None:
        future.set_result(answer)
    else:
        future.set_exception(failure or RuntimeError("no answer"))
