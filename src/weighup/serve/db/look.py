"""A database looked at and nothing changed in it: where it stands, what it holds, what pruning would delete.

Unlike `Database.open` this makes no file and no table and upgrades none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, func, inspect, select, text

from weighup.console import Advance
from weighup.serve.db.database import Database
from weighup.serve.db.engine import WAIT, make_engine
from weighup.serve.db.migrate import scripts, version
from weighup.serve.db.records import Pruned
from weighup.serve.db.retention import Retention
from weighup.serve.db.sessions import Sessions
from weighup.serve.db.tables import Base
from weighup.serve.db.url import explained, resolve, shown

State = Literal["absent", "new", "older", "current", "newer", "foreign"]
"""No file yet; no tables yet; tables of an older weighup, of this one, of a newer one, or of another program."""


@dataclass(frozen=True, slots=True)
class Look:
    """What there is. `tables` and `newest_tables`: their version, and this weighup's. `size` is in bytes.

    `clock_ahead`: seconds by which this machine's clock is ahead of the database server's (SQLite: 0). `vector`:
    whether the extension pgvector is installed, can be, or neither (SQLite: None). `counts` by table, if current.
    """

    name: str
    kind: str
    state: State
    server: str = ""
    tables: str | None = None
    newest_tables: str | None = None
    size: int | None = None
    clock_ahead: float = 0.0
    vector: Literal["installed", "available", "absent"] | None = None
    may_write: bool = True
    counts: dict[str, int] = field(default_factory=dict)


def look(url: str | Path | None = None, *, tenant: str | None = None, count: bool = True) -> Look:
    """Look at the database in force, or at `url`. Counts rows unless told not to, of one tenant if given.

    Raises InvalidInput for an URL that names no usable database, StoreError for one that does not answer.
    """
    where = resolve(url)
    kind, head = where.get_backend_name(), scripts().get_current_head()
    if kind == "sqlite" and not Path(str(where.database)).exists():
        return Look(shown(where), kind, "absent", newest_tables=head)
    with explained(where):
        engine = make_engine(where) if kind == "postgresql" else _reading_only(Path(str(where.database)))
        try:
            return _looked(engine, shown(where), kind, head, tenant, count)
        finally:
            engine.dispose()


class WouldPrune(Retention):
    """Counts what `prune` would delete, and deletes nothing. Stories that would only then be empty are not counted."""

    def __init__(self, sessions: Sessions, tenant: str | None = None) -> None:
        super().__init__(sessions)
        self._tenant = tenant
        self._counted: set[str] = set()

    def prune(
        self, days: float, *, batch: int = 200, now: datetime | None = None, on_progress: Advance | None = None
    ) -> Pruned:
        """As Retention's, in the conditional."""
        self._counted.clear()
        return super().prune(days, batch=batch, now=now, on_progress=on_progress)

    def _batch(self, table: Any, key: Any, where: Sequence[ColumnElement[bool]], batch: int) -> int:
        if table.__tablename__ in self._counted:
            return 0
        self._counted.add(table.__tablename__)
        with self._sessions.reading() as session:
            found = session.scalar(select(func.count()).select_from(table).where(*_of(table, where, self._tenant)))
        return found or 0


class OfTenant(Retention):
    """Prunes one tenant's rows only."""

    def __init__(self, sessions: Sessions, tenant: str) -> None:
        super().__init__(sessions)
        self._tenant = tenant

    def _batch(self, table: Any, key: Any, where: Sequence[ColumnElement[bool]], batch: int) -> int:
        return super()._batch(table, key, _of(table, where, self._tenant), batch)


def retention(database: Database, *, tenant: str | None, dry_run: bool) -> Retention:
    """What prunes all tenants (None) or one, or only counts."""
    if dry_run:
        return WouldPrune(database._sessions, tenant)
    return database.retention if tenant is None else OfTenant(database._sessions, tenant)


def _of(table: Any, where: Sequence[ColumnElement[bool]], tenant: str | None) -> Sequence[ColumnElement[bool]]:
    if tenant is None:
        return where
    if hasattr(table, "tenant"):
        return [*where, table.tenant == tenant]
    # An entry belongs to whom its feed belongs to.
    feeds = Base.metadata.tables["feed"]
    return [*where, table.feed_id.in_(select(feeds.c.id).where(feeds.c.tenant == tenant))]


def _reading_only(file: Path) -> Engine:
    """Not the usual engine, which would switch another program's file to WAL."""
    address = f"file:{quote(str(file))}?mode=ro"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True, timeout=WAIT))


def _looked(engine: Engine, name: str, kind: str, head: str | None, tenant: str | None, count: bool) -> Look:
    with engine.connect() as connection:
        found = version(connection)
        state = _state(connection, found, head)
        told: dict[str, Any] = {"tables": found, "newest_tables": head}
        if kind == "postgresql":
            told |= _server(connection)
        else:
            told |= {
                "server": f"SQLite {connection.scalar(text('SELECT sqlite_version()'))}",
                "size": connection.scalar(
                    text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
                ),
            }
        counts = _counts(connection, tenant) if count and state == "current" else {}
        return Look(name, kind, state, counts=counts, **told)


def _state(connection: Connection, found: str | None, head: str | None) -> State:
    if found == head:
        return "current"
    if found is None:
        taken = set(inspect(connection).get_table_names()) & set(Base.metadata.tables)
        return "foreign" if taken else "new"
    known = {script.revision for script in scripts().walk_revisions()}
    return "older" if found in known else "newer"


def _server(connection: Connection) -> dict[str, Any]:
    asked = (
        "SELECT current_setting('server_version'), pg_database_size(current_database()), clock_timestamp(),"
        " EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector'),"
        " EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'vector'),"
        " has_schema_privilege(current_schema(), 'CREATE') AND NOT pg_is_in_recovery()"
    )
    release, size, now, installed, available, may_write = connection.execute(text(asked)).one()
    return {
        "server": f"PostgreSQL {str(release).partition(' ')[0]}",
        "size": size,
        "clock_ahead": (datetime.now(UTC) - now).total_seconds(),
        "vector": "installed" if installed else "available" if available else "absent",
        "may_write": bool(may_write),
    }


def _counts(connection: Connection, tenant: str | None) -> dict[str, int]:
    counted: dict[str, int] = {}
    for name in ("verdict", "feedback", "feed", "story", "job", "alert", "api_key"):
        table = Base.metadata.tables[name]
        query = select(func.count()).select_from(table)
        if tenant is not None:
            query = query.where(table.c.tenant == tenant)
        counted[name] = connection.scalar(query) or 0
    return counted
