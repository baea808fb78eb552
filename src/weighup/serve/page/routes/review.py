"""/review: what nobody has labelled yet, the most uncertain first."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighup.serve.api.auth import scopes
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.db.records import VerdictFilter
from weighup.serve.page.door import Paged, fields, is_fragment, see_other
from weighup.serve.page.render import LABELS, page
from weighup.serve.page.routes.verdicts import caller, found, keep_label

router = APIRouter(route_class=Paged, include_in_schema=False)
SIZE = 20


@router.get("/review", openapi_extra=scopes("review"))
async def queue(request: Request) -> Response:
    """The next verdicts to label."""
    parts, who = parts_of(request), caller(request)
    # What was held to be no claim has no probability, and would stand before everything that has.
    wanted = VerdictFilter(labels=("real", "fake", "unknown"), reviewed=False, order="uncertain")
    some = await parts.pool.run(parts.database.verdicts.page, who.tenant, wanted, limit=SIZE)
    return page(request, "review.html.j2", verdicts=some.verdicts, more=some.cursor is not None)


@router.post("/review/{id}", openapi_extra=scopes("review"))
async def label(request: Request, id: uuid.UUID) -> Response:
    """Keep a label, and show the row with it."""
    given = (await fields(request)).get("label")
    if given not in LABELS:
        raise Problem("invalid", f"label: use one of {', '.join(LABELS)}")
    await keep_label(request, id, given)
    if not is_fragment(request):
        return see_other(request, "/review")
    return page(request, "review.part.html.j2", one=await found(request, id), said=given)
