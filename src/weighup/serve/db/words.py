"""Text as the database needs it: what a claim is told by, what searches look in, and nothing it cannot hold."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import datetime
from typing import Any

from weighup.texts import clean

_HAN = "\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")
_MAX_TOKEN = 64  # characters; PostgreSQL takes up to 2,046 bytes
_MAX_TOKENS = 2_000  # of a claim that can be found by
_MAX_SOUGHT = 32  # of a search


def claim_key(text: str, date: datetime | None) -> str:
    """64 hex digits: the same for the same claim on the same date, whatever its case, blanks and punctuation."""
    told = " ".join(_tokens(text)) or clean(text)
    return hashlib.sha256(f"{told}\n{date.isoformat() if date else ''}".encode()).hexdigest()


def indexed(text: str) -> str:
    """Tokens, blank between: lower case, without accents, runs of Han characters as overlapping pairs."""
    return " ".join(_pieces(text)[:_MAX_TOKENS])


def sought(text: str) -> list[str]:
    """The tokens of a search; the last is to be read as the beginning of one. Letters and digits only."""
    return list(dict.fromkeys(_pieces(text[:2_000])))[:_MAX_SOUGHT]


def storable(value: Any) -> Any:
    """JSON-like `value` without what PostgreSQL cannot hold: NUL and halves of surrogate pairs become U+FFFD."""
    if isinstance(value, str):
        if "\0" in value:
            value = value.replace("\0", "\ufffd")
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {storable(key): storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    return value


def _tokens(text: str) -> list[str]:
    spread = unicodedata.normalize("NFKD", clean(text).casefold())
    return _TOKEN.findall("".join(letter for letter in spread if not unicodedata.combining(letter)))


def _pieces(text: str) -> list[str]:
    found: list[str] = []
    for token in _tokens(text):
        if re.match(f"[{_HAN}]", token) and len(token) > 1:
            found += [token[i : i + 2] for i in range(len(token) - 1)]
        else:
            found.append(token[:_MAX_TOKEN])
    return found
