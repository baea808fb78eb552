"""/v1/checks: one claim is answered at once, many become a job."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Request
from starlette.responses import Response

from weighup.serve.api.auth import Caller, Guarded, caller, scopes
from weighup.serve.api.bodies import Checks, OneCheck, Options, RowIn
from weighup.serve.api.idempotency import HEADER, Done, once
from weighup.serve.api.models import Checked, JobView
from weighup.serve.api.parts import Parts, parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.api.respond import while_there
from weighup.serve.desk import Asked
from weighup.verify.rows import BadRow, read_row

router = APIRouter(route_class=Guarded, tags=["checks"])
_PRINTED = "^[!-~]([ -~]*[!-~])?$"
Rows = Sequence[Mapping[str, Any]]
Key = Annotated[
    str | None,
    Header(alias=HEADER, max_length=200, pattern=_PRINTED, description="Drawn anew for each request, as a UUID is."),
]
_EXAMPLES: Any = {
    "one": {
        "summary": "One claim, answered at once",
        "value": {
            "text": "Drinking bleach cures COVID-19.",
            "date": "2020-04-24",
            "options": {"brief": True},
        },
    },
    "many": {
        "summary": "Many claims, a job",
        "value": {"rows": [{"text": "The mayor resigned on Monday.", "id": 1}, {"text": "The dam broke.", "id": 2}]},
    },
}


@router.post(
    "/v1/checks",
    operation_id="check",
    summary="Check one claim, or hand in many",
    response_model=Checked,
    responses={202: {"model": JobView, "description": "A job; `Location` says where it is."}},
    openapi_extra=scopes("check"),
)
async def check(
    request: Request,
    body: Annotated[Checks, Body(openapi_examples=_EXAMPLES)],
    who: Annotated[Caller, Depends(caller)],
    prefer: Annotated[str | None, Header(description="`respond-async`: a job, even for one claim.")] = None,
    idempotency_key: Key = None,
) -> Response:
    """One row is answered with its verdict; `rows`, or `Prefer: respond-async`, make a job (202)."""
    parts = parts_of(request)
    later = prefer is not None and "respond-async" in prefer.lower()

    async def work(name: str | None) -> Done:
        if isinstance(body, OneCheck) and not later:
            return await while_there(request, _now(parts, who, body, name))
        rows = [RowIn.row(body)] if isinstance(body, OneCheck) else [row.row() for row in body.rows]
        await parts.gate.spend(who, len(rows) - 1)
        return await _job(parts, who, rows, body.options, name)

    return await once(request, work)


async def _now(parts: Parts, who: Caller, body: OneCheck, name: str | None) -> Done:
    row = read_row(RowIn.row(body), 1)
    if isinstance(row, BadRow):
        raise Problem("invalid", row.error.removeprefix("line 1: "))
    options = body.options
    key = f"api:{name or uuid.uuid4().hex}"
    asked = Asked(
        row.claim, key, who.tenant, brief=options.brief, search=options.search, risk=options.risk
    )  # fmt: skip
    answer = await parts.line.check(asked)
    if answer.verdict is None or answer.recorded is None:
        raise Problem("invalid", answer.error or "it could not be checked")
    parts.observer.verdicts.labels(answer.verdict.verdict).inc()
    verdict = answer.verdict.model_copy(update={"id": body.id})
    told = Checked.model_construct(id=answer.recorded.id, created=answer.recorded.created, verdict=verdict)
    return Done(200, told.json_text())


async def _job(parts: Parts, who: Caller, rows: Rows, options: Options, name: str | None) -> Done:
    said = options.model_dump(exclude_none=True)
    key = None if name is None else f"api:{name}"
    job = await parts.pool.run(parts.database.jobs.submit, who.tenant, rows, options=said, key=key)
    return Done(202, JobView.of(job).json_text(), f"/v1/jobs/{job.id}")
