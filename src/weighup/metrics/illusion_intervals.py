"""Rank correlations of many metrics with many human dimensions on the same bootstrap resamples, all at once.

A resample is a row of `weights`: how often each item was drawn. Ranks among the drawn items follow from sums of weights
along the sorted order, so no resample is ever sorted, and every value is exactly Spearman's ρ or Kendall's τ-b of the
resampled items, duplicates tied with themselves. With all weights 1 it is the correlation of the items themselves.

a [n, A], b [n, B]: values of n items; weights [draws, n] ≥ 0. Results [draws, A, B] in [−1, 1], NaN where undefined:
all drawn values of one side equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.metrics.arrays import Floats

CELLS = 4_000_000  # numbers held at once: bounds the memory


def resampling_weights(groups: NDArray[np.int64], draws: int, rng: np.random.Generator) -> Floats:
    """groups [n], numbered from 0: how often each item was drawn when as many whole groups as there are are drawn with
    replacement; [draws, n]."""
    count = int(groups.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return drawn[:, groups].astype(np.float64)


def spearman_resampled(a: Floats, b: Floats, weights: Floats) -> Floats:
    """Spearman's ρ of every column of a with every column of b on each resample."""
    n, width = len(a), a.shape[1] + b.shape[1]
    step = max(1, CELLS // (n * width))
    parts = []
    for start in range(0, len(weights), step):
        drawn = weights[start : start + step]
        middle = (drawn.sum(axis=1)[:, None, None] + 1) / 2
        left = np.stack([_ranks(column, drawn) for column in a.T], axis=1) - middle  # [draws, A, n]
        right = np.stack([_ranks(column, drawn) for column in b.T], axis=1) - middle
        weighed = left * drawn[:, None, :]
        norm_a = np.sqrt(np.sum(weighed * left, axis=2))
        norm_b = np.sqrt(np.sum(right * right * drawn[:, None, :], axis=2))
        parts.append(_correlation(weighed @ right.transpose(0, 2, 1), norm_a[:, :, None] * norm_b[:, None, :]))
    return np.concatenate(parts)


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Mean rank from 1 of each item among those drawn, [draws, n]; of an item not drawn, where it would stand."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Floats = (np.cumsum(tied, axis=1) - (tied - 1) / 2)[:, place]
    return ranks


def kendall_resampled(a: Floats, b: Floats, weights: Floats) -> Floats:
    """Kendall's τ-b of every column of a with every column of b on each resample; compares all pairs of items."""
    drawn = weights.astype(np.float32)  # whole numbers: sums of them are exact up to 2^24
    own_a = np.stack([_agreeing(column, column, drawn) for column in a.T], axis=1)
    own_b = np.stack([_agreeing(column, column, drawn) for column in b.T], axis=1)
    both = np.stack([np.stack([_agreeing(x, y, drawn) for y in b.T], axis=1) for x in a.T], axis=1)
    return _correlation(both, np.sqrt(own_a[:, :, None] * own_b[:, None, :]))


def _agreeing(x: Floats, y: Floats, weights: NDArray[np.float32]) -> Floats:
    """Pairs of drawn items that x and y order alike minus those they order otherwise, each pair twice; [draws]."""
    total = np.zeros(len(weights))
    step = max(1, CELLS // len(x))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        signs = (np.sign(x[rows, None] - x) * np.sign(y[rows, None] - y)).astype(np.float32)
        total += np.einsum("bi,bi->b", weights[:, rows], weights @ signs.T, dtype=np.float64)
    return total


def system_means(values: Floats, systems: NDArray[np.int64], weights: Floats) -> Floats:
    """values [n, A] -> mean of each system's drawn items, as a share of the largest value, [draws, A, systems]; NaN for
    a system none of whose items was drawn. Rounded at 1e-12, so that equal means are ties."""
    member = np.eye(int(systems.max()) + 1)[systems]
    counts = weights @ member
    sums = np.stack([weights @ (member * column[:, None]) for column in values.T], axis=1)
    scale = np.maximum(np.abs(values).max(axis=0), 1e-300)[:, None]
    return np.round(_ratio(sums / scale, np.broadcast_to(counts[:, None, :], sums.shape)), 12)


def correlate_draws(a: Floats, b: Floats, coefficient: str) -> Floats:
    """a [draws, A, s], b [draws, B, s], another s values in each draw -> [draws, A, B]; NaN where a draw has a NaN."""
    form = _plain_ranks if coefficient == "spearman" else _signs
    step = max(1, CELLS // ((a.shape[1] + b.shape[1]) * a.shape[2] ** 2))
    parts = []
    for start in range(0, len(a), step):
        left, right = form(a[start : start + step]), form(b[start : start + step])
        norm = np.sqrt(np.sum(left**2, axis=2)[:, :, None] * np.sum(right**2, axis=2)[:, None, :])
        parts.append(_correlation(left @ right.transpose(0, 2, 1), norm))
    return np.concatenate(parts)


def _plain_ranks(values: Floats) -> Floats:
    """Mean ranks along the last axis, less their mean."""
    below = np.sum(values[..., :, None] > values[..., None, :], axis=-1, dtype=np.float64)
    equal = np.sum(values[..., :, None] == values[..., None, :], axis=-1)
    ranks: Floats = np.where(np.isnan(values), np.nan, below + (equal - values.shape[-1]) / 2)
    return ranks


def _signs(values: Floats) -> Floats:
    """Signs of the differences of all pairs along the last axis, as one flat axis."""
    signs: Floats = np.sign(values[..., :, None] - values[..., None, :])
    return signs.reshape(*values.shape[:-1], -1)


def numbered(labels: Sequence[object]) -> NDArray[np.int64]:
    """Labels of any kind [n] -> 0, 1, … by first appearance, [n]."""
    places: dict[object, int] = {}
    return np.array([places.setdefault(label, len(places)) for label in labels], dtype=np.int64)


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below, NaN where below is 0 (to rounding) or NaN."""
    result: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)
    return result


def _correlation(above: Floats, below: Floats) -> Floats:
    """The ratio in [−1, 1], rounded at 1e-12, so that metrics that order items alike are equally good."""
    return np.clip(np.round(_ratio(above, below), 12), -1.0, 1.0)
