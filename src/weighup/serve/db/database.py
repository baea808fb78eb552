"""The database of `weighup serve` and `weighup watch`: opened, brought up to date, and its repositories.

The evidence store is another file; nothing here opens it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from sqlalchemy import text

from weighup.serve.db.access import ApiKeys, IdempotencyKeys
from weighup.serve.db.alerts import Alerts
from weighup.serve.db.arena import Arena
from weighup.serve.db.claim_vectors import add_index
from weighup.serve.db.cursors import Cursors
from weighup.serve.db.engine import make_engine
from weighup.serve.db.feeds import Feeds
from weighup.serve.db.jobs import Jobs
from weighup.serve.db.migrate import upgrade
from weighup.serve.db.near import Near
from weighup.serve.db.people import Audit, Feedbacks
from weighup.serve.db.retention import Retention
from weighup.serve.db.sessions import Sessions
from weighup.serve.db.stories import Stories
from weighup.serve.db.url import explained, resolve, shown
from weighup.serve.db.verdicts import Verdicts

if TYPE_CHECKING:
    from weighup.serve.db.transfer import Transfer


class Database:
    """Open with `Database.open`; close, or use as a context manager. Safe to share between threads, not over a fork."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.name = shown(sessions.url)
        self.verdicts = Verdicts(sessions)
        self.near = Near(sessions)
        self.jobs = Jobs(sessions)
        self.feeds = Feeds(sessions)
        self.stories = Stories(sessions)
        self.cursors = Cursors(sessions)
        self.alerts = Alerts(sessions)
        self.feedback = Feedbacks(sessions)
        self.audit = Audit(sessions)
        self.arena = Arena(sessions)
        self.api_keys = ApiKeys(sessions)
        self.idempotency = IdempotencyKeys(sessions)
        self.retention = Retention(sessions)

    @classmethod
    def open(cls, url: str | Path | None = None) -> Database:
        """Open `url`, else `WEIGHUP_DATABASE`, else a file in the user's data folder, and bring its tables up to date.

        Any number of processes may do so at once. Raises InvalidInput for an URL that names no usable database, and
        StoreError for one that cannot be reached, is damaged, another program's, or was written by a newer weighup.
        """
        where = resolve(url)
        with explained(where):
            engine = make_engine(where)
            try:
                upgrade(engine, shown(where))
                add_index(engine)
            except BaseException:
                engine.dispose()
                raise
        return cls(Sessions(engine, where))

    @cached_property
    def transfer(self) -> Transfer:
        """Export and import. Loads pyarrow, which a server that does neither should not wait for."""
        from weighup.serve.db.transfer import Transfer

        return Transfer(self._sessions)

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._sessions.url.get_backend_name()

    def ping(self) -> None:
        """Ask the database for nothing. Raises StoreError if it does not answer."""
        with self._sessions.reading() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections; the database cannot be used again."""
        self._sessions.closed = True
        self._sessions.engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
