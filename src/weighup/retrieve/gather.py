"""Ask every source side by side and put together what they found, whatever some of them do.

A source that fails, hangs or breaks is named with its reason and the others go on. Three rules are kept here once more
for all, plug-ins included: nothing at or after the bound, nothing undated under one, nothing twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from weighup.dates import is_before
from weighup.errors import WeighupError
from weighup.retrieve.sources.queries import is_address
from weighup.retrieve.sources.queries import plan_queries as plan_queries
from weighup.retrieve.types import Document, Source
from weighup.texts import shorten

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

# Parameters that say who clicked where, not which page it is.
_TRACKING = ("utm_", "mc_", "pk_", "hsa_", "at_")
_TRACKERS = frozenset(
    "fbclid gclid dclid gbraid wbraid msclkid yclid igshid twclid ttclid _ga ref ref_src cmpid smid ocid icid ito "
    "ftag partner spm share_source".split()
)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What came back. `unavailable`: source name → why it did not (fully) answer; `queries`: what was asked."""

    documents: list[Document]
    unavailable: dict[str, str] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)


def gather(
    queries: Sequence[str],
    sources: Sequence[Source],
    *,
    before: datetime | None = None,
    limit: int = 20,
    deadline_seconds: float | None = None,
    credibility_list: Path | None = None,
) -> Gathered:
    """At most `limit` documents published strictly before `before`, the sources' best first, taken in turn.

    Each source answers all queries in a thread of its own, `limit` documents a query; queries that are web addresses go
    to the sources that say `takes_addresses = True`, and only to them. Documents' ids begin with their source's name.
    At the deadline what has arrived counts, and sources still at work are named unavailable. `credibility_list` is
    the user's own (`retrieve.credibility`); raises SettingsError if it cannot be read,
    and nothing for what a source does.
    """
    asked = list(dict.fromkeys(query.strip() for query in queries if query.strip()))
    jobs = [_Job(source, asked, before, limit) for source in sources]
    end = None if deadline_seconds is None else time.monotonic() + deadline_seconds
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(None if end is None else max(0.0, end - time.monotonic()))
    unavailable: dict[str, str] = {}
    found: list[list[Document]] = []
    for job in jobs:
        answers, reason = job.outcome(deadline_seconds)
        if reason:
            unavailable[job.label] = reason
        found += answers
    sent = {query for job in jobs for query in job.queries}
    merged = [document for rank in zip_longest(*found) for document in rank if document is not None]
    kept = _distinct(merged)[: max(limit, 0)]
    rated = [_with_credibility(document, credibility_list) for document in kept]
    return Gathered(rated, unavailable, [query for query in asked if query in sent])


def canonical_url(url: str) -> str:
    """The address two links to one page share: no scheme, `www.`, fragment, tracking parameters or closing slash."""
    from urllib.parse import parse_qsl, urlencode, urlsplit

    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").removeprefix("www."), parts.port
    except ValueError:
        return url.strip()
    query = sorted(
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not name.lower().startswith(_TRACKING) and name.lower() not in _TRACKERS
    )
    place = host if port in (None, 80, 443) else f"{host}:{port}"
    return f"{place}{parts.path.rstrip('/')}" + (f"?{urlencode(query)}" if query else "")


class _Job(threading.Thread):
    """One source at work. A daemon thread, so that a source that never returns cannot keep the process alive."""

    def __init__(self, source: Source, queries: Sequence[str], before: datetime | None, limit: int) -> None:
        self.label = str(getattr(source, "name", "") or type(source).__name__)
        super().__init__(name=f"source-{self.label}", daemon=True)
        self._source = source
        # Addresses mean something only to sources that read pages by address; others would search for their letters.
        takes_addresses = getattr(source, "takes_addresses", False)
        self.queries = [query for query in queries if takes_addresses == is_address(query)]
        self._before = before
        self._limit = limit
        self._lock = threading.Lock()
        self._answers: list[list[Document]] = []
        self._reason: str | None = None

    def run(self) -> None:
        failures = 0
        for query in self.queries:
            try:
                answer = _admitted(
                    self._source.search(query, before=self._before, limit=self._limit), self._before, self.label
                )
                reason = None
            except WeighupError as error:
                answer, reason = [], str(error)
            except Exception as error:  # other people's sources must not take the others down
                logger.exception("source %s broke", self.label)
                answer, reason = [], f"broke with {type(error).__name__}; see the log"
            with self._lock:
                self._answers.append(answer)
                self._reason = self._reason or reason
            failures += reason is not None
            if failures == 2:
                return  # one refusal may be the query's fault; after two, asking on only costs the deadline

    def outcome(self, deadline: float | None) -> tuple[list[list[Document]], str | None]:
        """The answers so far and why there are not more. Safe while still running."""
        alive = self.is_alive()
        with self._lock:
            late = f"no answer within {deadline:g} s" if alive and deadline is not None else None
            return list(self._answers), self._reason or late


def _admitted(answer: Iterable[Document], before: datetime | None, name: str) -> list[Document]:
    """What the bound allows. A source that returned anything else is at fault and is warned about."""
    kept: list[Document] = []
    for document in answer:
        if not is_before(document.published, before):
            logger.warning(
                "source %s returned a document published %s for a claim of %s; it was dropped: %s",
                name,
                document.published or "at no known date",
                before,
                shorten(document.url or document.title or document.text, 100),
            )
        elif document.text.strip():
            # The identity says through whom a document came: `gdelt:https://…`.
            known = document.id or document.url or document.title or ""
            kept.append(document if known.startswith(f"{name}:") else replace(document, id=f"{name}:{known}"))
    return kept


def _distinct(documents: Iterable[Document]) -> list[Document]:
    """Each page and each text once, the first kept: news agencies' articles come back from many hosts."""
    from weighup.retrieve.dedupe import THRESHOLD, content_hash, jaccard, shingles

    seen: set[str | bytes] = set()
    texts: list[NDArray[np.uint64]] = []
    kept: list[Document] = []
    for document in documents:
        keys: set[str | bytes] = {content_hash(document.text)}
        if document.url:
            keys.add(canonical_url(document.url))
        if keys & seen:
            continue
        mine = shingles(document.text)
        if any(jaccard(mine, other) >= THRESHOLD for other in texts):
            continue
        seen |= keys
        texts.append(mine)
        kept.append(document)
    return kept


def _with_credibility(document: Document, own: Path | None) -> Document:
    if document.credibility is not None or not document.url:
        return document
    from weighup.retrieve.credibility import credibility

    known = credibility(document.url, own=own)
    return document if known is None else replace(document, credibility=known.score)
