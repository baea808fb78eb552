"""Lists of verdicts, page by page. A page begins where the last one ended (keyset), so that it costs the same however
far in it is, and nothing is shown twice because something new came in at the front."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select, text
from sqlalchemy.orm import Session

from weighup.errors import InvalidInput
from weighup.serve.db.records import VerdictFilter
from weighup.serve.db.sessions import require
from weighup.serve.db.tables import FeedbackRow, VerdictRow
from weighup.serve.db.words import sought

MAX_PAGE = 1_000


def page_of(
    session: Session, tenant: str, wanted: VerdictFilter, limit: int, cursor: str | None
) -> tuple[Sequence[VerdictRow], str | None]:
    """At most `limit` rows after `cursor`, and the cursor of the next page. Raises InvalidInput."""
    require(1 <= limit <= MAX_PAGE, f"limit: {limit} is not a size of page; use 1 to {MAX_PAGE}")
    require(wanted.order in ("newest", "uncertain"), f"order: {wanted.order!r} is unknown; use newest or uncertain")
    column: Any = VerdictRow.created_at if wanted.order == "newest" else VerdictRow.doubt
    where = [VerdictRow.tenant == tenant, *_conditions(wanted)]
    if wanted.text.strip():
        where.append(_text(session, wanted.text))
    if cursor is not None:
        value, last = _decoded(cursor, wanted.order)
        where.append(or_(column < value, and_(column == value, VerdictRow.id < last)))
    query = select(VerdictRow).where(*where).order_by(column.desc(), VerdictRow.id.desc()).limit(limit + 1)
    rows = list(session.scalars(query))
    if len(rows) <= limit:
        return rows, None
    end = rows[limit - 1]
    return rows[:limit], _encoded(wanted.order, end.created_at if wanted.order == "newest" else end.doubt, end.id)


def _conditions(wanted: VerdictFilter) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if wanted.labels:
        where.append(VerdictRow.label.in_(wanted.labels))
    if wanted.since is not None:
        where.append(VerdictRow.created_at >= wanted.since)
    if wanted.until is not None:
        where.append(VerdictRow.created_at < wanted.until)
    if wanted.dated_since is not None:
        where.append(VerdictRow.claim_date >= wanted.dated_since)
    if wanted.dated_until is not None:
        where.append(VerdictRow.claim_date < wanted.dated_until)
    if wanted.probability is not None:
        low, high = wanted.probability
        require(0 <= low <= high <= 1, f"probability: {low} to {high} is no range within 0 to 1")
        where.append(VerdictRow.probability.between(low, high))
    if wanted.settled is not None:
        where.append(VerdictRow.settled.is_(wanted.settled))
    if wanted.reviewed is not None:
        said = exists().where(FeedbackRow.verdict_id == VerdictRow.id)
        where.append(said if wanted.reviewed else ~said)
    return where


def _text(session: Session, query: str) -> ColumnElement[bool]:
    """All words of `query`, the last as a beginning. They are letters and digits only, so none can be an operator."""
    words = sought(query)
    require(bool(words), f"text: {query[:40]!r} holds no word to look for")
    if session.get_bind().dialect.name == "postgresql":
        terms = " & ".join(f"'{word}'" for word in words) + ":*"
        found = text("array_to_tsvector(string_to_array(verdict.words, ' ')) @@ CAST(:words AS tsquery)")
    else:
        terms = " ".join(f'"{word}"' for word in words) + " *"
        found = text("verdict.number IN (SELECT rowid FROM verdict_words WHERE verdict_words MATCH :words)")
    return found.bindparams(words=terms)  # type: ignore[return-value]


def _encoded(order: str, value: datetime | float, last: uuid.UUID) -> str:
    told = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([order[0], told, last.hex]).encode()).decode().rstrip("=")


def _decoded(cursor: str, order: str) -> tuple[datetime | float, uuid.UUID]:
    try:
        told = json.loads(base64.urlsafe_b64decode(cursor[:200] + "=" * (-len(cursor[:200]) % 4)))
        kind, value, last = told
        if kind == order[0]:
            return datetime.fromisoformat(value) if kind == "n" else float(value), uuid.UUID(last)
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError):
        raise InvalidInput(f"cursor: {cursor[:40]!r} is none of ours; begin again without one") from None
    raise InvalidInput(f"cursor: belongs to another order than {order}; begin again without one")
