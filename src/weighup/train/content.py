"""Fits the content models (`weighup/verify/content.py`): what wording, subject and tone of a claim alone suggest.

English: the mean of two logistic regressions, one over TF-IDF grams of words and of characters, the claim's embedding
and its tone, one over embedding and tone alone, which says more of subjects than of words. Chinese: the mean of
logistic regressions over characters, one for each range of gram lengths. Real and fake weigh alike within each set, and
a set by the root of its size, so that wording is learned and not which set a claim is from. Strength is chosen on valid
by AUROC; slope and shift are fitted there too (Platt 1999), the shift so that one half is where macro-F1 is best.
scikit-learn fits; nothing of it is needed to check.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.metrics import auroc, macro_f1
from weighup.verify import grams
from weighup.verify.grams import Grams, Keys, View
from weighup.verify.heads import Head
from weighup.verify.tone import tone

Array = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]
LEAST = 2  # texts that a gram must be in
STRENGTHS = (1.0, 3.0, 10.0)
VECTOR_SHARE, TONE_SHARE = 0.05, 0.02  # how large one dense number is beside a row of grams, which has length 1
TONE_STRENGTH, TONE_MEMBERS = 0.01, 5


@dataclass(frozen=True)
class Part:
    """Claims of one split: `texts`, `fake` [n] of 0 and 1, `sets` [n] names, `vectors` [n, d] where they are needed."""

    texts: Sequence[str]
    fake: NDArray[np.int64]
    sets: NDArray[np.str_]
    vectors: Array | None = None

    @functools.cached_property
    def tones(self) -> Array:
        """The texts' `tone` rows, [n, t]."""
        return tone(self.texts)

    @functools.cached_property
    def dense(self) -> Array:
        """Embedding and tone side by side, [n, d + t]."""
        if self.vectors is None:
            raise ValueError("these claims are fitted on their embeddings, which are missing")
        return np.concatenate([self.vectors, self.tones], axis=1)


def fit_english(train: Part, valid: Part) -> tuple[Arrays, dict[str, float]]:
    """The arrays `en/…`, `en_dense` [d + t] and `tone/…`, and what was tried: strength -> mean AUROC on valid."""
    from scipy.sparse import csr_matrix, hstack

    keys, idf = vocabulary(train.texts, grams.ENGLISH)
    width = train.dense.shape[1] - train.tones.shape[1]
    share = np.concatenate(
        [
            np.full(width, VECTOR_SHARE / train.dense[:, :width].std()),
            TONE_SHARE / (train.tones.std(0) + 1e-3),
        ]
    ).astype(np.float32)

    def rows(part: Part) -> list[Any]:
        beside = csr_matrix(part.dense * share)
        return [hstack([*matrices(part.texts, grams.ENGLISH, keys, idf), beside]).tocsr(), beside]

    (both, alone), tried = _strongest(rows(train), train, rows(valid), valid)
    cut = len(keys) * len(grams.ENGLISH)
    table = np.asarray(both.coef_[0, :cut] / 2, np.float32).reshape(len(grams.ENGLISH), -1)
    beside = np.asarray((both.coef_[0, cut:] + alone.coef_[0]) / 2 * share, np.float32)
    model = Grams(grams.ENGLISH, keys, idf, table, float(both.intercept_[0] + alone.intercept_[0]) / 2)
    model = calibrated(model, model.logits(valid.texts, beside=valid.dense @ beside), valid)
    return {**model.arrays("en"), "en_dense": beside, **tone_head(train).arrays("tone")}, tried


def fit_chinese(train: Part, valid: Part) -> tuple[Arrays, dict[str, float]]:
    """The arrays `zh/…` and `tone_zh/…`, and what was tried: strength -> mean AUROC on valid."""
    keys, idf = vocabulary(train.texts, grams.CHINESE)
    ours, theirs = (matrices(part.texts, grams.CHINESE, keys, idf) for part in (train, valid))
    fitted, tried = _strongest(ours, train, theirs, valid)
    table = np.asarray(np.concatenate([one.coef_ for one in fitted]) / len(fitted), np.float32)
    model = Grams(grams.CHINESE, keys, idf, table, float(np.mean([one.intercept_[0] for one in fitted])))
    model = calibrated(model, model.logits(valid.texts), valid)
    return {**model.arrays("zh"), **tone_head(train).arrays("tone_zh")}, tried


def vocabulary(texts: Sequence[str], views: Sequence[View]) -> tuple[Keys, Array]:
    """Keys [v], sorted, of the grams that are in `LEAST` texts or more, and their idf: 1 + log((1 + n) / (1 + df))."""
    lengths = {(view.kind, length) for view in views for length in view.lengths}
    found: Counter[int] = Counter()
    for text in texts:
        for kind, length in lengths:
            found.update(grams.count(text, kind, length)[0].tolist())
    keys = np.asarray(sorted(key for key, count in found.items() if count >= LEAST), np.uint32)
    counts = np.asarray([found[int(key)] for key in keys], np.float64)
    return keys, np.asarray(1 + np.log((1 + len(texts)) / (1 + counts)), np.float32)


