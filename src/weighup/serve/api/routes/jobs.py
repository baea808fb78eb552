"""/v1/jobs: how far a job is, its results, its progress as it happens, its end."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from weighup.serve.api.auth import Caller, Guarded, caller, scopes
from weighup.serve.api.models import JobView, ResultLine, ResultPage, views
from weighup.serve.api.parts import Parts, parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.api.respond import said
from weighup.serve.db.records import Job, JobLine

router = APIRouter(route_class=Guarded, tags=["jobs"])
STREAMS = 16
"""Streams of events of one tenant at the same time; the server has four times as many for all."""
LONGEST = 3600.0
"""Seconds of one stream; whoever wants to see more connects again, as EventSource does by itself."""
_LAST = 2**31 - 1
_WAITS = (0.2, 2.0)  # seconds between looks: as it begins, and while nothing changes


@router.get(
    "/v1/jobs/{id}",
    operation_id="job",
    summary="How far a job is",
    response_model=JobView,
    openapi_extra=scopes("read", "check"),
)
async def job(request: Request, id: uuid.UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Its state, and how many of its rows are in each state."""
    return said(JobView.of(await _found(parts_of(request), who, id)))


@router.get(
    "/v1/jobs/{id}/results",
    operation_id="results",
    summary="A job's results",
    response_model=ResultPage,
    openapi_extra=scopes("read", "check"),
)
async def results(
    request: Request,
    id: uuid.UUID,
    who: Annotated[Caller, Depends(caller)],
    cursor: Annotated[str | None, Query(max_length=20, pattern="^[0-9]{1,10}$")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Its rows by position, with a verdict, an error, or (while it runs) neither yet."""
    parts = parts_of(request)
    found = await _found(parts, who, id)
    after = -1 if cursor is None else min(int(cursor), _LAST)
    lines = await parts.pool.run(parts.database.jobs.lines, who.tenant, id, after=after, limit=limit)
    more = str(lines[-1].position) if len(lines) == limit else None
    return said(ResultPage.model_construct(state=found.state, results=views(ResultLine, lines), cursor=more))


@router.delete(
    "/v1/jobs/{id}",
    operation_id="cancel",
    summary="Cancel a job",
    response_model=JobView,
    openapi_extra=scopes("check"),
)
async def cancel(request: Request, id: uuid.UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
    """What is not finished is cancelled; finished rows keep their verdicts. A job that has ended stays as it is."""
    parts = parts_of(request)
    ended = await parts.pool.run(parts.database.jobs.cancel, who.tenant, id)
    if ended is None:
        raise missing(id)
    return said(JobView.of(ended))


@router.get(
    "/v1/jobs/{id}/events",
    operation_id="events",
    summary="A job's progress as it happens",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Server-sent events: `progress` (the job), `result` (one row, in order of position, which "
            "is the event's id), `end` (the job, finished).",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
    openapi_extra=scopes("read", "check"),
)
async def events(
    request: Request,
    id: uuid.UUID,
    who: Annotated[Caller, Depends(caller)],
    last_event_id: Annotated[
        str | None, Header(max_length=20, pattern="^[0-9]{1,10}$", description="Go on after this position.")
    ] = None,
) -> Response:
    """Resumable: with `Last-Event-ID`, rows up to that position are not told again."""
    parts = parts_of(request)
    first = await _found(parts, who, id)
    after = -1 if last_event_id is None else min(int(last_event_id), _LAST)
    open_streams(parts, who.tenant)
    return EventSourceResponse(
        _told(parts, who.tenant, first, after), ping=15, send_timeout=30, headers={"Cache-Control": "no-store"}
    )


def open_streams(parts: Parts, tenant: str) -> None:
    """Raises Problem if a tenant, or all of them together, have as many streams open as they may."""
    if parts.streams.get(tenant, 0) >= STREAMS or sum(parts.streams.values()) >= 4 * STREAMS:
        raise Problem("overloaded", "too many streams of events are open; ask for the job instead", retry_after=10)


async def _told(parts: Parts, tenant: str, job: Job, after: int) -> AsyncIterator[dict[str, Any]]:
    """Events of a job until it ends, the server stops, or LONGEST is over."""
    parts.streams[tenant] = parts.streams.get(tenant, 0) + 1
    try:
        async for event in progress(parts, tenant, job, after):
            yield event
    finally:
        parts.streams[tenant] -= 1
        if not parts.streams[tenant]:
            del parts.streams[tenant]


async def progress(parts: Parts, tenant: str, job: Job, after: int = -1) -> AsyncIterator[dict[str, Any]]:
    """What happens to a job, as server-sent events; for the page as well."""
    ends, wait, before = time.monotonic() + LONGEST, _WAITS[0], ""
    jobs = parts.database.jobs
    yield {"retry": 2000, "comment": "weighup"}
    while True:
        lines = await parts.pool.run(jobs.lines, tenant, job.id, after=after, limit=200)
        changed = False
        for line in lines:
            if line.state in ("queued", "running"):
                break
            after, changed = line.position, True
            yield {"event": "result", "id": str(line.position), "data": _short(line)}
        now = JobView.of(job).json_text()
        if now != before:
            before, changed = now, True
            yield {"event": "progress", "data": now}
        if changed and len(lines) == 200:
            continue
        # The job was read before its lines: if it had ended by then, none can have come since.
        if job.state not in ("queued", "running"):
            yield {"event": "end", "data": now}
            return
        if parts.stopping.is_set() or time.monotonic() > ends:
            return
        wait = _WAITS[0] if changed else min(_WAITS[1], 1.5 * wait)
        await asyncio.sleep(wait)
        found = await parts.pool.run(jobs.get, tenant, [job.id])
        if found[0] is None:
            return
        job = found[0]


def missing(id: uuid.UUID) -> Problem:
    """That there is no such job; another tenant's is none either."""
    return Problem("not-found", f"there is no job {id}")


async def _found(parts: Parts, who: Caller, id: uuid.UUID) -> Job:
    found = (await parts.pool.run(parts.database.jobs.get, who.tenant, [id]))[0]
    if found is None:
        raise missing(id)
    return found


def _short(line: JobLine) -> str:
    """A row's outcome without the verdict's long parts."""
    result = line.result or {}
    told = {
        "position": line.position,
        "state": line.state,
        "verdict_id": None if line.verdict_id is None else str(line.verdict_id),
        "label": result.get("verdict"),
        "probability_fake": result.get("probability_fake"),
        "error": line.error,
    }
    return json.dumps(told, ensure_ascii=False)
