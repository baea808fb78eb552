"""A number that says how sure it is: value, 95 % interval, n. Every figure that is reported is one of these."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from weighup.errors import InvalidInput
from weighup.metrics.intervals import bootstrap

_Z = 1.959963984540054  # standard normal, 0.975 quantile


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` with its 95 % interval from `low` to `high`, of `n` items. All NaN where n is 0."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return "–" if math.isnan(self.value) else f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, n {self.n:,})"


def share(hits: ArrayLike) -> Estimate:
    """Share of hits [n], booleans, with the interval of Wilson (1927)."""
    found = np.asarray(hits, bool)
    n = int(found.size)
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    p = float(found.mean())
    centre, spread = p + _Z**2 / (2 * n), _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n))
    scale = 1 + _Z**2 / n
    return Estimate(p, max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale), n)


def estimated(
    statistic: Callable[..., float], *arrays: ArrayLike, seed: int, draws: int = 1000, groups: ArrayLike | None = None
) -> Estimate:
    """`statistic(*arrays)` with its bootstrap interval over items, or whole `groups`; the interval is NaN where too few
    resamples have the statistic. Raises InvalidInput where the items themselves have none."""
    value = float(statistic(*(np.asarray(array) for array in arrays)))
    n = len(np.asarray(arrays[0]))
    try:
        low, high = bootstrap(statistic, *arrays, n=draws, seed=seed, groups=groups)
    except InvalidInput:
        low = high = math.nan
    return Estimate(value, low, high, n)
