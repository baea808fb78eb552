"""The learned gate: on data where it is known which expert to ask."""

from __future__ import annotations

import numpy as np
import pytest

from weighup.errors import InvalidInput
from weighup.train.gate import FEATURES, fit_gate


def made(n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The evidence expert is right where its reliability is high; reasoning is right elsewhere; tone is a coin."""
    rng = np.random.default_rng(0)
    fake = rng.integers(0, 2, n)
    features = rng.random((n, len(FEATURES)))
    good = features[:, 0] > 0.5
    sure = np.where(fake == 1, 0.9, 0.1)
    experts = np.stack([np.where(good, sure, 1 - sure), np.where(good, 1 - sure, sure), rng.random(n)], axis=1)
    return features, experts, fake


def test_it_learns_whom_to_ask() -> None:
    features, experts, fake = made()
    gate = fit_gate(features[:400], experts[:400], fake[:400])
    shares = gate.shares(features[400:])
    np.testing.assert_allclose(shares.sum(1), 1)
    good = features[400:, 0] > 0.5
    assert shares[good, 0].mean() > 0.7 > 0.3 > shares[~good, 0].mean()
    p = gate(features[400:], experts[400:])
    right = ((p >= 0.5) == fake[400:]).mean()
    assert right > 0.9 > max(((experts[400:, k] >= 0.5) == fake[400:]).mean() for k in range(3))


def test_it_is_the_same_each_time() -> None:
    features, experts, fake = made(80)
    one, two = (fit_gate(features, experts, fake) for _ in range(2))
    np.testing.assert_array_equal(one.weight, two.weight)


def test_one_better_expert_is_asked_throughout() -> None:
    features, _, fake = made(200)
    experts = np.stack([np.where(fake == 1, 0.9, 0.1), np.full(200, 0.5), np.full(200, 0.5)], axis=1)
    assert fit_gate(features, experts, fake).shares(features)[:, 0].min() > 0.8


def test_one_class_is_refused() -> None:
    features, experts, _ = made(10)
    with pytest.raises(InvalidInput, match="both real and fake"):
        fit_gate(features, experts, np.ones(10, np.int64))


def test_missing_features_that_never_vary_do_no_harm() -> None:
    features, experts, fake = made(100)
    features[:, 3:6] = 1.0
    assert np.isfinite(fit_gate(features, experts, fake)(features, experts)).all()
