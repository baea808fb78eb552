"""Do probabilities mean what they say? Scores, the reliability curve, and two ways to mend them.

truth [n] of 0 and 1, p [n] = P(1) in [0, 1]. Every function raises InvalidInput for no items, arrays of different
lengths or more than one dimension, values that are not finite, and probabilities outside [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints, binary, labels, probabilities, same_length, weights

Bins = Literal["width", "mass"]
COLDEST, HOTTEST = 0.01, 100.0  # temperatures looked at; separable logits would otherwise run to 0


def brier(truth: ArrayLike, p: ArrayLike) -> float:
    """Mean of (p − truth)² in [0, 1], lower is better (Brier 1950, halved: one of the two classes is counted)."""
    t, q = _judged(truth, p)
    return float(np.mean((q - t) ** 2))


def log_loss(truth: ArrayLike, p: ArrayLike) -> float:
    """Mean of −log P(truth) in nats, ≥ 0, lower is better (Good 1952). p is kept 2⁻⁵² from 0 and 1, so that one sure
    error costs 36 and not infinity."""
    t, q = _judged(truth, p)
    eps = np.finfo(np.float64).eps
    return float(-np.mean(np.log(np.clip(np.where(t == 1, q, 1 - q), eps, 1 - eps))))


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """One entry a bin that holds items, by rising p: `predicted` mean p, `positive` share of 1, `counts` items."""

    predicted: Floats
    positive: Floats
    counts: Ints


def reliability_curve(truth: ArrayLike, p: ArrayLike, bins: int = 15, kind: Bins = "width") -> ReliabilityCurve:
    """Predicted against observed frequency in bins of p (DeGroot and Fienberg 1983).

    "width": bins ((i − 1)/bins, i/bins], 0 in the first (Guo et al. 2017, arXiv 1706.04599, section 2). "mass": edges
    at the quantiles of p, so that bins hold about the same number (Nguyen and O'Connor 2015, arXiv 1508.05154); equal
    p share a bin. Raises InvalidInput for fewer than one bin or another kind.
    """
    t, q = _judged(truth, p)
    if bins < 1 or kind not in ("width", "mass"):
        raise InvalidInput(f'one bin or more of kind "width" or "mass" is needed, not {bins} of kind {kind!r}')
    steps = np.linspace(0, 1, bins + 1)
    edges = steps if kind == "width" else np.quantile(q, steps)
    place = np.searchsorted(edges[1:-1], q)
    counts = np.bincount(place, minlength=bins)
    full = counts > 0
    predicted = np.bincount(place, q, bins)[full] / counts[full]
    positive = np.bincount(place, t, bins)[full] / counts[full]
    return ReliabilityCurve(predicted, positive, counts[full].astype(np.int64))


def ece(truth: ArrayLike, p: ArrayLike, bins: int = 15, kind: Bins = "width") -> float:
    """Expected calibration error in [0, 1], lower is better: Σ_bins n_b/n · |mean p − mean truth|.

    The binary reliability form (Naeini et al. 2015): P(1) against the share of 1. Guo et al. (2017, eq. 3, whose 15
    bins are the default) bin the probability of the *called* class against accuracy; that is another number.
    """
    curve = reliability_curve(truth, p, bins, kind)
    return float(np.sum(curve.counts * np.abs(curve.predicted - curve.positive)) / curve.counts.sum())


def ece_by_chance(p: ArrayLike, bins: int = 15, kind: Bins = "width", *, draws: int = 200, seed: int = 0) -> float:
    """The `ece` that n items would show on average if every p were exactly right, in [0, 1].

    Few items in a bin miss their mean by chance, so that an error is never 0; one no greater than this says nothing
    against p. Truths are drawn from p, `draws` times (consistency resampling: Bröcker and Smith 2007, "Increasing the
    reliability of reliability diagrams", section 3). Raises InvalidInput as above, and for less than one draw.
    """
    q = probabilities("p", p)
    if draws < 1:
        raise InvalidInput(f"draws: one or more are needed, not {draws}")
    chance = np.random.default_rng(seed)
    return float(np.mean([ece(chance.random(len(q)) < q, q, bins, kind) for _ in range(draws)]))


def temperature(logits: ArrayLike, truth: ArrayLike, weight: ArrayLike | None = None) -> float:
    """The T > 0 by which to divide logits so that their log-loss is least (Guo et al. 2017, section 4.2).

    logits [n]: log-odds of 1, truth [n] of 0 and 1; or logits [n, k] with labels 0 to k − 1; weight [n] ≥ 0. The loss
    is convex in 1/T, so its derivative is bisected. T stays within [0.01, 100]: the low end when logits separate the
    classes, the high end when they point the wrong way. 1.0 when all of them are equal. Raises InvalidInput as above.
    """
    z, t = _logits(logits, truth)
    w = weights(weight, len(z))
    wanted = z[np.arange(len(t)), t]

    def slope(inverse: float) -> float:
        """d loss / d (1/T) = weighted mean of (expected logit − logit of the truth)."""
        e = np.exp(inverse * z)  # the largest logit of each row is 0
        return float(np.average((e * z).sum(1) / e.sum(1) - wanted, weights=w))

    if not np.ptp(z, axis=1)[w > 0].any():
        return 1.0
    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) > 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    for _ in range(60):  # 1e4 · 2⁻⁶⁰: as fine as a float gets
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising piecewise linear map. `x` [m] strictly rising, `y` [m] never falling, both in [0, 1]."""

    x: Floats
    y: Floats

    def __call__(self, p: ArrayLike) -> Floats:
        """p [n] in [0, 1] -> calibrated [n] in [0, 1]; flat beyond both ends of `x`. Raises InvalidInput as above."""
        return np.interp(probabilities("p", p), self.x, self.y)

    def arrays(self, name: str) -> dict[str, Floats]:
        """What `from_arrays` reads back, keys starting with `name/`."""
        return {f"{name}/x": self.x, f"{name}/y": self.y}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats], name: str) -> Isotonic:
        """Raises KeyError if the file has no map of that name."""
        return cls(np.asarray(arrays[f"{name}/x"], np.float64), np.asarray(arrays[f"{name}/y"], np.float64))


