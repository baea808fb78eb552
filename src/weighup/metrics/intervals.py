"""How sure is that number? Percentile bootstrap intervals (Efron 1979; Efron and Tibshirani 1993, chapter 13).

Items are drawn with replacement, or whole groups where items hang together (claims of one story, answers to one
question): the cluster bootstrap (Davison and Hinkley 1997, section 3.8). Right for smooth statistics of some dozens of
items or groups on; with fewer the intervals are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import inside

Statistic = Callable[..., float]
TRIES = 10  # draws for one resample before it is skipped


def bootstrap(
    statistic: Statistic,
    *arrays: ArrayLike,
    n: int = 1000,
    seed: int,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """(low, high) of `statistic(*arrays)`: the (1 ∓ level)/2 quantiles over `n` resamples, the same for the same seed.

    arrays: each [items, ...], drawn along the first axis together; groups [items]: any labels. A resample on which the
    statistic raises InvalidInput or is not finite (one class only, say) is redrawn up to ten times, then left out, so
    the interval is one given that the statistic is defined. Raises InvalidInput when more than half of the resamples
    are left out, when the statistic is undefined on the items themselves, for lengths that differ, fewer than two
    items or groups, n < 1, or a level outside (0, 1).
    """
    taken = _arrays(arrays)
    return _interval(lambda index: statistic(*(array[index] for array in taken)), len(taken[0]), n, seed, groups, level)


def paired_bootstrap(
    statistic: Statistic,
    a: Sequence[ArrayLike],
    b: Sequence[ArrayLike],
    *,
    n: int = 1000,
    seed: int,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """(low, high) of `statistic(*a) − statistic(*b)`, both on the same resamples of the same items.

    a, b: the arrays of each, for example `(truth, called_by_a)` and `(truth, called_by_b)`. All else as `bootstrap`.
    """
    if not (isinstance(a, (tuple, list)) and isinstance(b, (tuple, list))):
        raise InvalidInput("paired_bootstrap: give each side as a tuple of arrays, for example (truth, called)")
    taken = _arrays([*a, *b])
    ours, theirs = taken[: len(a)], taken[len(a) :]

    def gain(index: NDArray[np.int64]) -> float:
        return statistic(*(array[index] for array in ours)) - statistic(*(array[index] for array in theirs))

    return _interval(gain, len(taken[0]), n, seed, groups, level)


def _interval(
    value: Callable[[NDArray[np.int64]], float],
    items: int,
    n: int,
    seed: int,
    groups: ArrayLike | None,
    level: float,
) -> tuple[float, float]:
    inside("level", level)
    if n < 1:
        raise InvalidInput(f"n: one resample or more is needed, not {n}")
    draw = _drawer(items, groups)
    if not math.isfinite(value(np.arange(items))):
        raise InvalidInput("bootstrap: the statistic of the items themselves is not a finite number")
    rng = np.random.default_rng(seed)
    found = [one for _ in range(n) if (one := _defined(value, draw, rng)) is not None]
    if 2 * len(found) < n:
        raise InvalidInput(f"bootstrap: the statistic is undefined on {n - len(found)} of {n} resamples; too few items")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _defined(
    value: Callable[[NDArray[np.int64]], float],
    draw: Callable[[np.random.Generator], NDArray[np.int64]],
    rng: np.random.Generator,
) -> float | None:
    """The statistic of the first of TRIES resamples that has one."""
    for _ in range(TRIES):
        try:
            found = float(value(draw(rng)))
        except InvalidInput:
            continue
        if math.isfinite(found):
            return found
    return None


def _drawer(items: int, groups: ArrayLike | None) -> Callable[[np.random.Generator], NDArray[np.int64]]:
    """What draws the item numbers of one resample: as many items, or as many whole groups, as there are."""
    if groups is None:
        if items < 2:
            raise InvalidInput("bootstrap: two items or more are needed")
        return lambda rng: rng.integers(0, items, items)
    label = np.asarray(groups)
    if label.shape != (items,):
        raise InvalidInput(
            f"groups: one label for each of {items} items is needed, not an array of shape {label.shape}"
        )
    _, place, size = np.unique(label, return_inverse=True, return_counts=True)
    if len(size) < 2:
        raise InvalidInput("groups: two groups or more are needed")
    by_group = np.argsort(place, kind="stable")
    start = np.cumsum(size) - size

    def draw(rng: np.random.Generator) -> NDArray[np.int64]:
        drawn = rng.integers(0, len(size), len(size))
        length = size[drawn]
        shift = start[drawn] - (np.cumsum(length) - length)
        index: NDArray[np.int64] = by_group[np.repeat(shift, length) + np.arange(length.sum())]
        return index

    return draw


def _arrays(arrays: Sequence[ArrayLike]) -> list[NDArray[Any]]:
    taken = [np.asarray(array) for array in arrays]
    if not taken or any(array.ndim == 0 for array in taken):
        raise InvalidInput("bootstrap: one array of items or more is needed")
    if len({len(array) for array in taken}) > 1:
        raise InvalidInput(f"bootstrap: arrays of one length are needed, not {[len(array) for array in taken]}")
    return taken
