"""The nouns of a check inside the package; `contract.py` holds their published JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from weighup.retrieve.types import Evidence

Kind = Literal["evidence", "reasoning", "sentiment"]
Stance = Literal["supports", "refutes", "neutral"]
KINDS: tuple[Kind, ...] = ("evidence", "reasoning", "sentiment")


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to be judged. `date` bounds all evidence (None: now). `evidence` came with the claim (None: none given).

    `warnings` are carried into the verdict.
    """

    text: str
    id: str | None = None
    date: datetime | None = None
    source: str | None = None
    lang: str | None = None
    url: str | None = None
    evidence: tuple[Evidence, ...] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stanced:
    """An evidence passage with the stance model's probabilities (supports, refutes, neutral)."""

    evidence: Evidence
    supports: float
    refutes: float
    neutral: float

    @property
    def stance(self) -> Stance:
        """The likeliest of supports, refutes, neutral."""
        named: dict[Stance, float] = {"supports": self.supports, "refutes": self.refutes, "neutral": self.neutral}
        return max(named, key=named.__getitem__)


@dataclass(frozen=True, slots=True)
class Assessment:
    """An evaluator's word on a perspective: may it be relied on for this item, how surely (0..1), and why."""

    reliable: bool
    probability: float
    why: str


@dataclass(frozen=True, slots=True)
class Perspective:
    """One kind of knowledge about the claim, with a verdict of its own. `verdict` is P(real), P(fake), P(unknown).

    Not `available` when it could not be had (no evidence, model down, budget spent); `text` then says why.
    """

    kind: Kind
    available: bool
    text: str
    verdict: tuple[float, float, float] = (0.0, 0.0, 1.0)
    queries: tuple[str, ...] = ()
