"""Who has signed in at the pages: cookies, and the tokens without which no form is taken.

A browser holds one random name in a cookie. The server keeps, in memory and under the name's digest, which API key it
signed in with; the key's text is not kept. A restart therefore signs everybody out. Whether the key is still in force
is asked of the database at every request.

The token in each form is an HMAC of the cookie's name under a secret that this process drew: another site can neither
read the cookie nor make the token. Signing in draws a new name, so that one planted before is worth nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

IDLE = 12 * 3600.0
"""Seconds without a request after which a browser is signed out."""
LONGEST = 7 * 86_400.0
"""Seconds after which it is signed out in any case."""
MOST = 10_000
COOKIE = "weighup"
_NAME = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(slots=True)
class Session:
    """A browser that signed in with a key of `tenant`; times are of the store's clock."""

    key_id: uuid.UUID
    tenant: str
    begun: float
    seen: float


class Sessions:
    """The browsers that are signed in. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, key_id: uuid.UUID, tenant: str) -> str:
        """Sign a browser in; the name for its cookie."""
        name, now = new_name(), self._clock()
        with self._lock:
            self._known[_digest(name)] = Session(key_id, tenant, now, now)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return name

    def find(self, name: str | None) -> Session | None:
        """The session of a cookie, None if there is none (any more)."""
        if name is None:
            return None
        now, digest = self._clock(), _digest(name)
        with self._lock:
            found = self._known.get(digest)
            if found is None:
                return None
            if now - found.seen > IDLE or now - found.begun > LONGEST:
                del self._known[digest]
                return None
            found.seen = now
            self._known.move_to_end(digest)
            return found

    def end(self, name: str | None) -> None:
        """Sign a browser out."""
        if name is not None:
            with self._lock:
                self._known.pop(_digest(name), None)

    def token(self, name: str) -> str:
        """What the forms of the browser with this cookie must hold."""
        return hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()

    def matches(self, name: str | None, token: str) -> bool:
        """Whether a form came from a page that this browser was shown; compared in constant time."""
        return name is not None and hmac.compare_digest(self.token(name).encode(), token.encode("utf-8", "replace"))


def new_name() -> str:
    """A name for a browser that has none: 256 random bits."""
    return secrets.token_urlsafe(32)


def name_of(request: Request) -> str | None:
    """The name in a browser's cookie, None if there is none or it is none of ours."""
    given = request.cookies.get(_cookie(request))
    return given if given is not None and _NAME.fullmatch(given) else None


def put(request: Request, response: Response, name: str) -> None:
    """Give a browser its cookie: unseen by scripts, sent to this site only, over https where there is https."""
    secure = is_secure(request)
    response.set_cookie(_cookie(request), name, httponly=True, samesite="strict", secure=secure, path="/")


def is_secure(request: Request) -> bool:
    """Whether this server is reached over https, by this request or as its settings say."""
    public = request.app.state.parts.settings.serve.public_url or ""
    return request.url.scheme == "https" or public.lower().startswith("https:")


def _cookie(request: Request) -> str:
    # Browsers take a cookie with this prefix from the host itself only, and only with Secure.
    return f"__Host-{COOKIE}" if is_secure(request) else COOKIE


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
