"""/v1/feeds: what is watched; /v1/stories: what came of it."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from weighup.errors import AddressRefused
from weighup.retrieve.guard import check_address, shown
from weighup.serve.api.auth import Caller, Guarded, caller, scopes
from weighup.serve.api.bodies import FeedChange, FeedIn
from weighup.serve.api.idempotency import Done, once
from weighup.serve.api.models import FeedList, FeedView, StoryItem, StoryItems, StoryList, StoryView, views
from weighup.serve.api.parts import Parts, parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.api.respond import moment, said
from weighup.serve.api.routes.checks import Key
from weighup.serve.api.routes.verdicts import Moment
from weighup.serve.db.records import AuditEntry, Feed

router = APIRouter(route_class=Guarded, tags=["feeds"])
MOST = 10_000
"""Feeds of one tenant."""


@router.get(
    "/v1/feeds",
    operation_id="feeds",
    summary="What is watched",
    response_model=FeedList,
    openapi_extra=scopes("read", "feeds"),
)
async def feeds(request: Request, who: Annotated[Caller, Depends(caller)]) -> Response:
    """All feeds, by address, with when each was polled and what went wrong."""
    parts = parts_of(request)
    return said(FeedList(feeds=views(FeedView, await parts.pool.run(parts.database.feeds.watched, who.tenant))))


@router.post(
    "/v1/feeds",
    operation_id="watch",
    summary="Watch a feed",
    status_code=201,
    response_model=FeedView,
    openapi_extra=scopes("feeds"),
)
async def watch(
    request: Request, body: FeedIn, who: Annotated[Caller, Depends(caller)], idempotency_key: Key = None
) -> Response:
    """Its address must be an ordinary public web address. One that is watched already is left as it is."""
    parts = parts_of(request)
    try:
        address = check_address(body.url, allow_loopback=parts.settings.retrieve.allow_loopback)
    except AddressRefused as error:
        raise Problem("invalid", f"url: {error}") from None
    every = float(body.every or parts.settings.watch.every)

    def add() -> Feed:
        there = parts.database.feeds.watched(who.tenant)
        if len(there) >= MOST:
            raise Problem("invalid", f"url: {MOST:,} feeds are watched already; remove some first")
        feed = parts.database.feeds.add(who.tenant, [address.url], kind=body.kind, every=every)[0]
        if feed.id not in {one.id for one in there}:
            _audit(parts, who, "feed added", feed.id, {"url": shown(feed.url)})
        return feed

    async def work(name: str | None) -> Done:
        feed = await parts.pool.run(add)
        return Done(201, FeedView.of(feed).json_text(), f"/v1/feeds/{feed.id}")

    return await once(request, work)


@router.get(
    "/v1/feeds/{id}",
    operation_id="feed",
    summary="A feed",
    response_model=FeedView,
    openapi_extra=scopes("read", "feeds"),
)
async def feed(request: Request, id: uuid.UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
    """As it stands."""
    return said(FeedView.of(await _found(parts_of(request), who, id)))


@router.patch(
    "/v1/feeds/{id}",
    operation_id="pause",
    summary="Pause a feed, or go on",
    response_model=FeedView,
    openapi_extra=scopes("feeds"),
)
async def pause(request: Request, id: uuid.UUID, body: FeedChange, who: Annotated[Caller, Depends(caller)]) -> Response:
    """What it brought stays."""
    parts = parts_of(request)
    await _found(parts, who, id)

    def change() -> None:
        if parts.database.feeds.enable(who.tenant, [id], body.enabled):
            _audit(parts, who, "feed resumed" if body.enabled else "feed paused", id, {})

    await parts.pool.run(change)
    return said(FeedView.of(await _found(parts, who, id)))


@router.delete(
    "/v1/feeds/{id}",
    operation_id="unwatch",
    summary="Watch a feed no longer",
    status_code=204,
    response_class=Response,
    openapi_extra=scopes("feeds"),
)
async def unwatch(request: Request, id: uuid.UUID, who: Annotated[Caller, Depends(caller)]) -> Response:
    """Its entries are forgotten; verdicts stay."""
    parts = parts_of(request)
    found = await _found(parts, who, id)

    def remove() -> None:
        if parts.database.feeds.remove(who.tenant, [id]):
            _audit(parts, who, "feed removed", id, {"url": shown(found.url)})

    await parts.pool.run(remove)
    return Response(status_code=204)


@router.get(
    "/v1/stories",
    operation_id="stories",
    summary="Stories",
    response_model=StoryList,
    openapi_extra=scopes("read"),
)
async def stories(
    request: Request,
    who: Annotated[Caller, Depends(caller)],
    since: Moment = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Entries of feeds that are about the same thing; the latest first."""
    parts = parts_of(request)
    bound = moment(since, "since")
    found = await parts.pool.run(parts.database.stories.recent, who.tenant, since=bound, limit=limit)
    return said(StoryList(stories=views(StoryView, found)))


@router.get(
    "/v1/stories/{id}",
    operation_id="story",
    summary="A story's entries",
    response_model=StoryItems,
    openapi_extra=scopes("read"),
)
async def story(
    request: Request,
    id: uuid.UUID,
    who: Annotated[Caller, Depends(caller)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Newest first, with the verdict on each."""
    parts = parts_of(request)
    items = await parts.pool.run(parts.database.feeds.items, who.tenant, story_id=id, limit=limit)
    if not items:
        raise Problem("not-found", f"there is no story {id}")
    return said(StoryItems(items=views(StoryItem, items)))


async def _found(parts: Parts, who: Caller, id: uuid.UUID) -> Feed:
    watched = await parts.pool.run(parts.database.feeds.watched, who.tenant)
    found = next((one for one in watched if one.id == id), None)
    if found is None:
        raise Problem("not-found", f"there is no feed {id}")
    return found


def _audit(parts: Parts, who: Caller, what: str, id: uuid.UUID, after: dict[str, str]) -> None:
    entry = AuditEntry(who.name, what, f"feed:{id}", who.tenant, after=after or None)
    parts.database.audit.write([entry])
