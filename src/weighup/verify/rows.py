"""Input rows: what a user's file may hold, and how one row becomes a Claim.

A row is `{"text": …}` with optional `id` (echoed), `date`, `source`, `lang`, `url` and its own `evidence`. Other
fields are ignored. What can be mended is mended with a warning in the verdict; what cannot is an error of that row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weighup.dates import iso, now, parse_bound, parse_published
from weighup.errors import InvalidInput
from weighup.retrieve.types import Evidence
from weighup.texts import clean, shorten
from weighup.verify.types import Claim

TEXT_LIMIT = 100_000
"""Characters of a text that are read; news articles are a tenth of it."""
EVIDENCE_LIMIT = 200
"""Evidence passages of one row that are read."""
_FIELD_LIMIT = 2_000
_AHEAD = timedelta(hours=14)
"""A day begins this much earlier at UTC+14 than in UTC: there, today's date is still to come here."""

Day = str | datetime | date | None


class EvidenceRow(BaseModel):
    """A passage that comes with a claim. `date` is when it was published; undated is taken on the user's word."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: str
    url: str | None = None
    title: str | None = None
    date: Day = None
    source: str | None = None


class InputRow(BaseModel):
    """One thing to check. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: str = Field(description=f"The claim or the article; the first {TEXT_LIMIT:,} characters are read.")
    id: str | int | None = Field(None, description="Echoed in the verdict.")
    date: Day = Field(None, description="When it was claimed, ISO 8601; no evidence published later is used.")
    source: str | None = Field(None, description="Who claimed it, for example a domain.")
    lang: str | None = Field(None, description="`en` or `zh`; detected when absent.")
    url: str | None = None
    evidence: list[EvidenceRow] | None = Field(None, description=f"At most {EVIDENCE_LIMIT} passages are read.")


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be checked. `line` counts from 1 in its file; `digest` names its content."""

    line: int
    id: str | int | None
    claim: Claim
    digest: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be checked, and why."""

    line: int
    id: str | int | None
    error: str
    digest: str


def row_schema() -> dict[str, Any]:
    """The JSON Schema of an input row."""
    return InputRow.model_json_schema()


def read_row(data: object, line: int, *, moment: datetime | None = None) -> Row | BadRow:
    """Turn one decoded row into a Claim, or say what is wrong with it. `moment` is now (for tests)."""
    if not isinstance(data, Mapping):
        kind = type(data).__name__ if data is not None else "null"
        return bad_row(line, f"is {kind}, not an object with a `text`", repr(data)[:1000].encode("utf-8", "replace"))
    identity = data.get("id")
    identity = identity if isinstance(identity, str | int) and not isinstance(identity, bool) else None
    if isinstance(identity, str):
        identity = _encodable(identity)
    try:
        row = InputRow.model_validate(data)
    except ValidationError as error:
        content = json.dumps(dict(data), default=str, sort_keys=True).encode()
        return bad_row(line, _first_problem(error), content, identity)
    digest = _digest(json.dumps(row.model_dump(), default=str, sort_keys=True).encode())
    try:
        return Row(line, row.id if not isinstance(row.id, str) else identity, _claim(row, moment or now()), digest)
    except InvalidInput as error:
        return BadRow(line, identity, f"line {line}: {error}", digest)


def bad_row(line: int, problem: str, content: bytes, identity: str | int | None = None) -> BadRow:
    """A row that failed before it could be understood; `content` is what stood there."""
    return BadRow(line, identity, f"line {line}: {problem}", _digest(content))


def make_claim(
    text: str,
    *,
    date: str | None = None,
    source: str | None = None,
    lang: str | None = None,
    url: str | None = None,
    evidence: tuple[str, ...] = (),
    moment: datetime | None = None,
) -> Claim:
    """A Claim from flags, under the same rules as a row. Raises InvalidInput."""
    passages = [EvidenceRow(text=passage) for passage in evidence] or None
    row = InputRow(text=text, id=None, date=date, source=source, lang=lang, url=url, evidence=passages)
    return _claim(row, moment or now())


