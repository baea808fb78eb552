"""How often the answer is right, and how well a score ranks.

Labels: truth [n], called [n] of whole numbers or booleans. Scores: truth [n] of 0 and 1, score [n] finite, higher
meaning more likely 1. All results lie in [0, 1], higher is better. Every function raises InvalidInput for no items,
arrays of different lengths or more than one dimension, values that are not finite, and labels that are none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints, binary, labels, numbers, same_length


def accuracy(truth: ArrayLike, called: ArrayLike) -> float:
    """Share of items called by their label."""
    t, c = _labelled(truth, called)
    return float(np.mean(t == c))


def balanced_accuracy(truth: ArrayLike, called: ArrayLike) -> float:
    """Mean recall of the classes that occur in `truth` (Brodersen et al. 2010, The balanced accuracy)."""
    t, c = _labelled(truth, called)
    return float(np.mean([np.mean(c[t == k] == k) for k in np.unique(t)]))


def macro_f1(truth: ArrayLike, called: ArrayLike) -> float:
    """Mean F1 of the classes that occur in `truth`, F1 = 2·hits / (items of the class + calls of it) (Opitz and Burst
    2019, arXiv 1911.03347, their averaged F1).

    A class that is called but never true has no F1 of its own here; its calls count as misses of the true classes.
    scikit-learn averages it in as 0 unless told `labels=np.unique(truth)`.
    """
    t, c = _labelled(truth, called)
    return float(np.mean([2 * np.sum((t == k) & (c == k)) / (np.sum(t == k) + np.sum(c == k)) for k in np.unique(t)]))


def auroc(truth: ArrayLike, score: ArrayLike) -> float:
    """P(score of a positive > score of a negative) + half P(equal), by midranks (Hanley and McNeil 1982; the
    Mann–Whitney U over the number of pairs). 0.5 is chance. Raises InvalidInput when only one class occurs."""
    t, s = _scored(truth, score)
    positives, negatives = int(t.sum()), int(len(t) - t.sum())
    if not positives or not negatives:
        raise InvalidInput("auroc: both classes must occur in truth")
    _, place, count = np.unique(s, return_inverse=True, return_counts=True)
    midranks = np.cumsum(count) - (count - 1) / 2
    above = midranks[place][t == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(truth: ArrayLike, score: ArrayLike) -> float:
    """Σ (recall_k − recall_{k−1})·precision_k down the distinct scores, without interpolation (Manning, Raghavan and
    Schütze 2008, section 8.4); equal scores enter together. Raises InvalidInput when no positive occurs."""
    t, s = _scored(truth, score)
    if not t.any():
        raise InvalidInput("average_precision: a positive must occur in truth")
    order = np.argsort(-s, kind="stable")
    last = np.append(np.flatnonzero(np.diff(s[order])), len(s) - 1)  # of each run of equal scores
    hits = np.cumsum(t[order])[last]
    return float(np.sum(np.diff(hits, prepend=0.0) / t.sum() * hits / (last + 1)))


def _labelled(truth: ArrayLike, called: ArrayLike) -> tuple[Ints, Ints]:
    t, c = labels("truth", truth), labels("called", called)
    same_length(truth=t, called=c)
    return t, c


def _scored(truth: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    t, s = binary("truth", truth), numbers("score", score)
    same_length(truth=t, score=s)
    return t, s
