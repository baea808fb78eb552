"""Errors as problem details (RFC 9457): one shape for all of them, whatever went wrong and wherever it was noticed.

What is shown is for whoever sent the request. What went wrong inside is in the log, under the request id that the
problem names.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as RaisedByStarlette
from starlette.responses import Response

from weighup.errors import InvalidInput, SettingsError, WeighupError

MEDIA_TYPE = "application/problem+json"
ABOUT = "https://github.com/weighup/weighup/blob/main/docs/howto/api.md#"
_SHOWN = 20  # things wrong with one request that are listed

logger = logging.getLogger("weighup.serve")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its name in `type`, its status and its title."""

    name: str
    status: int
    title: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("bad-request", 400, "The request cannot be read"),
        Kind("unauthenticated", 401, "An API key is needed"),
        Kind("forbidden", 403, "This key may not do that"),
        Kind("not-found", 404, "There is no such thing"),
        Kind("method-not-allowed", 405, "This method does not go with this path"),
        Kind("not-acceptable", 406, "It cannot be given in that form"),
        Kind("timeout", 408, "The request came in too slowly"),
        Kind("in-progress", 409, "The same request is being carried out"),
        Kind("too-large", 413, "The request is too large"),
        Kind("unsupported-media-type", 415, "The body must be JSON"),
        Kind("misdirected", 421, "This server does not go by that name"),
        Kind("invalid", 422, "Something in the request cannot be used"),
        Kind("key-reused", 422, "The idempotency key belongs to another request"),
        Kind("rate-limited", 429, "Too many requests"),
        Kind("quota-spent", 429, "The day's quota is spent"),
        Kind("internal", 500, "Something went wrong here"),
        Kind("overloaded", 503, "Too much is waiting already"),
        Kind("too-slow", 503, "It took too long"),
        Kind("stopping", 503, "The server is stopping"),
        Kind("unavailable", 503, "Something that is needed does not answer"),
    )
}
_BY_STATUS = {400: "bad-request", 404: "not-found", 405: "method-not-allowed", 413: "too-large"}


class Wrong(BaseModel):
    """One thing that is wrong, and where: a pointer into the body (RFC 6901), or a parameter's name."""

    model_config = ConfigDict(extra="forbid")
    pointer: str | None = None
    parameter: str | None = None
    detail: str


class ProblemView(BaseModel):
    """What is sent (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")
    type: str = Field(description="Which kind of problem; an address at which it is explained.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What was wrong this time and what to do about it.")
    request_id: str | None = Field(None, description="Under this the server's log has it.")
    errors: list[Wrong] | None = Field(None, description="What is wrong with the request, thing by thing.")


class Problem(HTTPException):
    """Raise to answer with a problem; `kind` is one of KINDS. `retry_after` is in seconds."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Wrong] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = KINDS[kind]
        said = dict(headers or {})
        if retry_after is not None:
            said["Retry-After"] = str(max(1, round(retry_after + 0.49)))
        super().__init__(self.kind.status, detail, headers=said)
        self.errors = list(errors)

    def answer(self, request_id: str | None = None) -> Response:
        """The response that says it."""
        view = ProblemView(
            type=ABOUT + self.kind.name,
            title=self.kind.title,
            status=self.kind.status,
            detail=str(self.detail),
            request_id=request_id,
            errors=self.errors or None,
        )
        told = json.dumps(view.model_dump(exclude_none=True), ensure_ascii=False).encode("utf-8", "replace")
        return Response(told, self.kind.status, headers=dict(self.headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: BaseException) -> Problem:
    """What to answer for an error; one that nobody foresaw shows nothing of itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, RaisedByStarlette):
        kind = _BY_STATUS.get(error.status_code, "bad-request" if error.status_code < 500 else "internal")
        details = {
            "not-found": "nothing is at this path; /openapi.json lists what there is",
            "method-not-allowed": "the header Allow lists the methods that go with this path",
            "bad-request": "the body cannot be read",
        }
        return Problem(kind, details.get(kind, KINDS[kind].title), headers=error.headers)
    if isinstance(error, InvalidInput) and not isinstance(error, SettingsError):
        return Problem("invalid", str(error))
    if isinstance(error, WeighupError):
        return Problem("unavailable", "the server cannot do this just now; its log says why", retry_after=5)
    return Problem("internal", "this should not have happened; the server's log has it under the request id")


def install(app: FastAPI) -> None:
    """Answer every foreseen error with a problem. What is not foreseen is caught further out, in `observe`."""

    async def handle(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.kind.name == "unavailable":
            logger.error("unavailable", extra={"error": type(error).__name__, "detail": str(error)[:300]})
        shown = getattr(request.app.state, "show_problem", None)
        if shown is not None and (page := shown(request, problem)) is not None:
            answer: Response = page
            return answer
        return problem.answer(getattr(request.state, "request_id", None))

    for kind in (Problem, RaisedByStarlette, RequestValidationError, WeighupError):
        app.add_exception_handler(kind, handle)


def _invalid(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return Problem("bad-request", "the body is not JSON")
    wrong = [_wrong(one, error.body) for one in found[:_SHOWN]]
    first = wrong[0]
    where = first.pointer or first.parameter or "the request"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Problem("invalid", f"{where}: {first.detail}{more}", errors=wrong)


def _wrong(one: Mapping[str, Any], body: Any) -> Wrong:
    place, *rest = one["loc"]
    detail = str(one["msg"]).lower().removeprefix("value error, ")
    if place == "body":
        return Wrong(pointer=_pointer(rest, body, missing=one["type"] == "missing"), detail=detail)
    return Wrong(parameter=".".join(str(part) for part in rest) or str(place), detail=detail)


def _pointer(parts: Sequence[str | int], body: Any, *, missing: bool) -> str:
    """Where in the body; pydantic also names which of several forms it tried, and that is no place."""
    told, there = "", body
    for number, part in enumerate(parts):
        within = part in there if isinstance(there, dict) else isinstance(there, list) and part in range(len(there))
        if within:
            there = there[part]
        if within or (missing and number == len(parts) - 1):
            told += f"/{_escaped(part)}"
    return told


def _escaped(part: object) -> str:
    return str(part).encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1")
