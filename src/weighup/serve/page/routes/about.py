"""/model: the model card and its limits."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighup.serve.api.auth import scopes
from weighup.serve.api.parts import parts_of
from weighup.serve.page.card import card
from weighup.serve.page.door import Paged
from weighup.serve.page.render import page

router = APIRouter(route_class=Paged, include_in_schema=False)


@router.get("/model", openapi_extra=scopes("read", "check", "review", "feeds"))
async def model(request: Request) -> Response:
    """Which weights decide, what they were fitted on, where they fail."""
    parts = parts_of(request)
    return page(request, "model.html.j2", card=await parts.pool.run(card, parts.settings))
