"""Post JSON to a model's HTTP endpoint and read JSON back, within a time and a size, with failures sorted.

`httpx` rather than the vendors' packages: they take 0.9 s and 2.9 s to import, and each brings a retry layer of its
own under ours. No redirect is followed: the key goes nowhere but to the host that was named.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from weighup.errors import ModelUnavailable, SettingsError
from weighup.models.backend import Transient
from weighup.models.instances import shared
from weighup.models.retries import retry_after

_MOST_BYTES = 20_000_000
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}


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

        Raises SettingsError if the URL is not http(s), or if the key is not in the environment and the server is not
        on this machine.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"setting models.base_url: {base_url[:80]!r} is not an http or https address")
        if parts.username or parts.password:
            raise SettingsError("setting models.base_url: a name or password in the address; use models.api_key_env")
        self.base_url = base_url.rstrip("/")
        self.label = label
        self.host = parts.netloc
        self.local = _is_loopback(parts.hostname)
        secret = os.environ.get(key_env, "").strip()
        if not secret and not self.local:
            raise SettingsError(
                f"{label}: the environment variable {key_env} holds no key; set it, or name another in "
                "models.api_key_env"
            )
        self._secret = secret
        self._headers = dict(headers)
        if secret:
            self._headers[scheme] = f"Bearer {secret}" if scheme == "Authorization" else secret

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url})"

    def post(self, path: str, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        """The reply's JSON object. Raises Transient or Rejected; `timeout` seconds bound the whole exchange."""
        import httpx

        deadline = time.monotonic() + timeout
        client: httpx.Client = shared(("http", self.base_url), _client)
        try:
            with client.stream(
                "POST", f"{self.base_url}{path}", json=body, headers=self._headers, timeout=timeout
            ) as response:
                data = self._read(response, deadline)
        except httpx.TimeoutException as error:
            raise Transient(f"{self.label}: no answer from {self.host} within {timeout:.0f} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise Transient(self._scrubbed(f"{self.label}: cannot reach {self.host}: {error}")) from error
        if response.status_code == 200:
            return self._object(data)
        raise self._failure(response.status_code, data, retry_after(response.headers.get("retry-after")))

    def _read(self, response: Any, deadline: float) -> bytes:
        data = bytearray()
        for part in response.iter_bytes():
            data += part
            if len(data) > _MOST_BYTES:
                raise Transient(f"{self.label}: {self.host} sent more than {_MOST_BYTES // 1_000_000} MB")
            # The client's own timeout starts anew with every byte; a server that drips must not hold us.
            if time.monotonic() > deadline:
                raise Transient(f"{self.label}: {self.host} did not finish its answer in time")
        return bytes(data)

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            start = self._scrubbed(data[:80].decode("utf-8", "replace"))
            raise Transient(f"{self.label}: {self.host} answered with something that is not a JSON object: {start!r}")
        return found

    def _failure(self, status: int, data: bytes, wait: float | None) -> ModelUnavailable:
        detail, kind, parameter = _explained(data)
        message = self._scrubbed(f"{self.label}: {self.host} answered {status}: {detail[:300] or 'no reason given'}")
        # An empty account also answers 429; waiting does not fill it.
        if status in _TRANSIENT and "insufficient_quota" not in kind:
            return Transient(message, retry_after=wait)
        return Rejected(message, status, detail, parameter)

    def _scrubbed(self, text: str) -> str:
        return text.replace(self._secret, "[key]") if self._secret else text


def _client() -> Any:
    import httpx

    return httpx.Client(follow_redirects=False, limits=httpx.Limits(max_connections=256))


def _explained(data: bytes) -> tuple[str, str, str]:
    """What an error body says: message, kind, and the parameter blamed; the body's start if it is not JSON."""
    try:
        error = json.loads(data)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return data[:300].decode("utf-8", "replace").strip(), "", ""
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
