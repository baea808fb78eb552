"""/v1/verdicts: stored verdicts, with their timelines, with what is like them, as ClaimReview; /v1/feedback on them."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from weighup import __version__
from weighup.serve.api.auth import Caller, Guarded, caller, scopes
from weighup.serve.api.bodies import FeedbackIn
from weighup.serve.api.claimreview import MEDIA_TYPE, claim_review
from weighup.serve.api.idempotency import Done, once
from weighup.serve.api.models import (
    FeedbackList,
    FeedbackView,
    Similar,
    SimilarLine,
    TimelineView,
    VerdictLine,
    VerdictPage,
    VerdictView,
    views,
)
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.api.respond import moment, said
from weighup.serve.api.routes.checks import Key
from weighup.serve.api.whole import whole
from weighup.serve.db.near import LEAST
from weighup.serve.db.records import Feedback, StoredVerdict, VerdictFilter
from weighup.verify.contract import Label

router = APIRouter(route_class=Guarded, tags=["verdicts"])
_ISO: dict[str, Any] = {"oneOf": [{"format": "date"}, {"format": "date-time"}]}
Moment = Annotated[str | None, Query(max_length=40, description="A day or a moment.", json_schema_extra=_ISO)]
_REVIEW: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "object", "required": ["@context", "@type"]}}}
_NAMES = uuid.UUID("8f6d1a52-0d0f-4b3c-9b56-3f1d9b6b7c11")


@router.get(
    "/v1/verdicts",
    operation_id="verdicts",
    summary="Stored verdicts",
    response_model=VerdictPage,
    openapi_extra=scopes("read"),
)
async def verdicts(
    request: Request,
    who: Annotated[Caller, Depends(caller)],
    label: Annotated[list[Label] | None, Query(max_length=4, description="One or several.")] = None,
    q: Annotated[str, Query(max_length=500, description="All of these words; the last may be a beginning.")] = "",
    since: Moment = None,
    until: Moment = None,
    dated_since: Moment = None,
    dated_until: Moment = None,
    low: Annotated[float, Query(ge=0, le=1, description="Least P(fake).")] = 0.0,
    high: Annotated[float, Query(ge=0, le=1, description="Greatest P(fake).")] = 1.0,
    settled: bool | None = None,
    reviewed: Annotated[bool | None, Query(description="Whether somebody labelled it.")] = None,
    order: Literal["newest", "uncertain"] = "newest",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Newest first, or the most uncertain first; `since` and `until` bound when a claim was first seen."""
    wanted = VerdictFilter(
        labels=tuple(label or ()),
        since=moment(since, "since"),
        until=moment(until, "until"),
        dated_since=moment(dated_since, "dated_since"),
        dated_until=moment(dated_until, "dated_until"),
        probability=None if (low, high) == (0.0, 1.0) else (low, high),
        text=q,
        settled=settled,
        reviewed=reviewed,
        order=order,
    )
    parts = parts_of(request)
    page = await parts.pool.run(parts.database.verdicts.page, who.tenant, wanted, limit=limit, cursor=cursor)
    return said(VerdictPage.model_construct(verdicts=views(VerdictLine, page.verdicts), cursor=page.cursor))


@router.get(
    "/v1/verdicts/{id}",
    operation_id="verdict",
    summary="A verdict with its timeline",
    response_model=VerdictView,
    responses={200: {"content": _REVIEW}},
    openapi_extra=scopes("read"),
)
async def verdict(
    request: Request,
    id: uuid.UUID,
    who: Annotated[Caller, Depends(caller)],
    accept: Annotated[str | None, Header(description=f"`{MEDIA_TYPE}` gives ClaimReview.")] = None,
) -> Response:
    """Whole, with every check in its timeline and what people said of it; or as schema.org ClaimReview."""
    parts = parts_of(request)
    found = await parts.pool.run(whole, parts.database, who.tenant, id)
    if found is None:
        raise missing(id)
    stored, timeline, labels = found
    if _wants_review(accept or ""):
        return _review(request, stored, missing="not-acceptable")
    more = {"timeline": views(TimelineView, timeline), "feedback": views(FeedbackView, labels)}
    return said(VerdictView.of(stored, verdict=stored.verdict, **more))


