"""Webhooks: a signed POST of JSON to the address that the operator set, and nowhere else.

Signature: HMAC-SHA256 (RFC 2104) over the time of sending, a full stop and the body, so that neither can be changed
and an old message cannot be played again later:

    Weighup-Signature: t=1767225600,v1=5257a8…

The address goes through the guard of all web requests, name and numbers alike. Redirects are not followed: a signed
message is meant for one receiver.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weighup.retrieve.transport import Connector
    from weighup.serve.alerts.targets import WebhookTarget
    from weighup.serve.db.records import Alert

SIGNATURE = "Weighup-Signature"
ALERT_ID = "Weighup-Alert-Id"
"""The header that stays the same however often an alert is sent: what was seen before may be dropped."""
TOLERANCE = 300.0
"""Seconds by which a receiver's clock and ours may differ, the way there included."""
LONGEST_WAIT = 86_400.0
"""Seconds: no receiver is left alone for longer, whatever it asks for."""
_READ = 65_536  # bytes of an answer that are taken off the line; none is looked at
_FINAL = (410,)


def sign(body: bytes, secret: str | bytes, at: int) -> str:
    """The header's value for a body sent at `at`, in seconds since 1970."""
    return f"t={at},v1={_digest(body, secret, str(at))}"


def verify_signature(
    body: bytes, header: str, secret: str | bytes, tolerance: float = TOLERANCE, *, now: float | None = None
) -> bool:
    """Whether `body`, exactly as it was received, was signed with `secret` at most `tolerance` seconds from `now`.

    Compares in constant time. A header that cannot be read is False, never an error. Several `v1` may be there, as
    while a secret is being replaced; one of them must fit.
    """
    if len(header) > 4_096:
        return False
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,12}", times[0]):
        return False
    expected = _digest(body, secret, times[0]).encode()
    fits = False
    for name, _, value in pairs:
        if name == "v1":
            fits |= hmac.compare_digest(value.encode("utf-8", "replace"), expected)
    recent = abs((time.time() if now is None else now) - int(times[0])) <= tolerance
    return fits and recent


class Webhook:
    """Posts alerts. Thread-safe; close it when done."""

    def __init__(
        self,
        target: WebhookTarget,
        *,
        timeout: float = 10.0,
        user_agent: str = "weighup",
        allow_loopback: bool = False,
        connector: Connector | None = None,
    ) -> None:
        from weighup.retrieve.transport import open_pool

        self.target = target
        self.timeout = timeout
        self.user_agent = user_agent
        self._pool = open_pool(connector, allow_loopback=allow_loopback)

    def close(self) -> None:
        """Give back the connections."""
        self._pool.close()

    def send(self, alert: Alert) -> None:
        """Post one alert; an answer of 2xx within `timeout` seconds means it has arrived. Raises Undelivered."""
        import httpcore

        from weighup.errors import SourceUnavailable
        from weighup.models.deadlines import deadline
        from weighup.serve.alerts.delivery import Undelivered
        from weighup.serve.alerts.message import body

        content = body(alert)
        headers = [
            ("User-Agent", self.user_agent),
            ("Content-Type", "application/json"),
            ("Accept", "*/*"),
            (ALERT_ID, str(alert.id)),
            ("Weighup-Attempt", str(alert.attempts)),
            (SIGNATURE, sign(content, self.target.secret, int(time.time()))),
        ]
        steps = dict.fromkeys(("connect", "read", "write", "pool"), self.timeout)
        name = self.target.name
        try:
            with (
                deadline(time.monotonic() + self.timeout),
                self._pool.stream(
                    "POST",
                    self.target.address.url,
                    headers=headers,
                    content=content,
                    extensions={"timeout": steps},
                ) as response,
            ):
                status, asked = response.status, _asked_wait(response.headers)
                _take_off(response)
        except SourceUnavailable as error:  # the guard's refusals among them: they name host and number, no path
            raise Undelivered(f"{name}: {error}") from None
        except httpcore.TimeoutException:
            raise Undelivered(f"{name} did not answer within {self.timeout:g} seconds") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise Undelivered(f"{name} cannot be reached or broke off: {type(error).__name__}") from None
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise Undelivered(f"{name} answered {status}, a redirect; set watch.webhook to where it moved")
        raise Undelivered(f"{name} answered {status}", final=status in _FINAL, wait=asked)


def _take_off(response: object) -> None:
    """Read a short answer off the line, so that the connection can be used again; a long one costs it."""
    import httpcore

    assert isinstance(response, httpcore.Response)
    got = 0
    try:
        for part in response.iter_stream():
            got += len(part)
            if got > _READ:
                return
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        return  # the status has been heard, and that is what counts


def _asked_wait(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Seconds from either form of Retry-After (RFC 9110, section 10.2.3); None if there is none to be read."""
    from weighup.dates import seconds_until

    value = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
    if re.fullmatch(r"[0-9]+", value):
        return min(LONGEST_WAIT, float(value[:12]))
    found = seconds_until(value) if value else None
    return None if found is None else min(LONGEST_WAIT, found)


def _digest(body: bytes, secret: str | bytes, at: str) -> str:
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, at.encode() + b"." + body, hashlib.sha256).hexdigest()
