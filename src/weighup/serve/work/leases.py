"""Holding on to what was taken, while work on it lasts longer than a lease."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from weighup.errors import WeighupError
from weighup.serve.db.sessions import LEASE

logger = logging.getLogger(__name__)

EVERY = LEASE / 4
"""Seconds between extensions: three may fail before a lease runs out."""


@contextmanager
def held(extend: Callable[[], object], *, every: float = EVERY) -> Iterator[None]:
    """Call `extend` every `every` seconds, from a thread, until the block ends; one that fails is tried again then."""
    done = threading.Event()

    def keep() -> None:
        while not done.wait(every):
            try:
                extend()
            except WeighupError as error:
                logger.warning("a lease was not extended: %s", error)

    keeper = threading.Thread(target=keep, name="weighup-lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
