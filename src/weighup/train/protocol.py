"""Evidence scarcity: each passage of a claim kept with probability q, and a kept one swapped with probability r for a
passage that is about another claim. And what spares the models: a text and a pair are read once over all q, r and
seeds.

All is drawn by the row and the seed alone, so that a row is treated alike whatever is measured beside it. The draws of
a row are shared by all q and r: fewer passages at a lower q are some of those at a higher one.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.models.types import Encoder, TokenStates
from weighup.retrieve.types import Evidence
from weighup.train.labelled import Labelled
from weighup.verify.stance import Stances
from weighup.verify.types import Claim

QS = (1.0, 0.75, 0.5, 0.25, 0.0)
RS = (0.0, 0.3)
STRANGERS = 3
"""Passages of other claims that a row may be given; few, since the stance model reads each."""
PERIODS = 4
_TRIES = 30


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """Share of evidence kept, share of what is kept that is swapped, and the seed."""

    q: float
    r: float
    seed: int

    @property
    def settled(self) -> Variant:
        """The one of all variants that leave the same evidence whatever the draws, else this one."""
        if self.q == 0:
            return Variant(0.0, 0.0, 0)
        return Variant(1.0, 0.0, 0) if (self.q, self.r) == (1, 0) else self


def variants(qs: Sequence[float], rs: Sequence[float], seeds: Sequence[int]) -> list[Variant]:
    """Every q with every r and seed. Raises InvalidInput for shares outside [0, 1], or none."""
    for name, shares in (("q", qs), ("r", rs)):
        if not shares or not all(0 <= share <= 1 for share in shares):
            raise InvalidInput(f"--{name}: shares from 0 to 1 are needed, for example 1,0.5,0")
    if not seeds:
        raise InvalidInput("--seeds: at least one is needed, for example 0,1,2")
    return [Variant(q, r, seed) for q in dict.fromkeys(qs) for r in dict.fromkeys(rs) for seed in dict.fromkeys(seeds)]


def strangers(rows: Sequence[Labelled]) -> list[tuple[Evidence, ...]]:
    """For each row up to `STRANGERS` passages of other groups of its file, none of which its own group has.

    Raises InvalidInput for a file all of whose evidence is of one group.
    """
    pool: dict[str, list[tuple[str, Evidence]]] = defaultdict(list)
    held: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for passage in row.claim.evidence or ():
            pool[row.file].append((row.group, passage))
            held[row.file, row.group].add(passage.text)
    return [_drawn(row, pool[row.file], held[row.file, row.group]) for row in rows]


def _drawn(row: Labelled, pool: Sequence[tuple[str, Evidence]], own: set[str]) -> tuple[Evidence, ...]:
    chance = random.Random(f"strangers\0{row.line}\0{row.claim.text}")

    def other(entry: tuple[str, Evidence]) -> bool:
        return entry[0] != row.group and entry[1].text not in own

    found: dict[str, Evidence] = {}
    for _ in range(_TRIES if pool else 0):
        entry = pool[chance.randrange(len(pool))]
        if other(entry):
            found.setdefault(entry[1].text, entry[1])
        if len(found) == STRANGERS:
            return tuple(found.values())
    rest = [entry[1] for entry in pool if other(entry)]
    chance.shuffle(rest)
    for passage in rest:
        if len(found) == STRANGERS:
            break
        found.setdefault(passage.text, passage)
    if not found and row.claim.evidence:
        raise InvalidInput(
            f"{row.file}: all of its evidence is of one claim group, so that none can be swapped; give more rows, or "
            "--r 0"
        )
    return tuple(found.values())


def thinned(row: Labelled, others: Sequence[Evidence], variant: Variant) -> Claim:
    """The row's claim with the evidence that this variant leaves; each text once, in the order given.

    `others` are the row's `strangers`; they are not needed where r is 0.
    """
    chance = random.Random(f"{variant.seed}\0{row.line}\0{row.claim.text}")
    own = {passage.text: passage for passage in row.claim.evidence or ()}  # some sets list a sentence twice
    left: dict[str, Evidence] = {}
    for passage in own.values():
        keep, swap, which = chance.random(), chance.random(), chance.random()
        if keep >= variant.q:
            continue
        if swap < variant.r and others:
            fresh = [other for other in others if other.text not in left] or list(others)
            passage = fresh[int(which * len(fresh))]
        left.setdefault(passage.text, passage)
    return replace(row.claim, evidence=tuple(left.values()))


def drawn_for(row: Labelled, variant: Variant) -> float:
    """A draw in [0, 1) for who decides where that is left to chance."""
    return random.Random(f"who decides\0{variant.seed}\0{row.line}\0{row.claim.text}").random()


def periods(dates: Sequence[datetime | None]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Calendar quarters with the rows in each; where there are fewer than four, four runs of as many rows, by date."""
    days = [moment.date() if moment is not None else date.min for moment in dates]
    quarters = [f"{day.year} Q{(day.month + 2) // 3}" for day in days]
    names = sorted(set(quarters))
    if len(names) >= PERIODS:
        return [(name, np.asarray([mine == name for mine in quarters])) for name in names]
    found = []
    for part in np.array_split(np.argsort(np.asarray([day.toordinal() for day in days]), kind="stable"), PERIODS):
        if len(part):
            where = np.zeros(len(days), np.bool_)
            where[part] = True
            found.append((f"{days[part[0]]} to {days[part[-1]]}", where))
    return found


class RememberedStances:
    """A stance model that reads each pair once, as long as no more than `most` are remembered (some 200 bytes each).

    What it gives is what the model gave, to the bit: else the evaluation would drift from what `check` says.
    """

    def __init__(self, model: Stances, most: int = 1_000_000) -> None:
        self._model = model
        self._most = most
        self._known: dict[bytes, bytes] = {}
        self.version = model.version
        self.read = 0

    def score(self, pairs: Sequence[tuple[str, str]], *, batch_size: int = 32) -> NDArray[np.float32]:
        """As `StanceModel.score`."""
        keys = [_digest("\0".join(pair)) for pair in pairs]
        new = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in self._known}
        fresh = dict(zip(new, self._model.score(list(new.values()), batch_size=batch_size), strict=True))
        self.read += len(fresh)
        out = np.zeros((len(pairs), 3), np.float32)
        for place, key in enumerate(keys):
            out[place] = fresh[key] if key in fresh else np.frombuffer(self._known[key], np.float32)
        for key, row in fresh.items():
            if len(self._known) >= self._most:
                self._known.pop(next(iter(self._known)))
            self._known[key] = row.tobytes()
        return out


class RememberedEncoder:
    """An encoder that reads each text once, as long as no more than `most` are remembered (some 1.7 kB each)."""

    def __init__(self, encoder: Encoder, most: int = 50_000) -> None:
        self._encoder = encoder
        self._most = most
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self.name, self.version, self.dimension = encoder.name, encoder.version, encoder.dimension

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> NDArray[np.float32]:
        """As the encoder's own."""
        keys = [_digest(text) for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if new:
            for key, row in zip(new, self._encoder.encode(list(new.values()), batch_size=batch_size), strict=True):
                self._known[key] = row.copy()
        rows = [self._known[key] for key in keys]
        for key in list(self._known)[: max(len(self._known) - self._most, 0)]:
            del self._known[key]
        return np.stack(rows) if rows else np.zeros((0, self.dimension), np.float32)

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates:
        """As the encoder's own; not remembered."""
        return self._encoder.tokens(texts, max_tokens=max_tokens)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
