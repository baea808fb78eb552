"""Bodies that go out to those who look after a tenant: its keys, its audit log, its alerts."""

from __future__ import annotations

import uuid
from typing import Any

from weighup.dates import iso
from weighup.serve.alerts.history import shown
from weighup.serve.api.models import Out
from weighup.serve.db.records import Alert, ApiKey, AuditEntry


class AuditView(Out):
    """Who did what to what."""

    id: int
    at: str
    who: str
    what: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @classmethod
    def of(cls, entry: AuditEntry) -> AuditView:
        before = None if entry.before is None else dict(entry.before)
        after = None if entry.after is None else dict(entry.after)
        return cls(
            id=entry.id or 0,
            at=iso(entry.at) or "",
            who=entry.who,
            what=entry.what,
            subject=entry.subject,
            before=before,
            after=after,
        )


class AuditList(Out):
    """Entries, newest first. Go on with `before` the last one's id."""

    entries: list[AuditView]


class KeyView(Out):
    """An API key without its secret."""

    prefix: str
    name: str
    tenant: str
    scopes: list[str]
    per_minute: int | None
    per_day: int | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None

    @classmethod
    def of(cls, key: ApiKey, /, **more: Any) -> Any:
        return cls(
            prefix=key.prefix,
            name=key.name,
            tenant=key.tenant,
            scopes=sorted(key.scopes),
            per_minute=key.per_minute,
            per_day=key.per_day,
            created_at=iso(key.created_at) or "",
            expires_at=iso(key.expires_at),
            revoked_at=iso(key.revoked_at),
            **more,
        )


class NewKey(KeyView):
    """A key just made. `key` is its text, which is shown this once and kept nowhere."""

    key: str


class KeyList(Out):
    """The tenant's keys, oldest first, revoked ones too."""

    keys: list[KeyView]


class AlertView(Out):
    """Word of a changed verdict. `state` is queued, sent or dead; `channel` webhook, email or console."""

    id: uuid.UUID
    state: str
    channel: str
    target: str
    type: str | None
    verdict_id: uuid.UUID | None
    claim: str | None
    attempts: int
    created_at: str
    next_try: str | None
    last_error: str | None

    @classmethod
    def of(cls, alert: Alert) -> AlertView:
        return cls.model_validate(shown(alert))


class AlertList(Out):
    """Alerts, newest first."""

    alerts: list[AlertView]


class Revived(Out):
    """How many dead alerts will be tried again."""

    revived: int
