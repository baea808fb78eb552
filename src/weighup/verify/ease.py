"""EASE: evaluation-aware selection of experts (arXiv 2510.11277, "Towards Real-Time Fake News Detection under
Evidence Scarcity").

Faithful: three kinds of knowledge, each with a verdict of its own; an evaluator per kind trained on pseudo labels (a
perspective counts as reliable when its own verdict matches the label); the evaluators asked in order: evidence, then
reasoning, else sentiment; and an expert per kind that sees content, knowledge and the evaluator's assessment.

Ours: evaluators and experts are small bagged heads on the features of `knowledge.py` instead of tuned language
models and BERT cross-attention; the probability is calibrated; below a confidence that held a chosen risk on held-out
claims the verdict is "unknown" (`calibrated.py`). How the heads were fitted: `weights/ease.py`; the card:
`_weights/ease.json`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.registry import Method
from weighup.verify import calibrated, weights
from weighup.verify.calibrated import Calibration
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
    """Who decided, P(fake), its 90 % interval, and whether that is too little to call (`unknown`).

    `raw` is P(fake) before calibration."""

    expert: Kind
    probability_fake: float
    interval: tuple[float, float]
    unknown: bool
    raw: float = 0.5


@dataclass(frozen=True, slots=True)
class Ease:
    """The trained parts. Per kind: `opinions` -> P(real, fake, unknown); `evaluators` -> P(not reliable, reliable);
    `experts` -> P(real, fake). `threshold`: least confidence per kind at which real or fake is said.

    With a `calibration`, the experts' P(fake) goes through it, and the threshold is the one that keeps `risk`: inf
    where none does. Without one, the heads' own thresholds stand, and `risk` is None.
    """

    opinions: dict[Kind, Head]
    evaluators: dict[Kind, Head]
    experts: dict[Kind, Head]
    reliable_at: dict[Kind, float]
    threshold: dict[Kind, float]
    version: str
    calibration: Calibration | None = None
    risk: float | None = None

    @classmethod
    def load(cls, folder: Path | None = None, risk: float | None = None) -> Ease:
        """The weights in `folder`, else the shipped ones, with their calibration; read once for each folder and risk.

        `risk` in (0, 1): share of wrong calls to keep to; None: what the calibration was shipped for. Raises
        WeightsError, and InvalidInput if a risk is asked of heads without calibration. Logs a warning where the heads
        were fitted on top of other content weights, or the calibration on other heads, than those that `folder` gives.
        """
        calibrated.require(folder, risk)
        home = weights.find("ease", folder)
        _compare_content(home, weights.find("content", folder))
        calibration = Calibration.load(folder)
        if calibration is None:
            return _read(home)
        return _calibrated(home, calibration, calibration.risk if risk is None else risk)

    @classmethod
    def read(cls, home: Path) -> Ease:
        """The heads in `home` as they are, uncalibrated; not kept. Raises WeightsError."""
        return _read.__wrapped__(home)

    @classmethod
    def from_parts(
        cls, opinions: dict[Kind, Head], evaluators: dict[Kind, Head], experts: dict[Kind, Head], card: dict[str, Any]
    ) -> Ease:
        """Put together heads and the numbers of their card (`reliable_at`, `threshold`, `version`)."""
        return cls(opinions, evaluators, experts, card["reliable_at"], card["threshold"], card["version"])

    def opinion(self, kind: Kind, rows: Array) -> Array:
        """Knowledge rows of one kind [n, d] -> its own verdict [n, 3]: P(real), P(fake), P(unknown)."""
        return self.opinions[kind](rows)

    def reliability(self, kind: Kind, rows: Array, opinions: Mapping[Kind, Array]) -> Array:
        """P(its own verdict is right), [n]. `rows` are of that kind, `opinions` of all."""
        return self.evaluators[kind](evaluator_rows(kind, rows, opinions))[:, 1]

    def decide(self, kind: Kind, rows: Array, content: Array, reliability: Array) -> list[Decision]:
        """Ask the expert of `kind` about n items. `rows` its knowledge [n, d], `content` [n, c], `reliability` [n]."""
        members = self.experts[kind].members(expert_rows(rows, content, reliability))[:, :, 1]
        raw = members.mean(0)
        fake = raw if self.calibration is None else np.asarray(self.calibration(kind, raw), np.float32)
        # The members are moved as their mean is: through a map with steps they could all come out alike.
        each = 1 / (1 + np.exp(-(_log_odds(members) + _log_odds(fake) - _log_odds(raw))))
        low, high = np.percentile(each, INTERVAL, axis=0)
        floor = self.threshold[kind]
        return [
            Decision(kind, float(p), (float(min(a, p)), float(max(b, p))), bool(max(p, 1 - p) < floor), float(before))
            for p, a, b, before in zip(fake, low, high, raw, strict=True)
        ]


def _log_odds(p: Array) -> Array:
    near = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(near / (1 - near)), np.float32)


@functools.cache
def _read(home: Path) -> Ease:
    card = weights.card("ease", home)
    arrays = weights.Arrays.read(home / "ease.npz")
    shares = {name: _shares(card, name, home / "ease.json") for name in ("reliable_at", "threshold")}
    opinions = {kind: arrays.head(f"opinion/{kind}", _WIDTHS[kind], 3) for kind in KINDS}
    # As `evaluator_rows` and `expert_rows` put them together; the content is the prior twice and the tone.
    evaluators = {kind: arrays.head(f"evaluator/{kind}", _WIDTHS[kind] + 12, 2) for kind in KINDS}
    experts = {kind: arrays.head(f"expert/{kind}", _WIDTHS[kind] + 2 + len(NAMES) + 1, 2) for kind in KINDS}
    return Ease.from_parts(opinions, evaluators, experts, {**card, **shares})


@functools.cache
def _calibrated(home: Path, calibration: Calibration, risk: float) -> Ease:
    return replace(_read(home), threshold=calibration.thresholds(risk), calibration=calibration, risk=risk)


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


def evaluator_rows(kind: Kind, rows: Array, opinions: Mapping[Kind, Array]) -> Array:
    """What an evaluator sees, [n, d + 12]: the perspective's numbers, its own verdict with how decided that is, the
    verdicts of the other two, and how far each of them agrees with it (the chance of one verdict, drawn from both).

    `rows` [n, d]; `opinions` [n, 3] by kind.
    """
    own = opinions[kind]
    parts = [rows, own, own.max(1, keepdims=True)]
    for other in KINDS:
        if other != kind:
            parts += [opinions[other], (own * opinions[other]).sum(1, keepdims=True)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def expert_rows(rows: Array, content: Array, reliability: Array) -> Array:
    """What an expert sees: its knowledge, the content, and the evaluator's assessment."""
    return np.concatenate([rows, content, reliability[:, None]], axis=1)


def select_all(
    reliability: Mapping[Kind, Array], available: Mapping[Kind, NDArray[np.bool_]], at: Mapping[Kind, float]
) -> NDArray[np.int64]:
    """Who decides, as places in KINDS [n]: evidence if reliable, else reasoning if reliable, else sentiment (section on
    selection in the paper). A perspective that could not be had is passed over; sentiment is always there.

    By kind: `reliability` [n] and `available` [n]; `at`, the least reliability that counts.
    """
    chosen = np.full(len(reliability["sentiment"]), len(KINDS) - 1, np.int64)
    for place in (1, 0):
        kind = KINDS[place]
        chosen[available[kind] & (reliability[kind] >= at[kind])] = place
    return chosen


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
