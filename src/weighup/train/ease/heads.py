"""Fits the small bagged heads that evaluators and experts are (`weighup/verify/heads.py`): logistic regressions or
networks with one hidden layer, each on a bootstrap sample of claim groups (Breiman 1996). scikit-learn fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weighup.verify.heads import Head

Array = NDArray[np.float32]
Ints = NDArray[np.int64]
MEMBERS, FOLD_MEMBERS, FOLDS = 8, 3, 5
_HUSH = 10.0
_NEVER = -8.0  # logit of a class that a bootstrap sample has none of


@dataclass(frozen=True, slots=True)
class Shape:
    """`hidden` units (0: none) and `c`, the inverse of the penalty."""

    hidden: int
    c: float

    def __str__(self) -> str:
        return f"hidden={self.hidden},C={self.c:g}"


SHAPES = (Shape(0, 0.003), Shape(0, 0.01), Shape(0, 0.1), Shape(8, 0.3))


@dataclass(frozen=True)
class Sample:
    """What a head is fitted on: `x` [n, d], `y` [n] classes, `weight` [n], `group` [n] names that are drawn whole.

    `hushed` [d]: columns that are made small, so that the penalty holds them down more than the others.
    """

    x: Array
    y: Ints
    weight: NDArray[np.float64]
    group: NDArray[np.str_]
    hushed: NDArray[np.bool_] | None = None

    def taken(self, where: NDArray[np.bool_] | Ints) -> Sample:
        """Some of its rows."""
        return Sample(self.x[where], self.y[where], self.weight[where], self.group[where], self.hushed)


def fit_head(sample: Sample, classes: int, shape: Shape, members: int = MEMBERS) -> Head:
    """A bagged head with `classes` outputs. Members differ by the claim groups drawn for them."""
    mean, scale = sample.x.mean(0), sample.x.std(0) + 1e-3
    if sample.hushed is not None:
        scale = np.where(sample.hushed, _HUSH * scale, scale)
    z = np.clip((sample.x - mean) / scale, -6, 6)
    names, place = np.unique(sample.group, return_inverse=True)
    layers: list[list[NDArray[np.float64]]] = []
    for seed in range(members):
        drawn = np.bincount(np.random.default_rng(seed).integers(0, len(names), len(names)), minlength=len(names))
        weight = sample.weight * drawn[place]
        keep = weight > 0
        layers.append(_member(z[keep], sample.y[keep], weight[keep], classes, shape, seed))
    stacked = [np.stack([one[i] for one in layers]).astype(np.float32) for i in range(len(layers[0]))]
    deep = len(stacked) == 4
    w1, b1 = (stacked[0], stacked[1]) if deep else (None, None)
    f32 = mean.astype(np.float32), scale.astype(np.float32)
    return Head(*f32, w1, b1, stacked[-2], stacked[-1])


def folded(sample: Sample, classes: int, shape: Shape, folds: int = FOLDS) -> Array:
    """Probabilities [n, classes], each row's by heads that were fitted without its group."""
    from sklearn.model_selection import GroupKFold

    p = np.zeros((len(sample.y), classes), np.float32)
    for train, held in GroupKFold(folds).split(sample.x, sample.y, sample.group):
        p[held] = fit_head(sample.taken(train), classes, shape, FOLD_MEMBERS)(sample.x[held])
    return p


def best_shape(
    sample: Sample, classes: int, loss: Callable[[Array], float], shapes: Sequence[Shape] = SHAPES
) -> tuple[Shape, Array, dict[str, float]]:
    """The shape whose out-of-fold probabilities have the least `loss`, those probabilities, and what was tried."""
    found = {shape: folded(sample, classes, shape) for shape in shapes}
    tried = {shape: loss(p) for shape, p in found.items()}
    best = min(tried, key=tried.__getitem__)
    return best, found[best], {str(shape): round(value, 4) for shape, value in tried.items()}


def log_loss(p: Array, y: Ints, weight: NDArray[np.float64] | None = None) -> float:
    """Mean -log p of the true class, p [n, classes]."""
    return float(-np.average(np.log(np.clip(p[np.arange(len(y)), y], 1e-4, 1)), weights=weight))


def _member(
    z: Array, y: Ints, weight: NDArray[np.float64], classes: int, shape: Shape, seed: int
) -> list[NDArray[np.float64]]:
    """Weights and biases of every layer, the last with `classes` outputs."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    first: list[NDArray[np.float64]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the networks stop early on purpose
        if len(set(y.tolist())) < 2:
            top, bias, seen = np.zeros((z.shape[1], 1)), np.zeros(1), np.unique(y)
            first = [np.zeros((z.shape[1], shape.hidden)), np.zeros(shape.hidden)] if shape.hidden else []
            top = np.zeros((shape.hidden or z.shape[1], 1))
        elif shape.hidden:
            net = MLPClassifier(
                (shape.hidden,), alpha=1 / shape.c, max_iter=20, random_state=seed, learning_rate_init=3e-3
            ).fit(z, y, sample_weight=weight)
            first, top, bias, seen = (
                [net.coefs_[0], net.intercepts_[0]],
                net.coefs_[1],
                net.intercepts_[1],
                net.classes_,
            )
        else:
            line = LogisticRegression(C=shape.c, max_iter=400).fit(z, y, sample_weight=weight)
            top, bias, seen = line.coef_.T, line.intercept_, line.classes_
    if len(seen) == 2 and top.shape[1] == 1:  # two classes come as one logit
        top, bias = np.concatenate([-top / 2, top / 2], 1), np.asarray([-bias[0] / 2, bias[0] / 2])
    full, full_bias = np.zeros((top.shape[0], classes)), np.full(classes, _NEVER)
    full[:, seen], full_bias[seen] = top, bias
    return [*first, full, full_bias]
