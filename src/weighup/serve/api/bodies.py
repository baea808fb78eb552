"""The bodies that come in. What is not as said here is refused at the door."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
)

from weighup.serve.api.auth import SCOPES
from weighup.verify.contract import Label

ROWS = 10_000
"""Rows of one job."""
_BIG = 2**53


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 5.0 is as whole as 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)  # the last of a type's notes, or its bounds would not be in the description
Name = Annotated[StrictStr, Field(max_length=200)]
Number = Annotated[StrictInt, Field(ge=-_BIG, le=_BIG), _WHOLE]
Scope = Literal["read", "check", "write", "feeds", "review", "admin"]
# No `format`: in a job, a date that cannot be read costs its own row only, and with evidence not even that.
Date = Annotated[StrictStr, Field(max_length=40, examples=["2024-05-31", "2024-05-31T18:00:00Z"])]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EvidenceIn(_In):
    """A passage that comes with a claim."""

    text: StrictStr
    url: StrictStr | None = None
    title: StrictStr | None = None
    date: Date | None = Field(None, description="When it was published, ISO 8601; unreadable is taken as undated.")
    source: StrictStr | None = None


class RowIn(_In):
    """One thing to check, as in `weighup check --input`."""

    text: StrictStr = Field(min_length=1, description="The claim or the article, in words.")
    id: Name | Number | None = Field(None, description="Echoed in the verdict.")
    date: Date | None = Field(None, description="When it was claimed, ISO 8601; nothing published later is used.")
    source: Annotated[StrictStr, Field(max_length=2000)] | None = None
    lang: Annotated[StrictStr, Field(max_length=20)] | None = Field(None, description="en or zh; detected when absent.")
    url: StrictStr | None = None
    evidence: Annotated[list[EvidenceIn], Field(max_length=200)] | None = None

    def row(self) -> dict[str, Any]:
        """As `read_row` takes it."""
        return self.model_dump(exclude_none=True, include=set(RowIn.model_fields))


class Options(_In):
    """How to check. They narrow what the server does and never widen it."""

    brief: StrictBool | None = Field(None, description="Write no text: extracts and probabilities only.")
    search: StrictBool | None = Field(None, description="false: use only the evidence that came with the claim.")
    risk: Annotated[StrictFloat, Field(gt=0, lt=1)] | None = Field(None, description="Share of wrong calls to keep to.")


class OneCheck(RowIn):
    """One claim: answered at once, or as a job with `Prefer: respond-async`."""

    options: Options = Options()


class ManyChecks(_In):
    """Many claims: a job."""

    rows: list[RowIn] = Field(min_length=1, max_length=ROWS)
    options: Options = Options()


def _which(body: Any) -> str:
    return "many" if isinstance(body, Mapping) and "rows" in body else "one"


Checks = Annotated[Annotated[OneCheck, Tag("one")] | Annotated[ManyChecks, Tag("many")], Discriminator(_which)]


class FeedIn(_In):
    """A feed to watch."""

    url: StrictStr = Field(min_length=1, max_length=2000, examples=["https://www.example.com/news.rss"])
    kind: Literal["feed", "sitemap"] = "feed"
    every: Annotated[StrictInt, Field(ge=10, le=86_400), _WHOLE] | None = Field(None, description="Seconds to a poll.")


class FeedChange(_In):
    """Pause or go on."""

    enabled: StrictBool


class FeedbackIn(_In):
    """What a human says of a verdict."""

    verdict_id: uuid.UUID
    label: Label
    note: Annotated[StrictStr, Field(max_length=2000)] | None = None


class KeyIn(_In):
    """A key to make, of the caller's own tenant."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    scopes: list[Scope] = Field(min_length=1, max_length=len(SCOPES))
    per_minute: Annotated[StrictInt, Field(ge=1, le=1_000_000), _WHOLE] | None = None
    per_day: Annotated[StrictInt, Field(ge=1, le=1_000_000_000), _WHOLE] | None = None
    days: Annotated[StrictInt, Field(ge=1, le=3650), _WHOLE] | None = Field(None, description="Days until it expires.")
