"""Signing in with an API key, and out; style and scripts."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse, Response

from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.db.records import AuditEntry
from weighup.serve.page import session
from weighup.serve.page.assets import assets
from weighup.serve.page.door import Paged, fields
from weighup.serve.page.render import page

router = APIRouter(route_class=Paged, include_in_schema=False)


@router.get("/signin")
async def form(request: Request, next: str = "/") -> Response:
    """The form for a key."""
    return page(request, "signin.html.j2", next=_inside(next), wrong=None)


@router.post("/signin")
async def sign_in(request: Request) -> Response:
    """Sign the browser in, if the key is right. As many wrong keys are taken as by the API."""
    parts, given = parts_of(request), await fields(request)
    following = _inside(given.get("next", "/"))
    headers = MutableHeaders(scope={"headers": list(request.scope["headers"])})
    # A header holds less than a field: what is no ASCII is no key either.
    headers["authorization"] = "Bearer " + given.get("key", "").encode("ascii", "replace").decode()
    asking = Request({**request.scope, "headers": headers.raw})
    try:
        caller = await parts.gate.authenticate(asking)
    except Problem as problem:
        if problem.kind.name not in ("unauthenticated", "rate-limited"):
            raise
        said = "This key is not known, or no longer in force."
        if problem.kind.name == "rate-limited":
            said = "Too many wrong keys came from this address. Wait a minute and try again."
        shown = page(request, "signin.html.j2", problem.status_code, next=following, wrong=said)
        if wait := (problem.headers or {}).get("Retry-After"):
            shown.headers["Retry-After"] = wait
        return shown
    if caller.key_id is None:
        raise Problem("internal", "a key without a number")
    sessions: session.Sessions = parts.sessions
    sessions.end(session.name_of(request))
    entry = AuditEntry(caller.name, "signed in", f"key:{caller.key_id}", caller.tenant)
    await parts.pool.run(parts.database.audit.write, [entry])
    answer = RedirectResponse(following, 303)
    session.put(request, answer, sessions.begin(caller.key_id, caller.tenant))
    return answer


@router.post("/signout")
async def sign_out(request: Request) -> Response:
    """End the browser's session."""
    parts_of(request).sessions.end(session.name_of(request))
    answer = RedirectResponse("/signin", 303)
    session.put(request, answer, session.new_name())
    return answer


@router.get("/static/{digest}/{name}")
async def static(request: Request, digest: str, name: str) -> Response:
    """A file of the pages; under its digest it never changes."""
    found = assets().get(name)
    if found is None or found.path != f"/static/{digest}/{name}":
        raise Problem("not-found", "there is no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Cross-Origin-Resource-Policy": "same-origin"}
    return Response(found.body, media_type=found.media_type, headers=headers)


def _inside(path: str) -> str:
    """A path on this server; anything that could lead elsewhere becomes the first page."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and len(path) <= 2_000
    return path if plain and "\\" not in path else "/"
