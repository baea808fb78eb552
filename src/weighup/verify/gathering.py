"""Candidate passages for claims: what came with them, then the stores, then online sources.

A claim's own evidence comes first; searching fills up what is missing to the number of passages wanted. Everything
found by searching is published strictly before the claim's bound, checked here once more whoever found it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.dates import is_before
from weighup.errors import WeighupError
from weighup.models.types import Encoder
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document, Evidence, Source
from weighup.texts import sentences
from weighup.verify.counting import ABOUT, Trust, kinds, places, readable, trusting
from weighup.verify.knowledge import overlap

log = logging.getLogger(__name__)

LEAST_SIMILARITY = 0.5
"""Cosine of claim and found passage below which the passage is not about it. On CLIMATE-FEVER's and FoolMeTwice's
validation claims this keeps 81 % of the annotated passages that the starter pack returns; word overlap tells worse."""
LEAST_OVERLAP = ABOUT
"""Share of a claim's content words that a found passage must hold, where there is no encoder for the language."""
_RANKED = 1.2
_READ = 300  # characters of a passage that are compared with the claim
_PER_DOCUMENT = 2
_OF_STORES = 2  # times the passages wanted
_MOST_OF_STORES = 250
_WINDOW = 2


@dataclass(slots=True)
class Found:
    """For one claim: passages best first, queries asked, what could not be asked and why, and what to tell of it."""

    passages: list[Evidence] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: the claim, its language, its bound, its own passages, the seconds there are, and the page on
    which it was made, which is no evidence for it."""

    text: str
    lang: str
    before: datetime
    own: tuple[Evidence, ...]
    seconds: float | None = None
    url: str | None = None


class Gatherer:
    """Looks in `stores` (batched) and `sources` (side by side, for several claims at once)."""

    def __init__(
        self,
        stores: Sequence[EvidenceStore],
        sources: Sequence[Source],
        encoder: Encoder | None,
        passages: int,
        credibility_list: Path | None = None,
    ) -> None:
        self._stores = stores
        self._sources = sources
        self._encoder = encoder
        self._passages = passages
        self._credibility_list = credibility_list
        self._trusted = trusting(credibility_list)

    def gather(self, wanted: Sequence[Wanted], vectors: NDArray[np.float32] | None = None) -> list[Found]:
        """One `Found` per claim, in order. Failures of a source are told in it, never raised.

        `vectors` [n, d] are the encoder's rows of the claims, if they are known already.
        """
        found = [self._own(w) for w in wanted]
        short = [i for i, f in enumerate(found) if len(f.passages) < self._passages]
        if short and vectors is None and self._encoder is not None:
            vectors = self._encoder.encode([w.text for w in wanted])
        known = None if vectors is None else vectors[short]
        if short and self._stores:
            self._ask_stores([wanted[i] for i in short], [found[i] for i in short], known)
        if short and self._sources:
            with ThreadPoolExecutor(min(8, len(short)), thread_name_prefix="gather") as pool:
                list(pool.map(lambda i: self._ask_sources(wanted[i], found[i]), short))
        self._rank([wanted[i] for i in short], [found[i] for i in short], known)
        return found

    def _own(self, want: Wanted) -> Found:
        own, warnings = readable(want.text, want.own, self._trusted)
        return Found(best_own(want.text, own, self._passages, self._trusted), warnings=warnings)

    def _ask_stores(
        self, wanted: Sequence[Wanted], found: Sequence[Found], vectors: NDArray[np.float32] | None
    ) -> None:
        for store in self._stores:
            for i, (want, into) in enumerate(zip(wanted, found, strict=True)):
                row = None if vectors is None else np.asarray(vectors[i : i + 1])
                try:
                    hits = self._hits(store, want, row)
                except WeighupError as error:
                    log.warning("%s", error)
                    into.unavailable["store"] = str(error)
                    continue
                into.passages += hits
                if want.text not in into.queries:
                    into.queries.append(want.text)

    def _hits(self, store: EvidenceStore, want: Wanted, row: NDArray[np.float32] | None) -> list[Evidence]:
        """A store's best passages; where near-copies fill the answer, as many more as it takes to see past them."""
        wanted = limit = _OF_STORES * self._passages
        while True:
            hits = store.search([want.text], before=want.before, limit=limit, vectors=row)[0]
            if limit >= _MOST_OF_STORES or len(hits) < limit or kinds(hits) >= self._passages:
                return places(want.text, hits, wanted, self._trusted)
            limit = min(5 * limit, _MOST_OF_STORES)

    def _ask_sources(self, want: Wanted, into: Found) -> None:
        from weighup.retrieve.gather import gather, plan_queries

        answer = gather(
            plan_queries(want.text, want.lang),
            self._sources,
            before=want.before,
            limit=10,
            deadline_seconds=want.seconds,
            credibility_list=self._credibility_list,
        )
        into.queries += [q for q in answer.queries if q not in into.queries]
        into.unavailable |= answer.unavailable
        for document in answer.documents:
            into.passages += passages_of(document, want.text)

    def _rank(self, wanted: Sequence[Wanted], found: Sequence[Found], vectors: NDArray[np.float32] | None) -> None:
        """Keep, in place, each claim's own passages and the found ones that are about it, nearest first."""
        rest = [self._candidates(want, into) for want, into in zip(wanted, found, strict=True)]
        near = self._nearness(wanted, rest, vectors)
        for want, into, candidates, scores in zip(wanted, found, rest, near, strict=True):
            chosen = [p for p in into.passages if p.origin == "row"]
            floor = LEAST_SIMILARITY if self._reads(want) else LEAST_OVERLAP
            order = sorted(range(len(candidates)), key=lambda i: -float(scores[i]))
            kept = [replace(candidates[i], score=float(min(scores[i], 1.0))) for i in order if scores[i] >= floor]
            into.passages = chosen + places(want.text, kept, self._passages - len(chosen), self._trusted)

    def _candidates(self, want: Wanted, found: Found) -> list[Evidence]:
        """Found passages that are before the claim, not among its own and not of its own page, each text once, the
        likeliest few."""
        own = {p.text for p in found.passages if p.origin == "row"}
        rest = {
            p.text: p
            for p in found.passages
            if is_before(p.published, want.before) and p.text not in own and (p.url is None or p.url != want.url)
        }
        candidates, told = readable(want.text, list(rest.values()), self._trusted)
        found.warnings += [warning for warning in told if warning not in found.warnings]
        held = overlap(want.text, [f"{p.title or ''} {p.text}" for p in candidates])
        order = sorted(range(len(candidates)), key=lambda i: -(float(held[i]) + 0.3 * candidates[i].score))
        return places(want.text, [candidates[i] for i in order], round(_RANKED * self._passages), self._trusted)

    def _nearness(
        self,
        wanted: Sequence[Wanted],
        candidates: Sequence[Sequence[Evidence]],
        vectors: NDArray[np.float32] | None,
    ) -> list[NDArray[np.float32]]:
        """Cosine to the claim where the encoder reads the language, else the share of its words.

        A store tells the cosines of what it has embedded; the other passages are embedded in one pass for all.
        """
        near = [overlap(w.text, [p.text for p in c]) for w, c in zip(wanted, candidates, strict=True)]
        read = [i for i, want in enumerate(wanted) if self._reads(want)]
        places = [(i, k) for i in read for k in range(len(candidates[i]))]
        unknown = [(i, k) for i, k in places if candidates[i][k].similarity is None]
        for i, k in places:
            near[i][k] = candidates[i][k].similarity or 0.0
        if self._encoder is not None and vectors is not None and unknown:
            rows = self._encoder.encode([candidates[i][k].text[:_READ] for i, k in unknown])
            for row, (i, k) in zip(rows, unknown, strict=True):
                near[i][k] = float(row @ vectors[i])
        return near

    def _reads(self, want: Wanted) -> bool:
        return self._encoder is not None and want.lang == "en"


