"""The numbers of one set: every system's P(fake) on the same claims, scored with intervals.

Shapes: n claims, k columns (a column is one way that chance fell: a q, r and seed). A score is the mean over the
columns; its interval comes from drawing whole claim groups, the same for all columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.metrics import auroc, coverage_at_risk, ece, reliability_curve
from weighup.train import resampled
from weighup.train.ablations import ABLATIONS
from weighup.train.gate import Gate, gate_features
from weighup.train.results import Difference, EaseNumbers, Estimate, Reliability, SystemScores
from weighup.verify.decision import Judged
from weighup.verify.types import KINDS

Floats = NDArray[np.float64]
RISK = 0.1
SINGLE = ("evidence", "reasoning", "sentiment")


@dataclass(frozen=True, slots=True)
class Answers:
    """What was said of n claims under one variant. `experts` [n, 3]: P(fake) by each; `chosen` [n]: places in KINDS;
    `available` [n, 3]: which experts had something to go by; `chance` [n]: draws in [0, 1) for random selection."""

    content: Floats
    experts: Floats
    ease: Floats
    chosen: NDArray[np.int64]
    unknown: NDArray[np.bool_]
    features: Floats
    available: NDArray[np.bool_]
    chance: Floats

    @classmethod
    def of(cls, judged: Sequence[Judged], chance: Sequence[float]) -> Answers:
        """From what the pipeline said of each claim."""
        return cls(
            content=np.asarray([j.content for j in judged], np.float64),
            experts=np.asarray([[j.fake[kind] for kind in KINDS] for j in judged], np.float64).reshape(-1, len(KINDS)),
            ease=np.asarray([j.decided.probability_fake for j in judged], np.float64),
            chosen=np.asarray([KINDS.index(j.chosen) for j in judged], np.int64),
            unknown=np.asarray([j.decided.unknown for j in judged], np.bool_),
            features=gate_features(judged),
            available=np.asarray([[j.available[kind] for kind in KINDS] for j in judged], np.bool_).reshape(
                -1, len(KINDS)
            ),
            chance=np.asarray(chance, np.float64),
        )

    def taken(self, where: NDArray[Any]) -> Answers:
        """Those of some of the claims."""
        return Answers(*(getattr(self, part.name)[where] for part in fields(self)))

    def systems(self, fake: NDArray[np.int64], gate: Gate | None, ablations: Sequence[str] = ()) -> dict[str, Floats]:
        """P(fake) by every system, [n] each. `fake` is what the oracle knows."""
        nearest = np.abs(self.experts - fake[:, None]).argmin(1)
        found: dict[str, Floats] = {"content": self.content}
        for i, kind in enumerate(KINDS):
            found[kind] = self.experts[:, i]
        found["mean"] = self.experts.mean(1)
        if gate is not None:
            found["gate"] = np.clip(gate(self.features, self.experts), 0, 1)
        found["oracle"] = self.experts[np.arange(len(fake)), nearest]
        found["ease"] = self.ease
        for name in ablations:
            found[name] = self.experts[np.arange(len(fake)), ABLATIONS[name](self)]
        return found


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are drawn: `groups` [n] are the claims' groups, `n` the number of resamples."""

    groups: NDArray[np.int64]
    n: int
    seed: int = 0


def macro_f1_of(fake: NDArray[np.int64], p: Floats) -> float:
    """`weighup.metrics.macro_f1` at 0.5, fake [n], p [n, k], mean over the columns; all columns at once."""
    called = p >= 0.5
    total = np.zeros(p.shape[1])
    sides = np.unique(fake)
    for side in sides:
        true = fake == side
        mine = called == bool(side)
        hits = (mine & true[:, None]).sum(0)
        total += 2 * hits / (true.sum() + mine.sum(0))
    return float((total / len(sides)).mean())


def coverage_of(fake: NDArray[np.int64], p: Floats) -> float:
    """Share of claims that can be called at a risk of 10 %, surest first, mean over the columns."""
    return _over(lambda one: coverage_at_risk(np.maximum(one, 1 - one), (one >= 0.5) != fake, RISK), p)


METRICS: dict[str, Callable[[NDArray[np.int64], Floats], float]] = {
    "macro_f1": macro_f1_of,
    "auroc": lambda fake, p: _over(lambda one: auroc(fake, one), p),
    "brier": lambda fake, p: float(np.mean((p - fake[:, None]) ** 2)),
    "ece": lambda fake, p: _over(lambda one: ece(fake, one), p),
    "coverage": coverage_of,
}


RESAMPLED: dict[str, resampled.Metric] = {
    "macro_f1": resampled.macro_f1,
    "auroc": resampled.auroc,
    "brier": resampled.brier,
    "ece": resampled.ece,
    "coverage": lambda fake, p, drawn: resampled.coverage(fake, p, drawn, RISK),
}
"""The same on all resamples at once."""


