"""What the world knew: documents, evidence passages, and the seam every source of them implements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Document:
    """Something somebody published. `published` is aware UTC, None when undated (never counts as "before").

    `source` names who published it (a domain, a feed, "Wikipedia"); `credibility` is in [0, 1], None when unknown.
    """

    text: str
    id: str = ""
    url: str | None = None
    title: str | None = None
    published: datetime | None = None
    source: str = ""
    lang: str | None = None
    credibility: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage put before the judge. `origin` says how it came: `row`, `store`, or a source's name; `score` is the
    retrieval score in [0, 1] within its list; `query` what was asked; `similarity` the cosine of the query's and the
    passage's embeddings where a store keeps them."""

    text: str
    origin: str
    url: str | None = None
    title: str | None = None
    published: datetime | None = None
    source: str = ""
    credibility: float | None = None
    score: float = 0.0
    query: str | None = None
    similarity: float | None = None


@runtime_checkable
class Source(Protocol):
    """Somewhere to look. `search` returns at most `limit` documents, every one published strictly before `before`
    (None: no bound), best first. Raises SourceUnavailable when it cannot answer; never returns undated documents
    under a bound."""

    name: str

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> Sequence[Document]: ...