@router.get(
    "/v1/verdicts/{id}/claimreview",
    operation_id="claimreview",
    summary="A verdict as schema.org ClaimReview",
    responses={200: {"description": "JSON-LD.", "content": _REVIEW}},
    response_class=Response,
    openapi_extra=scopes("read"),
)
async def claimreview(request: Request, id: uuid.UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
    """JSON-LD. What is no claim (`not_checkable`) has no review: 404."""
    return _review(request, await _found(request, who, id), missing="not-found")


@router.get(
    "/v1/verdicts/{id}/similar",
    operation_id="similar",
    summary="What like it was judged before",
    response_model=Similar,
    openapi_extra=scopes("read"),
)
async def similar(
    request: Request,
    id: uuid.UUID,
    who: Annotated[Caller, Depends(caller)],
    limit: Annotated[int, Query(ge=1, le=100)] = 5,
    least: Annotated[float, Query(ge=0, le=1, description="Least cosine of the claims' vectors.")] = LEAST,
) -> Response:
    """Verdicts on claims like this one, the most alike first. None where the claim's vector was not kept: what is no
    claim has none, nor has a text in a language that the encoder cannot read."""
    await _found(request, who, id)
    parts = parts_of(request)
    found = await parts.pool.run(parts.database.near.of, who.tenant, id, limit, least=least)
    lines = [SimilarLine.of(stored, similarity=round(cosine, 4)) for stored, cosine in found]
    return said(Similar.model_construct(verdicts=lines))


@router.get(
    "/v1/feedback",
    operation_id="feedback",
    summary="What people said",
    response_model=FeedbackList,
    openapi_extra=scopes("read", "review"),
)
async def feedback(
    request: Request,
    who: Annotated[Caller, Depends(caller)],
    since: Moment = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Labels, oldest first, from `since` on."""
    parts = parts_of(request)
    found = await parts.pool.run(parts.database.feedback.since, who.tenant, moment(since, "since"), limit=limit)
    return said(FeedbackList.model_construct(feedback=views(FeedbackView, found)))


@router.post(
    "/v1/feedback",
    operation_id="label",
    summary="Label a verdict",
    status_code=201,
    response_model=FeedbackView,
    openapi_extra=scopes("review"),
)
async def label(
    request: Request, body: FeedbackIn, who: Annotated[Caller, Depends(caller)], idempotency_key: Key = None
) -> Response:
    """A human's own label. It goes into the audit log; `weighup db labels` writes them for `weighup train`."""
    await _found(request, who, body.verdict_id)
    parts = parts_of(request)

    async def work(name: str | None) -> Done:
        number = uuid.uuid4() if name is None else uuid.uuid5(_NAMES, name)
        one = Feedback(body.verdict_id, body.label, who.name, body.note, id=number)
        await parts.pool.run(parts.database.feedback.add, who.tenant, [one])
        found = await parts.pool.run(parts.database.feedback.of, who.tenant, [body.verdict_id])
        kept = next((other for other in found[0] if other.id == number), one)
        return Done(201, FeedbackView.of(kept).json_text(), f"/v1/verdicts/{body.verdict_id}")

    return await once(request, work)


def public_url(request: Request) -> str:
    """Where others reach this server, without a slash at the end."""
    given = parts_of(request).settings.serve.public_url
    return (given or str(request.base_url)).rstrip("/")


async def _found(request: Request, who: Caller, id: uuid.UUID) -> StoredVerdict:
    parts = parts_of(request)
    stored = (await parts.pool.run(parts.database.verdicts.get, who.tenant, [id]))[0]
    if stored is None:
        raise missing(id)
    return stored


def missing(id: uuid.UUID) -> Problem:
    """That there is no such verdict; another tenant's is none either."""
    return Problem("not-found", f"there is no verdict {id}")


def _wants_review(accept: str) -> bool:
    asked = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return MEDIA_TYPE in asked and "application/json" not in asked


def _review(request: Request, stored: StoredVerdict, *, missing: str) -> Response:
    base = public_url(request)
    review = claim_review(stored, url=f"{base}/v1/verdicts/{stored.id}", publisher=base)
    if review is None:
        raise Problem(missing, "this is no claim that could be checked, so there is no review of it")
    review["sdPublisher"] = {"@type": "SoftwareApplication", "name": "weighup", "softwareVersion": __version__}
    return Response(json.dumps(review, ensure_ascii=False), media_type=MEDIA_TYPE)
