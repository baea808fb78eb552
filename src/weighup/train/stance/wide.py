"""Fits the wide half of the stance model (`verify/stance_wide.py`) and writes it, its share and the shift folded in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.train.stance.data import Pair
from weighup.verify.stance import encode_pairs
from weighup.verify.stance_features import features
from weighup.verify.stance_wide import BIGRAM, BIGRAM_BITS, Wide, bags

EDIT_WEIGHT, C, MAX_NEUTRAL = 0.4, 1.0, 3500


def fit_wide(train: Sequence[Pair], tokenizer: Any, vocab: int, among: Collection[str]) -> Wide:
    """Multinomial logistic regression (L2, C = 1) on the told pairs of the sources `among` and, at 0.4, their edits.

    Of fool_me_twice's neutral pairs, 9 in 10 there, the first 3,500 in a fixed order are used.
    """
    from sklearn.linear_model import LogisticRegression

    chosen, neutral = [], 0
    for p in train:
        if p.label > 2 or p.source not in (*among, "edited"):
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
    # A class that no pair has gets no weight, and a bias that never wins; two classes are fitted as one difference.
    kernel, bias = np.zeros((model.coef_.shape[1], 3), np.float32), np.full(3, -20.0, np.float32)
    rows, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        rows, intercept = np.stack([-rows[0] / 2, rows[0] / 2]), np.array([-intercept[0] / 2, intercept[0] / 2])
    for row, start, label in zip(rows, intercept, model.classes_, strict=True):
        kernel[:, label], bias[label] = row, start
    return Wide(kernel[:columns].astype(np.float16), kernel[columns:], bias, np.float32(1))


def matrix(pairs: Sequence[Pair], tokenizer: Any, vocab: int) -> Any:
    """Bags and lexical features, sparse [n_pairs, n_columns + n_features]."""
    from scipy.sparse import csr_matrix, hstack

    texts = [(p.claim, p.passage) for p in pairs]
    rows = [bags(i, t, vocab) for i, t in zip(*encode_pairs(tokenizer, texts), strict=True)]
    ends = np.cumsum([0, *(len(c) for c, _ in rows)])
    sparse = csr_matrix(
        (np.concatenate([v for _, v in rows]), np.concatenate([c for c, _ in rows]), ends),
        shape=(len(pairs), BIGRAM * vocab + (1 << BIGRAM_BITS)),
    )
    return hstack([sparse, csr_matrix(features(texts))]).tocsr()


def wide_logits(wide: Wide, pairs: Sequence[Pair], tokenizer: Any) -> NDArray[np.float32]:
    """The wide half's logits [n_pairs, 3]."""
    texts = [(p.claim, p.passage) for p in pairs]
    return wide.logits(*encode_pairs(tokenizer, texts), features(texts))


def save_wide(wide: Wide, share: float, shift: NDArray[np.float32], divisor: float, path: Path) -> None:
    """The wide half with its share, the shift and the temperature folded in."""
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            table=(wide.table.astype(np.float32) * share).astype(np.float16),
            dense=wide.dense * np.float32(share),
            bias=(wide.bias * share + shift).astype(np.float32),
            temperature=np.float32(divisor),
        )
