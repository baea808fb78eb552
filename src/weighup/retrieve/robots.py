"""robots.txt as RFC 9309 defines it: which pages of a host a crawler named `agent` may read.

Groups for the same agent are merged, the longest matching rule wins and `Allow` wins a tie; `*` and a final `$` are
understood (the standard library's parser knows neither and takes the first rule that matches). A file that is absent
(4xx) allows everything; one that cannot be had (5xx, no answer) disallows everything for a while.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from weighup.errors import AddressRefused, PageRefused, SourceUnavailable
from weighup.retrieve.guard import shown

LARGEST = 2_000_000
"""Bytes. RFC 9309, section 2.5, asks to read at least 500 kibibytes; what is larger than this is no list of rules."""

KEEP_SECONDS = 24 * 3600.0
"""RFC 9309, section 2.4: not longer than a day."""

ABSENT_SECONDS = 600.0
"""How long a host stays closed after its robots.txt could not be had; ours."""

_HOSTS = 2048
_RULES = 10_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What one robots.txt says to one agent: (pattern, allowed), in any order."""

    rules: tuple[tuple[str, bool], ...] = ()

    def allow(self, url: str) -> bool:
        """Whether the page at that address may be read."""
        parts = urlsplit(url)
        path = _normal(parts.path or "/") + (f"?{_normal(parts.query)}" if parts.query else "")
        if path == "/robots.txt":
            return True
        matching = [(len(pattern), allowed) for pattern, allowed in self.rules if matches(pattern, path)]
        return max(matching, default=(0, True))[1]


OPEN = Rules()


@dataclass(frozen=True, slots=True)
class _Known:
    """What a host's file said, until when (seconds of `time.monotonic`); `why` it could not be had, if it could not."""

    until: float
    rules: Rules = OPEN
    why: str | None = None


class Robots:
    """Rules by host, each file fetched once a day. Thread-safe.

    `fetch(url)` returns status and text, or raises SourceUnavailable without an answer.
    """

    def __init__(self, agent: str, fetch: Callable[[str], tuple[int, str]]) -> None:
        self.agent = agent
        self._fetch = fetch
        self._kept: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, url: str) -> None:
        """Return if this page may be read. Asks the host for its file if it is not known, or too old.

        Raises PageRefused if the file says no, SourceUnavailable if it could not be had, AddressRefused from the guard.
        """
        parts = urlsplit(url)
        known = self._known(f"{parts.scheme}://{parts.netloc}")
        if known.why is not None:
            raise SourceUnavailable(f"{shown(url)} was not read, as the site's robots.txt could not be: {known.why}")
        if not known.rules.allow(url):
            raise PageRefused(f"{shown(url)} was not read: the site's robots.txt asks not to")

    def _known(self, host: str) -> _Known:
        with self._lock:
            known = self._kept.get(host)
            if known is not None and time.monotonic() < known.until:
                self._kept.move_to_end(host)
                return known
        known = self._ask(host)
        with self._lock:
            self._kept[host] = known
            while len(self._kept) > _HOSTS:
                self._kept.popitem(last=False)
        return known

    def _ask(self, host: str) -> _Known:
        now = time.monotonic()
        try:
            status, text = self._fetch(f"{host}/robots.txt")
        except AddressRefused:
            raise
        except SourceUnavailable as error:
            return _Known(now + ABSENT_SECONDS, why=str(error))
        if 200 <= status < 300:
            return _Known(now + KEEP_SECONDS, parse(text, self.agent))
        if status >= 500 or status == 429:
            return _Known(now + ABSENT_SECONDS, why=f"the site answered with HTTP status {status}")
        return _Known(now + KEEP_SECONDS)


def parse(text: str, agent: str) -> Rules:
    """The rules for an agent's product token (`weighup`), else those for `*`, else none. Never fails: what is not
    understood is passed over, as the RFC asks."""
    groups: dict[str, list[tuple[str, bool]]] = {}
    agents: list[str] = []
    in_rules = False
    wanted = {agent.lower(), "*"}
    for line in text.lstrip("\ufeff").splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            continue
        if name == "user-agent":
            if in_rules:
                agents, in_rules = [], False
            token = re.match(r"[A-Za-z_-]+|\*", value)
            if token:
                agents.append(token[0].lower())
                groups.setdefault(token[0].lower(), [])
        elif name in ("allow", "disallow") and agents:
            in_rules = True
            for one in wanted.intersection(agents):
                if value and len(groups[one]) < _RULES:
                    groups[one].append((_normal(value), name == "allow"))
    return Rules(tuple(groups.get(agent.lower(), groups.get("*", []))))


def matches(pattern: str, path: str) -> bool:
    """Whether a rule covers a path: a prefix, with `*` for anything and a final `$` for the end. Linear, no regex:
    the pattern comes from a stranger."""
    anchored = pattern.endswith("$")
    first, *rest = (pattern[:-1] if anchored else pattern).split("*")
    if not path.startswith(first):
        return False
    if not rest:
        return not anchored or path == first
    at = len(first)
    for piece in rest[:-1]:
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    if anchored:
        return len(path) - len(rest[-1]) >= at and path.endswith(rest[-1])
    return path.find(rest[-1], at) >= 0


def _normal(path: str) -> str:
    """One spelling of percent-encoding, so that rules and addresses compare."""
    return re.sub(r"%[0-9a-f]{2}", lambda m: m[0].upper(), quote(path, safe="/%:@!$&'()*+,;=~-._?[]|"), flags=re.I)
