"""Fits the content models (`weighup/verify/content.py`): what wording, subject and tone of a claim alone suggest.

English: the mean of two logistic regressions, one over TF-IDF grams of words and of characters, the claim's embedding
and its tone, one over embedding and tone alone, which says more of subjects than of words; on top of it a mixture of
experts for each domain (`content_mixture`), where there is enough to fit one. Chinese: the mean of
logistic regressions over characters, one for each range of gram lengths. Real and fake weigh alike within each set, and
a set by the root of its size, so that wording is learned and not which set a claim is from. Strength is chosen on valid
by AUROC; slope and shift are fitted there too (Platt 1999), the shift so that one half is where macro-F1 is best.
scikit-learn fits; nothing of it is needed to check.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.metrics import auroc
from weighup.train.content_mixture import fit_mixture
from weighup.train.content_parts import Part, balanced, by_set, dense_share, matrices, smoothed_cut, vocabulary
from weighup.verify import grams
from weighup.verify.grams import Grams
from weighup.verify.heads import Head

Array = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]
STRENGTHS = (1.0, 3.0, 10.0)
TONE_STRENGTH, TONE_MEMBERS = 0.01, 5


def fit_english(train: Part, valid: Part) -> tuple[Arrays, dict[str, float]]:
    """The arrays `en/…`, `en_dense` [d + t], `tone/…` and those of the mixture, where there is enough for one.

    And what was tried: strength -> mean AUROC on valid; term of the mixture -> AUROC on its domain's valid claims.
    """
    from scipy.sparse import csr_matrix, hstack

    keys, idf = vocabulary(train.texts, grams.ENGLISH)
    share = dense_share(train)

    def rows(part: Part) -> list[Any]:
        beside = csr_matrix(part.dense * share)
        return [hstack([*matrices(part.texts, grams.ENGLISH, keys, idf), beside]).tocsr(), beside]

    (both, alone), tried = _strongest(rows(train), train, rows(valid), valid)
    cut = len(keys) * len(grams.ENGLISH)
    table = np.asarray(both.coef_[0, :cut] / 2, np.float32).reshape(len(grams.ENGLISH), -1)
    beside = np.asarray((both.coef_[0, cut:] + alone.coef_[0]) / 2 * share, np.float32)
    model = Grams(grams.ENGLISH, keys, idf, table, float(both.intercept_[0] + alone.intercept_[0]) / 2)
    model = calibrated(model, model.logits(valid.texts, beside=valid.dense @ beside), valid)
    mixture, told = fit_mixture(train, valid, model.logits(valid.texts, beside=valid.dense @ beside))
    found: Arrays = {**model.arrays("en"), "en_dense": beside, **tone_head(train).arrays("tone")}
    return found | (mixture.arrays() if mixture is not None else {}), tried | told


def fit_chinese(train: Part, valid: Part) -> tuple[Arrays, dict[str, float]]:
    """The arrays `zh/…` and `tone_zh/…`, and what was tried: strength -> mean AUROC on valid."""
    keys, idf = vocabulary(train.texts, grams.CHINESE)
    ours, theirs = (matrices(part.texts, grams.CHINESE, keys, idf) for part in (train, valid))
    fitted, tried = _strongest(ours, train, theirs, valid)
    table = np.asarray(np.concatenate([one.coef_ for one in fitted]) / len(fitted), np.float32)
    model = Grams(grams.CHINESE, keys, idf, table, float(np.mean([one.intercept_[0] for one in fitted])))
    model = calibrated(model, model.logits(valid.texts), valid)
    return {**model.arrays("zh"), **tone_head(train).arrays("tone_zh")}, tried


def calibrated(model: Grams, raw: Array, valid: Part) -> Grams:
    """The model with a slope that makes its log-odds honest and a shift that puts the best macro-F1 at one half."""
    from sklearn.linear_model import LogisticRegression

    weight = balanced(valid)
    slope = float(LogisticRegression(C=1e6).fit(raw[:, None], valid.fake, weight).coef_[0, 0])
    return replace(model, slope=slope, shift=-slope * smoothed_cut(raw, valid))


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
