"""New documents in the evidence stores, and which unsettled verdicts they bear on.

Cheap and bounded: documents are read once, in the order in which they were added, up to a cursor kept in the database;
a verdict is checked again if half of its claim's content words stand close together in a document. No model is asked.
What shares fewer words waits for the schedule, two days at most (`watch.schedule`). Ours.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from weighup.retrieve import schema
from weighup.serve.db.sessions import present
from weighup.serve.db.words import indexed
from weighup.texts import STOP_WORDS

if TYPE_CHECKING:
    from weighup.retrieve.store import EvidenceStore
    from weighup.serve.db import Database
    from weighup.serve.db.watched import OpenClaim

CLAIMS = 20_000
"""Unsettled claims that a document is compared with, those checked last."""
READ = 500
"""Documents read at a time."""
MATCHES = 20
"""Verdicts checked again for one document, the nearest."""
SHARE = 0.5
"""Of a claim's content words."""
LEAST = 3
"""Content words that must be there; of a claim that has fewer, all."""
_WINDOW, _STEP = 60, 30  # tokens: about three sentences
_STEM = 6  # letters by which words are compared, as in `verify.knowledge`


@dataclass(frozen=True, slots=True)
class _New:
    """A document added to a store."""

    id: int
    published: datetime | None
    url: str | None
    text: str


class Arrivals:
    """Looks for new documents in `stores`. Thread-safe as the stores are, if one thread calls it."""

    def __init__(self, database: Database, stores: Sequence[EvidenceStore]) -> None:
        self.database = database
        self.stores = stores

    def look(self, now: datetime | None = None) -> int:
        """Read what is new, at most READ documents of each store, and let the verdicts that it bears on be checked at
        once; how many. A store that is seen for the first time has nothing new: whoever checked has looked in it.

        Raises StoreError.
        """
        now = now or present()
        due = 0
        for store in self.stores:
            with schema.explained(store.path), closing(schema.connect(store.path)) as connection:
                name = (
                    f"evidence:{connection.execute('SELECT value FROM meta WHERE name = ?', ('store',)).fetchone()[0]}"
                )
                newest = connection.execute("SELECT ifnull(max(id), 0) FROM documents").fetchone()[0]
                place = self.database.cursors.get(name)
                if place is None:
                    self.database.cursors.move(name, newest)
                if place is None or newest <= place:
                    continue
                rows = connection.execute(
                    "SELECT id, published, url, ifnull(title, '') || ' ' || text FROM documents WHERE id > ?"
                    " ORDER BY id LIMIT ?",
                    (place, READ),
                ).fetchall()
            found = [_New(row[0], schema.from_time(row[1]), row[2], row[3]) for row in rows]
            due += self._tell([one for one in found if one.published is not None and one.published <= now], now)
            self.database.cursors.move(name, found[-1].id)
        return due

    def _tell(self, documents: Sequence[_New], now: datetime) -> int:
        claims = Claims(self.database.verdicts.open_claims(limit=CLAIMS)) if documents else None
        if claims is None or not claims.claims:
            return 0
        ids = {number for one in documents for number in claims.about(one.text, one.url)}
        return self.database.verdicts.hasten(sorted(ids), now=now) if ids else 0


class Claims:
    """Claims by their content words, to find those that a text is about."""

    def __init__(self, claims: Sequence[OpenClaim]) -> None:
        self.claims = claims
        words = [_content(claim.words.split()) for claim in claims]
        self._needed = np.array([max(min(LEAST, len(w)), SHARE * len(w), 1) for w in words], dtype=np.float64)
        self._size = np.array([max(1, len(w)) for w in words], dtype=np.float64)
        postings: dict[str, list[int]] = {}
        for place, some in enumerate(words):
            for word in some:
                postings.setdefault(word, []).append(place)
        self._postings = {word: np.array(places, dtype=np.int64) for word, places in postings.items()}

    def about(self, text: str, url: str | None) -> list[uuid.UUID]:
        """The claims that some part of the text shares enough words with, nearest first, MATCHES at most; none that
        was made on the same page."""
        best = np.zeros(len(self.claims))
        for words in _windows(indexed(text).split()):
            lists = [self._postings[word] for word in words if word in self._postings]
            if not lists:
                continue
            held: NDArray[np.int64] = np.bincount(np.concatenate(lists), minlength=len(self.claims))
            np.maximum(best, np.where(held >= self._needed, held / self._size, 0.0), out=best)
        places = [int(place) for place in np.flatnonzero(best)]
        own = [p for p in places if url is None or self.claims[p].url != url]
        return [self.claims[p].id for p in sorted(own, key=lambda p: (-best[p], p))[:MATCHES]]


def _windows(tokens: Sequence[str]) -> Iterator[frozenset[str]]:
    for start in range(0, max(1, len(tokens) - _WINDOW + _STEP), _STEP):
        yield _content(tokens[start : start + _WINDOW])


def _content(tokens: Sequence[str]) -> frozenset[str]:
    # Pairs of Han characters are words of their own; of the others a single letter says nothing.
    kept = (token for token in tokens if token not in STOP_WORDS and (len(token) > 1 or token.isdigit()))
    return frozenset(token if re.match(r"[\u3400-\u9fff]", token) else token[:_STEM] for token in kept)
