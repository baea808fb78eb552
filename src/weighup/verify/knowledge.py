"""The numbers the evaluators and experts see of each perspective. Names and order are part of the trained weights.

All are computed the same way when training and when checking. Shapes: one claim gives one row; passages of a claim
come as stance probabilities [p, 3] (supports, refutes, neutral).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.texts import STOP_WORDS, words

Array = NDArray[np.float32]

EVIDENCE = (
    "available", "passages", "supports_max", "refutes_max", "supports_mean", "refutes_mean", "neutral_mean", "net",
    "top_supports", "top_refutes", "top_neutral", "weighted_supports", "weighted_refutes", "net_weighted",
    "overlap_max", "overlap_mean", "conflict", "numbers_missing", "credibility",
)  # fmt: skip
REASONING = ("prior", "prior_strength", "model_asked", "model_fake", "model_unknown", "model_strength", "chinese")
SENTIMENT = ("tone", "tone_strength", "chinese", "short")


def content_words(text: str) -> frozenset[str]:
    """Words that carry meaning, crudely stemmed, for overlap."""
    return frozenset(w[:6] for w in words(text) if w not in STOP_WORDS)


def overlap(claim: str, passages: Sequence[str]) -> Array:
    """Share of the claim's content words that each passage holds, [p] in [0, 1]."""
    wanted = content_words(claim)
    if not wanted:
        return np.zeros(len(passages), np.float32)
    return np.asarray([len(wanted & content_words(p)) / len(wanted) for p in passages], np.float32)


def logit(p: float | Array) -> Array:
    """log(p / (1 - p)), with p kept within [0.01, 0.99]."""
    p = np.clip(np.asarray(p, np.float32), 0.01, 0.99)
    return np.asarray(np.log(p / (1 - p)), np.float32)


def evidence_row(claim: str, passages: Sequence[str], stances: Array, credibility: Sequence[float | None]) -> Array:
    """[len(EVIDENCE)] from the passages judged, best-retrieved first. No passages: all zeros."""
    row = np.zeros(len(EVIDENCE), np.float32)
    if not passages:
        return row
    held = overlap(claim, passages)
    s, r, n = stances[:, 0], stances[:, 1], stances[:, 2]
    weight = (held + 0.1) * (1 - n)
    weight = weight / max(float(weight.sum()), 1e-6)
    lead = int(np.argmax(held))
    numbers = {w for w in words(claim) if w[0].isdigit()}
    seen = {w for p in passages for w in words(p)} if numbers else set()
    trust = [0.5 if c is None else c for c in credibility]
    row[:] = (
        1.0,
        np.log1p(len(passages)),
        s.max(),
        r.max(),
        s.mean(),
        r.mean(),
        n.mean(),
        float(np.clip((logit(s) - logit(r)).sum(), -8, 8)),
        s[lead],
        r[lead],
        n[lead],
        float((weight * s).sum()),
        float((weight * r).sum()),
        float((weight * (logit(s) - logit(r))).sum()),
        held.max(),
        held.mean(),
        min(float(s.max()), float(r.max())),
        len(numbers - seen) / len(numbers) if numbers else 0.0,
        float(np.mean(trust)),
    )
    return row


def reasoning_row(prior: float, model: tuple[float, float, float] | None, chinese: bool) -> Array:
    """[len(REASONING)]. `prior`: P(fake) by the content model; `model`: the language model's (real, fake, unknown)."""
    own = float(logit(prior))
    if model is None:
        return np.asarray([own, abs(own), 0, 0, 0, 0, chinese], np.float32)
    real, fake, unknown = model
    lean = float(logit(fake / max(real + fake, 1e-6)))
    return np.asarray([own, abs(own), 1, lean, float(logit(unknown)), abs(lean), chinese], np.float32)


def sentiment_row(tone: float, chinese: bool, n_words: int) -> Array:
    """[len(SENTIMENT)]. `tone`: P(fake) by the tone model alone."""
    own = float(logit(tone))
    return np.asarray([own, abs(own), chinese, float(n_words < 8)], np.float32)
