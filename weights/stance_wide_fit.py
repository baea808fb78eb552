"""Fits the wide half of the stance model (src/weighup/verify/stance_wide.py) and mixes the two halves on dev."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression
from stance_data import SETS, Pair
from stance_eval import best_shift, mean_f1

from weighup.verify.stance import encode_pairs
from weighup.verify.stance_features import features
from weighup.verify.stance_wide import BIGRAM, BIGRAM_BITS, Wide, bags

EDIT_WEIGHT, C, MAX_NEUTRAL = 0.4, 1.0, 3500


def fit_wide(train: list[Pair], tokenizer: Any, vocab: int) -> Wide:
    """Multinomial logistic regression (L2, C = 1) on the in-domain pairs and, at 0.4, their told edits.

    Of fool_me_twice's neutral pairs, 9 in 10 there, the first 3,500 in a fixed order are used.
    """
    chosen, neutral = [], 0
    for p in train:
        if p.label > 2 or p.source not in (*SETS, "edited"):
            continue
        if p.source == "fool_me_twice" and p.label == 2:
            neutral += 1
            if neutral % 5 > 1 or neutral > 2.5 * MAX_NEUTRAL:
                continue
        chosen.append(p)
    weight = np.array([EDIT_WEIGHT if p.source == "edited" else 1.0 for p in chosen])
    labels = np.array([p.label for p in chosen])
    model = LogisticRegression(C=C, max_iter=200, tol=1e-3).fit(matrix(chosen, tokenizer, vocab), labels, weight)
    columns = BIGRAM * vocab + (1 << BIGRAM_BITS)
    coef = model.coef_.T.astype(np.float32)
    return Wide(coef[:columns].astype(np.float16), coef[columns:], model.intercept_.astype(np.float32), np.float32(1))


def matrix(pairs: list[Pair], tokenizer: Any, vocab: int) -> csr_matrix:
    """Bags and lexical features, sparse [n_pairs, n_columns + n_features]."""
    texts = [(p.claim, p.passage) for p in pairs]
    rows = [bags(i, t, vocab) for i, t in zip(*encode_pairs(tokenizer, texts), strict=True)]
    ends = np.cumsum([0, *(len(c) for c, _ in rows)])
    sparse = csr_matrix(
        (np.concatenate([v for _, v in rows]), np.concatenate([c for c, _ in rows]), ends),
        shape=(len(pairs), BIGRAM * vocab + (1 << BIGRAM_BITS)),
    )
    return hstack([sparse, csr_matrix(features(texts))]).tocsr()


def wide_logits(wide: Wide, pairs: list[Pair], tokenizer: Any) -> NDArray[np.float32]:
    """The wide half's logits [n_pairs, 3]."""
    texts = [(p.claim, p.passage) for p in pairs]
    return wide.logits(*encode_pairs(tokenizer, texts), features(texts))


def mix(
    deep: NDArray[np.float32], wide: NDArray[np.float32], dev: list[Pair]
) -> tuple[float, NDArray[np.float32], float]:
    """(share of the wide logits, shift, temperature): two for mean macro-F1 on dev, the last for log-loss."""
    best = (-1.0, 0.0, np.zeros(3, dtype=np.float32))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5):
        shift = best_shift(deep + share * wide, dev)
        found = mean_f1(deep + share * wide + shift, dev)
        print(f"  share of the wide half {share}: shift {shift.round(2).tolist()} dev mean macro-F1 {found:.4f}")
        if found > best[0]:
            best = (found, share, shift)
    _, share, shift = best
    return share, shift, temperature(deep + share * wide + shift, dev)


def temperature(logits: NDArray[np.float32], dev: list[Pair]) -> float:
    """The divisor of the logits with the least log-loss, each set of equal weight (Guo et al. 2017, 1706.04599)."""
    gold = np.array([p.label for p in dev])
    sets = np.array([SETS.index(p.source) for p in dev])
    weight = 1.0 / np.bincount(sets)[sets]
    losses = {}
    for t in np.arange(0.5, 4.01, 0.05):
        z = logits / t
        log_p = z - z.max(1, keepdims=True)
        log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
        losses[float(t)] = float(-(weight * log_p[np.arange(len(gold)), gold]).sum())
    return min(losses, key=lambda t: losses[t])


def save_wide(wide: Wide, share: float, shift: NDArray[np.float32], divisor: float, path: Path) -> None:
    """The wide half with its share, the shift and the temperature folded in."""
    np.savez_compressed(
        path,
        table=(wide.table.astype(np.float32) * share).astype(np.float16),
        dense=wide.dense * np.float32(share),
        bias=(wide.bias * share + shift).astype(np.float32),
        temperature=np.float32(divisor),
    )
