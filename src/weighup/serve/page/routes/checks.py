"""/: hand in claims and see them checked."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighup.serve.api.auth import Caller, scopes
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.db.records import Job, JobLine, VerdictFilter
from weighup.serve.page.door import Paged, fields, is_fragment, see_other
from weighup.serve.page.render import page
from weighup.texts import clean
from weighup.verify.rows import BadRow, read_row

router = APIRouter(route_class=Paged, include_in_schema=False)
LINES = 200
"""Claims that are handed in together here; more go through the API."""
AT_ONCE = 100
PRIORITY = 10
"""Somebody sits before the screen and waits: before what was handed in as a job through the API."""


@router.get("/", openapi_extra=scopes("read", "check"))
async def home(request: Request) -> Response:
    """The form, and what was checked last."""
    return await _home(request)


@router.post("/checks", openapi_extra=scopes("check"))
async def hand_in(request: Request) -> Response:
    """Make a job of the form's claims and go to its page."""
    parts, who, given = parts_of(request), _caller(request), await fields(request)
    text = clean(given.get("text", ""))
    texts = [line.strip() for line in text.splitlines() if line.strip()] if given.get("lines") else [text]
    if not any(texts):
        return await _home(request, given, "Write the claim first.")
    if len(texts) > LINES:
        return await _home(request, given, f"These are {len(texts)} lines; hand in at most {LINES} at once.")
    told = {name: given[name] for name in ("date", "source") if given.get(name)}
    rows: list[dict[str, Any]] = [{"text": one, **told} for one in texts]
    for number, row in enumerate(rows, start=1):
        read = read_row(row, number)
        if isinstance(read, BadRow):
            place = f"line {number}: "
            return await _home(request, given, read.error if len(rows) > 1 else read.error.removeprefix(place))
    options = {"brief": True} if given.get("brief") else {}
    if len(rows) > 1:
        await parts.gate.spend(who, len(rows) - 1)
    key = _key(given.get("once"))
    job = await parts.pool.run(
        parts.database.jobs.submit, who.tenant, rows, options=options, key=key, priority=PRIORITY
    )
    return see_other(request, f"/checks/{job.id}")


@router.get("/checks/{id}", openapi_extra=scopes("read", "check"))
async def progress(request: Request, id: uuid.UUID) -> Response:
    """How far it is. One claim's page goes on to its verdict by itself once there is one."""
    parts, who = parts_of(request), _caller(request)
    job = (await parts.pool.run(parts.database.jobs.get, who.tenant, [id]))[0]
    if job is None:
        raise Problem("not-found", f"there is no job {id}")
    lines = await parts.pool.run(parts.database.jobs.lines, who.tenant, id, limit=AT_ONCE)
    done = job.state not in ("queued", "running")
    total = sum(job.counts.values())
    if done and total == 1 and lines and lines[0].verdict_id is not None:
        return see_other(request, f"/verdicts/{lines[0].verdict_id}")
    left = job.counts.get("queued", 0) + job.counts.get("running", 0)
    told: dict[str, Any] = {
        "job": job,
        "total": total,
        "finished": total - left,
        "done": done,
        "claim": _claim(lines) if total == 1 else None,
        "lines": [_shown(line) for line in lines],
    }
    age = (datetime.now(UTC) - job.created_at).total_seconds()
    # Soon at first; what takes long is asked about more seldom, since each look counts against the key's pace.
    told |= {"age": age, "again": 1 if age < 15 else 3}
    return page(request, "progress.part.html.j2" if is_fragment(request) else "progress.html.j2", **told)


@router.post("/checks/{id}/cancel", openapi_extra=scopes("check"))
async def cancel(request: Request, id: uuid.UUID) -> Response:
    """End it; what is finished stays."""
    parts, who = parts_of(request), _caller(request)
    job: Job | None = await parts.pool.run(parts.database.jobs.cancel, who.tenant, id)
    if job is None:
        raise Problem("not-found", f"there is no job {id}")
    return see_other(request, f"/checks/{id}")


async def _home(request: Request, given: dict[str, str] | None = None, wrong: str | None = None) -> Response:
    parts, who = parts_of(request), _caller(request)
    latest, counts = [], {}
    if who.may("read"):
        database = parts.database
        latest = list((await parts.pool.run(database.verdicts.page, who.tenant, VerdictFilter(), limit=12)).verdicts)
        counts = dict(await parts.pool.run(database.verdicts.count, who.tenant))
    return page(
        request,
        "home.html.j2",
        422 if wrong else 200,
        given=given or {},
        wrong=wrong,
        latest=latest,
        counts=counts,
        once=uuid.uuid4().hex,
        may_check=who.may("check"),
        most=LINES,
    )


def _caller(request: Request) -> Caller:
    found: Caller = request.state.caller
    return found


def _key(once: str | None) -> str:
    """Names the job, so that a form sent twice is handed in once."""
    plain = once if once is not None and once.isalnum() and len(once) == 32 else uuid.uuid4().hex
    return f"page:{plain}"


def _claim(lines: list[JobLine]) -> str | None:
    result = lines[0].result if lines else None
    return str(result["claim"]) if result and result.get("claim") else None


def _shown(line: JobLine) -> dict[str, Any]:
    result = line.result or {}
    return {
        "number": line.position + 1,
        "state": line.state,
        "id": line.verdict_id,
        "claim": result.get("claim"),
        "label": result.get("verdict"),
        "probability": result.get("probability_fake"),
        "interval": result.get("interval"),
        "error": None if line.error is None else line.error.removeprefix(f"line {line.position + 1}: "),
    }
