"""A recommender measure as sums over users, so that its value and its bootstrap interval come from the same numbers.

Each measure holds `sums` [users, s] and `combine`, which turns sums over (re)drawn users [..., s] into the value [...].
A mean over users has the sums (value, counted); a ratio such as clicks over impressions has its two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats

Combine = Callable[[Floats], Floats]
BLOCK = 4_000_000  # cells of one block of redrawn users


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """`n` of what the value is over (`of`: users, pairs, impressions …); `k` None where it has none."""

    name: str
    k: int | None
    n: int
    of: str
    sums: Floats
    combine: Combine

    def value(self) -> float:
        return float(self.combine(self.sums.sum(0))) if self.n else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """A measure of the items shown to all users together: `shown` sparse [users, items]; `combine` takes how often
    each item was shown [..., items] and gives the value [...]. `least` and `most`: its range."""

    name: str
    k: int
    n: int
    of: str
    shown: Any
    combine: Combine
    least: float = 0.0
    most: float = 1.0

    def value(self) -> float:
        return float(self.combine(np.asarray(self.shown.sum(0), np.float64).ravel()))


def ratio(sums: Floats) -> Floats:
    """sums[..., 0] / sums[..., 1], not a number where the second is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = sums[..., 0] / sums[..., 1]
    return found


def mean(name: str, k: int | None, values: Floats, counted: NDArray[np.bool_], of: str = "users") -> Measure:
    """The mean of values [users] over those counted [users]."""
    sums = np.stack([np.where(counted, values, 0.0), counted.astype(np.float64)], axis=1)
    return Measure(name, k, int(counted.sum()), of, sums, ratio)


def gap(name: str, k: int, values: Floats, counted: NDArray[np.bool_], group: NDArray[np.int64]) -> Measure:
    """Greatest less least mean over the groups that have users counted. group [users]: 0 …, −1 for none."""
    inside = counted & (group >= 0)
    size = int(group.max(initial=-1)) + 1
    mine = inside[:, None] & (group[:, None] == np.arange(size))
    sums = np.concatenate([np.where(mine, values[:, None], 0.0), mine.astype(np.float64)], axis=1)

    def spread(total: Floats) -> Floats:
        means = ratio(np.stack([total[..., :size], total[..., size:]], axis=-1))
        seen = ~np.isnan(means)
        found: Floats = np.where(seen, means, -np.inf).max(-1) - np.where(seen, means, np.inf).min(-1)
        return np.where(seen.sum(-1) > 1, found, np.nan)

    return Measure(name, k, int(inside.sum()), "users", sums, spread)


def intervals(
    measures: Sequence[Measure | Exposure], users: int, *, draws: int, seed: int, level: float
) -> list[tuple[float, float]]:
    """(low, high) of each measure, from `draws` resamples of the users, all measures on the same ones.

    Percentile intervals. Those of exposure measures are shifted so that the mean of the resamples falls on the value,
    and cut to the range: a resample holds about 63 % of the users, some twice, and so shows fewer items. (nan, nan)
    where a measure is undefined on more than half of the resamples. Raises InvalidInput for fewer than two users.
    """
    if users < 2:
        raise InvalidInput("interval: two users or more are needed")
    found: list[list[Floats]] = [[] for _ in measures]
    widest = max([users, *(m.shown.shape[1] for m in measures if isinstance(m, Exposure))])
    for drawn in _drawn(users, draws, seed, max(1, BLOCK // widest)):
        for values, measure in zip(found, measures, strict=True):
            total = np.asarray(drawn @ (measure.sums if isinstance(measure, Measure) else measure.shown))
            values.append(measure.combine(total))
    return [_bounds(np.concatenate(values), m, level) for values, m in zip(found, measures, strict=True)]


def _drawn(users: int, draws: int, seed: int, block: int) -> Iterator[Floats]:
    """How often each user is drawn, [block, users] at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        yield np.stack([np.bincount(rng.integers(0, users, users), minlength=users) for _ in range(size)]).astype(float)


def _bounds(values: Floats, measure: Measure | Exposure, level: float) -> tuple[float, float]:
    kept = values[np.isfinite(values)]
    if 2 * len(kept) < len(values) or not len(kept):
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    if isinstance(measure, Exposure):
        value = measure.value()
        shift = value - kept.mean()
        low, high = np.clip([low + shift, high + shift], measure.least, measure.most)
        low, high = min(low, value), max(high, value)  # few distinct counts: the quantiles may all lie on one side
    return float(low), float(high)
