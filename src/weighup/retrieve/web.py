"""The one HTTP client for evidence: guarded, bounded, polite, patient to a point.

Every request has limits on time (an attempt ends after `settings.timeout` seconds however the bytes drip; all attempts
together after twice that), on size (declared, received and unpacked), on redirects and on content types; goes
through the address guard at every hop; keeps the host's pace and, unless `trusted`, its robots.txt.

`trusted=True` marks an address that the *user* configured (a search service): it skips robots.txt and may use any
port. It does not open loopback or private networks: only `retrieve.allow_loopback` opens loopback, and then never to
a redirect from elsewhere. Redirects are followed by hand: headers given by the caller stay with their origin, and a
request with such headers never goes from https to http. No cookies, no proxy, no credentials from the environment.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from weighup.dates import seconds_until
from weighup.errors import AddressRefused, PageRefused, SourceUnavailable
from weighup.retrieve.guard import Address, check_address, is_loopback, shown
from weighup.retrieve.pacing import Pacer
from weighup.retrieve.receive import Fetched, receive
from weighup.retrieve.robots import LARGEST, Robots
from weighup.settings import RetrieveSettings

if TYPE_CHECKING:
    import httpcore
    import tenacity

    from weighup.retrieve.transport import Connector

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""Tries of one hop, with jittered back-off between them."""

PATIENCE = 2.0
"""All hops, tries and back-offs of one call together take at most this many times `settings.timeout`."""

