"""The header Idempotency-Key: a request that is sent twice is carried out once, and answered twice alike.

After draft-ietf-httpapi-idempotency-key-header-07. Answers are kept for a day; an error is not kept, so that the same
request may be tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from weighup.serve.api.auth import caller
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.db.records import Answer

HEADER = "Idempotency-Key"
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Done:
    """What a request came to: a JSON object and where to go on. `body` is the text of that object."""

    status: int
    body: str
    location: str | None = None

    def response(self, *, again: bool = False) -> Response:
        """As a response; `again` if it has been given before."""
        headers = {} if self.location is None else {"Location": self.location}
        if again:
            headers["Idempotency-Replayed"] = "true"
        return Response(self.body, self.status, headers=headers, media_type="application/json")


async def once(request: Request, work: Callable[[str | None], Awaitable[Done]]) -> Response:
    """Carry out `work`, unless this caller has asked for the very same before under the same key.

    `work` gets a name that is the same for the same request (None where no key was sent), so that what it keeps in the
    database can be named by it: a server that dies between doing and answering then does nothing twice.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return (await work(None)).response()
    key = key.strip()
    if not 0 < len(key) <= _LONGEST:
        raise Problem("invalid", f"{HEADER}: must have 1 to {_LONGEST} characters")
    parts, who = parts_of(request), caller(request)
    body = await request.body()
    told = f"{request.method} {request.url.path}?{request.url.query}\n".encode("utf-8", "replace") + body
    kept = parts.database.idempotency
    begun = await parts.pool.run(kept.begin, who.tenant, key, told)
    if begun.answer is not None:
        said = begun.answer
        return Done(said.status, json.dumps(said.body, ensure_ascii=False), said.location).response(again=True)
    if begun.state == "running":
        raise Problem("in-progress", "the same request is being carried out; ask again in a moment", retry_after=2)
    if begun.state == "different":
        raise Problem("key-reused", f"{HEADER}: was used for another request; draw a new one for each request")
    name = hashlib.sha256(b"\n".join((who.tenant.encode(), key.encode(), told))).hexdigest()[:40]
    answer: Answer | None = None
    try:
        done = await work(name)
        answer = Answer(done.status, json.loads(done.body), done.location)
    finally:
        # Not undone by a deadline: a key that stays taken would lock out whoever tries again.
        await asyncio.shield(parts.pool.run(kept.finish, who.tenant, key, answer))
    return done.response()
