"""How near foretold ratings are: RMSE, MAE, MSE, MAPE, explained variance, R². Formulas as scikit-learn's.

Ours, not scikit-learn's functions: from seven sums a user, so that an interval over users costs no pass over the pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from weighup.metrics.arrays import Floats, Ints
from weighup.metrics.recommender_measure import Measure

SMALLEST = float(np.finfo(np.float64).eps)  # what MAPE divides by instead of 0, as scikit-learn


def predictive_measures(
    user: Ints, users: int, rating: Floats, prediction: Floats, names: frozenset[str]
) -> list[Measure]:
    """user, rating, prediction [pairs]. Explained variance and R² are undefined where all ratings are equal."""
    error = rating - prediction
    level = rating - rating.mean()  # variances of large numbers lose digits
    columns = (
        np.ones(len(rating)),
        error**2,
        np.abs(error),
        np.abs(error) / np.maximum(np.abs(rating), SMALLEST),
        error,
        level,
        level**2,
    )
    sums = np.stack([np.bincount(user, column, users) for column in columns], axis=1).astype(np.float64)
    if not np.ptp(rating):
        sums[:, 5:] = 0.0
    return [
        Measure(name, None, len(rating), "pairs", sums, combine) for name, combine in COMBINED.items() if name in names
    ]


def _average(column: int) -> Callable[[Floats], Floats]:
    def average(sums: Floats) -> Floats:
        found: Floats = _means(sums)[..., column]
        return found

    return average


def _means(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = sums / sums[..., :1]
    return found


def _explained(sums: Floats, *, centred: bool) -> Floats:
    """1 − spread of the errors, about their mean or about 0, over the variance of the ratings."""
    means = _means(sums)
    spread = means[..., 1] - (means[..., 4] ** 2 if centred else 0.0)
    variance = means[..., 6] - means[..., 5] ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(variance > 0, 1 - spread / variance, np.nan)
    return found


COMBINED: dict[str, Callable[[Floats], Floats]] = {
    "rmse": lambda sums: np.sqrt(_means(sums)[..., 1]),
    "mse": _average(1),
    "mae": _average(2),
    "mape": _average(3),
    "explained_variance": lambda sums: _explained(sums, centred=True),
    "r2": lambda sums: _explained(sums, centred=False),
}
