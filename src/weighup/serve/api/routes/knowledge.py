"""/v1/evidence: search the evidence stores; /v1/methods: what is implemented."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from weighup import __version__
from weighup.dates import iso
from weighup.registry import methods as implemented
from weighup.serve.api.auth import Caller, Guarded, caller, scopes
from weighup.serve.api.models import MethodList, MethodView, Passages, PassageView
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.api.respond import moment, said
from weighup.serve.api.routes.verdicts import Moment
from weighup.serve.db.words import storable
from weighup.texts import clean

router = APIRouter(route_class=Guarded, tags=["knowledge"])


@router.get(
    "/v1/evidence",
    operation_id="evidence",
    summary="Search the evidence stores",
    response_model=Passages,
    openapi_extra=scopes("read"),
)
async def evidence(
    request: Request,
    who: Annotated[Caller, Depends(caller)],
    q: Annotated[str, Query(min_length=1, max_length=1000, examples=["vaccine autism"])],
    before: Moment = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> Response:
    """Passages, best first; with `before`, only what was published by then. Nothing is asked online."""
    if not any(character.isalnum() for character in q):
        raise Problem("invalid", "q: holds no letter or number; say in words what to look for")
    bound = moment(before, "before")
    parts = parts_of(request)
    found = await parts.pool.run(parts.shelf.search, clean(storable(q)), bound, limit)
    passages = [
        PassageView.model_construct(
            text=hit.text,
            url=hit.url,
            title=hit.title,
            date=iso(hit.published),
            source=hit.source or None,
            credibility=hit.credibility,
            score=round(hit.score, 4),
        )
        for hit in found
    ]
    return said(Passages.model_construct(before=iso(bound), passages=passages))


@router.get(
    "/v1/methods",
    operation_id="methods",
    summary="What is implemented",
    response_model=MethodList,
    openapi_extra=scopes("read"),
)
async def methods(request: Request, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Every method with its paper, as `weighup methods` lists them."""
    known = await parts_of(request).pool.run(implemented)
    shown = [MethodView(room=m.room, name=m.name, paper=m.paper, arxiv=m.arxiv, status=m.status) for m in known]
    return said(MethodList(version=__version__, methods=shown))
