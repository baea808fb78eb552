"""/arena: answers compared without knowing whose they are, one vote of a voter on each; /arena/board: how they stand.

A voter is whoever holds an API key (or this machine's user): who shares a key shares its votes. Which answer is whose
is never in a page that votes are given on, nor is the item's name in its file, which may tell.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from weighup.serve.api.auth import Caller, caller_of, scopes
from weighup.serve.api.limits import Buckets
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem
from weighup.serve.page.door import Paged, fields, see_other
from weighup.serve.page.render import page
from weighup.serve.page.routes.verdicts import caller
from weighup.serve.page.standing import Standing, standing

if TYPE_CHECKING:
    from weighup.serve.db import Database
    from weighup.serve.db.arena import ArenaItem

router = APIRouter(route_class=Paged, include_in_schema=False)
PER_MINUTE = 30
"""Votes of one voter in a minute: nobody reads two answers in less than two seconds."""
LETTERS = "ABCDEFGH"
WINNERS = (("a", "A is better"), ("b", "B is better"), ("tie", "Tie"), ("both_bad", "Both are bad"))
VOTERS = 200
"""Voters that the leaderboard lists, those with the most votes."""
LONGEST = 86_400.0
"""Seconds for one vote; what took longer was left open, and says nothing."""
LOCAL = "local"
TWICE = "You have voted on that comparison before. A vote is given once and stands; here is what comes next."
GONE = "That comparison was taken out of the arena in the meantime; here is what comes next."


@dataclass(slots=True)
class ArenaState:
    """What the arena keeps in memory: the pace of voters, and each tenant's last standing with what it was made of."""

    pace: Buckets = field(default_factory=Buckets)
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    made: dict[str, tuple[Any, Standing]] = field(default_factory=dict)


@router.get("/arena", openapi_extra=scopes("review"))
async def following(request: Request) -> Response:
    """What this voter should compare next."""
    return await _shown(request)


@router.post("/arena/{id}", openapi_extra=scopes("review"))
async def vote(request: Request, id: uuid.UUID) -> Response:
    """Keep a vote, and go on to the next."""
    parts, who, given = parts_of(request), caller(request), await fields(request)
    voter = _voter(who)
    wait = request.app.state.page.arena.pace.take((who.tenant, voter), PER_MINUTE)
    if wait:
        said = f"{PER_MINUTE} votes a minute are taken; read on, and send this one again in a moment"
        raise Problem("rate-limited", said, retry_after=wait)
    found: ArenaItem | None = await parts.pool.run(parts.database.arena.get, who.tenant, id)
    if found is None:
        raise Problem("not-found", f"there is no comparison {id}")
    if not found.active:
        return await _shown(request, 409, GONE)
    size = len(found.item.responses)
    kept: dict[str, Any] = {"by": who.name, "seconds": _seconds(given.get("since", ""))}
    if size == 2:
        kept["winner"] = given.get("winner")
        if kept["winner"] not in dict(WINNERS):
            return await _shown(request, 422, "Choose one of the four first.", found)
    else:
        said_places = [given.get(f"place{number}", "") for number in range(1, size + 1)]
        if any(place not in {str(number) for number in range(1, size + 1)} for place in said_places):
            return await _shown(request, 422, f"Give each of the {size} answers a place.", found, said_places)
        kept["places"] = [int(place) for place in said_places]
    if not await parts.pool.run(parts.database.arena.vote, who.tenant, voter, id, **kept):
        return await _shown(request, 409, TWICE)
    return see_other(request, "/arena")


@router.get("/arena/board", openapi_extra=scopes("review"))
async def board(request: Request) -> Response:
    """The leaderboard, the voters, and how often judges agree with people."""
    parts, who = parts_of(request), caller(request)
    state: ArenaState = request.app.state.page.arena
    async with state.one_at_a_time:
        stamp = await parts.pool.run(parts.database.arena.stamp, who.tenant)
        if state.made.get(who.tenant, (None,))[0] != stamp:
            state.made[who.tenant] = (stamp, await parts.pool.run(_worked_out, parts.database, who.tenant))
        found = state.made[who.tenant][1]
    keys = await parts.pool.run(parts.database.api_keys.known, who.tenant)
    names = {LOCAL: "this machine's user", **{str(key.id): caller_of(key).name for key in keys}}
    return page(request, "arena_board.html.j2", standing=found, most=VOTERS, voter_names=names, own=_voter(who))


def _worked_out(database: Database, tenant: str) -> Standing:
    return standing(database.arena.votes(tenant), database.arena.judged(tenant))


async def _shown(
    request: Request,
    status: int = 200,
    wrong: str | None = None,
    shown: ArenaItem | None = None,
    places: list[str] | None = None,
) -> Response:
    parts, who = parts_of(request), caller(request)
    voter, arena = _voter(who), parts.database.arena

    def work() -> tuple[ArenaItem | None, tuple[int, int]]:
        return shown or arena.next(who.tenant, voter), arena.progress(who.tenant, voter)

    one, (voted, waiting) = await parts.pool.run(work)
    answers = [] if one is None else [one.item.responses[place] for place in one.order(voter)]
    return page(
        request,
        "arena.html.j2",
        status,
        one=one,
        answers=list(zip(LETTERS, answers, strict=False)),
        winners=WINNERS,
        places=places or [""] * len(answers),
        since=int(time.time() * 1000),
        voted=voted,
        waiting=waiting,
        wrong=wrong,
    )


def _voter(who: Caller) -> str:
    return LOCAL if who.key_id is None else str(who.key_id)


def _seconds(since: str) -> float | None:
    """From when the page was made, in milliseconds since 1970, until now; None for what cannot be."""
    if not (since.isascii() and since.isdigit() and len(since) < 16):
        return None
    seconds = time.time() - int(since) / 1000
    return seconds if 0 <= seconds <= LONGEST else None