def isotonic(p: ArrayLike, truth: ArrayLike, weight: ArrayLike | None = None) -> Isotonic:
    """The rising map of p nearest to truth in squared error, by pooling adjacent violators (Zadrozny and Elkan 2002;
    Barlow et al. 1972).

    weight [n] ≥ 0. Equal p are averaged first. Each block is flat at its mean from its least p to its greatest, and
    linear from there to the next block, as scikit-learn's IsotonicRegression. Raises InvalidInput as above.
    """
    t, q = _judged(truth, p)
    w = weights(weight, len(q))
    t, q, w = t[w > 0], q[w > 0], w[w > 0]
    x, place = np.unique(q, return_inverse=True)
    mass = np.bincount(place, w)
    blocks: list[tuple[float, float, int]] = []  # mean, mass, first index into x
    for i, (mean, size) in enumerate(zip(np.bincount(place, w * t) / mass, mass, strict=True)):
        first = i
        while blocks and blocks[-1][0] >= mean:
            before, more, first = blocks.pop()
            mean, size = (before * more + mean * size) / (more + size), more + size
        blocks.append((float(mean), float(size), first))
    starts = np.array([first for _, _, first in blocks])
    ends = np.append(starts[1:] - 1, len(x) - 1)
    y = np.clip(np.repeat([mean for mean, _, _ in blocks], ends - starts + 1), 0, 1)
    knots = np.union1d(starts, ends)
    return Isotonic(x[knots], y[knots])


def _judged(truth: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    t, q = binary("truth", truth), probabilities("p", p)
    same_length(truth=t, p=q)
    return t, q


def _logits(logits: ArrayLike, truth: ArrayLike) -> tuple[Floats, Ints]:
    """logits [n] or [n, k], truth [n] -> logits [n, k] less the greatest of each row, labels [n]."""
    try:
        z = np.asarray(logits, np.float64)
    except (TypeError, ValueError):
        raise InvalidInput("logits: numbers are needed, as many in every row") from None
    if z.ndim == 1:
        z = np.stack([np.zeros_like(z), z], 1)
    if z.ndim != 2 or z.shape[1] < 2 or not np.isfinite(z).all():
        raise InvalidInput(f"logits: finite numbers [n] or [n, k] with k ≥ 2 are needed, not shape {z.shape}")
    t = labels("truth", truth)
    if len(t) != len(z) or t.min() < 0 or t.max() >= z.shape[1]:
        raise InvalidInput(f"truth: a label from 0 to {z.shape[1] - 1} is needed for each of {len(z)} rows of logits")
    return z - z.max(1, keepdims=True), t
