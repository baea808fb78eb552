"""The door of the pages: who is asking, may they, and did the form come from a page of ours.

A visitor is whoever signed in with an API key or, where there are no keys, this machine's own user (see `api.auth`).
Who is neither is sent to sign in. A page that another site links to is first shown as a page that leads here by
itself: the browser then comes from us, and brings its cookie, which it keeps from other sites' links.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from weighup.errors import WeighupError
from weighup.serve.api.auth import Caller, caller_of
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem, problem_of
from weighup.serve.page import session
from weighup.serve.page.render import HEADERS, link_to, page

FIELDS = 32
"""Fields of one form; files are taken in none."""

logger = logging.getLogger("weighup.serve")


class Paged(APIRoute):
    """A page that lets in only whom its `openapi_extra={"x-scopes": [...]}` names (all if it names none), takes forms
    only with their token, and says what goes wrong as a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        scopes = tuple((self.openapi_extra or {}).get("x-scopes", ()))

        async def handler(request: Request) -> Response:
            try:
                if came_from_elsewhere(request):
                    return page(request, "onward.html.j2", target=request.url.path + _query(request))
                if scopes:
                    request.state.caller = await visitor(request)
                    await _admit(request, scopes)
                if request.method == "POST":
                    await require_token(request)
                return await inner(request)
            except RequestValidationError as error:
                if any(one["loc"][0] == "path" for one in error.errors()):
                    raise Problem("not-found", "there is nothing under this address") from None
                raise
            except (HTTPException, WeighupError):
                raise  # has an answer of its own, see `show_problem`
            except Exception as error:
                told = {"request_id": getattr(request.state, "request_id", None), "error": type(error).__name__}
                logger.error("unexpected", extra=told)
                logger.debug("unexpected", exc_info=error, extra=told)
                return _problem_page(request, problem_of(RuntimeError()))

        return handler


async def visitor(request: Request) -> Caller:
    """Who is asking. Raises Problem (`unauthenticated`)."""
    parts = parts_of(request)
    found = parts.sessions.find(session.name_of(request))
    if found is not None:
        keys = await parts.pool.run(parts.database.api_keys.known, found.tenant)
        key = next((one for one in keys if one.id == found.key_id), None)
        if key is not None and in_force(key):
            return caller_of(key)
        parts.sessions.end(session.name_of(request))
    return await parts.gate.authenticate(request)


def in_force(key: Any) -> bool:
    """Whether an API key was neither revoked nor has run out."""
    from datetime import UTC, datetime

    return key.revoked_at is None and (key.expires_at is None or key.expires_at > datetime.now(UTC))


async def _admit(request: Request, scopes: tuple[str, ...]) -> None:
    caller: Caller = request.state.caller
    if not caller.may(*scopes):
        raise Problem("forbidden", f"this needs a key with scope {' or '.join(scopes)}")
    await parts_of(request).gate.pace(caller)


async def require_token(request: Request) -> FormData:
    """The form, if it has the token that this browser's pages hold. Raises Problem."""
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin") or not _own_origin(request):
        raise Problem("forbidden", "this form was sent from another site")
    try:
        form = await request.form(max_files=0, max_fields=FIELDS)
    except HTTPException as error:
        raise Problem("bad-request", str(error.detail)) from None
    token = form.get("csrf")
    if not isinstance(token, str) or not parts_of(request).sessions.matches(session.name_of(request), token):
        raise Problem("forbidden", "this form was out of date; open the page again and send it once more")
    return form


async def fields(request: Request) -> dict[str, str]:
    """The form's fields, blanks around them removed. The form was read by the door already."""
    form = await request.form()
    return {name: value.strip() for name, value in form.items() if isinstance(value, str)}


def came_from_elsewhere(request: Request) -> bool:
    """Whether a browser followed another site's link here, and so left its cookie at home."""
    get = request.headers.get
    return (
        request.method == "GET"
        and get("sec-fetch-site") in ("cross-site", "same-site")
        and get("sec-fetch-mode") == "navigate"
        and get("sec-fetch-dest") == "document"
    )


def _own_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return True
    public = (parts_of(request).settings.serve.public_url or "").rstrip("/")
    return origin == public or origin.partition("://")[2] == request.headers.get("host")


def is_fragment(request: Request) -> bool:
    """Whether htmx asks, for a part of a page."""
    return request.headers.get("hx-request") == "true"


def see_other(request: Request, path: str) -> Response:
    """Go on to another page, after a form."""
    if is_fragment(request):
        return Response(status_code=204, headers={"HX-Redirect": path})
    return RedirectResponse(path, 303)


def show_problem(request: Request, problem: Problem) -> Response | None:
    """The problem as a page, for who can read one; None: as JSON."""
    ours = isinstance(request.scope.get("route"), Paged)
    if not ours and (request.url.path.startswith("/v1/") or "text/html" not in request.headers.get("accept", "")):
        return None
    return _problem_page(request, problem)


def _problem_page(request: Request, problem: Problem) -> Response:
    kind, wait = problem.kind, (problem.headers or {}).get("Retry-After")
    kept = {} if wait is None else {"Retry-After": wait}
    if kind.name == "unauthenticated" and request.url.path != "/signin":
        target = request.url.path + _query(request) if request.method == "GET" and not is_fragment(request) else "/"
        return see_other(request, link_to("/signin", next=target if target != "/" else None))
    if is_fragment(request):
        return PlainTextResponse(f"{kind.title}: {problem.detail}", kind.status, headers={**HEADERS, **kept})
    shown = page(
        request,
        "problem.html.j2",
        status=kind.status,
        problem=problem,
        kind=kind,
        request_id=getattr(request.state, "request_id", None),
    )
    shown.headers.update(kept)
    return shown


def _query(request: Request) -> str:
    return f"?{request.url.query}" if request.url.query else ""