def matrices(texts: Sequence[str], views: Sequence[View], keys: Keys, idf: Array) -> list[Any]:
    """One sparse matrix [n, v] for each view."""
    from scipy.sparse import csr_matrix

    found = [list(grams.rows(text, views, keys, idf)) for text in texts]
    made = []
    for view in range(len(views)):
        own = [row[view] for row in found]
        ends = np.cumsum([0, *(len(places) for places, _ in own)])
        places, values = (np.concatenate([row[part] for row in own]) for part in (0, 1))
        made.append(csr_matrix((values, places, ends), shape=(len(texts), len(keys))))
    return made


def balanced(part: Part) -> NDArray[np.float64]:
    """Weights [n], 1 on average, by which real and fake weigh alike in every set, and a set by the root of its size."""
    weight = np.zeros(len(part.fake))
    for name in np.unique(part.sets):
        here = part.sets == name
        for label in (0, 1):
            mine = here & (part.fake == label)
            if mine.any():
                weight[mine] = here.sum() ** 0.5 / mine.sum()
    return np.asarray(weight * len(weight) / weight.sum(), np.float64)


def by_set(part: Part, measure: Callable[[NDArray[np.int64], Any], float], values: Any) -> dict[str, float]:
    """`measure(fake, values)` of each set that has both real and fake."""
    found = {}
    for name in np.unique(part.sets):
        here = part.sets == name
        if 0 < part.fake[here].mean() < 1:
            found[str(name)] = measure(part.fake[here], values[here])
    return found


def calibrated(model: Grams, raw: Array, valid: Part) -> Grams:
    """The model with a slope that makes its log-odds honest and a shift that puts the best macro-F1 at one half."""
    from sklearn.linear_model import LogisticRegression

    weight = balanced(valid)
    slope = float(LogisticRegression(C=1e6).fit(raw[:, None], valid.fake, weight).coef_[0, 0])
    cuts = np.unique(np.quantile(raw, np.linspace(0.02, 0.98, 97)))
    scores = [np.mean(list(by_set(valid, macro_f1, (raw >= cut).astype(np.int64)).values())) for cut in cuts]
    # Smoothed over five cuts, so that a lucky spike is not taken; the edges are repeated.
    smooth = np.convolve(np.pad(scores, 2, mode="edge"), np.full(5, 0.2), "valid")
    return replace(model, slope=slope, shift=-slope * float(cuts[int(np.argmax(smooth))]))


def tone_head(train: Part) -> Head:
    """Logistic regressions on tone alone, each on a bootstrap sample."""
    from sklearn.linear_model import LogisticRegression

    rows, weight = train.tones, balanced(train)
    centre, scale = rows.mean(0), rows.std(0) + 1e-3
    z = np.clip((rows - centre) / scale, -6, 6)
    weights, biases = [], []
    for seed in range(TONE_MEMBERS):
        drawn = np.random.default_rng(seed).integers(0, len(z), len(z))
        fitted = LogisticRegression(C=TONE_STRENGTH, max_iter=300).fit(z[drawn], train.fake[drawn], weight[drawn])
        weights.append(np.stack([-fitted.coef_[0] / 2, fitted.coef_[0] / 2], 1))
        biases.append(np.asarray([-fitted.intercept_[0] / 2, fitted.intercept_[0] / 2]))
    shaped = [np.asarray(values, np.float32) for values in (centre, scale, np.stack(weights), np.stack(biases))]
    return Head(shaped[0], shaped[1], None, None, shaped[2], shaped[3])


def _strongest(ours: list[Any], train: Part, theirs: list[Any], valid: Part) -> tuple[list[Any], dict[str, float]]:
    """One regression for each matrix, of the strength (1/L2) whose mean log-odds have the best mean AUROC on valid."""
    from sklearn.linear_model import LogisticRegression

    weight = balanced(train)
    tried: dict[str, float] = {}
    best: list[Any] = []
    for strength in STRENGTHS:
        fitted = [
            LogisticRegression(C=strength, max_iter=300, solver="liblinear").fit(rows, train.fake, weight)
            for rows in ours
        ]
        raw = np.mean([one.decision_function(rows) for one, rows in zip(fitted, theirs, strict=True)], axis=0)
        score = round(float(np.mean(list(by_set(valid, auroc, raw).values()))), 4)
        if not tried or score > max(tried.values()):
            best = fitted
        tried[f"C={strength:g}"] = score
    return best, tried
