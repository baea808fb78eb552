"""How far something that goes on for ever has come. A place only moves forward, whoever is late in saying so."""

from __future__ import annotations

from sqlalchemy import select

from weighup.serve.db.sessions import Sessions, insert_new
from weighup.serve.db.tables import CursorRow


class Cursors:
    """The repository of cursors."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def get(self, name: str) -> int | None:
        """The place, None for a cursor that was never moved."""
        with self._sessions.reading() as session:
            return session.scalar(select(CursorRow.place).where(CursorRow.name == name))

    def move(self, name: str, place: int) -> None:
        """Move a cursor on to `place`, unless it is there or further."""
        with self._sessions.writing() as session:
            if not insert_new(session, CursorRow, [{"name": name, "place": place}], CursorRow.name):
                row = session.scalars(select(CursorRow).where(CursorRow.name == name).with_for_update()).one()
                row.place = max(row.place, place)
