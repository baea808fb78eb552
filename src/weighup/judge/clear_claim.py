"""CLEAR's claim check: made reports with planted omissions, additions and contradictions.

Ten sections of two sentences each, with figures and names drawn anew; the output has the sections in another order.
An omission takes one sentence of a section away, an addition puts one of another report's other section in, a
contradiction negates one: each in a section of its own, zero to three of each kind. So recall should be
1 − (omissions + contradictions)/10, and precision 1 − (additions + contradictions)/10. The scripted extractor reads the
headings; matching is by words, and on a few reports by the embedded model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.claims import ClaimResult, compare
from weighup.errors import ModelMissing
from weighup.judge.clear import ChecklistScore, Matcher, clear
from weighup.judge.clear_models import ModelMatcher, lexical_matcher
from weighup.judge.corrupt import corrupt
from weighup.judge.types import Criterion, Rubric
from weighup.metrics.intervals import bootstrap
from weighup.metrics.ranking import spearman

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
REPORTS, REAL_REPORTS = 60, 3
WITHIN = 0.03
MADE = "made reports of ten sections"
_KINDS = {"omissions": "dropped", "additions": "unsupported", "contradictions": "contradiction"}
_SECTIONS = {
    "Revenue": "Revenue was {n} million dollars in the last year. Most of the money came from customers in {place}.",
    "Staff": "The company has {n} employees. A new director named {name} was hired in spring.",
    "Plant": "The main factory stands near {place}. Its machines can press {n} tonnes of steel a day.",
    "Lawsuits": "A court in {place} has fined the board {n} thousand euros. The appeal was filed by lawyer {name}.",
    "Products": "The best selling product was the {name} pump. Shops have returned {n} faulty units.",
    "Research": "Laboratory spending was raised by {n} percent. The leading scientist is {name}.",
    "Safety": "Inspectors have recorded {n} accidents on site. Training was moved to {place}.",
    "Shipping": "Goods are shipped through the harbour of {place}. A voyage can last {n} days.",
    "Climate": "Carbon emissions were cut to {n} kilotonnes. Solar panels have been installed by {name} and partners.",
    "Outlook": "Analysts will expect growth of {n} points. Chairman {name} has promised a dividend.",
}
_PLACES = ("Bergen", "Lima", "Osaka", "Gdansk", "Durban", "Halifax", "Porto", "Pune", "Izmir", "Quito")
_NAMES = ("Okafor", "Lindqvist", "Moreau", "Tanaka", "Petrov", "Silva", "Haddad", "Novak", "Kimura", "Byrne")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
RUBRIC = Rubric(
    criteria=tuple(Criterion(id=name, text=f"What is said about {name.lower()}?") for name in _SECTIONS),
    name="report",
)


@dataclass(frozen=True, slots=True)
class Made:
    """A reference, an output with defects, and how many of each kind were planted."""

    reference: str
    output: str
    omissions: int
    additions: int
    contradictions: int

    @property
    def defects(self) -> int:
        return self.omissions + self.additions + self.contradictions

    @property
    def recall(self) -> float:
        return 1 - (self.omissions + self.contradictions) / len(_SECTIONS)

    @property
    def precision(self) -> float:
        return 1 - (self.additions + self.contradictions) / len(_SECTIONS)


def headings(text: str, rubric: Rubric, /) -> Mapping[str, str | None]:
    """The scripted extractor: what stands under the heading of each item."""
    parts = _HEADING.split(text)
    found = dict(zip(parts[1::2], (one.strip() for one in parts[2::2]), strict=True))
    return {leaf.id: found.get(leaf.id) for leaf in rubric.leaves()}


def make(seed: int, n: int = REPORTS) -> list[Made]:
    """n reports with their outputs."""
    rng = np.random.default_rng(seed)
    references = [_sections(rng) for _ in range(n)]
    return [_corrupted(one, references[place - 1], rng) for place, one in enumerate(references)]


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Recall and precision in step with what was planted; F1 against defects, and against whole-document ROUGE-L."""
    made = [one for seed in seeds for one in make(seed)]
    scores = [clear(one.output, one.reference, RUBRIC, headings, lexical_matcher) for one in made]
    found = [
        _in_step("recall", scores, made, "words", seeds),
        _in_step("precision", scores, made, "words", seeds),
        *_ordered(scores, made, seeds),
    ]
    return found + _real(seeds)


