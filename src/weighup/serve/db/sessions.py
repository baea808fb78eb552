"""Sessions to read and to write with, and the three idioms that all repositories use: insert what is new, take a
lease on rows, hold several rows in one order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.orm import InstrumentedAttribute, Session

from weighup.errors import InvalidInput, StoreError
from weighup.serve.db.engine import WRITES
from weighup.serve.db.tables import FeedItemRow, JobItemRow
from weighup.serve.db.tables.base import Base, Leased
from weighup.serve.db.url import explained, shown

LEASE = 60.0
"""Seconds that a worker holds what it has taken, unless it says otherwise or extends it."""
_CHUNK = 500  # rows of one INSERT: SQLite takes 32,766 values, PostgreSQL 65,535


Row = TypeVar("Row", bound=Leased)
Tried = TypeVar("Tried", JobItemRow, FeedItemRow)


class Sessions:
    """One database's engines. `reading()` sees one moment in SQLite; `writing()` is all or nothing."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self.engine = engine
        self.url = url
        self._writer = engine.execution_options(**{WRITES: True})
        self.closed = False

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with self._open(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that is committed at the end, or leaves nothing behind, Ctrl-C included."""
        with self._open(self._writer) as session, session.begin():
            yield session

    @contextmanager
    def _open(self, engine: Engine) -> Iterator[Session]:
        if self.closed:
            raise StoreError(f"{shown(self.url)}: the database has been closed; open it again")
        with explained(self.url), Session(engine, expire_on_commit=False) as session:
            yield session


def present() -> datetime:
    """Now, aware, UTC, to the microsecond."""
    return datetime.now(UTC)


def insert_new(
    session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]], returning: InstrumentedAttribute[Any]
) -> list[Any]:
    """Insert the rows that break no unique key; `returning` of those inserted, in no order.

    Rows should come in one order (that of their key) from everywhere, so that two writers cannot wait for each other.
    """
    dialect = session.get_bind().dialect.name
    found: list[Any] = []
    for start in range(0, len(rows), _CHUNK):
        part = [dict(row) for row in rows[start : start + _CHUNK]]
        statement: Any = (
            postgresql.insert(table).values(part) if dialect == "postgresql" else sqlite.insert(table).values(part)
        )
        found += session.scalars(statement.on_conflict_do_nothing().returning(returning)).all()
    return found


def take(
    session: Session,
    table: type[Row],
    where: Sequence[ColumnElement[bool]],
    order: Sequence[Any],
    *,
    worker: str,
    seconds: float,
    limit: int,
    now: datetime,
) -> list[Row]:
    """Lease up to `limit` rows that nobody holds, or whose holder's time is up.

    PostgreSQL passes over rows that another worker is just taking (SKIP LOCKED); in SQLite the transaction holds the
    write lock. The clock is the workers': theirs should agree to within a small part of a lease.
    """
    require(bool(worker), "worker: a lease needs its holder's name")
    require(seconds > 0, f"lease: {seconds} s is no time to work in")
    free = or_(table.lease_until.is_(None), table.lease_until <= now)
    query = select(table).where(free, *where).order_by(*order).limit(limit).with_for_update(skip_locked=True)
    rows = list(session.scalars(query))
    for row in rows:
        row.lease_owner = worker
        row.lease_until = now + timedelta(seconds=seconds)
    return rows


def fewer(rows: Sequence[Tried], limit: int) -> Sequence[Tried]:
    """Of rows that `take` gave, those to work on together: a quarter of `limit` for each time that one of them was
    taken in vain before. The others are let go: what kills its worker is alone in the end and takes none with it."""
    kept = max(1, limit // 4 ** max((row.attempts for row in rows), default=0))
    for row in rows[kept:]:
        let_go(row)
    return rows[:kept]


def extend(
    session: Session, table: type[Row], key: Any, ids: Sequence[Any], *, worker: str, seconds: float, now: datetime
) -> list[Any]:
    """Lengthen the leases that `worker` still holds to `seconds` from now; returns their ids, others are lost."""
    query = select(table).where(key.in_(ids), table.lease_owner == worker).order_by(key).with_for_update()
    rows = list(session.scalars(query))
    for row in rows:
        row.lease_until = now + timedelta(seconds=seconds)
    return [getattr(row, key.key) for row in rows]


def let_go(row: Leased) -> None:
    """End a row's lease."""
    row.lease_owner = None
    row.lease_until = None


def require(condition: bool, message: str) -> None:
    """Raise InvalidInput with `message` unless `condition`."""
    if not condition:
        raise InvalidInput(message)
