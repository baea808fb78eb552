"""An engine for each of the two databases, and the difference between reading and writing.

SQLite: WAL, so that readers never wait; writers begin with `BEGIN IMMEDIATE`, so that they queue for the busy timeout
in place of failing half-way; foreign keys are enforced. PostgreSQL: READ COMMITTED, rows are locked one by one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

WAIT = 30  # seconds that a writer waits for another
WRITES = "weighup_writes"


def make_engine(url: URL) -> Engine:
    """Connects at first use. `engine.execution_options(weighup_writes=True)` is the one to write through."""
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        # Every thread that reads holds a connection; one that waits for a free one would wait for nothing.
        engine = create_engine(url, pool_size=8, max_overflow=-1, connect_args={"timeout": WAIT})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    options = {"connect_timeout": 10, "application_name": "weighup", "options": f"-c lock_timeout={WAIT}s"}
    given = {name: value for name, value in options.items() if name not in url.query}
    return create_engine(url, pool_size=8, max_overflow=24, pool_pre_ping=True, connect_args=given)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy says BEGIN, see below; the driver must not
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={WAIT * 1000}", "foreign_keys=ON", "synchronous=NORMAL", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    _log_ahead(cursor)
    cursor.close()


def _log_ahead(cursor: Any) -> None:
    """Switch to WAL. SQLite does not wait by itself for another process that is doing the same."""
    end = time.monotonic() + WAIT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
