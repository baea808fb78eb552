"""Opinions, evaluators and experts of EASE (arXiv 2510.11277), fitted in that order, each on what the one before says
out of fold, so that no claim teaches its own evaluator.

Opinion: the perspective's own verdict (real, fake, unknown) from its knowledge alone. Pseudo label: a perspective is
reliable for a claim when its own verdict matches the label (section on evaluation). Evaluator: learns that label from
knowledge, its own verdict and those of the others. Expert: learns real or fake from knowledge, content and the
evaluator's word; a claim labelled unknown is half real, half fake to it. Tone is held down in it: it has many numbers
and says little. The least reliability that counts is chosen last, by the macro-F1 of the selected expert, every set and
share of evidence weighing alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.metrics import auroc, brier, ece, macro_f1
from weighup.train.ease.heads import SHAPES, Sample, Shape, best_shape, fit_head, log_loss
from weighup.train.ease.table import Table
from weighup.train.labelled import LEAST
from weighup.verify import weights
from weighup.verify.ease import Ease, evaluator_rows, expert_rows, select_all
from weighup.verify.heads import Head
from weighup.verify.tone import NAMES
from weighup.verify.types import KINDS, Kind

Array = NDArray[np.float32]
GRID = tuple(round(0.35 + 0.025 * i, 3) for i in range(15))
"""Least reliabilities that are tried. A verdict of three kinds is right by chance one time in three."""


@dataclass(frozen=True)
class Evaluators:
    """Heads by kind. `opinion` [n, 3] and `reliability` [n]: what they say of each row out of fold (0 where the
    perspective is missing)."""

    opinions: dict[Kind, Head]
    evaluators: dict[Kind, Head]
    opinion: dict[Kind, Array]
    reliability: dict[Kind, Array]
    report: dict[str, Any]

    @property
    def taken_over(self) -> tuple[Kind, ...]:
        """Kinds whose heads were not fitted but taken over, for want of rows."""
        return tuple(kind for kind in KINDS if kind in self.report["taken_over"])


@dataclass(frozen=True)
class Experts:
    """Heads by kind. `fake` [n]: P(fake) of each row out of fold; `reliable_at`: least reliability that counts;
    `chosen` [n]: places in KINDS of who is selected then."""

    experts: dict[Kind, Head]
    fake: dict[Kind, Array]
    reliable_at: dict[Kind, float]
    chosen: NDArray[np.int64]
    report: dict[str, Any]


def fit_evaluators(
    table: Table, shapes: tuple[Shape, ...] = SHAPES, *, other: Ease | None = None, advance: Advance | None = None
) -> Evaluators:
    """Opinions of every kind, then their evaluators.

    `other` (None: the shipped heads) gives those of a kind that fewer than `LEAST` claims each of real and fake have.
    """
    weight = balanced(table)
    lacking = [kind for kind in KINDS if not _enough(table, kind)]
    other = _other(other, lacking)
    opinions: dict[Kind, Head] = {}
    opinion: dict[Kind, Array] = {}
    report: dict[str, Any] = {"opinion": {}, "evaluator": {}, "taken_over": lacking}
    for kind in KINDS:
        on = there(table, kind)
        rows = table.knowledge[kind][on]
        opinion[kind] = np.tile(np.asarray([0, 0, 1], np.float32), (len(table), 1))
        if other is not None and kind in lacking:
            opinions[kind] = other.opinions[kind]
            opinion[kind][on] = opinions[kind](rows)
        else:
            sample = Sample(rows, table.label[on], weight[on], table.group[on])
            shape, opinion[kind][on], report["opinion"][kind] = best_shape(sample, 3, _weighted_loss(sample), shapes)
            opinions[kind] = fit_head(sample, 3, shape)
        _told(advance, f"{kind} opinion")
    evaluators: dict[Kind, Head] = {}
    reliability = {kind: np.zeros(len(table), np.float32) for kind in KINDS}
    for kind in KINDS:
        on = there(table, kind)
        right = (opinion[kind].argmax(1) == table.label).astype(np.int64)[on]
        rows = evaluator_rows(kind, table.knowledge[kind], opinion)[on]
        tried: dict[str, float] = {}
        if other is not None and kind in lacking:
            evaluators[kind] = other.evaluators[kind]
            reliability[kind][on] = evaluators[kind](rows)[:, 1]
        else:
            sample = Sample(rows, right, np.ones(len(rows)), table.group[on])
            shape, p, tried = best_shape(sample, 2, _weighted_loss(sample), shapes)
            evaluators[kind] = fit_head(sample, 2, shape)
            reliability[kind][on] = p[:, 1]
        report["evaluator"][kind] = {
            "tried": tried,
            **evaluator_scores(right, reliability[kind][on], table.taken(on)),
        }
        _told(advance, f"{kind} evaluator")
    return Evaluators(opinions, evaluators, opinion, reliability, report)


def fit_experts(
    table: Table,
    evaluated: Evaluators,
    shapes: tuple[Shape, ...] = SHAPES,
    *,
    other: Ease | None = None,
    advance: Advance | None = None,
) -> Experts:
    """An expert of every kind, and from which reliability on each is selected. `other` as in `fit_evaluators`."""
    other = _other(other, evaluated.taken_over)
    experts: dict[Kind, Head] = {}
    fake: dict[Kind, Array] = {}
    report: dict[str, Any] = {}
    for kind in KINDS:
        rows = expert_rows(table.knowledge[kind], table.content, evaluated.reliability[kind])
        if other is not None and kind in evaluated.taken_over:
            experts[kind] = other.experts[kind]
            fake[kind] = experts[kind](rows)[:, 1]
        else:
            sample, place = halves(table, rows)
            shape, p, report[kind] = best_shape(sample, 2, _weighted_loss(sample), shapes)
            experts[kind] = fit_head(sample, 2, shape)
            fake[kind] = np.zeros(len(table), np.float32)
            fake[kind][place] = p[:, 1]
        _told(advance, f"{kind} expert")
    at, chosen, grid = choose_reliable(table, evaluated.reliability, fake)
    report["reliable_at"] = grid
    return Experts(experts, fake, at, chosen, report)


def _enough(table: Table, kind: Kind) -> bool:
    on = there(table, kind)
    return all(len(np.unique(table.claim[on & (table.label == label)])) >= LEAST for label in (0, 1))


def _other(other: Ease | None, lacking: Sequence[Kind]) -> Ease | None:
    return Ease.read(weights.SHIPPED) if other is None and lacking else other


def choose_reliable(
    table: Table, reliability: Mapping[Kind, Array], fake: Mapping[Kind, Array]
) -> tuple[dict[Kind, float], NDArray[np.int64], dict[str, float]]:
    """The least reliabilities with the best mean macro-F1 of the selected expert over sets with evidence and q, who is
    selected then, and what was tried.

    A score is averaged with those of its neighbours in the grid, so that a lucky spike is not taken.
    """
    evidenced = np.unique(table.source[table.has])
    known = table.known & np.isin(table.source, evidenced if len(evidenced) else np.unique(table.source))
    parts = [
        np.flatnonzero(known & (table.source == name) & (table.q == q))
        for name in np.unique(table.source[known])
        for q in np.unique(table.q)
    ]
    parts = [mine for mine in parts if len(np.unique(table.label[mine])) == 2]
    every = np.stack([fake[kind] for kind in KINDS])
    score = np.zeros((len(GRID), len(GRID)))
    for i, a in enumerate(GRID):
        for k, b in enumerate(GRID):
            chosen = _select(table, reliability, {"evidence": a, "reasoning": b, "sentiment": 0.0})
            called = (every[chosen, np.arange(len(table))] >= 0.5).astype(np.int64)
            score[i, k] = np.mean([macro_f1(table.label[mine], called[mine]) for mine in parts]) if parts else 0.0
    wide = np.pad(score, 1, mode="edge")
    smooth = sum(wide[i : i + len(GRID), k : k + len(GRID)] for i in range(3) for k in range(3)) / 9
    best = divmod(int(np.argmax(smooth)), len(GRID))
    at: dict[Kind, float] = {"evidence": GRID[best[0]], "reasoning": GRID[best[1]], "sentiment": 0.5}
    tried = {f"{a:g},{b:g}": round(float(score[i, k]), 4) for i, a in enumerate(GRID) for k, b in enumerate(GRID)}
    return at, _select(table, reliability, at), tried


def there(table: Table, kind: Kind) -> NDArray[np.bool_]:
    """Rows for which there is a perspective of that kind."""
    return table.has if kind == "evidence" else np.ones(len(table), np.bool_)


def balanced(table: Table) -> NDArray[np.float64]:
    """Weights [n], 1 on average: labels nearly alike within a set, sets by the root of their size."""
    weight = np.zeros(len(table))
    for name in np.unique(table.source):
        here = table.source == name
        for label in np.unique(table.label[here]):
            mine = here & (table.label == label)
            weight[mine] = here.sum() ** 0.5 / mine.sum() ** 0.75
    return np.asarray(weight * len(weight) / weight.sum(), np.float64)


def halves(table: Table, rows: Array) -> tuple[Sample, NDArray[np.int64]]:
    """The rows with 0 real and 1 fake, those labelled unknown twice at half the weight, and each one's place."""
    known, open_ = np.flatnonzero(table.known), np.flatnonzero(~table.known)
    place = np.concatenate([known, open_, open_])
    y = np.concatenate([table.label[known], np.zeros(len(open_), np.int64), np.ones(len(open_), np.int64)])
    weight = balanced(table)[place] * np.where(np.arange(len(place)) < len(known), 1.0, 0.5)
    # As `expert_rows` puts them together: knowledge, the prior and how decided it is, tone, the evaluator's word.
    hushed = np.zeros(rows.shape[1], np.bool_)
    hushed[-1 - len(NAMES) : -1] = True
    return Sample(rows[place], y, weight, table.group[place], hushed), place


