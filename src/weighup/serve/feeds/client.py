"""The web client as a feed reader uses it: one request a hop, and knowledge of which redirects are for good.

All that guards a fetch stays as it is in `retrieve.web`: addresses, robots.txt, sizes, time, places for each host. A
poll is not tried again at once: the schedule does that, and politely. Loopback keeps no pace, only its places: it is
this machine, and its owner opened it by `retrieve.allow_loopback`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from weighup.retrieve.guard import Address, is_loopback
from weighup.retrieve.pacing import Pacer
from weighup.retrieve.receive import Fetched
from weighup.retrieve.web import WebClient
from weighup.settings import RetrieveSettings

if TYPE_CHECKING:
    from weighup.retrieve.transport import Connector
    from weighup.retrieve.web import _Patience

_PERMANENT = frozenset({301, 308})
_UNPACED = 1e6


class FeedClient(WebClient):
    """Fetches feeds. Thread-safe; close it, or use it as a context manager."""

    def __init__(self, settings: RetrieveSettings | None = None, *, connector: Connector | None = None) -> None:
        super().__init__(settings, connector=connector)
        self._here = Pacer(_UNPACED)
        self._hops = threading.local()

    def ask(
        self, url: str, *, headers: Mapping[str, str], max_bytes: int, trusted: bool = False
    ) -> tuple[Fetched, str]:
        """The reply, and where the feed now lives: `url` unless redirects said for good that it moved (RFC 9110,
        sections 15.4.2 and 15.4.9: up to the first one that does not). Raises as `get`."""
        trail: list[tuple[str, int]] = []
        self._hops.trail = trail
        try:
            reply = self.get(url, headers=headers, max_bytes=max_bytes, trusted=trusted)
        finally:
            self._hops.trail = None
        for place, (reached, status) in enumerate(trail):
            if status not in _PERMANENT:
                return reply, reached if place else url
        return reply, url

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
        pacer = self._here if is_loopback(address.host) else self._pacer
        reply = self._in_turn(pacer, method, address, body, headers, max_bytes, accept, patience)
        trail = getattr(self._hops, "trail", None)
        if trail is not None:
            trail.append((address.url, reply.status))
        return reply

    def _robots_file(self, url: str) -> tuple[int, str]:
        trail, self._hops.trail = getattr(self._hops, "trail", None), None  # its redirects are not the feed's
        try:
            return super()._robots_file(url)
        finally:
            self._hops.trail = trail
