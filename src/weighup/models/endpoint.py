"""Post JSON to a model's HTTP endpoint and read JSON back, within a time and a size, with failures sorted.

HTTP by hand rather than the vendors' packages: they take 0.9 s and 2.9 s to import, and each brings a retry layer of
its own under ours. No redirect is followed: the key goes nowhere but to the host that was named.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from weighup.errors import ModelUnavailable, SettingsError
from weighup.models.backend import Transient
from weighup.models.instances import shared
from weighup.models.retries import retry_after
from weighup.texts import whole

_MOST_BYTES = 20_000_000
_MOST_DETAIL = 2000
_TRANSIENT = {408, 409, 425, 429}
_NOT_IMPLEMENTED = 501
# What a key is put in by mistake is not shown; the name of a variable is written in capitals.
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


class Rejected(ModelUnavailable):
    """The server understood and said no. `status` is HTTP's; `detail` what it said; `parameter` what it blamed."""

    def __init__(self, message: str, status: int, detail: str, parameter: str) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.parameter = parameter


class Endpoint:
    """A base URL with a secret. Neither `repr` nor any error shows the secret."""

    def __init__(self, base_url: str, *, label: str, key_env: str, scheme: str, headers: Mapping[str, str]) -> None:
        """`scheme`: the header that carries the key, `Authorization` (as Bearer) or another.

        Raises SettingsError if the URL is not http(s), if the key is not one a header can carry, or if it is not in
        the environment and the server is not on this machine.
        """
        parts = _address(base_url)
        self.base_url = base_url.rstrip("/")
        self.label = label
        self.host = parts.netloc
        self.local = _is_loopback(parts.hostname or "")
        secret = os.environ.get(key_env, "").strip()
        if not secret and not self.local:
            raise SettingsError(
                f"{label}: {_variable(key_env)} holds no key; set it, or name another in models.api_key_env"
            )
        if not (secret.isascii() and secret.isprintable()):
            raise SettingsError(
                f"{label}: {_variable(key_env)} holds line breaks or characters other than ASCII, which no key has"
            )
        self._secret = secret
        self._headers = dict(headers)
        if secret:
            self._headers[scheme] = f"Bearer {secret}" if scheme == "Authorization" else secret

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url})"

    def post(self, path: str, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The reply's JSON object. Raises Transient or Rejected; `timeout` seconds bound the whole exchange."""
        import httpcore

        from weighup.models.wire import TooLarge, post

        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        try:
            answer = post(
                self._pool(), f"{self.base_url}{path}", content, self._headers, timeout=timeout, most=_MOST_BYTES
            )
        except httpcore.TimeoutException as error:
            raise Transient(f"{self.label}: no answer from {self.host} within {timeout:.3g} s") from error
        except TooLarge as error:
            raise Transient(f"{self.label}: {self.host} sent more than {_MOST_BYTES // 1_000_000} MB") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, UnicodeError) as error:
            reason = self._scrubbed(str(error)) or type(error).__name__
            raise Transient(f"{self.label}: cannot reach {self.host}: {reason}") from error
        if answer.status == 200:
            return self._object(answer.data)
        raise self._failure(answer.status, answer.data, retry_after(answer.headers.get("retry-after")))

    def quoted(self, reply: Any) -> str:
        """The start of what the server said, for a message: without the key, should it have sent that back."""
        return self._scrubbed(str(reply))[:120]

    def _pool(self) -> Any:
        from weighup.models.wire import open_pool

        try:
            return shared(("http", self.base_url), lambda: open_pool(self.base_url, local=self.local))
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelUnavailable(
                f"{self.label}: the proxy or certificates that the environment names cannot be used: {error}"
            ) from error

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            found = _whole(json.loads(data))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            start = self._scrubbed(data.decode("utf-8", "replace"))[:80]
            raise Transient(f"{self.label}: {self.host} answered with something that is not a JSON object: {start!r}")
        return found

    def _failure(self, status: int, data: bytes, wait: float | None) -> ModelUnavailable:
        detail, kind, parameter = (self._scrubbed(said)[:_MOST_DETAIL] for said in _explained(data))
        message = f"{self.label}: {self.host} answered {status}: {detail[:300] or 'no reason given'}"
        passing = status in _TRANSIENT or (status >= 500 and status != _NOT_IMPLEMENTED)
        # An empty account also answers 429; waiting does not fill it.
        if passing and "insufficient_quota" not in kind:
            return Transient(message, retry_after=wait)
        return Rejected(message, status, detail, parameter)

    def _scrubbed(self, text: str) -> str:
        return text.replace(self._secret, "[key]") if self._secret else text


def _whole(value: Any) -> Any:
    """Parsed JSON with whole characters only: its escapes can write half a surrogate pair."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_whole(part) for part in value]
    if isinstance(value, dict):
        return {whole(name): _whole(part) for name, part in value.items()}
    return value


def _address(base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and base_url.isascii() and " " not in base_url
    except ValueError:
        usable = False
    if not usable:
        shown = base_url.rpartition("@")[2][:80]
        raise SettingsError(f"setting models.base_url: {shown!r} is not an http or https address")
    if parts.username or parts.password:
        raise SettingsError("setting models.base_url: a name or password in the address; use models.api_key_env")
    if parts.query or parts.fragment:
        raise SettingsError("setting models.base_url: nothing may follow the path; a key belongs in models.api_key_env")
    return parts


def _variable(name: str) -> str:
    if _NAME.fullmatch(name):
        return f"the environment variable {name}"
    return "the environment variable that models.api_key_env names (not shown: it may be a key)"


def _explained(data: bytes) -> tuple[str, str, str]:
    """What an error body says: message, kind, and the parameter blamed; the body's start if it is not JSON."""
    try:
        error = json.loads(data)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return data.decode("utf-8", "replace").strip(), "", ""
    if not isinstance(error, dict):
        return str(error), "", ""
    return (
        str(error.get("message", "")),
        f"{error.get('type')} {error.get('code')}",
        str(error.get("param") or ""),
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
