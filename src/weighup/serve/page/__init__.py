"""The pages of `weighup serve`: rendered here, readable without JavaScript. Begin with `add_page`.

Nothing is asked of anybody else: style and scripts are files of this package. Every text that came from outside is
escaped and stripped of characters that change writing direction; addresses become links only when they are http(s).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import FastAPI

if TYPE_CHECKING:
    from weighup.serve.checkers import Checkers
    from weighup.serve.page.routes.arena import ArenaState


@dataclass(slots=True)
class PageState:
    """What the pages keep beside the app's parts: for judging a verdict without its sources, once at a time; `arena`:
    for votes."""

    checkers: Checkers
    arena: ArenaState
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked: int = 0


def add_page(app: FastAPI) -> None:
    """Add the pages to an app whose `app.state.parts` is set."""
    from weighup.serve.checkers import Checkers
    from weighup.serve.page.door import show_problem
    from weighup.serve.page.routes import about, arena, checks, feeds, review, search, signing, stories, verdicts
    from weighup.serve.page.session import Sessions

    app.state.parts.sessions = Sessions()
    app.state.page = PageState(Checkers(app.state.parts.desk.checker), arena.ArenaState())
    app.state.show_problem = show_problem
    for room in (signing, checks, verdicts, review, arena, stories, feeds, search, about):
        app.include_router(room.router)
