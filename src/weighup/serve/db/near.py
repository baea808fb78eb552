"""What like a claim was judged before: the nearest verdicts of a tenant by the cosine of their claims' vectors.

PostgreSQL with pgvector asks its index; elsewhere the newest vectors are compared one block after another.
"""

from __future__ import annotations

import uuid

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import ColumnElement, Double, literal, select, text
from sqlalchemy.orm import Session

from weighup.serve.db.claim_vectors import DIMENSION, NEAR, has_index, unit, values
from weighup.serve.db.records import StoredVerdict
from weighup.serve.db.sessions import Sessions, require
from weighup.serve.db.tables import ClaimVectorRow, VerdictRow
from weighup.serve.db.verdicts import stored

LEAST = 0.6
"""The cosine from which on two claims are called alike."""
MOST = 200
NEWEST = 200_000
"""Vectors compared where there is no index."""
_BLOCK = 2_000  # vectors held at a time: 3 MB with the shipped encoder
_LISTED = 100  # candidates that the index looks at, at least; its own default is 40
_LISTED_MOST = 1_000  # pgvector takes no more

Found = list[tuple[uuid.UUID, float]]


class Near:
    """The repository of claims' vectors. It sees one tenant's rows only, and one encoder's."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def like(
        self,
        tenant: str,
        vector: ArrayLike,
        encoder: str,
        limit: int = 5,
        *,
        not_id: uuid.UUID | None = None,
        least: float = LEAST,
    ) -> list[tuple[StoredVerdict, float]]:
        """At most `limit` verdicts with their cosine in [least, 1], the nearest first; without the verdict `not_id`.

        `encoder` is name@version of what made `vector` [dimension]. Raises InvalidInput for a limit not between 1 and
        200 or a vector without direction.
        """
        require(1 <= limit <= MOST, f"limit: {limit} is not between 1 and {MOST}")
        asked = unit(vector)
        if asked is None:
            require(False, "vector: it has no direction")
            return []
        wanted = limit if not_id is None else limit + 1
        with self._sessions.reading() as session:
            postgres = session.get_bind().dialect.name == "postgresql"
            search = _by_index if postgres and len(asked) == DIMENSION and has_index(session) else _one_by_one
            cosines = {
                key: min(1.0, cosine)
                for key, cosine in search(session, tenant, asked, encoder, wanted, least)
                if key != not_id and cosine >= least
            }
            query = select(VerdictRow).where(VerdictRow.tenant == tenant, VerdictRow.id.in_(cosines))
            found = [(stored(row), cosines[row.id]) for row in session.scalars(query)]
        # Rounded: two ways to add up 384 products differ in the last digits, and equal claims should stand by time.
        found.sort(key=lambda one: (round(one[1], 5), one[0].checked_at, one[0].id), reverse=True)
        return found[:limit]

    def of(
        self, tenant: str, id: uuid.UUID, limit: int = 5, *, least: float = LEAST
    ) -> list[tuple[StoredVerdict, float]]:
        """As `like`, for a stored verdict; nothing where its vector was not kept."""
        row = ClaimVectorRow
        with self._sessions.reading() as session:
            query = select(row.encoder, row.vector).where(row.tenant == tenant, row.verdict_id == id)
            kept = session.execute(query).tuples().one_or_none()
        return [] if kept is None else self.like(tenant, values(kept[1]), kept[0], limit, not_id=id, least=least)


def _by_index(
    session: Session, tenant: str, asked: NDArray[np.float32], encoder: str, wanted: int, least: float
) -> Found:
    """By pgvector. Its index knows no tenants: of the candidates it lists, others' are dropped afterwards."""
    listed = min(_LISTED_MOST, max(_LISTED, 4 * wanted))
    session.execute(text(f"SET LOCAL hnsw.ef_search = {listed:d}"))
    release = str(session.scalar(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")))
    if tuple(int(part) for part in release.split(".")[:2]) >= (0, 8):  # goes on listing until enough are left
        session.execute(text("SET LOCAL hnsw.iterative_scan = strict_order"))
    distance: ColumnElement[float] = NEAR.c.near.op("<=>", return_type=Double())(
        literal(asked.tolist(), NEAR.c.near.type)
    )
    query = select(NEAR.c.verdict_id, distance.label("distance"))
    query = query.where(NEAR.c.tenant == tenant, NEAR.c.encoder == encoder, NEAR.c.near.is_not(None)).limit(wanted)
    rows = session.execute(query.order_by(distance)).tuples().all()
    if len(rows) < wanted and not (rows and 1 - rows[-1][1] < least):
        # Perhaps there are no more; perhaps others' crowded them out. A sum is nothing that the index can order by.
        rows = session.execute(query.order_by(distance + 0.0)).tuples().all()
    return [(key, 1 - far) for key, far in rows]


def _one_by_one(
    session: Session, tenant: str, asked: NDArray[np.float32], encoder: str, wanted: int, least: float
) -> Found:
    row = ClaimVectorRow
    # By number: to make UUIDs of 200,000 ids takes about as long as to fetch their vectors.
    query = select(VerdictRow.number, row.vector).join(VerdictRow, VerdictRow.id == row.verdict_id)
    query = query.where(VerdictRow.tenant == tenant, row.tenant == tenant, row.encoder == encoder)
    query = query.order_by(VerdictRow.created_at.desc(), VerdictRow.id.desc()).limit(NEWEST)
    best: list[tuple[int, float]] = []
    for block in session.execute(query.execution_options(yield_per=_BLOCK)).tuples().partitions():
        fitting = [(number, kept) for number, kept in block if len(kept) == asked.nbytes]
        if not fitting:
            continue
        cosines = values(b"".join(kept for _, kept in fitting)).reshape(-1, len(asked)) @ asked
        near = np.flatnonzero(cosines >= least)
        near = near[np.argsort(-cosines[near], kind="stable")][:wanted]
        best += [(fitting[place][0], float(cosines[place])) for place in near]
        best = sorted(best, key=lambda one: -one[1])[:wanted]
    by_number = dict(best)
    keys = session.execute(select(VerdictRow.number, VerdictRow.id).where(VerdictRow.number.in_(by_number))).tuples()
    return [(key, by_number[number]) for number, key in keys]
