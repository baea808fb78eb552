"""Scores of the stance model in training: macro-F1 over the classes that a set's gold labels have, and the shift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.metrics import macro_f1
from weighup.train.stance.data import Pair

Logits = NDArray[np.float32]


def sources(pairs: Sequence[Pair]) -> list[str]:
    """The sets that the pairs are of, in order of appearance."""
    return list(dict.fromkeys(p.source for p in pairs))


def per_set(logits: Logits, pairs: Sequence[Pair]) -> dict[str, tuple[int, float, float]]:
    """For each set: (pairs, accuracy, macro-F1)."""
    gold, said = np.array([p.label for p in pairs]), logits.argmax(1)
    scores = {}
    for name in sources(pairs):
        m = np.array([p.source == name for p in pairs])
        scores[name] = (int(m.sum()), float((gold[m] == said[m]).mean()), macro_f1(gold[m], said[m]))
    return scores


def mean_f1(logits: Logits, pairs: Sequence[Pair]) -> float:
    """Mean over the sets of macro-F1."""
    return float(np.mean([f for _, _, f in per_set(logits, pairs).values()]))


def best_shift(logits: Logits, pairs: Sequence[Pair]) -> Logits:
    """The shift (supports, refutes, 0) on a grid of 0.1 in [-1.2, 1.2] with the best mean macro-F1.

    The score is averaged over the grid's neighbours, so that a lucky spike is not taken. After post-hoc logit
    adjustment (Menon et al. 2021, arXiv 2007.07314), the shift searched.
    """
    gold = np.array([p.label for p in pairs])
    parts = [np.array([p.source == name for p in pairs]) for name in sources(pairs)]
    grid = np.arange(-1.2, 1.21, 0.1)
    score = np.zeros((len(grid), len(grid)))
    for i, a in enumerate(grid):
        for j, b in enumerate(grid):
            said = (logits + np.array([a, b, 0.0], np.float32)).argmax(1)
            score[i, j] = np.mean([macro_f1(gold[m], said[m]) for m in parts])
    wide = np.pad(score, 1, mode="edge")
    smooth = sum(wide[i : i + len(grid), j : j + len(grid)] for i in range(3) for j in range(3))
    a, b = np.unravel_index(int(np.argmax(smooth)), score.shape)
    return np.array([grid[a], grid[b], 0.0], dtype=np.float32)


def temperature(logits: Logits, pairs: Sequence[Pair]) -> float:
    """The divisor of the logits with the least log-loss, each set of equal weight (Guo et al. 2017, 1706.04599)."""
    gold = np.array([p.label for p in pairs])
    names = sources(pairs)
    sets = np.array([names.index(p.source) for p in pairs])
    weight = 1.0 / np.bincount(sets)[sets]
    losses = {}
    for t in np.arange(0.5, 4.01, 0.05):
        z = logits / t
        log_p = z - z.max(1, keepdims=True)
        log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
        losses[float(t)] = float(-(weight * log_p[np.arange(len(gold)), gold]).sum())
    return min(losses, key=lambda t: losses[t])


def mix(deep: Logits, wide: Logits, dev: Sequence[Pair]) -> tuple[float, Logits, float, dict[str, float]]:
    """(share of the wide logits, shift, temperature, tried): two for mean macro-F1 on dev, the third for log-loss."""
    best = (-1.0, 0.0, np.zeros(3, dtype=np.float32))
    tried: dict[str, float] = {}
    for share in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5):
        shift = best_shift(deep + share * wide, dev)
        found = mean_f1(deep + share * wide + shift, dev)
        tried[str(share)] = round(found, 4)
        if found > best[0]:
            best = (found, share, shift)
    _, share, shift = best
    return share, shift, temperature(deep + share * wide + shift, dev), tried


def table(logits: Logits, pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """`per_set` as a mapping for the card."""
    return {
        name: {"pairs": n, "accuracy": round(a, 4), "macro_f1": round(f, 4)}
        for name, (n, a, f) in per_set(logits, pairs).items()
    }
