"""Limits: how much one request may be, how long it may take, how many may be under way, and how often a key may ask.

What is over a limit is refused at once with the time after which to come again: waiting lines are bounded everywhere,
so that a server that is asked too much stays as quick as before for those it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio.to_thread

from weighup.serve.api.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from weighup.settings import ServeSettings

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 6
"""Calls to the database or the evidence store that run at the same time. More would only wait for each other: most of
the work is Python's, which runs in one thread at a time."""
ALWAYS = ("/healthz", "/readyz", "/metrics")
"""Paths that are answered however much is under way: whoever looks after the server asks them."""
LINGER_BYTES, LINGER_SECONDS = 16_000_000, 2.0
"""How much of a refused body is still read, and for how long, before the connection is closed."""
_BUCKETS = 10_000  # keys or addresses whose pace is remembered


class Pool:
    """Threads for what blocks: `threads` at the same time, `waiting` more in line, the rest told to come again."""

    def __init__(self, threads: int = THREADS, waiting: int = 96) -> None:
        self._limiter: anyio.CapacityLimiter | None = None
        self._threads = threads
        self._most = threads + waiting
        self.inside = 0

    async def run(self, call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What the call returns or raises. Raises Problem if too many are in line."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads)
        if self.inside >= self._most:
            raise Problem("overloaded", "too many requests are waiting; come again in a moment", retry_after=1)
        self.inside += 1
        try:
            return await anyio.to_thread.run_sync(functools.partial(call, *args, **named), limiter=self._limiter)
        finally:
            self.inside -= 1


class Buckets:
    """Token buckets, one for each name: as many as `per_minute` at once, then as fast as they fill again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, name: Hashable, per_minute: int, count: float = 1) -> float:
        """Take `count` tokens: 0.0 if there were enough, else after how many seconds there will be."""
        with self._lock:
            now = self._clock()
            level = self._level(name, per_minute, now)
            short = count - level
            if short > 0:
                return short * 60 / per_minute
            self._keep(name, level - count, now)
            return 0.0

    def wait(self, name: Hashable, per_minute: int) -> float:
        """As `take` of one, taking nothing."""
        with self._lock:
            return max(0.0, 1 - self._level(name, per_minute, self._clock())) * 60 / per_minute

    def _level(self, name: Hashable, per_minute: int, now: float) -> float:
        level, at = self._levels.get(name, (float(per_minute), now))
        return min(float(per_minute), level + (now - at) * per_minute / 60)

    def _keep(self, name: Hashable, level: float, now: float) -> None:
        self._levels[name] = (level, now)
        self._levels.move_to_end(name)
        while len(self._levels) > _BUCKETS:
            self._levels.popitem(last=False)


class Limits:
    """Middleware: body size, time for a request, requests under way."""

    def __init__(self, app: ASGIApp, *, settings: ServeSettings, stopping: threading.Event) -> None:
        self.app = app
        self.settings = settings
        self.stopping = stopping
        self.most = 4 * settings.waiting
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self.app(scope, receive, send)
            return
        problem = self._refused(scope)
        if problem is not None:
            if problem.kind.name == "too-large" and b"expect" not in dict(scope["headers"]):
                await _discard(receive)
            await problem.answer(scope["state"].get("request_id"))(scope, receive, send)
            return
        self.under_way += 1
        call = _Call(self, scope, receive, send)
        try:
            await call.run()
        finally:
            if call.counted:
                self.under_way -= 1

    def _refused(self, scope: Scope) -> Problem | None:
        if self.stopping.is_set():
            return Problem("stopping", "the server is shutting down; ask again soon", retry_after=5)
        if self.under_way >= self.most:
            return Problem("overloaded", "too many requests are under way; come again in a moment", retry_after=1)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit():
            return Problem("bad-request", "Content-Length: is not a number")
        if int(length[:20]) > self.settings.max_body_bytes:
            return self.too_large()
        return None

    def too_large(self) -> Problem:
        said = f"a body may have {self.settings.max_body_bytes:,} bytes; hand in many rows as several jobs"
        return Problem("too-large", said, headers={"Connection": "close"})


async def _discard(receive: Receive) -> None:
    """Read what is left of a body that is refused, for a moment: hung up on while it still sends, a client would see a
    connection that was reset, and not the answer."""
    left = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


class _Call:
    """One request on its way through the limits."""

    def __init__(self, limits: Limits, scope: Scope, receive: Receive, send: Send) -> None:
        self.limits, self.scope = limits, scope
        self._receive, self._send = receive, send
        self.counted, self.started, self.complete, self.size = True, False, False, 0
        self.time: asyncio.Timeout | None = None
        self.ends = math.inf

    async def run(self) -> None:
        seconds = self.limits.settings.request_seconds
        self.ends = time.monotonic() + seconds
        try:
            # A little later than the body's own end, which has the better message.
            async with asyncio.timeout(seconds + 0.25) as self.time:
                await self.limits.app(self.scope, self.receive, self.send)
        except TimeoutError:
            if self.started or self.time is None or not self.time.expired():
                raise
            said = f"it took more than {seconds:g} s; ask with `Prefer: respond-async`, or later"
            problem = Problem("too-slow", said, retry_after=10)
            await problem.answer(self.scope["state"].get("request_id"))(self.scope, self._receive, self._send)

    async def receive(self) -> Message:
        if self.complete:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self.ends - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            self.complete = True
            raise Problem("timeout", "the body did not arrive in time", headers={"Connection": "close"}) from None
        if message["type"] == "http.request":
            self.size += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self.size > self.limits.settings.max_body_bytes:
                self.complete = True
                if message.get("more_body", False):
                    await _discard(self._receive)
                raise self.limits.too_large()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
            if kinds and kinds[0].startswith(b"text/event-stream"):  # bounded elsewhere, and meant to last
                self.counted = False
                self.limits.under_way -= 1
                if self.time is not None:
                    self.time.reschedule(None)
        await self._send(message)
