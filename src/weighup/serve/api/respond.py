"""Small things that many routes need: a view as a response, a moment from a parameter, who has hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from weighup.dates import parse_bound
from weighup.serve.api.problems import Problem

T = TypeVar("T")


def said(view: BaseModel, status: int = 200) -> Response:
    """A view as JSON. It is written out here, once: FastAPI would read it through again first."""
    return Response(view.model_dump_json(), status, media_type="application/json")


def moment(text: str | None, name: str) -> datetime | None:
    """A day or a moment from a parameter; a day is its first second. Raises InvalidInput naming the parameter."""
    return None if text is None else parse_bound(text, where=name)


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; it is cancelled when whoever asked hangs up. The request's body must have been read."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Problem("timeout", "whoever asked has hung up")
    finally:
        gone.cancel()
        working.cancel()