class Scorer:
    """Scores of the systems on the claims of one set. Scores that were asked for before are not drawn again."""

    def __init__(self, fake: NDArray[np.int64], drawn: Resampling) -> None:
        self.fake = fake
        alone = len(np.unique(drawn.groups)) < 2
        self._drawn = None if alone else resampled.draw(drawn.groups, drawn.n, drawn.seed)
        self._known: dict[tuple[str, bytes], Estimate] = {}

    def scores(self, p: Floats) -> SystemScores:
        """All metrics of one system, p [n, k]."""
        return SystemScores(**{name: self.estimate(name, p) for name in METRICS})

    def estimate(self, name: str, p: Floats) -> Estimate:
        """A metric with its 95 % interval; empty where it is undefined on these claims."""
        columns, counts = np.unique(p, axis=1, return_counts=True)
        key = (name, columns.tobytes() + counts.tobytes())
        if key not in self._known:
            try:
                value = METRICS[name](self.fake, p)
            except InvalidInput:  # one class only
                self._known[key] = Estimate(value=None)
            else:
                low, high = _interval(self._each(name, columns, counts))
                self._known[key] = Estimate(value=value, low=low, high=high)
        return self._known[key]

    def gain(self, ours: Floats, theirs: Floats, name: str = "macro_f1") -> Difference:
        """Ours less theirs, with the paired 95 % interval."""
        metric = METRICS[name]
        mine, other = (self._each(name, *np.unique(p, axis=1, return_counts=True)) for p in (ours, theirs))
        low, high = _interval(None if mine is None or other is None else mine - other)
        return Difference(value=metric(self.fake, ours) - metric(self.fake, theirs), low=low, high=high)

    def _each(self, name: str, columns: Floats, counts: NDArray[np.int64]) -> Floats | None:
        """The metric on each resample, mean over the columns; None where claims hang together in one group."""
        if self._drawn is None:
            return None
        found = [RESAMPLED[name](self.fake, column, self._drawn) for column in columns.T]
        return np.asarray(np.average(found, axis=0, weights=counts))


def ease_numbers(answers: Sequence[Answers], labels: NDArray[np.int64]) -> EaseNumbers:
    """What EASE did, over all columns. labels [n]: 0 real, 1 fake, 2 unknown; a claim labelled unknown that is called
    is called wrongly."""
    known = labels < 2
    called = np.concatenate([~a.unknown for a in answers])
    wrong = np.concatenate([(a.ease >= 0.5) != (labels == 1) for a in answers]) | np.tile(~known, len(answers))
    chosen = np.concatenate([a.chosen for a in answers])
    ours, evidence = selection(answers, labels)
    return EaseNumbers(
        called=float(called.mean()),
        risk_among_called=float(wrong[called].mean()) if called.any() else None,
        selection_accuracy=ours,
        evidence_accuracy=evidence,
        chosen={kind: float((chosen == i).mean()) for i, kind in enumerate(KINDS)},
    )


def selection(answers: Sequence[Answers], labels: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """How often the chosen expert, and how often the evidence expert, is right where any expert is."""
    known = labels < 2
    ours, evidence = [], []
    for a in answers:
        right = ((a.experts >= 0.5) == (labels == 1)[:, None])[known]
        some = right.any(1)
        ours.append(right[np.arange(len(right)), a.chosen[known]][some])
        evidence.append(right[some, 0])
    mine, theirs = np.concatenate(ours), np.concatenate(evidence)
    return (float(mine.mean()), float(theirs.mean())) if len(mine) else (None, None)


def reliability(fake: NDArray[np.int64], p: Floats) -> Reliability:
    """Predicted against observed in ten bins, all columns together."""
    curve = reliability_curve(np.repeat(fake, p.shape[1]), p.ravel(), bins=10)
    return Reliability(
        predicted=curve.predicted.tolist(), observed=curve.positive.tolist(), counts=curve.counts.tolist()
    )


def columns(
    answers: Sequence[Answers], fake: NDArray[np.int64], gate: Gate | None, ablations: Sequence[str] = ()
) -> dict[str, Floats]:
    """Every system's [n, k]."""
    each = [a.systems(fake, gate, ablations) for a in answers]
    return {name: np.stack([one[name] for one in each], axis=1) for name in each[0]}


def best_single(fake: NDArray[np.int64], p: Mapping[str, Floats]) -> str:
    """The always-expert with the highest macro-F1, chosen with the labels in view, which favours it."""
    return max(SINGLE, key=lambda name: macro_f1_of(fake, p[name]))


def _over(metric: Callable[[Floats], float], p: Floats) -> float:
    return float(np.mean([metric(p[:, i]) for i in range(p.shape[1])]))


def _interval(each: Floats | None) -> tuple[float | None, float | None]:
    """None where there are too few groups for an interval, or the metric is undefined on most resamples."""
    defined = np.asarray([]) if each is None else each[np.isfinite(each)]
    if each is None or 2 * len(defined) < len(each) or not len(defined):
        return None, None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)
