"""API keys and idempotency keys.

A key reads `wu_PREFIX_SECRET`. The prefix finds its row, the secret (256 random bits) is kept as an argon2id hash only
(RFC 9106; memory and passes as OWASP's password storage sheet has them at least: a random secret needs no more).
"""

from __future__ import annotations

import functools
import hashlib
import secrets
import uuid
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from weighup.serve.db.records import Answer, ApiKey, Begun
from weighup.serve.db.sessions import Sessions, insert_new, present, require
from weighup.serve.db.tables import ApiKeyRow, IdempotencyRow, KeyUseRow
from weighup.serve.db.words import storable

if TYPE_CHECKING:
    from argon2 import PasswordHasher

HELD = 300.0
"""Seconds that a request with an idempotency key counts as running, should its server die."""
KEPT = 86_400.0
"""Seconds that an answer is kept to be said again."""


class ApiKeys:
    """The repository of API keys."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def create(
        self,
        name: str,
        *,
        tenant: str = "",
        scopes: Collection[str] = (),
        per_minute: int | None = None,
        per_day: int | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, which is nowhere kept: show it once."""
        for quota in (per_minute, per_day):
            require(quota is None or quota > 0, f"quota: {quota} is no number of requests; use 1 or more, or none")
        prefix, secret = secrets.token_hex(6), secrets.token_hex(32)
        row = ApiKeyRow(
            id=uuid.uuid4(),
            prefix=prefix,
            hash=_hasher().hash(secret),
            name=storable(name)[:200],
            tenant=tenant,
            scopes=sorted(scopes),
            per_minute=per_minute,
            per_day=per_day,
            created_at=present(),
            expires_at=expires_at,
            revoked_at=None,
        )
        with self._sessions.writing() as session:
            session.add(row)
        return _key(row), f"wu_{prefix}_{secret}"

    def verify(self, text: str, *, now: datetime | None = None) -> ApiKey | None:
        """The key that this is the text of, or None: unknown, wrong, expired, revoked, all after the same work."""
        from argon2.exceptions import InvalidHashError, VerificationError

        mark, _, rest = text.partition("_")
        prefix, _, secret = rest.partition("_")
        row = None
        if mark == "wu" and prefix.isalnum() and prefix.isascii() and len(prefix) <= 20:
            with self._sessions.reading() as session:
                row = session.scalars(select(ApiKeyRow).where(ApiKeyRow.prefix == prefix)).one_or_none()
        try:
            _hasher().verify(_nobodys_hash() if row is None else row.hash, secret[:200].encode("utf-8", "replace"))
        except (VerificationError, InvalidHashError):
            return None
        now = now or present()
        if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
            return None
        return _key(row)

    def known(self, tenant: str | None = None) -> list[ApiKey]:
        """Keys, oldest first, revoked ones too; of one tenant if given."""
        query = select(ApiKeyRow) if tenant is None else select(ApiKeyRow).where(ApiKeyRow.tenant == tenant)
        with self._sessions.reading() as session:
            return [_key(row) for row in session.scalars(query.order_by(ApiKeyRow.created_at, ApiKeyRow.id))]

    def revoke(self, prefixes: Sequence[str], *, now: datetime | None = None) -> int:
        """End keys for good; how many were in force."""
        with self._sessions.writing() as session:
            where = (ApiKeyRow.prefix.in_(prefixes), ApiKeyRow.revoked_at.is_(None))
            done = update(ApiKeyRow).where(*where).values(revoked_at=now or present()).returning(ApiKeyRow.id)
            return len(session.scalars(done).all())

    def spend(self, key_id: uuid.UUID, count: int = 1, *, day: date | None = None) -> int:
        """Count requests against a UTC day; how many the key has made on it now."""
        day = day or present().date()
        with self._sessions.writing() as session:
            insert_new(session, KeyUseRow, [{"key_id": key_id, "day": day, "count": 0}], KeyUseRow.count)
            where = (KeyUseRow.key_id == key_id, KeyUseRow.day == day)
            more = update(KeyUseRow).where(*where).values(count=KeyUseRow.count + count).returning(KeyUseRow.count)
            return session.scalars(more).one()


class IdempotencyKeys:
    """The repository of idempotency keys: a request that is sent twice is carried out once."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def begin(self, tenant: str, key: str, request: bytes, *, now: datetime | None = None) -> Begun:
        """Ask whether to carry out a request; `request` is all that makes it another one (method, path, body)."""
        require(0 < len(key) <= 200, "Idempotency-Key: must have 1 to 200 characters")
        now, digest = now or present(), hashlib.sha256(request).hexdigest()
        held, expires = now + timedelta(seconds=HELD), now + timedelta(seconds=KEPT)
        row = {"tenant": tenant, "key": storable(key), "digest": digest, "held_until": held, "expires_at": expires}
        with self._sessions.writing() as session:
            mine = (IdempotencyRow.tenant == tenant, IdempotencyRow.key == row["key"])
            session.execute(delete(IdempotencyRow).where(*mine, IdempotencyRow.expires_at <= now))
            if insert_new(session, IdempotencyRow, [row], IdempotencyRow.key):
                return Begun("new")
            found = session.scalars(select(IdempotencyRow).where(*mine).with_for_update()).one()
            if found.digest != digest:
                return Begun("different")
            if found.status is not None:
                return Begun("answered", Answer(found.status, found.answer or {}, found.location))
            if found.held_until > now:
                return Begun("running")
            found.held_until, found.expires_at = held, expires
            return Begun("new")

    def finish(self, tenant: str, key: str, answer: Answer | None) -> None:
        """Keep the answer, to be said again; None: it failed and may be tried again."""
        mine = (IdempotencyRow.tenant == tenant, IdempotencyRow.key == storable(key), IdempotencyRow.status.is_(None))
        with self._sessions.writing() as session:
            if answer is None:
                session.execute(delete(IdempotencyRow).where(*mine))
            else:
                said = {"status": answer.status, "answer": storable(dict(answer.body)), "location": answer.location}
                session.execute(update(IdempotencyRow).where(*mine).values(**said))


@functools.cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


@functools.cache
def _nobodys_hash() -> str:
    return _hasher().hash(secrets.token_hex(32))


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        row.id,
        row.prefix,
        row.name,
        row.tenant,
        frozenset(row.scopes),
        row.per_minute,
        row.per_day,
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )
