"""Who is asking, and may they: API keys (RFC 6750 bearer tokens), their scopes, their pace.

Verifying a key costs 37 ms of argon2, so a key that was right is remembered for a short time: not the key itself but
its HMAC under a secret that this process drew at start, which is compared in constant time by being looked up whole.
Whether a key is still in force is asked of the database every two seconds, and at once after a revocation here.

Without any key in the database, this machine's own user may do everything as tenant "" (the laptop default): from a
loopback address, to a loopback name, not through a proxy and not from another site's page. The last three keep web
pages out that the user happens to have open.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from weighup.serve.api.limits import Buckets, Pool
from weighup.serve.api.parts import parts_of
from weighup.serve.api.problems import Problem, Wrong

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from weighup.serve.db import Database
    from weighup.serve.db.records import ApiKey
    from weighup.settings import ServeSettings

SCOPES = ("read", "check", "write", "feeds", "review", "admin")
"""What a key may do: read verdicts and evidence, have claims checked, all that changes things but for administration
(`write`: check, feeds and review), manage feeds, label verdicts, everything (`admin`: keys and the audit log too)."""
_IMPLIED = {"write": {"check", "feeds", "review"}, "admin": set(SCOPES)}
REMEMBERED = 60.0  # seconds
LOOKED = 2.0  # seconds between looks at which keys are in force
FAILURES = 20
"""Wrong keys that one address may try in a minute."""
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `key_id` None: this machine's user, where there are no keys."""

    tenant: str
    scopes: frozenset[str]
    key_id: uuid.UUID | None = None
    name: str = "local"
    per_minute: int | None = None
    per_day: int | None = None

    def may(self, *scopes: str) -> bool:
        """Whether one of these scopes is held, by name or by one that includes it."""
        held = set(self.scopes).union(*(_IMPLIED.get(one, set()) for one in self.scopes))
        return any(one in held for one in scopes)


LOCAL = Caller("", frozenset(SCOPES))


@dataclass(slots=True)
class _Force:
    """Which keys are in force, as of when."""

    at: float = -1e9
    any: bool = True
    ids: set[uuid.UUID] = field(default_factory=set)


