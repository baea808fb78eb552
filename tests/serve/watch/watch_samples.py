"""A checker and an encoder without models: real verdicts, decided by the claim's words, as quick as a test needs."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from db_samples import verdict
from numpy.typing import NDArray

from weighup.dates import iso
from weighup.errors import ModelMissing
from weighup.models.types import TokenStates
from weighup.verify.contract import Verdict
from weighup.verify.types import Claim

NOON = datetime(2026, 5, 10, 12, tzinfo=UTC)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **spans: float) -> None:
        self.now += timedelta(**spans)


class WordChecker:
    """P(fake) is what `says` makes of a claim; one with "breaks" in it cannot be checked. Keeps what was asked."""

    brief = True

    def __init__(
        self, says: Callable[[Claim], float] = lambda claim: 0.9, *, pause: float = 0.0, seen: Sequence[str] = ()
    ) -> None:
        self.says = says
        self.pause = pause
        self.seen: tuple[str, ...] = tuple(seen)
        self.asked: list[Claim] = []
        self.missing = False

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        if self.missing:
            raise ModelMissing("no model here")
        made = []
        for item in items:
            claim = item if isinstance(item, Claim) else Claim(item)
            if "breaks" in claim.text:
                raise ValueError("it broke")
            self.asked.append(claim)
            time.sleep(self.pause)
            made.append(verdict(claim.text, self.says(claim), date=iso(claim.date), seen=self.seen))
        return made


class WordEncoder:
    """Words hashed into unit vectors: what shares words is near."""

    name, version, dimension = "words", "1", 64

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> NDArray[np.float32]:
        self.encoded += texts
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[zlib.crc32(word.encode()) % self.dimension] += 1
            row /= max(float(np.linalg.norm(row)), 1e-9)
        return rows

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates:
        raise AssertionError("nobody asks for tokens here")
