"""What the routes work with, put together in `app.create_app` and kept in `app.state.parts`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from weighup.serve.api.auth import Gate
    from weighup.serve.api.checking import Line
    from weighup.serve.api.limits import Pool
    from weighup.serve.api.observe import Observer
    from weighup.serve.api.shelf import Shelf
    from weighup.serve.db import Database
    from weighup.serve.desk import Desk
    from weighup.settings import Settings


@dataclass(slots=True)
class Parts:
    """`pool` runs what blocks; `line` is where single checks wait; `stopping` is set when the server shuts down.

    `sessions` is the page's, for who has signed in.
    """

    settings: Settings
    database: Database
    desk: Desk
    gate: Gate
    pool: Pool
    line: Line
    shelf: Shelf
    observer: Observer
    stopping: threading.Event = field(default_factory=threading.Event)
    sessions: Any = None
    streams: dict[str, int] = field(default_factory=dict)


def parts_of(connection: HTTPConnection) -> Parts:
    """The parts of the app that a request came to."""
    parts: Parts = connection.app.state.parts
    return parts
