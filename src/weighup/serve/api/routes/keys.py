"""/v1/keys and /v1/audit: for whoever looks after a tenant. `weighup keys` does the same for all tenants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from weighup.serve.api.administration import AuditList, AuditView, KeyList, KeyView, NewKey
from weighup.serve.api.auth import Caller, Guarded, caller, scopes
from weighup.serve.api.bodies import KeyIn
from weighup.serve.api.models import views
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.api.respond import said
from weighup.serve.db.records import AuditEntry
from weighup.serve.db.words import storable

router = APIRouter(route_class=Guarded, tags=["administration"])


@router.get(
    "/v1/keys",
    operation_id="keys",
    summary="The tenant's keys",
    response_model=KeyList,
    openapi_extra=scopes("admin"),
)
async def keys(request: Request, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Oldest first, revoked ones too; no secrets."""
    parts = parts_of(request)
    found = await parts.pool.run(parts.database.api_keys.known, who.tenant)
    return said(KeyList(keys=views(KeyView, found)))


@router.post(
    "/v1/keys",
    operation_id="create_key",
    summary="Make a key",
    status_code=201,
    response_model=NewKey,
    openapi_extra=scopes("admin"),
)
async def create(request: Request, body: KeyIn, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Its text is in this answer and nowhere else."""
    parts = parts_of(request)
    database = parts.database
    expires = None if body.days is None else datetime.now(UTC) + timedelta(days=body.days)

    def make() -> NewKey:
        key, text = database.api_keys.create(
            body.name,
            tenant=who.tenant,
            scopes=set(body.scopes),
            per_minute=body.per_minute,
            per_day=body.per_day,
            expires_at=expires,
        )
        after = {"name": key.name, "scopes": sorted(key.scopes)}
        database.audit.write([AuditEntry(who.name, "key created", f"key:{key.prefix}", who.tenant, after=after)])
        parts.gate.keys.look(now=True)
        made: NewKey = NewKey.of(key, key=text)
        return made

    return said(await parts.pool.run(make), 201)


@router.delete(
    "/v1/keys/{prefix}",
    operation_id="revoke_key",
    summary="Revoke a key",
    status_code=204,
    response_class=Response,
    openapi_extra=scopes("admin"),
)
async def revoke(
    request: Request,
    prefix: Annotated[str, Path(pattern="^[0-9a-f]{1,20}$", examples=["0123456789ab"])],
    who: Annotated[Caller, Depends(caller)],
) -> Response:
    """At once and for good. Revoking it again changes nothing."""
    parts = parts_of(request)
    database = parts.database

    def end() -> bool:
        mine = {key.prefix for key in database.api_keys.known(who.tenant)}
        if prefix not in mine:
            return False
        if database.api_keys.revoke([prefix]):
            database.audit.write([AuditEntry(who.name, "key revoked", f"key:{prefix}", who.tenant)])
        parts.gate.keys.look(now=True)
        return True

    if not await parts.pool.run(end):
        raise Problem("not-found", f"there is no key {prefix}")
    return Response(status_code=204)


@router.get(
    "/v1/audit",
    operation_id="audit",
    summary="Who did what",
    response_model=AuditList,
    openapi_extra=scopes("admin"),
)
async def audit(
    request: Request,
    who: Annotated[Caller, Depends(caller)],
    subject: Annotated[str | None, Query(max_length=200, examples=["verdict:…"])] = None,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="Go on after the entry with this id.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Labels, keys and feeds: every decision of a human stays here for good. Newest first."""
    parts = parts_of(request)
    about = None if subject is None else storable(subject)
    found = await parts.pool.run(parts.database.audit.read, who.tenant, subject=about, before=before, limit=limit)
    return said(AuditList(entries=views(AuditView, found)))
