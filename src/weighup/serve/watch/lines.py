"""Lines of a stream, such as standard input, kept as entries of a feed as they come."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from weighup.retrieve.rowfiles import Broken
from weighup.serve.db.records import Feed, Poll
from weighup.serve.feeds.folder import read_lines
from weighup.serve.feeds.items import Item
from weighup.serve.watch.memory import new_items

if TYPE_CHECKING:
    from weighup.serve.db import Database

logger = logging.getLogger(__name__)

KEPT = 200
"""Lines kept in one transaction at most."""
_WAITING = 2_000  # lines read ahead; who writes faster waits
_SOON = 0.2  # seconds that a line waits for others at most


def follow(
    stream: BinaryIO, feed: Feed, database: Database, stop: threading.Event, *, on_broken: Callable[[Broken], None]
) -> int:
    """Keep the lines of `stream` as entries of `feed` until it ends or `stop` is set; how many were new.

    What was read and not kept yet is lost with the process, as with any pipe: a fifth of a second's lines at most.
    """
    lines: queue.Queue[Item | None] = queue.Queue(maxsize=_WAITING)
    # A daemon: nothing wakes it from waiting for a line that never comes.
    threading.Thread(target=_read, args=(stream, lines, on_broken), name="weighup-lines", daemon=True).start()
    total, ended = 0, False
    while not ended and not stop.is_set():
        batch: list[Item] = []
        while len(batch) < KEPT and not stop.is_set():
            try:
                line = lines.get(timeout=_SOON)
            except queue.Empty:
                break
            if line is None:
                ended = True
                break
            batch.append(line)
        if batch:
            total += sum(database.feeds.polled([Poll(feed.id, items=new_items(feed, batch[::-1]))]))
    return total


def _read(stream: BinaryIO, lines: queue.Queue[Item | None], on_broken: Callable[[Broken], None]) -> None:
    try:
        for item in read_lines(stream, on_broken=on_broken):
            lines.put(item)
    except (OSError, ValueError) as error:  # ValueError: it has been closed
        logger.warning("the lines ended: %s", error)
    finally:
        lines.put(None)
