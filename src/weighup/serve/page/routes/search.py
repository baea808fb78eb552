"""/search: verdicts and evidence for the same words."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighup.dates import iso, parse_bound
from weighup.errors import InvalidInput, StoreError
from weighup.serve.api.auth import scopes
from weighup.serve.api.parts import parts_of
from weighup.serve.db.records import VerdictFilter
from weighup.serve.db.words import storable
from weighup.serve.page.door import Paged
from weighup.serve.page.render import page
from weighup.serve.page.routes.verdicts import caller
from weighup.texts import clean

router = APIRouter(route_class=Paged, include_in_schema=False)
VERDICTS, PASSAGES = 10, 20


@router.get("/search", openapi_extra=scopes("read"))
async def search(request: Request, q: str = "", before: str = "") -> Response:
    """What was judged, and what is known, about some words."""
    parts, who = parts_of(request), caller(request)
    words, bound = clean(storable(q))[:500], before[:40]
    told: dict[str, Any] = {"q": words, "before": bound, "wrong": None, "unreachable": None, "asked": False}
    told |= {"verdicts": [], "more": False, "passages": []}
    if words:
        told["asked"] = True
        try:
            if not any(character.isalnum() for character in words):
                raise InvalidInput("it holds no letter or number; say in words what to look for")
            until = parse_bound(bound, where="published before") if bound else None
            wanted = VerdictFilter(text=words)
            some = await parts.pool.run(parts.database.verdicts.page, who.tenant, wanted, limit=VERDICTS)
            told |= {"verdicts": some.verdicts, "more": some.cursor is not None}
            told["passages"] = await parts.pool.run(parts.shelf.search, words, until, PASSAGES)
        except InvalidInput as error:
            told["wrong"] = str(error)
        except StoreError:
            told["unreachable"] = "The evidence store does not answer just now; the server's log says why."
    return page(request, "search.html.j2", 422 if told["wrong"] else 200, iso=iso, **told)
