"""/stories: entries of feeds that are about the same thing, with their verdicts."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighup.serve.api.auth import scopes
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.page.door import Paged
from weighup.serve.page.render import page
from weighup.serve.page.routes.verdicts import caller

router = APIRouter(route_class=Paged, include_in_schema=False)
SIZE = 100
ENTRIES = 500
LOOKED = 1_000
"""Stories among which a story's title is looked for; an older one goes by the title of its first entry."""


@router.get("/stories", openapi_extra=scopes("read"))
async def listed(request: Request) -> Response:
    """The stories that something was added to last."""
    parts = parts_of(request)
    found = await parts.pool.run(parts.database.stories.recent, caller(request).tenant, limit=SIZE)
    return page(request, "stories.html.j2", stories=found, size=SIZE)


@router.get("/stories/{id}", openapi_extra=scopes("read"))
async def whole(request: Request, id: uuid.UUID) -> Response:
    """A story's entries, newest first, each with its verdict."""
    parts, who = parts_of(request), caller(request)
    items = await parts.pool.run(parts.database.feeds.items, who.tenant, story_id=id, limit=ENTRIES)
    if not items:
        raise Problem("not-found", f"there is no story {id}")
    latest = await parts.pool.run(parts.database.stories.recent, who.tenant, limit=LOOKED)
    title = next((one.title for one in latest if one.id == id), "")
    ids = list(dict.fromkeys(item.verdict_id for item in items if item.verdict_id is not None))
    stored = await parts.pool.run(parts.database.verdicts.get, who.tenant, ids) if ids else []
    verdicts = {one.id: one for one in stored if one is not None}
    feeds = {feed.id: feed for feed in await parts.pool.run(parts.database.feeds.watched, who.tenant)}
    return page(request, "story.html.j2", title=title, items=items, verdicts=verdicts, feeds=feeds)
