"""/healthz, /readyz and /metrics: for whoever looks after the server."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighup.errors import StoreError
from weighup.serve.api.auth import Guarded, scopes
from weighup.serve.api.models import Health
from weighup.serve.api.observe import METRICS_TYPE
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.api.respond import said

router = APIRouter(tags=["health"])
guarded = APIRouter(route_class=Guarded, tags=["health"])


@router.get("/healthz", operation_id="healthz", summary="Whether it lives", response_model=Health)
async def healthz() -> Response:
    """Answers as long as the server does."""
    return said(Health(status="ok"))


@router.get("/readyz", operation_id="readyz", summary="Whether it can work", response_model=Health)
async def readyz(request: Request) -> Response:
    """503 while it stops, or when its database does not answer."""
    parts = parts_of(request)
    if parts.stopping.is_set():
        raise Problem("stopping", "the server is shutting down", retry_after=5)
    try:
        await parts.pool.run(parts.database.ping)
    except StoreError:
        raise Problem("unavailable", "the database does not answer", retry_after=5) from None
    return said(Health(status="ready"))


@guarded.get(
    "/metrics",
    operation_id="metrics",
    summary="Measurements",
    responses={200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
    response_class=Response,
    openapi_extra=scopes("read"),
)
async def metrics(request: Request) -> Response:
    """Requests, checks, memory; counts only, of all tenants together."""
    parts = parts_of(request)
    parts.observer.waiting.set(len(parts.line))
    return Response(parts.observer.page(), media_type=METRICS_TYPE)