_AGAIN = frozenset({429, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HARMLESS = frozenset({"accept", "accept-language"})


class WebClient:
    """Fetches pages and asks services. Thread-safe; close it, or use it as a context manager."""

    def __init__(self, settings: RetrieveSettings | None = None, *, connector: Connector | None = None) -> None:
        self.settings = settings or RetrieveSettings()
        self._connector = connector
        self._pool: httpcore.ConnectionPool | None = None
        self._lock = threading.Lock()
        self._pacer = Pacer(self.settings.per_host_per_second)
        agent = re.match(r"[A-Za-z_-]+", self.settings.user_agent)
        self._robots = Robots(agent[0] if agent else "weighup", self._robots_file)

    def __enter__(self) -> WebClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections. The client opens new ones if it is used again."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        accept: tuple[str, ...] | None = None,
        trusted: bool = False,
    ) -> Fetched:
        """GET an address; whatever final status comes back is returned, also 404 or 500.

        `accept` lists content types that will do (`text/html`, `text/*`), for good answers only; None takes any.
        Raises AddressRefused, PageRefused (size, type, redirects, robots.txt) or SourceUnavailable (no answer).
        """
        if params:
            pairs = {name: _plain(value) for name, value in params.items() if value is not None}
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(pairs, doseq=True)}"
        return self._follow("GET", url, None, dict(headers or {}), max_bytes, accept, trusted)

    def post_json(
        self, url: str, payload: Any, *, headers: Mapping[str, str] | None = None, trusted: bool = False
    ) -> Fetched:
        """POST JSON; otherwise as `get`. Redirects are refused: what is posted is meant for one address."""
        body = json.dumps(payload, ensure_ascii=False).encode()
        return self._follow("POST", url, body, dict(headers or {}), None, None, trusted)

    def _follow(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        max_bytes: int | None,
        accept: tuple[str, ...] | None,
        trusted: bool,
    ) -> Fetched:
        """One call: hop after hop until something is no redirect."""
        patience = _Patience(time.monotonic() + PATIENCE * self.settings.timeout)
        address = self._check(url, any_port=trusted)
        start = address
        for _ in range(self.settings.max_redirects + 1):
            trusted = trusted and address.origin == start.origin
            if not trusted:
                self._robots.check(address.url)
            sent = _for_origin(headers, start, address)
            reply = self._hop(method, address, body, sent, max_bytes or self.settings.max_page_bytes, accept, patience)
            target = reply.headers.get("location")
            if reply.status not in _REDIRECTS or not target:
                return reply
            if method == "POST":
                raise PageRefused(f"{shown(address.url)} redirects what was sent to it; use the address it moved to")
            address = self._next(address, target, sent, trusted)
        raise PageRefused(f"{shown(start.url)} was not read: more than {self.settings.max_redirects} redirects")

    def _next(self, address: Address, target: str, headers: dict[str, str], trusted: bool) -> Address:
        """Where a redirect leads, if it may. Headers are those just sent: only their origin gets them again."""
        try:
            url = urljoin(address.url, _utf8(target.strip())).partition("#")[0]
        except ValueError:
            raise PageRefused(f"{shown(address.url)} redirects to something that is not an address") from None
        found = self._check(url, any_port=trusted and _same_host(address, url))
        if is_loopback(found.host) and not is_loopback(address.host):
            raise AddressRefused(f"{shown(address.url)} redirects to this machine ({found.host}); it was not followed")
        private = any(name.lower() not in _HARMLESS for name in headers)
        if private and address.scheme == "https" and found.scheme == "http":
            raise PageRefused(
                f"{shown(address.url)} redirects from https to http; a request with a key does not follow"
            )
        return found

    def _check(self, url: str, *, any_port: bool) -> Address:
        return check_address(url, allow_loopback=self.settings.allow_loopback, any_port=any_port)

    def _hop(
        self,
        method: str,
        address: Address,
        body: bytes | None,
        headers: dict[str, str],
        max_bytes: int,
        accept: tuple[str, ...] | None,
        patience: _Patience,
    ) -> Fetched:
        """One address, tried again while that may help and there is time. The last answer counts."""
        import tenacity

        def attempt() -> Fetched:
            return self._in_turn(self._pacer, method, address, body, headers, max_bytes, accept, patience)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Unsteady) | tenacity.retry_if_result(_try_again),
            wait=lambda state: _pause(state, self.settings.timeout),
            stop=lambda state: (
                state.attempt_number >= ATTEMPTS or time.monotonic() + state.upcoming_sleep >= patience.end
            ),
            retry_error_callback=_last_answer,
        )
        reply: Fetched = retrying(attempt)
        return reply

    def _in_turn(
        self,
        pacer: Pacer,
        method: str,
        address: Address,
        body: bytes | None,
        headers: dict[str, str],
        max_bytes: int,
        accept: tuple[str, ...] | None,
        patience: _Patience,
    ) -> Fetched:
        """One attempt, when the host has a place."""
        asked = time.monotonic()
        with pacer.turn(address.host):
            patience.end += time.monotonic() - asked  # queueing for the host is not its fault
            return self._once(method, address, body, headers, max_bytes, accept, patience.end)

    def _once(
        self,
        method: str,
        address: Address,
        body: bytes | None,
        headers: dict[str, str],
        max_bytes: int,
        accept: tuple[str, ...] | None,
        end: float,
    ) -> Fetched:
        """One attempt. Raises _Unsteady for what may go better next time."""
        import httpcore

        from weighup.models.deadlines import deadline

        name = shown(address.url)
        timeout = self.settings.timeout
        steps = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
        try:
            with (
                deadline(min(time.monotonic() + timeout, end)),
                self._connections().stream(
                    method,
                    address.url,
                    headers=self._headers(headers, accept, body),
                    content=body,
                    extensions={"timeout": steps},
                ) as response,
            ):
                return receive(response, address.url, max_bytes, accept)
        except httpcore.TimeoutException:
            raise _Unsteady(f"{name} did not answer within {timeout:g} seconds; try again later") from None
        except httpcore.ConnectError as error:
            raise SourceUnavailable(f"{name} cannot be reached: {error}") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _Unsteady(f"{name} broke off its answer: {error}") from None

    def _headers(
        self, given: dict[str, str], accept: tuple[str, ...] | None, body: bytes | None
    ) -> Sequence[tuple[str, str]]:
        headers = {
            "User-Agent": self.settings.user_agent,
            "Accept": ", ".join(accept) if accept else "*/*",
            "Accept-Encoding": "gzip, deflate",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        taken = {name.lower() for name in given}
        return [(name, value) for name, value in headers.items() if name.lower() not in taken] + [*given.items()]

    def _robots_file(self, url: str) -> tuple[int, str]:
        """A robots.txt for `Robots`: redirects are followed, at the same guard, without asking robots.txt again."""
        patience = _Patience(time.monotonic() + self.settings.timeout)
        address = self._check(url, any_port=True)  # the page's own port was checked before
        for _ in range(self.settings.max_redirects + 1):
            try:
                reply = self._hop("GET", address, None, {}, LARGEST, None, patience)
                if reply.status not in _REDIRECTS or "location" not in reply.headers:
                    return reply.status, reply.text
                address = self._next(address, reply.headers["location"], {}, False)
            except PageRefused as error:
                logger.info("no robots.txt that can be read, so the host has not said no: %s", error)
                return 404, ""
        return 404, ""

    def _connections(self) -> httpcore.ConnectionPool:
        with self._lock:
            if self._pool is None:
                from weighup.retrieve.transport import open_pool

                self._pool = open_pool(self._connector, allow_loopback=self.settings.allow_loopback)
            return self._pool


@dataclass(slots=True)
class _Patience:
    """When a call gives up, in seconds of `time.monotonic`."""

    end: float


class _Unsteady(SourceUnavailable):
    """What may go better next time: no answer in time, or a broken one."""


def _try_again(reply: Fetched) -> bool:
    return reply.status in _AGAIN


def _pause(state: tenacity.RetryCallState, timeout: float) -> float:
    """Seconds until the next try: what Retry-After asks for, else about half a second, doubling, with jitter."""
    outcome = state.outcome
    if outcome is not None and not outcome.failed:
        asked = _retry_after(outcome.result().headers.get("retry-after", ""))
        if asked is not None:
            return asked
    longest = min(0.5 * 2.0 ** (state.attempt_number - 1), timeout / 4)  # leaves time for the next try itself
    return longest * random.uniform(0.5, 1.0)  # chance only spreads load, so it needs no seed


def _retry_after(value: str) -> float | None:
    """Seconds, from either form of the header (RFC 9110, section 10.2.3); None if there is none to be read."""
    if value.strip().isdecimal():
        return float(value)
    return seconds_until(value)


def _last_answer(state: tenacity.RetryCallState) -> Fetched:
    """What the last try gave: a reply such as 429, which the caller can explain, or the error."""
    assert state.outcome is not None
    reply: Fetched = state.outcome.result()
    return reply


def _for_origin(headers: dict[str, str], start: Address, address: Address) -> dict[str, str]:
    """The caller's headers for this hop: elsewhere than where they were meant for, only harmless ones go along."""
    if address.origin == start.origin:
        return headers
    return {name: value for name, value in headers.items() if name.lower() in _HARMLESS}


def _same_host(address: Address, url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").lower() == address.host and (parts.port or 0) in (0, address.port)
    except ValueError:
        return False


def _utf8(header: str) -> str:
    """A header that was read byte by byte, as the UTF-8 that some servers send in it."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def _plain(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
