"""Fits the mixture of content experts (`weighup/verify/content_mixture.py`) on top of the model of all domains.

A domain is a set, or a file of a user's. Where it has `OWN_LEAST` claims it gets a linear model of its own over tokens
and characters, embedding and tone: logistic regression on TF-IDF grams as they are, or weighed by their naive Bayes
log-count ratio (Wang & Manning 2012), whichever has the better AUROC on valid. How much each expert heeds the model of
all domains, its own and the vote of near claims is a logistic regression on valid without negative weights; its shift
puts one half where macro-F1 is best. The gate is a logistic regression over the domains, its biases fitted on valid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.metrics import auroc, macro_f1
from weighup.train.content_parts import Part, balanced, dense_share, matrices, smoothed_cut, vocabulary
from weighup.verify.content_mixture import TERMS, Expert, Gate, Memory, Mixture, unit
from weighup.verify.grams import EXPERT, GATE, Grams

Array = NDArray[np.float32]
LEAST, LEAST_OF_A_CLASS = 50, 10  # claims of a domain in train and in valid, below which it is not told apart
OWN_LEAST = 500
AXES, SHARPNESS = 128, 15.0
STRENGTHS = {False: (3.0, 10.0), True: (1.0, 4.0)}  # of plain grams and of those weighed by naive Bayes
SMOOTHING = 1.0  # added to what naive Bayes counts
GATE_STRENGTH, GATE_LEAST = 3.0, 5  # of the gate; texts that one of its grams must be in
MIX_STRENGTH, BIAS_PENALTY = 1.0, 1e-3  # of the mix; of what valid adds to the biases of the gate


def fit_mixture(train: Part, valid: Part, union: Array) -> tuple[Mixture | None, dict[str, float]]:
    """The mixture, and AUROC on valid by domain of its terms and of all; None if no domain has enough.

    `union` [n] are the log-odds that the model of all domains gives the claims of `valid`.
    """
    names = [str(name) for name in np.unique(train.sets) if _enough(train, valid, str(name))]
    if not names or (len(names) == 1 and (train.sets == names[0]).sum() < OWN_LEAST):
        return None, {}
    own: dict[int, Expert] = {}
    tried: dict[str, float] = {}
    for domain, name in enumerate(names):
        ours = train.of(name)
        if len(ours.fake) >= OWN_LEAST:
            own[domain], how = fit_own(ours, valid.of(name))
            tried |= {f"{name} {way}": score for way, score in how.items()}
    gate = fit_gate(train, valid, names) if len(names) > 1 else None
    mix = np.zeros((len(names), len(TERMS)), np.float32)
    mixture = Mixture(gate, mix, own, fit_memory(train, names))
    for domain, name in enumerate(names):
        theirs = valid.of(name)
        terms = mixture.terms(domain, theirs.texts, union[valid.sets == name], theirs.embeddings, theirs.dense)
        mix[domain] = fit_mix(terms, theirs)
        crossed = halves(terms, theirs)
        tried |= {f"{name} {term}": _auroc(theirs, terms[:, i]) for i, term in enumerate(TERMS[:3])}
        tried[f"{name} all, half by half"] = _auroc(theirs, crossed)
        called = (crossed >= 0).astype(np.int64)
        tried[f"{name} all, half by half, macro-F1"] = round(float(macro_f1(theirs.fake, called)), 4)
    if gate is not None:
        asked = valid.where(np.asarray(np.isin(valid.sets, names)))
        said = np.asarray(names)[gate(asked.texts, asked.dense).argmax(1)]
        tried["gate right"] = round(float((said == asked.sets).mean()), 4)
    return mixture, tried


def fit_memory(train: Part, names: list[str]) -> Memory:
    """Embeddings on the first principal axes of all; votes of a domain have mean 0 and variance 1."""
    vectors = train.embeddings
    _, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    axes = np.ascontiguousarray(axes[:, ::-1][:, :AXES], np.float32)
    points, votes = [], []
    for name in names:
        own = train.of(name)
        points.append(unit(own.embeddings @ axes))
        votes.append(np.asarray((own.fake - own.fake.mean()) / own.fake.std(), np.float32))
    return Memory(axes, tuple(points), tuple(votes), SHARPNESS)


def fit_own(train: Part, valid: Part) -> tuple[Expert, dict[str, float]]:
    """A domain's own model, and its AUROC on valid by how it was fitted."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import LogisticRegression

    keys, idf = vocabulary(train.texts, EXPERT)
    share = dense_share(train)
    cut = len(keys) * len(EXPERT)
    plain, theirs = (
        hstack([*matrices(part.texts, EXPERT, keys, idf), csr_matrix(part.dense * share)]).tocsr()
        for part in (train, valid)
    )
    weight = balanced(train)
    tried: dict[str, float] = {}
    best: tuple[Array, float] | None = None
    for bayes, strengths in STRENGTHS.items():
        scale = np.ones(plain.shape[1])
        if bayes:
            scale[:cut] = _count_ratio(plain[:, :cut], train.fake, weight)
        ours = plain.multiply(scale).tocsr()
        for strength in strengths:
            model = LogisticRegression(C=strength, max_iter=300, solver="liblinear").fit(ours, train.fake, weight)
            flat, bias = np.asarray(model.coef_[0] * scale, np.float32), float(model.intercept_[0])
            score = _auroc(valid, theirs @ flat)
            if best is None or score > max(tried.values()):
                best = flat, bias
            tried[f"{'naive Bayes' if bayes else 'plain'} C={strength:g}"] = score
    assert best is not None
    flat, bias = best
    table = flat[:cut].reshape(len(EXPERT), -1)
    used = np.abs(table).max(0) > 0
    model = Grams(EXPERT, keys[used], idf[used], table[:, used], bias)
    return Expert(model, np.asarray(flat[cut:] * share, np.float32)), tried


