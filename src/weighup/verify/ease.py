"""EASE: evaluation-aware selection of experts (arXiv 2510.11277, "Towards Real-Time Fake News Detection under
Evidence Scarcity").

Faithful: three kinds of knowledge, each with a verdict of its own; an evaluator per kind trained on pseudo labels (a
perspective counts as reliable when its own verdict matches the label); the evaluators asked in order: evidence, then
reasoning, else sentiment; and an expert per kind that sees content, knowledge and the evaluator's assessment.

Ours: evaluators and experts are small bagged heads on the features of `knowledge.py` instead of tuned language
models and BERT cross-attention; the probability is calibrated; below a confidence that held a chosen risk on held-out
claims the verdict is "unknown". How they were fitted: `weights/ease.py`; the card: `_weights/ease.json`.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.registry import Method
from weighup.verify import weights
from weighup.verify.heads import Head
from weighup.verify.knowledge import EVIDENCE, REASONING, SENTIMENT
from weighup.verify.tone import NAMES
from weighup.verify.types import KINDS, Assessment, Kind

METHOD = Method(
    name="ease",
    room="verify",
    paper="Towards Real-Time Fake News Detection under Evidence Scarcity",
    arxiv="2510.11277",
    command="weighup check",
    status="partial",
    claim_check="weighup.verify.claim_checks:ease",
)
Array = NDArray[np.float32]
INTERVAL = (5.0, 95.0)
_WIDTHS: dict[Kind, int] = {"evidence": len(EVIDENCE), "reasoning": len(REASONING), "sentiment": len(SENTIMENT)}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decided, P(fake), its 90 % interval, and whether that is too little to call (`unknown`)."""

    expert: Kind
    probability_fake: float
    interval: tuple[float, float]
    unknown: bool


@dataclass(frozen=True, slots=True)
class Ease:
    """The trained parts. Per kind: `opinions` -> P(real, fake, unknown); `evaluators` -> P(not reliable, reliable);
    `experts` -> P(real, fake). `threshold`: least confidence per kind at which real or fake is said."""

    opinions: dict[Kind, Head]
    evaluators: dict[Kind, Head]
    experts: dict[Kind, Head]
    reliable_at: dict[Kind, float]
    threshold: dict[Kind, float]
    version: str

    @classmethod
    def load(cls, folder: Path | None = None) -> Ease:
        """The weights in `folder`, else the shipped ones; read once for each folder. Raises WeightsError.

        Logs a warning where they were fitted on top of other content weights than those that `folder` gives.
        """
        home = weights.find("ease", folder)
        _compare_content(home, weights.find("content", folder))
        return _read(home)

    @classmethod
    def from_parts(
        cls, opinions: dict[Kind, Head], evaluators: dict[Kind, Head], experts: dict[Kind, Head], card: dict[str, Any]
    ) -> Ease:
        """Put together heads and the numbers of their card (`reliable_at`, `threshold`, `version`)."""
        return cls(opinions, evaluators, experts, card["reliable_at"], card["threshold"], card["version"])

    def opinion(self, kind: Kind, rows: Array) -> Array:
        """Knowledge rows of one kind [n, d] -> its own verdict [n, 3]: P(real), P(fake), P(unknown)."""
        return self.opinions[kind](rows)

    def reliability(self, kind: Kind, rows: Array, opinion: Array) -> Array:
        """P(its own verdict is right), [n]."""
        return self.evaluators[kind](evaluator_rows(rows, opinion))[:, 1]

    def select(self, reliability: dict[Kind, float], available: dict[Kind, bool]) -> Kind:
        """Evidence if reliable, else reasoning if reliable, else sentiment (section on selection in the paper).

        A perspective that could not be had is passed over; sentiment is always there.
        """
        for kind in KINDS[:2]:
            if available[kind] and reliability[kind] >= self.reliable_at[kind]:
                return kind
        return "sentiment"

    def decide(self, kind: Kind, rows: Array, content: Array, reliability: Array) -> list[Decision]:
        """Ask the expert of `kind` about n items. `rows` its knowledge [n, d], `content` [n, c], `reliability` [n]."""
        members = self.experts[kind].members(expert_rows(rows, content, reliability))[:, :, 1]
        means = members.mean(0)
        low, high = np.percentile(members, INTERVAL, axis=0)
        floor = self.threshold[kind]
        return [
            Decision(kind, float(p), (float(min(a, p)), float(max(b, p))), bool(max(p, 1 - p) < floor))
            for p, a, b in zip(means, low, high, strict=True)
        ]


@functools.cache
def _read(home: Path) -> Ease:
    card = weights.card("ease", home)
    arrays = weights.Arrays.read(home / "ease.npz")
    shares = {name: _shares(card, name, home / "ease.json") for name in ("reliable_at", "threshold")}
    opinions = {kind: arrays.head(f"opinion/{kind}", _WIDTHS[kind], 3) for kind in KINDS}
    # As `evaluator_rows` and `expert_rows` put them together; the content is the prior twice and the tone.
    evaluators = {kind: arrays.head(f"evaluator/{kind}", _WIDTHS[kind] + 4, 2) for kind in KINDS}
    experts = {kind: arrays.head(f"expert/{kind}", _WIDTHS[kind] + 2 + len(NAMES) + 1, 2) for kind in KINDS}
    return Ease.from_parts(opinions, evaluators, experts, {**card, **shares})


def _shares(card: dict[str, Any], name: str, path: Path) -> dict[Kind, float]:
    """A number between 0 and 1 for each kind."""
    found = card.get(name)
    for kind in KINDS:
        value = found.get(kind) if isinstance(found, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise weights.unusable(path, f"{name}.{kind} is {str(value)[:40]}, expected a number from 0 to 1")
    return {kind: float(card[name][kind]) for kind in KINDS}


@functools.cache
def _compare_content(home: Path, content_home: Path) -> None:
    """Once for each two folders: say if the heads at `home` were fitted on top of another content model."""
    fitted_on = weights.recorded("ease", home, "content.npz")
    used = weights.recorded("content", content_home, "content.npz")
    if fitted_on is not None and fitted_on != used:
        logger.warning(
            "the EASE weights in %s were fitted on top of other content weights than those in %s; "
            "their probabilities may be off: train ease again on these",
            home,
            content_home,
        )


def evaluator_rows(rows: Array, opinion: Array) -> Array:
    """What an evaluator sees: the perspective's numbers and its own verdict, with how decided that verdict is."""
    return np.concatenate([rows, opinion, opinion.max(1, keepdims=True)], axis=1)


def expert_rows(rows: Array, content: Array, reliability: Array) -> Array:
    """What an expert sees: its knowledge, the content, and the evaluator's assessment."""
    return np.concatenate([rows, content, reliability[:, None]], axis=1)


def assess(available: bool, reliability: float, at: float, opinion: Array, note: str) -> Assessment:
    """Put an evaluator's number into a sentence. `note` tells what the number mostly rests on."""
    if not available:
        return Assessment(False, 0.0, note)
    reliable = reliability >= at
    verdict = ("real", "fake", "unknown")[int(np.argmax(opinion))]
    said = "may be relied on" if reliable else "should not be relied on"
    sure = f"{reliability:.0%} sure that it is right, chance being 33%"
    return Assessment(
        reliable,
        float(reliability),
        f"Its own verdict is {verdict}; it {said} here ({sure}): {note}",
    )
