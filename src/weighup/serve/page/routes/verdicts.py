"""/verdicts: the list, one verdict whole, what people say of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighup.dates import parse_bound
from weighup.errors import InvalidInput
from weighup.serve.api.auth import Caller, scopes
from weighup.serve.api.claimreview import MEDIA_TYPE, claim_review
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.db.records import Feedback, StoredVerdict, VerdictFilter
from weighup.serve.page.change import changes, floor_of
from weighup.serve.page.door import Paged, fields, is_fragment, see_other
from weighup.serve.page.history import history, level
from weighup.serve.page.render import LABELS, page
from weighup.serve.page.sources import sources_of
from weighup.serve.page.without import Without, sources_in_turn, without_each
from weighup.verify.contract import Label

router = APIRouter(route_class=Paged, include_in_schema=False)
SIZE = 50
NOTE = 2_000
SIMILAR = 5
"""Verdicts on similar claims that a verdict's page lists."""
ASKED = 4
"""Verdicts that wait to be judged without their sources."""


@router.get("/verdicts", openapi_extra=scopes("read"))
async def listed(
    request: Request,
    label: str = "",
    q: str = "",
    since: str = "",
    until: str = "",
    order: str = "newest",
    reviewed: str = "",
    cursor: str = "",
) -> Response:
    """Stored verdicts, filtered, newest or most uncertain first."""
    parts, who = parts_of(request), caller(request)
    given = {
        "label": label if label in LABELS else "",
        "q": q[:500],
        "since": since[:40],
        "until": until[:40],
        "order": order if order == "uncertain" else "newest",
        "reviewed": reviewed if reviewed in ("yes", "no") else "",
    }
    wrong, found, following = None, [], None
    counts = await parts.pool.run(parts.database.verdicts.count, who.tenant)
    try:
        wanted = VerdictFilter(
            labels=(cast(Label, given["label"]),) if given["label"] else (),
            since=parse_bound(given["since"], where="from") if given["since"] else None,
            until=parse_bound(given["until"], where="until") if given["until"] else None,
            text=given["q"],
            reviewed={"yes": True, "no": False}.get(given["reviewed"]),
            order="uncertain" if given["order"] == "uncertain" else "newest",
        )
        some = await parts.pool.run(
            parts.database.verdicts.page, who.tenant, wanted, limit=SIZE, cursor=cursor[:200] or None
        )
        found, following = list(some.verdicts), some.cursor
    except InvalidInput as error:
        wrong = str(error)
    return page(
        request,
        "verdicts.html.j2",
        422 if wrong else 200,
        given=given,
        verdicts=found,
        following=following,
        first=not cursor,
        counts=counts,
        wrong=wrong,
    )


@router.get("/verdicts/{id}", openapi_extra=scopes("read"))
async def whole(request: Request, id: uuid.UUID) -> Response:
    """A verdict with all that it rests on."""
    return await _whole(request, id)


@router.post("/verdicts/{id}/label", openapi_extra=scopes("review"))
async def label(request: Request, id: uuid.UUID) -> Response:
    """Keep a human's label."""
    given = await fields(request)
    if given.get("label") not in LABELS:
        return await _whole(request, id, "Choose a label first.")
    await keep_label(request, id, given["label"], given.get("note", "")[:NOTE] or None)
    return see_other(request, f"/verdicts/{id}#labels")


@router.post("/verdicts/{id}/again", openapi_extra=scopes("check"))
async def again(request: Request, id: uuid.UUID) -> Response:
    """Check it again now, with what is known by now."""
    parts = parts_of(request)
    stored = await found(request, id)
    answer = await parts.line.check(parts.desk.again(stored))
    if answer.verdict is None:
        raise Problem("invalid", answer.error or "it could not be checked")
    parts.observer.verdicts.labels(answer.verdict.verdict).inc()
    return see_other(request, f"/verdicts/{id}#timeline")


@router.post("/verdicts/{id}/without", openapi_extra=scopes("check"))
async def without(request: Request, id: uuid.UUID) -> Response:
    """Judge it without each of its sources; one such question is worked on at a time."""
    parts, stored = parts_of(request), await found(request, id)
    if not stored.verdict.evidence:
        raise Problem("invalid", "it rests on no passages that could be left out")
    state = request.app.state.page
    if state.asked >= ASKED:
        raise Problem("overloaded", "others ask the same just now; try again in a moment", retry_after=5)
    await parts.gate.spend(caller(request), len(sources_in_turn(stored)))
    state.asked += 1
    try:
        async with state.one_at_a_time:
            rows = await parts.pool.run(without_each, state.checkers, stored)
    finally:
        state.asked -= 1
    if is_fragment(request):
        return page(request, "without.part.html.j2", without=rows, stored=stored, v=stored.verdict, may_check=True)
    return await _whole(request, id, without=rows)


@router.get("/verdicts/{id}/claimreview.json", openapi_extra=scopes("read"))
async def claimreview(request: Request, id: uuid.UUID) -> Response:
    """As schema.org ClaimReview, to be put into an article."""
    stored = await found(request, id)
    base = (parts_of(request).settings.serve.public_url or str(request.base_url)).rstrip("/")
    review = claim_review(stored, url=f"{base}/verdicts/{id}", publisher=base)
    if review is None:
        raise Problem("not-found", "this is no claim that could be checked, so there is no review of it")
    headers = {"Content-Disposition": f'attachment; filename="claimreview-{id}.json"'}
    return Response(json.dumps(review, ensure_ascii=False, indent=2), media_type=MEDIA_TYPE, headers=headers)


async def _whole(
    request: Request, id: uuid.UUID, wrong: str | None = None, without: Sequence[Without] = ()
) -> Response:
    parts, who = parts_of(request), caller(request)
    stored = await found(request, id)
    folder = parts.settings.verify.weights

    def rest() -> dict[str, Any]:
        database = parts.database
        return {
            "timeline": database.verdicts.timelines(who.tenant, [id])[0],
            "feedback": database.feedback.of(who.tenant, [id])[0],
            "changes": changes(stored, floor_of(stored.verdict, folder)),
            "similar": database.near.of(who.tenant, id, SIMILAR),
        }

    more = await parts.pool.run(rest)
    now = datetime.now(UTC)
    return page(
        request,
        "verdict.html.j2",
        422 if wrong else 200,
        stored=stored,
        v=stored.verdict,
        history=history(more["timeline"], now),
        level=level,
        sources=sources_of(stored.verdict),
        may_review=who.may("review"),
        may_check=who.may("check"),
        wrong=wrong,
        without=without,
        **more,
    )


def caller(request: Request) -> Caller:
    """Who asks, as the door found."""
    asking: Caller = request.state.caller
    return asking


async def found(request: Request, id: uuid.UUID) -> StoredVerdict:
    """The verdict. Raises Problem if there is none; another tenant's is none either."""
    parts = parts_of(request)
    stored: StoredVerdict | None = (await parts.pool.run(parts.database.verdicts.get, caller(request).tenant, [id]))[0]
    if stored is None:
        raise Problem("not-found", f"there is no verdict {id}")
    return stored


async def keep_label(request: Request, id: uuid.UUID, label: str, note: str | None = None) -> Feedback:
    """Record a label, in the audit log too. Raises Problem for a verdict that is not there."""
    await found(request, id)
    parts, who = parts_of(request), caller(request)
    one = Feedback(id, cast(Label, label), who.name, note)
    await parts.pool.run(parts.database.feedback.add, who.tenant, [one])
    return one