def best_own(claim: str, own: Sequence[Evidence], limit: int, trusted: Trust) -> list[Evidence]:
    """The claim's own passages, at most `limit`, in their given order: those that share most words with it, as `places`
    are given."""
    if len(own) <= limit:
        return list(own)
    held = overlap(claim, [p.text for p in own])
    order = sorted(range(len(own)), key=lambda i: (-float(held[i]), i))
    chosen = {id(p) for p in places(claim, [own[i] for i in order], limit, trusted)}
    return [p for p in own if id(p) in chosen][:limit]


def passages_of(document: Document, claim: str) -> list[Evidence]:
    """The windows of two sentences of a document that share most words with the claim, at most two."""
    parts = sentences(document.text)[:400]
    windows = [" ".join(parts[i : i + _WINDOW]) for i in range(0, len(parts), _WINDOW)]
    if not windows:
        return []
    held = overlap(claim, windows)
    best = sorted(range(len(windows)), key=lambda i: (-float(held[i]), i))[:_PER_DOCUMENT]
    return [
        Evidence(
            text=windows[i],
            origin=document.id.split(":", 1)[0] if ":" in document.id else document.source,
            url=document.url,
            title=document.title,
            published=document.published,
            source=document.source,
            credibility=document.credibility,
            score=float(held[i]),
        )
        for i in best
    ]