def _in_step(
    side: str, scores: Sequence[ChecklistScore], made: Sequence[Made], by: str, seeds: Sequence[int]
) -> ClaimResult:
    off = np.array([abs(getattr(one, side) - getattr(truth, side)) for one, truth in zip(scores, made, strict=True)])
    per = off.reshape(len(seeds), -1).mean(1)
    return compare(
        f"{side} falls by what was planted, matched by {by}",
        metric=f"mean distance of {side} from what was planted",
        values=per.tolist(),
        baseline=f"{WITHIN} allowed",
        baseline_values=[WITHIN] * len(seeds),
        seeds=seeds,
        n=len(made) // len(seeds),
        data=MADE,
        lower_is_better=True,
        interval=bootstrap(np.mean, WITHIN - off, seed=0),
    )


def _ordered(scores: Sequence[ChecklistScore], made: Sequence[Made], seeds: Sequence[int]) -> list[ClaimResult]:
    from weighup.metrics.text import score

    few = -np.array([one.defects for one in made], float)
    f1 = np.array([one.f1 for one in scores])
    rouge = np.asarray(score("rougeL", [one.output for one in made], [one.reference for one in made]), float)
    rows = {"0.9": np.full(len(seeds), 0.9), "whole-document ROUGE-L + 0.10": _spearmans(rouge, few, seeds) + 0.1}
    gains = {
        "0.9": lambda own, other, truth: spearman(own, truth) - 0.9,
        "whole-document ROUGE-L + 0.10": lambda own, other, truth: spearman(own, truth) - spearman(other, truth) - 0.1,
    }
    claims = ("F1 falls in step with the defects", "F1 follows the defects better than ROUGE-L of the whole document")
    return [
        compare(
            claim,
            metric="Spearman with minus the number of defects",
            values=_spearmans(f1, few, seeds).tolist(),
            baseline=name,
            baseline_values=base.tolist(),
            seeds=seeds,
            n=len(made) // len(seeds),
            data=MADE,
            interval=bootstrap(gains[name], f1, rouge, few, seed=0),
        )
        for claim, (name, base) in zip(claims, rows.items(), strict=True)
    ]


def _spearmans(values: Floats, few: Floats, seeds: Sequence[int]) -> Floats:
    pairs = zip(np.split(values, len(seeds)), np.split(few, len(seeds)), strict=True)
    return np.array([spearman(own, truth) for own, truth in pairs])


def _real(seeds: Sequence[int]) -> list[ClaimResult]:
    from weighup.models.open import language_model

    try:
        model = language_model()
    except ModelMissing as error:
        log.warning("clear: the part with a real matcher is left out: %s", error)
        return []
    if model is None:
        log.warning("clear: the part with a real matcher is left out: models.language is none")
        return []
    matcher: Matcher = ModelMatcher(model)
    made = make(seeds[0], REAL_REPORTS)
    scores = [clear(one.output, one.reference, RUBRIC, headings, matcher) for one in made]
    by = f"the embedded model ({model.name})"
    return [_in_step(side, scores, made, by, list(seeds)[:1]) for side in ("recall", "precision")]


def _sections(rng: np.random.Generator) -> dict[str, str]:
    return {
        name: form.format(n=int(rng.integers(12, 990)), place=rng.choice(_PLACES), name=rng.choice(_NAMES))
        for name, form in _SECTIONS.items()
    }


def _corrupted(sections: Mapping[str, str], other: Mapping[str, str], rng: np.random.Generator) -> Made:
    names = list(rng.permutation(list(sections)))
    counts = {kind: int(rng.integers(0, 4)) for kind in _KINDS}
    output = dict(sections)
    taken = 0
    for kind, defect in _KINDS.items():
        for name in names[taken : taken + counts[kind]]:
            donors = [text for topic, text in other.items() if topic != name]
            output[name] = corrupt(output[name], [defect], seed=int(rng.integers(2**31)), donors=donors).text
        taken += counts[kind]
    order = rng.permutation(list(sections))
    return Made(_document(sections, list(sections)), _document(output, list(order)), **counts)


def _document(sections: Mapping[str, str], order: Sequence[str]) -> str:
    return "\n\n".join(f"## {name}\n{sections[name]}" for name in order)
