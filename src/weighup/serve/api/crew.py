"""The threads that work beside the requests: on jobs, on feeds, on alerts. They start and stop with the server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from weighup.serve.work.manners import give_way

Run = Callable[[threading.Event], None]
"""Works until the event is set, finishes what it is at, and returns."""
PAUSE = 5.0
"""Seconds before one that ended by an error which nobody foresaw is begun again."""

logger = logging.getLogger("weighup.serve")


class Crew:
    """Runs each of `runs` in a thread of its own until `stop` is set."""

    def __init__(self, runs: Mapping[str, Run], stop: threading.Event) -> None:
        self.stop = stop
        self._threads = [
            threading.Thread(target=self._keep, args=(name, run), name=f"weighup-{name}", daemon=True)
            for name, run in runs.items()
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> list[str]:
        """Wait at most `seconds` for all to end after `stop` was set; the names of those that did not.

        What those were at is not lost: its lease runs out, and another process takes it again.
        """
        ends = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _keep(self, name: str, run: Run) -> None:
        give_way()
        while not self.stop.is_set():
            try:
                run(self.stop)
            except Exception:  # a thread that is gone would be missed by nobody but those whose work it was
                logger.exception("%s ended and is begun again", name)
                self.stop.wait(PAUSE)