def evaluator_scores(right: NDArray[np.int64], p: Array, table: Table) -> dict[str, Any]:
    """AUROC, Brier score and expected calibration error of P(reliable), over all rows, by set and by q."""

    def scores(mine: NDArray[np.bool_]) -> dict[str, float | int | None]:
        both = 0 < right[mine].mean() < 1 if mine.any() else False
        return {
            "rows": int(mine.sum()),
            "right": round(float(right[mine].mean()), 4) if mine.any() else None,
            "auroc": round(auroc(right[mine], p[mine]), 4) if both else None,
            "brier": round(brier(right[mine], p[mine]), 4) if both else None,
            "ece": round(ece(right[mine], p[mine]), 4) if both else None,
        }

    return {
        "all": scores(np.ones(len(right), np.bool_)),
        "by_set": {str(name): scores(table.source == name) for name in np.unique(table.source)},
        "by_q": {f"{q:g}": scores(table.q == q) for q in np.unique(table.q)[::-1]},
    }


def _select(table: Table, reliability: Mapping[Kind, Array], at: Mapping[Kind, float]) -> NDArray[np.int64]:
    return select_all(reliability, {kind: there(table, kind) for kind in KINDS}, at)


def _weighted_loss(sample: Sample) -> Callable[[Array], float]:
    return lambda p: log_loss(p, sample.y, sample.weight)


def _told(advance: Advance | None, note: str) -> None:
    if advance is not None:
        advance(1, note=note)