class KeyRing:
    """Keys that were verified a short while ago. Blocking; thread-safe."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[ApiKey, float]] = OrderedDict()
        self._force = _Force()

    def digest(self, text: str) -> bytes:
        """What a key is remembered by."""
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).digest()

    def remembered(self, text: str) -> ApiKey | None:
        """A key that was right a short while ago and is still in force as far as was looked; asks nothing."""
        with self._lock:
            key, until = self._known.get(self.digest(text), (None, 0.0))
            if key is None or until <= self._clock() or key.id not in self._force.ids:
                return None
        return key if key.expires_at is None or key.expires_at > datetime.now(UTC) else None

    def verify(self, text: str) -> ApiKey | None:
        """The key that this is the text of, or None; up to 40 ms."""
        if len(text) > 200:
            return None
        self.look()
        key = self.remembered(text) or self._database.api_keys.verify(text)
        if key is not None:
            with self._lock:
                self._force.ids.add(key.id)
                self._force.any = True
                self._known[self.digest(text)] = (key, self._clock() + REMEMBERED)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return key

    @property
    def stale(self) -> bool:
        """Whether it is time to look again which keys are in force."""
        return self._clock() - self._force.at >= LOOKED

    def any(self) -> bool:
        """Whether there is a key at all, revoked ones too: revoking the last one must not open the door to all."""
        self.look()
        return self._force.any

    def look(self, *, now: bool = False) -> None:
        """Ask the database which keys are in force, unless that was just done."""
        if not (now or self.stale):
            return
        keys = self._database.api_keys.known()
        moment = datetime.now(UTC)
        ids = {key.id for key in keys if key.revoked_at is None and (key.expires_at is None or key.expires_at > moment)}
        with self._lock:
            self._force = _Force(self._clock(), bool(keys), ids)
            for digest in [digest for digest, (key, _) in self._known.items() if key.id not in ids]:
                del self._known[digest]


class Gate:
    """Lets requests in, or says why not."""

    def __init__(self, database: Database, settings: ServeSettings, pool: Pool) -> None:
        self.keys = KeyRing(database)
        self._database = database
        self._settings = settings
        self._pool = pool
        self._hashing = Pool(threads=2, waiting=30)
        self._buckets = Buckets()
        self._failures = Buckets()
        self._spent: dict[uuid.UUID, str] = {}
        self._asked: dict[bytes, asyncio.Future[ApiKey | None]] = {}

    async def admit(self, request: Request, *scopes: str) -> Caller:
        """The caller, if the key is right, holds one of `scopes`, and asks within its pace. Raises Problem."""
        caller = await self.authenticate(request)
        request.state.caller = caller
        if not caller.may(*scopes):
            raise Problem("forbidden", f"this needs a key with scope {' or '.join(scopes)}")
        await self.pace(caller)
        return caller

    async def authenticate(self, request: HTTPConnection) -> Caller:
        """Who asks. Raises Problem."""
        if self.keys.stale:
            await self._pool.run(self.keys.look)
        given = request.headers.get("authorization")
        if given is None:
            if is_local(request) and not self.keys.any():
                return LOCAL
            raise _unauthenticated("give a key in the header `Authorization: Bearer wu_…`")
        scheme, _, text = given.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or not text:
            raise _unauthenticated("the header Authorization must read `Bearer wu_…`")
        key = self.keys.remembered(text) or await self._verified(text, request)
        if key is None:
            raise _unauthenticated("this key is not known, or no longer in force", invalid=True)
        return caller_of(key)

    async def pace(self, caller: Caller, count: int = 1) -> None:
        """Count requests against the key's pace and its day's quota. Raises Problem when they are spent."""
        if caller.key_id is None:
            return
        wait = self._buckets.take(caller.key_id, caller.per_minute or self._settings.per_minute)
        if wait:
            raise Problem("rate-limited", "this key asks faster than it may", retry_after=wait)
        await self.spend(caller, count)

    async def spend(self, caller: Caller, count: int) -> None:
        """Count against the day's quota only: a job counts once for each of its rows."""
        quota = caller.per_day or self._settings.per_day
        if caller.key_id is None or quota is None or count < 1:
            return
        now = datetime.now(UTC)
        rest = (now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - now).total_seconds()
        spent = Problem("quota-spent", f"this key may ask for {quota} things in a day (UTC)", retry_after=rest)
        if self._spent.get(caller.key_id) == str(now.date()):
            raise spent
        made = await self._pool.run(self._database.api_keys.spend, caller.key_id, count, day=now.date())
        if made > quota:
            if made - count >= quota:
                self._spent[caller.key_id] = str(now.date())
            else:  # less would have fitted
                await self._pool.run(self._database.api_keys.spend, caller.key_id, -count, day=now.date())
            raise spent

    async def _verified(self, text: str, request: HTTPConnection) -> ApiKey | None:
        """Verify a key once, however many requests with it arrive together."""
        address = request.client.host if request.client else ""
        wait = self._failures.wait(address, FAILURES)
        if wait:
            raise Problem("rate-limited", "too many wrong keys came from this address", retry_after=wait)
        digest = self.keys.digest(text)
        running = self._asked.get(digest)
        if running is None:
            running = asyncio.ensure_future(self._hashing.run(self.keys.verify, text))
            self._asked[digest] = running
            running.add_done_callback(lambda _: self._asked.pop(digest, None))
        key = await asyncio.shield(running)
        if key is None:
            self._failures.take(address, FAILURES)
        return key


class Guarded(APIRoute):
    """A route that lets in only whom its `openapi_extra={"x-scopes": [...]}` names, before the body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        scopes = tuple((self.openapi_extra or {})["x-scopes"])
        known = {parameter.alias for parameter in self.dependant.query_params}

        async def handler(request: Request) -> Response:
            await parts_of(request).gate.admit(request, *scopes)
            for name in request.query_params:
                if name not in known:  # a misspelt filter would be answered with everything
                    wrong = Wrong(parameter=name[:100], detail="there is no such parameter")
                    raise Problem("invalid", f"{name[:100]}: there is no such parameter", errors=[wrong])
            if self.body_field is not None:
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if kind != "application/json":
                    raise Problem("unsupported-media-type", "send JSON, and `Content-Type: application/json`")
            return await inner(request)

        return handler


def scopes(*names: str) -> dict[str, Any]:
    """`openapi_extra` of a route that callers with one of these scopes may use."""
    return {"x-scopes": list(names)}


def caller(request: Request) -> Caller:
    """The caller of a guarded route; a dependency."""
    found: Caller = request.state.caller
    return found


def caller_of(key: ApiKey) -> Caller:
    """The caller that holds a key."""
    name = f"key {key.prefix} ({key.name})" if key.name else f"key {key.prefix}"
    return Caller(key.tenant, key.scopes, key.id, name, key.per_minute, key.per_day)


def is_local(request: HTTPConnection) -> bool:
    """Whether this machine's own user asks: see the top of this file."""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
    if request.client is None or forwarded or not _loopback(request.client.host):
        return False
    if not _loopback(_host(f"//{request.headers.get('host', '')}")):
        return False
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        return False
    return request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unauthenticated(detail: str, *, invalid: bool = False) -> Problem:
    challenge = 'Bearer realm="weighup"' + (', error="invalid_token"' if invalid else "")
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": challenge})
