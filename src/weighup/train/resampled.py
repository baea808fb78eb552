"""Metrics on all bootstrap resamples at once: a resample is how often each claim was drawn, a metric a weighted sum.

Shapes: n claims, r resamples. The same numbers as calling `weighup.metrics` on every resample, in a hundredth of the
time. `fake` [n] is 1 for fake, `p` [n] is P(fake), `drawn` [r, n] says how often each claim is in each resample.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Callable[[Ints, Floats, Floats], Floats]
BINS = 15


def draw(groups: Ints, n: int, seed: int) -> Floats:
    """How often each claim is drawn, [n, claims], where whole groups are drawn with replacement (cluster bootstrap, as
    `weighup.metrics.bootstrap`)."""
    _, place = np.unique(groups, return_inverse=True)
    size = int(place.max()) + 1
    rng = np.random.default_rng(seed)
    counts = np.stack([np.bincount(rng.integers(0, size, size), minlength=size) for _ in range(n)])
    return np.asarray(counts[:, place], np.float64)


def macro_f1(fake: Ints, p: Floats, drawn: Floats) -> Floats:
    """Mean F1 over the classes that were drawn, [r]; P(fake) ≥ 0.5 calls fake."""
    called = p >= 0.5
    total, sides = np.zeros(len(drawn)), np.zeros(len(drawn))
    for side in (0, 1):
        true, mine = fake == side, called == bool(side)
        there = drawn @ true
        found = 2 * (drawn @ (true & mine)) / np.maximum(there + drawn @ mine, 1)
        total += np.where(there > 0, found, 0.0)
        sides += there > 0
    return total / np.maximum(sides, 1)


def brier(fake: Ints, p: Floats, drawn: Floats) -> Floats:
    """Mean squared error, [r]."""
    return np.asarray(drawn @ ((p - fake) ** 2) / drawn.sum(1), np.float64)


def ece(fake: Ints, p: Floats, drawn: Floats) -> Floats:
    """Expected calibration error with 15 bins of equal width, [r]."""
    place = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], p)
    gap = np.zeros((len(p), BINS))
    gap[np.arange(len(p)), place] = p - fake
    return np.asarray(np.abs(drawn @ gap).sum(1) / drawn.sum(1), np.float64)


def auroc(fake: Ints, p: Floats, drawn: Floats) -> Floats:
    """Area under the ROC curve, ties at half, [r]; nan where one class was drawn."""
    real, false = _summed(p, drawn * (fake == 0)), _summed(p, drawn * (fake == 1))
    below = np.cumsum(real, 1) - real / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((false * below).sum(1) / (real.sum(1) * false.sum(1)))


def coverage(fake: Ints, p: Floats, drawn: Floats, risk: float) -> Floats:
    """Largest share that is called at a risk of at most `risk`, surest first, [r]."""
    unsure = -np.maximum(p, 1 - p)
    answered = np.cumsum(_summed(unsure, drawn), 1)
    missed = np.cumsum(_summed(unsure, drawn * ((p >= 0.5) != fake)), 1)
    with np.errstate(invalid="ignore"):
        kept = missed / answered <= risk
    return np.asarray(np.where(kept, answered, 0).max(1) / answered[:, -1])


def _summed(values: Floats, drawn: Floats) -> Floats:
    """Draws [r, n] added up over the claims of equal value [n], by rising value [r, distinct]."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return np.asarray(np.add.reduceat(drawn[:, order], starts, axis=1))
