"""/feeds: what is watched; add, pause, remove."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from weighup.errors import AddressRefused, InvalidInput
from weighup.retrieve.guard import check_address, shown
from weighup.serve.api.auth import scopes
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.db.records import AuditEntry, Feed
from weighup.serve.page.door import Paged, fields, see_other
from weighup.serve.page.render import page
from weighup.serve.page.routes.verdicts import caller

router = APIRouter(route_class=Paged, include_in_schema=False)
MOST = 10_000
"""Feeds of one tenant, as through the API."""
EVERY = (300, 900, 3_600, 21_600, 86_400)
KINDS = ("feed", "sitemap")
SIZE = 100


@router.get("/feeds", openapi_extra=scopes("read", "feeds"))
async def listed(request: Request, q: str = "", page: Annotated[int, Query(ge=1, le=MOST)] = 1) -> Response:
    """The feeds, those in trouble first, with when each was polled and what went wrong; `q`: in address or title."""
    return await _listed(request, words=q[:200], number=page)


@router.post("/feeds", openapi_extra=scopes("feeds"))
async def add(request: Request) -> Response:
    """Watch a feed."""
    parts, who, given = parts_of(request), caller(request), await fields(request)
    every = given.get("every", "")
    seconds = float(every) if every in {str(one) for one in EVERY} else parts.settings.watch.every
    kind = given.get("kind", "feed")
    if kind not in KINDS:
        return await _listed(request, given, f"kind: use one of {', '.join(KINDS)}")
    try:
        address = check_address(given.get("url", ""), allow_loopback=parts.settings.retrieve.allow_loopback)
    except AddressRefused as error:
        return await _listed(request, given, str(error))

    def work() -> None:
        feeds, tenant = parts.database.feeds, who.tenant
        there = {one.id for one in feeds.watched(tenant)}
        if len(there) >= MOST:
            raise InvalidInput(f"{MOST:,} feeds are watched already; remove some first")
        feed = feeds.add(tenant, [address.url], kind=kind, every=seconds)[0]
        if feed.id not in there:
            entry = AuditEntry(who.name, "feed added", f"feed:{feed.id}", tenant, after={"url": shown(feed.url)})
            parts.database.audit.write([entry])

    try:
        await parts.pool.run(work)
    except InvalidInput as error:
        return await _listed(request, given, str(error))
    return see_other(request, "/feeds")


@router.post("/feeds/{id}/{what}", openapi_extra=scopes("feeds"))
async def change(request: Request, id: uuid.UUID, what: str) -> Response:
    """Pause a feed, go on with it, or watch it no longer."""
    parts, who = parts_of(request), caller(request)
    watched: list[Feed] = await parts.pool.run(parts.database.feeds.watched, who.tenant)
    feed = next((one for one in watched if one.id == id), None)
    if feed is None or what not in ("pause", "resume", "remove"):
        raise Problem("not-found", f"there is no feed {id}")

    def work() -> None:
        feeds = parts.database.feeds
        if what == "remove":
            done, said = feeds.remove(who.tenant, [id]), "feed removed"
        else:
            done, said = feeds.enable(who.tenant, [id], what == "resume"), f"feed {what}d"
        if done:
            after = {"url": shown(feed.url)}
            parts.database.audit.write([AuditEntry(who.name, said, f"feed:{id}", who.tenant, after=after)])

    await parts.pool.run(work)
    return see_other(request, "/feeds")


async def _listed(
    request: Request,
    given: dict[str, str] | None = None,
    wrong: str | None = None,
    words: str = "",
    number: int = 1,
) -> Response:
    parts, who = parts_of(request), caller(request)
    watched: list[Feed] = await parts.pool.run(parts.database.feeds.watched, who.tenant)
    sought = words.casefold().strip()
    fitting = [one for one in watched if sought in f"{one.url}\n{one.title or ''}".casefold()]
    fitting.sort(key=lambda feed: (not feed.errors, not feed.enabled))  # by address within each
    begin = SIZE * (number - 1)
    return page(
        request,
        "feeds.html.j2",
        422 if wrong else 200,
        feeds=fitting[begin : begin + SIZE],
        total=len(watched),
        fitting=len(fitting),
        troubled=sum(1 for one in watched if one.errors),
        begin=begin,
        number=number,
        size=SIZE,
        words=words,
        given=given or {},
        wrong=wrong,
        choices=EVERY,
        default=parts.settings.watch.every,
        kinds=KINDS,
        may_change=who.may("feeds"),
    )
