"""Alerts on the console: one line each, on standard output."""

from __future__ import annotations

import sys
import threading
from typing import TextIO

from weighup.serve.alerts.delivery import Undelivered
from weighup.serve.alerts.message import line
from weighup.serve.db.records import Alert


class Console:
    """Writes alerts to `stream`, None being standard output as it is then. Thread-safe."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, alert: Alert) -> None:
        """Write one line, without control characters. Raises Undelivered where nothing can be written."""
        stream = self._stream or sys.stdout
        text = "".join(letter if letter.isprintable() else "\ufffd" for letter in line(alert.payload))
        encoding = stream.encoding or "utf-8"
        with self._lock:
            try:
                stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
                stream.flush()
            except (OSError, ValueError) as error:  # ValueError: it has been closed
                raise Undelivered(f"the console cannot be written to: {type(error).__name__}") from None
