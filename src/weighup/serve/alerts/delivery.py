"""What every way out has in common."""

from __future__ import annotations

from typing import Protocol

from weighup.errors import WeighupError
from weighup.serve.db.records import Alert


class Undelivered(WeighupError):
    """An alert did not leave. The message holds no secret and nothing a receiver could have planted in a terminal.

    `final`: trying again is of no use. `wait`: seconds that the receiver asked to be left alone.
    """

    def __init__(self, message: str, *, final: bool = False, wait: float | None = None) -> None:
        super().__init__(message)
        self.final = final
        self.wait = wait


class Channel(Protocol):
    """One way out. Thread-safe."""

    def send(self, alert: Alert) -> None:
        """Deliver one alert. Raises Undelivered."""
        ...
