"""What every web source does alike: ask, refuse replies that are not an answer, read JSON, find its key.

Messages name the source, the status and what to do. They never quote a request: its headers carry the key, and what
a service sends back may repeat it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weighup.errors import SettingsError, SourceUnavailable
from weighup.texts import clean

if TYPE_CHECKING:
    from weighup.retrieve.receive import Fetched
    from weighup.retrieve.web import WebClient

_ADVICE = {
    400: "it did not understand the request",
    401: "the key is missing or wrong",
    402: "the account's quota is spent",
    403: "the key is wrong, or may not use this service",
    404: "is the address right?",
    429: "too many requests; try again later or ask it less often",
}
_TAG = re.compile(r"<[^<>]*>")


def fetch(
    name: str,
    client: WebClient,
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Fetched:
    """GET from a service the user chose. Raises SourceUnavailable naming the source unless it answers 2xx."""
    return accepted(name, client.get(url, params=params, headers=headers, trusted=True))


def fetch_json(
    name: str,
    client: WebClient,
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """As `fetch`, for a JSON object. Raises SourceUnavailable if it is anything else."""
    return read_object(name, fetch(name, client, url, params=params, headers=headers).text)


def post_json(
    name: str, client: WebClient, url: str, payload: Mapping[str, Any], *, headers: Mapping[str, str]
) -> dict[str, Any]:
    """POST JSON, read a JSON object. Raises SourceUnavailable."""
    return read_object(name, accepted(name, client.post_json(url, payload, headers=headers, trusted=True)).text)


def accepted(name: str, fetched: Fetched) -> Fetched:
    """The reply if its status is 2xx. Raises SourceUnavailable naming the source and what the status means."""
    if 200 <= fetched.status < 300:
        return fetched
    advice = _ADVICE.get(fetched.status, "try again later")
    raise SourceUnavailable(f"{name} answered with HTTP status {fetched.status}: {advice}")


def read_object(name: str, text: str) -> dict[str, Any]:
    """The JSON object in a reply. Raises SourceUnavailable for HTML, junk, a list or a bare value."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise SourceUnavailable(f"{name} answered with something that is not JSON; try again later") from None
    if not isinstance(found, dict):
        raise SourceUnavailable(f"{name} answered with JSON of an unknown form ({type(found).__name__})")
    return found


def at(found: Any, *path: str) -> Any:
    """What lies at `path` in a reply's objects; None if the reply has another form."""
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def rows(found: Any, *path: str) -> list[dict[str, Any]]:
    """The list of objects at `path` in a reply; what is missing or of another form counts as no rows."""
    found = at(found, *path)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def plain(value: Any) -> str:
    """A reply's field as clean text on one line: tags dropped, entities read. Anything but a string is empty."""
    if not isinstance(value, str):
        return ""
    import html

    return " ".join(clean(html.unescape(_TAG.sub(" ", value))).split())


def web_address(value: Any) -> str | None:
    """The field if it is an http(s) address, else None: results can be `javascript:` and worse."""
    if not isinstance(value, str) or re.search(r"[\ud800-\udfff]", value):
        return None
    return value if re.match(r"https?://[^\s/]", value, re.IGNORECASE) else None


def key_from(variable: str, name: str) -> str:
    """The key in that environment variable. Raises SettingsError naming the variable, never its content."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SettingsError(f"source {name} needs a key: set the environment variable {variable}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(f"source {name}: the key in {variable} holds characters that no key has; set it again")
    return key
