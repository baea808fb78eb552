"""Answers kept on disk, keyed by model and request, so that asking again costs nothing. Errors are never kept.

`diskcache` (Apache-2.0): SQLite underneath, safe across threads, processes and forks; the least recently used go
when the size limit is reached. Values are JSON and nothing else is read (diskcache would also unpickle), so that a
file somebody else wrote can do no more than be wrong.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weighup.models.instances import shared

log = logging.getLogger(__name__)

# Seconds another process may hold the database: a call without the cache is better than a call that is late.
_LONGEST_WAIT = 5.0


def request_key(name: str, version: str, kind: str, request: dict[str, Any]) -> str:
    """sha256 of model, version and the full request."""
    whole = json.dumps([name, version, kind, request], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


class RequestCache:
    """A folder of kept answers, at most `size` bytes. A cache that fails is a cache that misses, with a warning."""

    def __init__(self, folder: Path, *, size: int) -> None:
        self.folder = folder
        self.size = size
        self._told = threading.Lock()  # taken by the first failure and never given back: one warning is enough

    def get(self, key: str) -> dict[str, Any] | None:
        """The kept answer, or None."""
        try:
            with self._turn():
                text = self._disk().get(key)
            found = json.loads(text) if isinstance(text, str) else None
            return found if isinstance(found, dict) else None
        except self._errors() as error:
            self._give_up(error)
            return None

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer."""
        try:
            with self._turn():
                self._disk().set(key, json.dumps(answer))
        except self._errors() as error:
            self._give_up(error)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread of this process at a time: SQLite lets those that wait for its lock try again by chance, and of
        hundreds of threads one may wait for ever. Raises TimeoutError."""
        lock = shared(("requests, turns", self.folder), threading.Lock)
        if not lock.acquire(timeout=_LONGEST_WAIT):
            raise TimeoutError("other threads hold it")
        try:
            yield
        finally:
            lock.release()

    def _disk(self) -> Any:
        return shared(("requests", self.folder, self.size), self._open)

    def _open(self) -> Any:
        import diskcache
        from diskcache.core import MODE_RAW, MODE_TEXT

        class TextOnly(diskcache.Disk):  # type: ignore[misc]
            def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
                if mode not in (MODE_RAW, MODE_TEXT):
                    raise ValueError("it holds a value that was not kept by weighup")
                return super().fetch(mode, filename, value, read)

        self.folder.mkdir(parents=True, exist_ok=True)
        return diskcache.Cache(
            str(self.folder),
            timeout=_LONGEST_WAIT,
            disk=TextOnly,
            size_limit=self.size,
            eviction_policy="least-recently-used",
        )

    def _errors(self) -> tuple[type[Exception], ...]:
        import diskcache

        return (OSError, sqlite3.Error, diskcache.Timeout, ValueError)

    def _give_up(self, error: Exception) -> None:
        if self._told.acquire(blocking=False):
            reason = str(error) or type(error).__name__
            log.warning("request cache in %s cannot be used (%s); going on without it", self.folder, reason)
