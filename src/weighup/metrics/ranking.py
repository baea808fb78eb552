"""Do two scores put things in the same order? Rank and linear correlation.

x, y: float arrays [n] of one length, n ≥ 2, higher meaning better. Every result lies in [−1, 1], 1 for the same order.
Every function raises InvalidInput, naming the argument, for arrays of different lengths or more than one dimension,
fewer than two items, values that are not finite, and an argument whose values are all the same: nothing is ordered
there, so no correlation is defined (`bootstrap` draws such a resample again).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints, numbers, same_length
from weighup.metrics.extras import need

SMALL = 200  # items up to which comparing all pairs at once is faster than SciPy's sort
CELLS = 4_000_000  # pairs looked at in one go: bounds the memory


@dataclass(frozen=True, slots=True)
class PairCounts:
    """How many of n(n − 1)/2 pairs of items are ordered alike, ordered otherwise, or tied in x only, y only, both."""

    alike: int
    otherwise: int
    tied_x: int
    tied_y: int
    tied_both: int


def tau_b(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's τ-b: (alike − otherwise) / √(pairs untied in x · pairs untied in y) (Kendall 1945, The treatment of
    ties in ranking problems). All pairs are compared up to 200 items; SciPy's `kendalltau` counts beyond."""
    a, b = two_series(x=x, y=y)
    _vary(x=a, y=b)
    if len(a) > SMALL:
        return float(need("scipy.stats").kendalltau(a, b, method="asymptotic").statistic)
    pairs = _count(a, b)
    ordered = pairs.alike + pairs.otherwise
    tau = (pairs.alike - pairs.otherwise) / math.sqrt(ordered + pairs.tied_y) / math.sqrt(ordered + pairs.tied_x)
    return min(1.0, max(-1.0, tau))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's ρ: the linear correlation of the ranks, ties sharing their mean rank (Spearman 1904)."""
    a, b = two_series(x=x, y=y)
    _vary(x=a, y=b)
    rank = need("scipy.stats").rankdata
    return _linear(rank(a), rank(b))


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's r, the linear correlation (Pearson 1895). Raises InvalidInput also where a sum overflows."""
    a, b = two_series(x=x, y=y)
    _vary(x=a, y=b)
    return _linear(a, b)


def tau_ap(truth: ArrayLike, predicted: ArrayLike) -> float:
    """AP correlation of `predicted` with `truth`: τ in which mistakes at the top weigh most, and not symmetric.

    2/(n − 1) · Σ_{i=2…n} C(i)/(i − 1) − 1, where C(i) is the number of items that stand above the i-th of the
    predicted order and rightly so (Yilmaz, Aslam and Robertson 2008, A New Rank Correlation Coefficient for Information
    Retrieval). Ties: the mean over all ways of breaking them. For ties in `predicted` this is τ_AP,a of
    Urbano and Marrero (2017, The Treatment of Ties in AP Correlation); that a pair tied in `truth` counts half, which
    is the same mean, is ours.
    """
    t, s = two_series(truth=truth, predicted=predicted)
    _vary(truth=t, predicted=s)
    n = len(t)
    right, above, level = np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64)
    for rows in _blocks(n):
        higher = s > s[rows, None]
        right[rows] = np.sum(higher * ((t > t[rows, None]) + 0.5 * (t == t[rows, None])), axis=1)
        above[rows] = higher.sum(axis=1)
        level[rows] = np.sum(s == s[rows, None], axis=1)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])
    last = harmonic[above + level - 1]
    # An item level with others stands at each of their places equally often; nothing stands above the first place.
    from_above = right * (last - harmonic[np.maximum(above, 1) - 1]) / level
    among_level = (level - 1 - above * (last - harmonic[above])) / (2 * level)
    tau = 2 / (n - 1) * float(np.sum(from_above + among_level)) - 1
    return min(1.0, max(-1.0, tau))


def rank_order(scores: ArrayLike) -> Ints:
    """Positions of `scores` [n], highest score first, as int64 [n]; equal scores keep the order they are given in.

    Raises InvalidInput for no scores, more than one dimension, or a value that is not finite.
    """
    return np.argsort(-numbers("scores", scores), kind="stable").astype(np.int64)


def pair_counts(x: ArrayLike, y: ArrayLike) -> PairCounts:
    """The pairs of items by how x and y order them. All pairs are compared, in blocks of bounded memory.

    Alone in this file it takes an argument that is constant: all pairs are tied then.
    """
    return _count(*two_series(x=x, y=y))


def two_series(**series: ArrayLike) -> tuple[Floats, Floats]:
    """Two named arrays [n] -> float64. Raises InvalidInput, naming them, unless both hold the same n ≥ 2 numbers."""
    (name, first), (_, second) = found = [(name, numbers(name, values)) for name, values in series.items()]
    same_length(**dict(found))
    if len(first) < 2:
        raise InvalidInput(f"{name}: two items or more are needed, not {len(first)}")
    return first, second


def _vary(**series: Floats) -> None:
    for name, values in series.items():
        if values.min() == values.max():
            raise InvalidInput(f"{name}: all values are {values[0]:g}; a correlation needs at least two different ones")


def _count(x: Floats, y: Floats) -> PairCounts:
    n = len(x)
    alike = otherwise = over_x = over_y = 0
    for rows in _blocks(n):
        x_over, y_over = x[rows, None] > x, y[rows, None] > y
        alike += int(np.count_nonzero(x_over & y_over))
        otherwise += int(np.count_nonzero(x_over & (y[rows, None] < y)))
        over_x += int(np.count_nonzero(x_over))
        over_y += int(np.count_nonzero(y_over))
    ordered = alike + otherwise
    both = n * (n - 1) // 2 - over_x - over_y + ordered
    return PairCounts(alike, otherwise, over_y - ordered, over_x - ordered, both)


def _blocks(n: int) -> Iterator[slice]:
    step = max(1, CELLS // n)
    return (slice(start, start + step) for start in range(0, n, step))


def _linear(x: Floats, y: Floats) -> float:
    """The cosine of what is left of x and y without their means, each scaled first so that no square over- or
    underflows; `pearsonr` does the same, and a p-value that bootstrapping has no use for."""
    with np.errstate(over="ignore", invalid="ignore"):
        r = float(_unit(x) @ _unit(y))
    if not math.isfinite(r):
        raise InvalidInput("x, y: the values are too large to be summed; divide them by a constant")
    return min(1.0, max(-1.0, r))


def _unit(values: Floats) -> Floats:
    left = values - values.mean()
    left = left / np.abs(left).max()
    unit: Floats = left / np.linalg.norm(left)
    return unit
