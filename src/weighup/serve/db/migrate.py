"""Bring a database to this version's tables. The steps are Alembic's, in `migrations/versions`, run from here.

Whoever comes first holds a lock (SQLite: the write lock, PostgreSQL: an advisory one) while it looks and upgrades, all
in one transaction; whoever comes second then finds nothing to do.
"""

from __future__ import annotations

import functools
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from weighup.errors import StoreError
from weighup.serve.db.engine import WRITES
from weighup.serve.db.tables import Base

VERSIONS = "weighup_schema"
"""Table that holds the version: named, so that it is not taken for that of another program in the same database."""
_LOCK = 0x57455548


@functools.cache
def scripts() -> ScriptDirectory:
    """The migrations shipped with this version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def version(connection: Connection) -> str | None:
    """The version a database is at; None for a new one."""
    return MigrationContext.configure(connection, opts={"version_table": VERSIONS}).get_current_revision()


def upgrade(engine: Engine, name: str) -> None:
    """Make or upgrade the tables. `name` is what messages call the database.

    Raises StoreError for one that a newer weighup wrote or that holds another program's tables.
    """
    shipped = scripts()
    head = shipped.get_current_head()
    with engine.connect() as connection, connection.begin():
        if version(connection) == head:
            return  # nothing to lock for, as on most days
    with engine.execution_options(**{WRITES: True}).connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        found = version(connection)
        if found == head:
            return
        if found is None:
            _refuse_foreign(connection, name)
        elif found not in {script.revision for script in shipped.walk_revisions()}:
            raise StoreError(
                f"{name}: was written by a newer weighup (tables {found}, this one knows up to {head}); "
                "upgrade weighup or name another database"
            )
        _run(shipped, connection)


def _refuse_foreign(connection: Connection, name: str) -> None:
    taken = set(inspect(connection).get_table_names()) & set(Base.metadata.tables)
    if taken:
        raise StoreError(f"{name}: holds tables of another program ({', '.join(sorted(taken))}); name another database")


def _run(shipped: ScriptDirectory, connection: Connection) -> None:
    def steps(revision: object, _context: object) -> object:
        return shipped._upgrade_revs("head", revision)  # type: ignore[arg-type]

    with EnvironmentContext(Config(), shipped, fn=steps) as environment:
        environment.configure(
            connection=connection,
            target_metadata=Base.metadata,
            version_table=VERSIONS,
            transactional_ddl=True,
        )
        environment.run_migrations()
