"""/v1/alerts: what was told of changed verdicts, what could not be delivered, and trying that again."""

from __future__ import annotations

import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from weighup.serve.alerts.history import recent
from weighup.serve.api.administration import AlertList, AlertView, Revived
from weighup.serve.api.auth import Caller, Guarded, caller, scopes
from weighup.serve.api.models import views
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.api.respond import said
from weighup.serve.db.records import AuditEntry

router = APIRouter(route_class=Guarded, tags=["alerts"])
State = Literal["queued", "sent", "dead"]


@router.get(
    "/v1/alerts",
    operation_id="alerts",
    summary="Alerts",
    response_model=AlertList,
    openapi_extra=scopes("admin"),
)
async def alerts(
    request: Request,
    who: Annotated[Caller, Depends(caller)],
    state: Annotated[list[State] | None, Query(max_length=3, description="One or several.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Newest first. `dead`: given up, with the last reason."""
    parts = parts_of(request)
    found = await parts.pool.run(recent, parts.database, who.tenant, states=state or (), limit=limit)
    return said(AlertList(alerts=views(AlertView, found)))


@router.post(
    "/v1/alerts/{id}/retry",
    operation_id="retry_alert",
    summary="Try a dead alert again",
    response_model=Revived,
    openapi_extra=scopes("admin"),
)
async def retry(request: Request, id: uuid.UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
    """From the start, as if it were new. One that is not dead is left as it is: 404."""
    parts = parts_of(request)
    database = parts.database

    def revive() -> int:
        revived = database.alerts.revive(who.tenant, [id])
        if revived:
            database.audit.write([AuditEntry(who.name, "alert retried", f"alert:{id}", who.tenant)])
        return revived

    if not await parts.pool.run(revive):
        raise Problem("not-found", f"there is no dead alert {id}")
    return said(Revived(revived=1))
