"""Scores of the stance model in training: macro-F1 over the classes that a set's gold labels have, and the shift."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stance_data import SETS, Pair
from stance_net import StanceNet

from weighup.metrics import macro_f1
from weighup.verify.stance import encode_pairs, padded
from weighup.verify.stance_features import features


@torch.inference_mode()
def predict(net: StanceNet, tokenizer: Any, pairs: list[Pair], *, no_features: bool = False) -> NDArray[np.float32]:
    """Logits [n_pairs, 3] in float32."""
    ids, types = encode_pairs(tokenizer, [(p.claim, p.passage) for p in pairs])
    feats = features([(p.claim, p.passage) for p in pairs])
    if no_features:
        feats = np.zeros_like(feats)
    out = np.zeros((len(pairs), 3), dtype=np.float32)
    order = sorted(range(len(pairs)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), 64):
        at = order[start : start + 64]
        batch = (padded([ids[i] for i in at]), padded([types[i] for i in at]), feats[at])
        with torch.autocast("cpu", torch.bfloat16):
            out[at] = net(*map(torch.from_numpy, batch)).float().numpy()
    return out


def per_set(logits: NDArray[np.float32], pairs: list[Pair]) -> dict[str, tuple[int, float, float]]:
    """For each of the five sets: (pairs, accuracy, macro-F1)."""
    gold, said = np.array([p.label for p in pairs]), logits.argmax(1)
    scores = {}
    for name in SETS:
        m = np.array([p.source == name for p in pairs])
        scores[name] = (int(m.sum()), float((gold[m] == said[m]).mean()), macro_f1(gold[m], said[m]))
    return scores


def mean_f1(logits: NDArray[np.float32], pairs: list[Pair]) -> float:
    """Mean over the five sets of macro-F1."""
    return float(np.mean([f for _, _, f in per_set(logits, pairs).values()]))


def best_shift(logits: NDArray[np.float32], pairs: list[Pair]) -> NDArray[np.float32]:
    """The shift (supports, refutes, 0) on a grid of 0.1 in [-1.2, 1.2] with the best mean macro-F1.

    The score is averaged over the grid's neighbours, so that a lucky spike is not taken.
    """
    gold = np.array([p.label for p in pairs])
    parts = [np.array([p.source == name for p in pairs]) for name in SETS]
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


def dev_table(logits: NDArray[np.float32], pairs: list[Pair]) -> str:
    """The five rows and the mean, as text."""
    scores = per_set(logits, pairs)
    lines = [f"  {name:14} n {n:5} accuracy {a:.3f} macro-F1 {f:.3f}" for name, (n, a, f) in scores.items()]
    return "\n".join([*lines, f"  mean macro-F1 {mean_f1(logits, pairs):.4f}"])
