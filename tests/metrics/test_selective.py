"""Selective prediction: the curve by hand, and guarantees held against simulated draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from weighup.errors import InvalidInput
from weighup.metrics import aurc, coverage_at_risk, risk_controlled_threshold, risk_coverage
from weighup.metrics.selective import _errors_allowed, _split_expectation, _tail

Rows = list[tuple[int, bool]]
ROWS = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60)
GRID = (np.arange(10_000) + 0.5) / 10_000

# Chance of being wrong by confidence, which is uniform. The last three try to fool a threshold.
WORLDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the surer the better": lambda c: 0.5 * (1 - c),
    "easy": lambda c: 0.25 * (1 - c) ** 2,
    "confidence tells nothing, just over the risk": lambda c: np.full_like(c, 0.105),
    "the surest are worst": lambda c: np.where(c > 0.95, 0.5, 0.25 * (1 - c)),
    "good in islands": lambda c: np.where((c * 10).astype(int) % 2 == 1, 0.02, 0.2),
}


def test_by_hand_with_ties_answered_together() -> None:
    confidence, wrong = [0.9, 0.5, 0.5, 0.1], [0, 1, 0, 1]
    curve = risk_coverage(confidence, wrong)
    assert curve.threshold.tolist() == [0.9, 0.5, 0.1]
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.risk.tolist() == [0, 1 / 3, 0.5]
    assert aurc(confidence, wrong) == pytest.approx(0.5 * (1 / 3) + 0.25 * 0.5)
    assert coverage_at_risk(confidence, wrong, 1 / 3) == 0.75
    assert coverage_at_risk(confidence, wrong, 0.3) == 0.25
    assert coverage_at_risk([0.5, 0.5], [0, 1], 0.4) == 0


def test_a_later_fall_of_the_risk_counts() -> None:
    assert coverage_at_risk([4, 3, 2, 1], [1, 0, 0, 0], 0.25) == 1


@given(ROWS)
def test_the_curve_is_what_each_threshold_does(rows: Rows) -> None:
    confidence, wrong = map(np.array, zip(*rows, strict=True))
    curve = risk_coverage(confidence, wrong)
    for threshold, coverage, risk in zip(curve.threshold, curve.coverage, curve.risk, strict=True):
        answered = confidence >= threshold
        assert coverage == pytest.approx(answered.mean())
        assert risk == pytest.approx(wrong[answered].mean())
    each = [wrong[confidence >= own].mean() for own in confidence]
    assert aurc(confidence, wrong) == pytest.approx(np.mean(each))


@given(ROWS)
def test_more_risk_never_means_less_coverage(rows: Rows) -> None:
    confidence, wrong = zip(*rows, strict=True)
    covered = [coverage_at_risk(confidence, wrong, risk) for risk in np.linspace(0, 1, 21)]
    assert covered == sorted(covered)
    assert covered[-1] == 1


@pytest.mark.parametrize("error_rate", [0.02, 0.1, 0.5, 1.0])
def test_the_tail_is_the_binomial_one(error_rate: float) -> None:
    rng = np.random.default_rng(0)
    confidence, wrong = rng.random(3000), (rng.random(3000) < error_rate).astype(float)
    missed = np.cumsum(wrong[np.argsort(-confidence)])
    expected = binom.cdf(missed, np.arange(1, 3001), 0.1)
    np.testing.assert_allclose(_tail(confidence, wrong, 0.1), expected, atol=1e-10)


def test_the_tail_at_delta_is_the_clopper_pearson_bound() -> None:
    k = _errors_allowed(200, 0.1, 0.05)
    assert beta.ppf(0.95, k + 1, 200 - k) <= 0.1 < beta.ppf(0.95, k + 2, 200 - k - 1)
    assert _errors_allowed(10, 0.1, 0.05) == -1


@pytest.mark.parametrize("n", [1, 100, 10_000])
def test_expectation_is_split_without_loss(n: int) -> None:
    a, d = _split_expectation(0.1, n)
    assert a + d * (1 - a) == pytest.approx(0.1)
    assert 0 < d < 0.1


def realised(world: str, n: int, risk: float, delta: float | None, draws: int = 300) -> np.ndarray:
    """Per draw of n items to calibrate on: true risk of the threshold, coverage, and wrong and answered of 200 new
    items [draws, 4]."""
    chance = WORLDS[world]
    rows = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        confidence = rng.random(n + 200)
        wrong = rng.random(n + 200) < chance(confidence)
        threshold = risk_controlled_threshold(confidence[:n], wrong[:n], risk, delta, seed=seed)
        answered = confidence[n:] >= threshold
        above = threshold <= GRID
        true_risk = chance(GRID)[above].mean() if above.any() else 0.0
        rows.append((true_risk, above.mean(), (wrong[n:] & answered).sum(), answered.sum()))
    return np.array(rows)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("n", [150, 1500])
def test_with_delta_the_risk_is_seldom_exceeded(world: str, n: int) -> None:
    found = realised(world, n, 0.1, 0.2)
    slack = 3 * math.sqrt(0.2 * 0.8 / len(found))
    assert np.mean(found[:, 0] > 0.1) <= 0.2 + slack
    new = found[:, 2] / np.maximum(found[:, 3], 1)
    assert new.mean() <= 0.1 + 3 * new.std() / math.sqrt(len(found))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("n", [150, 1500])
def test_without_delta_the_risk_is_kept_on_average(world: str, n: int) -> None:
    found = realised(world, n, 0.1, None)
    assert found[:, 0].mean() <= 0.1
    new = found[:, 2] / np.maximum(found[:, 3], 1)
    assert new.mean() <= 0.1 + 3 * new.std() / math.sqrt(len(found))


@pytest.mark.parametrize(("delta", "least"), [(0.1, 0.9), (None, 0.9)])
def test_it_is_not_safe_by_never_answering(delta: float | None, least: float) -> None:
    assert realised("easy", 1500, 0.1, delta, 50)[:, 1].mean() > least


def test_nothing_qualifies_nothing_is_answered() -> None:
    confidence = np.linspace(0, 1, 500)
    assert risk_controlled_threshold(confidence, np.ones(500), 0.1, 0.1) == math.inf
    assert risk_controlled_threshold([0.5], [0], 0.1) == math.inf
    assert risk_controlled_threshold(confidence[:20], np.zeros(20), 0.01, 0.05) == math.inf


def test_everything_qualifies_everything_is_answered() -> None:
    confidence = np.repeat([0.2, 0.7], 300)
    for delta in (0.05, None):
        assert risk_controlled_threshold(confidence, np.zeros(600), 0.1, delta) == 0.2


def test_the_same_seed_gives_the_same_threshold() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(800)
    wrong = rng.random(800) > confidence
    found = [risk_controlled_threshold(confidence, wrong, 0.2, 0.1, seed=seed) for seed in (3, 3)]
    assert found[0] == found[1] < math.inf


@pytest.mark.parametrize(
    ("confidence", "wrong"),
    [([], []), ([0.1], [0, 1]), ([0.1, math.nan], [0, 1]), ([0.1, 0.2], [0, 0.5]), ([[0.1]], [[0]])],
)
def test_what_cannot_be_measured_is_refused(confidence: Any, wrong: Any) -> None:
    for measure in (risk_coverage, aurc):
        with pytest.raises(InvalidInput):
            measure(confidence, wrong)
    for chosen in (coverage_at_risk, risk_controlled_threshold):
        with pytest.raises(InvalidInput):
            chosen(confidence, wrong, 0.1)


@pytest.mark.parametrize("risk", [-0.1, 1.1, math.nan])
def test_a_risk_is_a_share(risk: float) -> None:
    with pytest.raises(InvalidInput, match="risk"):
        coverage_at_risk([0.1], [0], risk)
    with pytest.raises(InvalidInput, match="risk"):
        risk_controlled_threshold([0.1], [0], risk)
    with pytest.raises(InvalidInput, match="delta"):
        risk_controlled_threshold([0.1], [0], 0.1, risk)
