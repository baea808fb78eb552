"""Vectors of claims beside their verdicts: kept with the check that is recorded, and indexed where pgvector is there.

Every database keeps the bytes. PostgreSQL with the extension `vector` keeps them a second time, in a column `near`
that only it has, with an HNSW index (Malkov & Yashunin 2016, arXiv 1603.09320) over cosine distance.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    LargeBinary,
    String,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.types import UserDefinedType

from weighup.serve.db.tables import ClaimVectorRow

logger = logging.getLogger(__name__)

DIMENSION = 384
"""Of the vectors that `near` holds: the shipped encoder's. Others are kept as bytes and compared one by one."""
_LOCK = 0x57455656
_BLOCK = 1_000  # rows written in one statement at upgrade
_CHUNK = 200  # rows of one INSERT
_HAS_NEAR = text(
    "SELECT EXISTS (SELECT 1 FROM pg_attribute"
    " WHERE attrelid = to_regclass('claim_vector') AND attname = 'near' AND NOT attisdropped)"
)
_HAS_INDEX = text(
    "SELECT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('ix_claim_vector_near') AND indisvalid)"
)
_MAY_HAVE = text(
    "SELECT NOT pg_is_in_recovery() AND (EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector') OR EXISTS ("
    " SELECT 1 FROM pg_available_extensions a"
    " JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version"
    " JOIN pg_roles r ON r.rolname = current_user"
    " WHERE a.name = 'vector' AND (r.rolsuper OR ((v.trusted OR NOT v.superuser)"
    " AND has_database_privilege(current_database(), 'CREATE')))))"
)


@dataclass(frozen=True, slots=True)
class ClaimVector:
    """A claim's vector of unit length, float32 little-endian as bytes. `encoder`: name@version of what made it; only
    vectors of the same one can be compared."""

    encoder: str
    values: bytes

    @classmethod
    def of(cls, encoder: str, vector: ArrayLike) -> ClaimVector | None:
        """Of a vector of any length above 0; None for one that has no direction or is not finite."""
        made = unit(vector)
        return None if made is None else cls(encoder, made.astype("<f4").tobytes())


def unit(vector: ArrayLike) -> NDArray[np.float32] | None:
    """float32 [dimension] of length 1; None for a vector that has no direction or is not finite."""
    given = np.asarray(vector, dtype=np.float64).reshape(-1)
    length = float(np.linalg.norm(given))
    return (given / length).astype(np.float32) if np.isfinite(length) and length > 0 else None


class _Vector(UserDefinedType[Any]):
    """pgvector's own type, written as text, so that no driver needs to know of it."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return f"vector({DIMENSION})"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return lambda value: None if value is None else f"[{','.join(f'{one:.9g}' for one in value)}]"

    def bind_expression(self, bindvalue: BindParameter[Any]) -> ColumnElement[Any]:
        return cast(bindvalue, _Vector())


NEAR = table(
    ClaimVectorRow.__tablename__,
    column("verdict_id", Uuid()),
    column("tenant", String()),
    column("encoder", String()),
    column("vector", LargeBinary()),
    column("near", _Vector()),
)
"""The table as it is where pgvector is in use."""


def keep_in(session: Session, vectors: Mapping[uuid.UUID, tuple[str, ClaimVector]]) -> None:
    """Keep the vectors, by verdict, with its tenant. One that is there already stays, unless another encoder made it:
    a claim's words do not change, and every write costs the index."""
    if not vectors:
        return
    target: Any = ClaimVectorRow.__table__
    insert: Any = sqlite.insert
    if session.get_bind().dialect.name == "postgresql":
        insert = postgresql.insert
        # As inserting does; taken before looking, so that no upgrade can fill the column in between.
        session.execute(text("LOCK TABLE claim_vector IN ROW EXCLUSIVE MODE"))
        if has_near(session):
            target = NEAR
    rows = [_row(key, *vectors[key], indexed=target is NEAR) for key in sorted(vectors)]
    names = [name for name in rows[0] if name != "verdict_id"]
    for start in range(0, len(rows), _CHUNK):
        statement = insert(target).values(rows[start : start + _CHUNK])
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["verdict_id"],
                set_={name: statement.excluded[name] for name in names},
                where=target.c.encoder != statement.excluded.encoder,
            )
        )


def has_near(where: Session | Connection) -> bool:
    """Whether this PostgreSQL database has the column, to be written. Asked anew: another process may add it."""
    return bool(where.scalar(_HAS_NEAR))


def has_index(where: Session | Connection) -> bool:
    """Whether it has the index, which is made last: whether the column is filled and can be searched."""
    return bool(where.scalar(_HAS_INDEX))


def add_index(engine: Engine) -> None:
    """Add `near` and its index, filled from the bytes, where pgvector is or can be installed and they are not there.

    Others go on reading and writing meanwhile, and search without. What was interrupted is gone on with the next time.
    Does nothing elsewhere, and nothing but a line in the log where the database refuses.
    """
    if engine.dialect.name != "postgresql":
        return
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if has_index(connection) or not connection.scalar(_MAY_HAVE):
                return
            key = {"key": _LOCK}
            if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):  # else another process is at it
                try:
                    _add(connection)
                finally:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
    except DBAPIError as error:
        logger.warning("similar claims are searched without pgvector: %s", type(error.orig).__name__)


def _add(connection: Connection) -> None:
    connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    # From here on all who write fill it themselves.
    connection.execute(text(f"ALTER TABLE claim_vector ADD COLUMN IF NOT EXISTS near vector({DIMENSION})"))
    key, encoder = NEAR.c.verdict_id, NEAR.c.encoder
    empty = (NEAR.c.near.is_(None), func.length(NEAR.c.vector) == 4 * DIMENSION)
    fill = update(NEAR).where(key == bindparam("of"), encoder == bindparam("by"), NEAR.c.near.is_(None))
    fill = fill.values(near=bindparam("point", type_=_Vector()))
    query = select(key, encoder, NEAR.c.vector).where(*empty).order_by(key).limit(_BLOCK)
    rows = connection.execute(query).all()
    while rows:
        connection.execute(fill, [{"of": of, "by": by, "point": values(kept)} for of, by, kept in rows])
        rows = connection.execute(query.where(key > rows[-1][0])).all()
    connection.execute(text("DROP INDEX IF EXISTS ix_claim_vector_near"))  # one that was never finished
    connection.execute(
        text("CREATE INDEX CONCURRENTLY ix_claim_vector_near ON claim_vector USING hnsw (near vector_cosine_ops)")
    )


def values(kept: bytes) -> NDArray[np.float32]:
    """The vector of kept bytes, float32 [dimension]."""
    return np.frombuffer(kept, dtype="<f4").astype(np.float32, copy=False)


def _row(key: uuid.UUID, tenant: str, vector: ClaimVector, *, indexed: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"verdict_id": key, "tenant": tenant, "encoder": vector.encoder, "vector": vector.values}
    if indexed:
        row["near"] = values(vector.values) if len(vector.values) == 4 * DIMENSION else None
    return row
