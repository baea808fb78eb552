"""A learned gate over the three experts: what selection by assessed reliability is measured against.

A mixture of experts (Jacobs et al. 1991, Adaptive Mixtures of Local Experts): P(fake) is the mean of the experts'
under weights that a softmax gives. Ours: the experts are those of EASE and stay as they are; the gate is linear and
sees what EASE's selection does (reliabilities, availability) and how decided each expert is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.verify.decision import Judged
from weighup.verify.types import KINDS

Floats = NDArray[np.float64]
FEATURES = tuple(f"{what} of {kind}" for what in ("reliability", "availability", "confidence") for kind in KINDS)
_STEPS = 400
_RATE = 0.05
_DECAY = 1e-3
_SURE = 1e-6


def gate_features(judged: Sequence[Judged]) -> Floats:
    """[n, len(FEATURES)], all in [0, 1]. Confidence is twice the distance of P(fake) from one half."""
    rows = [
        [j.reliability[kind] for kind in KINDS]
        + [float(j.available[kind]) for kind in KINDS]
        + [2 * abs(j.fake[kind] - 0.5) for kind in KINDS]
        for j in judged
    ]
    return np.asarray(rows, np.float64).reshape(-1, len(FEATURES))


@dataclass(frozen=True, slots=True)
class Gate:
    """`mean`, `scale` [d] standardise the features; `weight` [d, 3] and `bias` [3] give the experts' logits."""

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats

    def shares(self, features: Floats) -> Floats:
        """features [n, d] -> weight of each expert [n, 3], rows that sum to 1."""
        return _softmax((features - self.mean) / self.scale @ self.weight + self.bias)

    def __call__(self, features: Floats, experts: Floats) -> Floats:
        """features [n, d], experts' P(fake) [n, 3] -> P(fake) [n]."""
        mixed: Floats = (self.shares(features) * experts).sum(1)
        return mixed


def fit_gate(features: Floats, experts: Floats, fake: NDArray[np.int64]) -> Gate:
    """Least log-loss by full-batch Adam (Kingma and Ba 2015, arXiv 1412.6980) with a little decay; no chance in it.

    features [n, d], experts [n, 3] = P(fake) by each, fake [n] of 0 and 1. Raises InvalidInput for no rows or one
    class only.
    """
    if len(set(fake.tolist())) < 2:
        raise InvalidInput("the gate needs both real and fake rows to be fitted on")
    mean, scale = features.mean(0), features.std(0) + 1e-3
    z = (features - mean) / scale
    likelihood = np.clip(np.where(fake[:, None] == 1, experts, 1 - experts), _SURE, 1)
    theta = np.zeros((z.shape[1] + 1, experts.shape[1]))
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, _STEPS + 1):
        shares = _softmax(z @ theta[:-1] + theta[-1])
        joint = shares * likelihood
        # d(−log Σ_k g_k l_k)/d(logit_k) = g_k − posterior of k (Jacobs et al. 1991).
        slope = (shares - joint / joint.sum(1, keepdims=True)) / len(z)
        gradient = np.concatenate([z.T @ slope + _DECAY * theta[:-1], slope.sum(0, keepdims=True)])
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        theta = theta - _RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return Gate(mean, scale, theta[:-1], theta[-1])


def _softmax(logits: Floats) -> Floats:
    e = np.exp(logits - logits.max(1, keepdims=True))
    shares: Floats = e / e.sum(1, keepdims=True)
    return shares