def fit_mix(terms: Array, valid: Part) -> Array:
    """Weights of an expert's terms and its shift, [len(TERMS)], for the claims of its domain.

    Logistic regression, real and fake alike, without the terms that it would give a weight below 0; the shift is where
    macro-F1 is best. Where no term tells real from fake, what the model of all domains says stands.
    """
    from sklearn.linear_model import LogisticRegression

    scale = terms.std(0) + 1e-6
    used = [i for i in range(terms.shape[1] - 1) if terms[:, i].any()]
    weight = balanced(valid)
    found = np.zeros(terms.shape[1], np.float32)
    while used:
        model = LogisticRegression(C=MIX_STRENGTH, max_iter=300).fit(terms[:, used] / scale[used], valid.fake, weight)
        coefficients = model.coef_[0]
        if (coefficients >= 0).all():
            found[used] = coefficients / scale[used]
            found[-1] = -smoothed_cut(terms @ found, valid)
            return found
        used.pop(int(coefficients.argmin()))
    found[0] = 1
    return found


def halves(terms: Array, valid: Part) -> Array:
    """Log-odds of each half of a domain's valid claims by the mix that the other half gives, [n]."""
    found = np.zeros(len(terms), np.float32)
    side = np.zeros(len(terms), np.int64)
    for label in (0, 1):
        here = np.flatnonzero(valid.fake == label)
        side[here] = np.random.default_rng(label).permutation(len(here)) % 2
    for half in (0, 1):
        found[side == half] = terms[side == half] @ fit_mix(terms[side != half], valid.where(side != half))
    return found


def fit_gate(train: Part, valid: Part, names: list[str]) -> Gate:
    """Which domain a claim looks like, by tokens, embedding and tone; all domains weigh alike in train.

    The biases are fitted on valid, whose subjects may be new; there a domain weighs as the root of its size.
    """
    from scipy.optimize import minimize
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import LogisticRegression

    known, asked = (part.where(np.asarray(np.isin(part.sets, names))) for part in (train, valid))
    places = np.searchsorted(names, known.sets)
    weight = 1 / np.bincount(places, minlength=len(names))[places]
    keys, idf = vocabulary(known.texts, GATE, GATE_LEAST)
    share = dense_share(known)
    rows = hstack([*matrices(known.texts, GATE, keys, idf), csr_matrix(known.dense * share)]).tocsr()
    model = LogisticRegression(C=GATE_STRENGTH, max_iter=200).fit(rows, places, weight / weight.mean())
    flat, bias = model.coef_, model.intercept_
    if len(names) == 2:  # scikit-learn gives one row then
        flat, bias = np.concatenate([-flat, flat]) / 2, np.concatenate([-bias, bias]) / 2
    table, dense = np.asarray(flat[:, : len(keys)], np.float32), np.asarray(flat[:, len(keys) :] * share, np.float32)
    gate = Gate(keys, idf, table, dense, np.asarray(bias, np.float32))

    log_p = np.log(np.maximum(gate(asked.texts, asked.dense), 1e-3)).astype(np.float64)
    right = np.searchsorted(names, asked.sets)
    heed = np.bincount(right, minlength=len(names))[right] ** -0.5
    heed /= heed.sum()

    def loss(more: NDArray[np.float64]) -> float:
        z = log_p + more
        own = z[np.arange(len(z)), right] - np.logaddexp.reduce(z, axis=1)
        return float(-(heed @ own) + BIAS_PENALTY * more @ more)

    more = minimize(loss, np.zeros(len(names))).x
    return replace(gate, bias=np.asarray(gate.bias + more, np.float32))


def _enough(train: Part, valid: Part, name: str) -> bool:
    for part in (train, valid):
        counts = [int((part.fake[part.sets == name] == label).sum()) for label in (0, 1)]
        if sum(counts) < LEAST or min(counts) < LEAST_OF_A_CLASS:
            return False
    return True


def _count_ratio(rows: Any, fake: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """log of how much likelier each gram is in fake claims than in real ones (Wang & Manning 2012, section 2)."""
    counts = [SMOOTHING + np.asarray((weight * (fake == label)) @ rows).ravel() for label in (0, 1)]
    real, false = (count / count.sum() for count in counts)
    return np.asarray(np.log(false / real), np.float64)


def _auroc(part: Part, values: Any) -> float:
    return round(float(auroc(part.fake, values)), 4)