def _claim(row: InputRow, moment: datetime) -> Claim:
    warnings: list[str] = []
    text = _text(row.text, "the text", warnings)
    if not text:
        raise InvalidInput("text: is empty; give the claim in words")
    if not any(character.isalnum() for character in text[:TEXT_LIMIT]):
        raise InvalidInput("text: holds no letter or number; give the claim in words")
    bound = _bound(row.date, moment)
    return Claim(
        text=text,
        id=None if row.id is None else _encodable(str(row.id)),
        date=bound,
        source=_short(row.source),
        lang=_language(row.lang),
        url=_address(row.url, "the url", warnings),
        evidence=None if row.evidence is None else _passages(row, moment, warnings),
        warnings=tuple(warnings),
    )


def _bound(value: Day, moment: datetime) -> datetime | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    bound = parse_bound(value, where="date")
    if bound > moment + (_AHEAD if _is_day(value) else timedelta(minutes=5)):
        raise InvalidInput(f"date: {iso(bound)} is in the future; a claim cannot be checked before it is made")
    return min(bound, moment)


def _passages(row: InputRow, moment: datetime, warnings: list[str]) -> tuple[Evidence, ...]:
    given = row.evidence or []
    if len(given) > EVIDENCE_LIMIT:
        warnings.append(f"the row has {len(given)} evidence passages; the first {EVIDENCE_LIMIT} were read")
    # A claim's bare day lasts until its last second: what came out that same day stays, on the user's word.
    latest = moment if row.date in (None, "") else parse_published(row.date or moment, where="date")
    kept: list[Evidence] = []
    for number, passage in enumerate(given[:EVIDENCE_LIMIT], start=1):
        name = f"evidence {number}"
        text = _text(passage.text, name, warnings)
        if not text:
            warnings.append(f"{name} is empty and was left out")
            continue
        published: datetime | None = None
        if passage.date is not None and passage.date != "":
            try:
                published = parse_published(passage.date, where=name)
                begins = parse_bound(passage.date, where=name)
            except InvalidInput as error:
                warnings.append(f"{error}; taken as undated")
            else:
                if begins > latest:
                    warnings.append(
                        f"{name} is dated {iso(published)}, after the claim ({iso(latest)}), and was left out"
                    )
                    continue
        kept.append(
            Evidence(
                text=text,
                origin="row",
                url=_address(passage.url, f"{name}: the url", warnings),
                title=_short(passage.title),
                published=published,
                source=_short(passage.source) or "",
                score=1.0,
            )
        )
    return tuple(kept)


def _text(text: str, name: str, warnings: list[str]) -> str:
    # Cut before cleaning, with room for what cleaning takes away, so that a huge text costs no more than a long one.
    cleaned = clean(_encodable(text[: 4 * TEXT_LIMIT]))
    if len(text) > 4 * TEXT_LIMIT or len(cleaned) > TEXT_LIMIT:
        warnings.append(f"{name} has {len(text):,} characters; the first {TEXT_LIMIT:,} were read")
        cleaned = shorten(cleaned, TEXT_LIMIT)
    return cleaned


def _address(url: str | None, name: str, warnings: list[str]) -> str | None:
    if url is None or not url.strip():
        return None
    url = clean(_encodable(url))
    if not url.lower().startswith(("http://", "https://")) or len(url) > _FIELD_LIMIT or any(c.isspace() for c in url):
        warnings.append(f"{name} is not an http(s) address and was left out")
        return None
    return url


def _short(value: str | None) -> str | None:
    return shorten(clean(_encodable(value)), _FIELD_LIMIT) or None if value else None


def _language(value: str | None) -> str | None:
    """`en-GB` and `EN` are `en`; blank is None."""
    return value.strip().lower().replace("_", "-").split("-")[0][:8] or None if value else None


def _is_day(value: Day) -> bool:
    return len(value.strip()) <= 10 if isinstance(value, str) else not isinstance(value, datetime)


def _encodable(text: str) -> str:
    """Lone surrogates, which JSON escapes can smuggle in, cannot be written as UTF-8; they become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"][:3]) or "row"
    if first["type"] == "missing":
        return f"{place}: is missing"
    if first["type"] == "model_type":
        return f"{place}: is {type(first['input']).__name__}, not an object with a `text`"
    given = first.get("input")
    return f"{place}: {first['msg'].lower()} (got {type(given).__name__})"
