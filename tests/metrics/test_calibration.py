"""Calibration: by hand, against scikit-learn, and what must hold for any probabilities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as known
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression

from weighup.errors import InvalidInput
from weighup.metrics import Isotonic, brier, ece, ece_by_chance, isotonic, log_loss, reliability_curve, temperature
from weighup.metrics.calibration import Bins

JUDGED = st.lists(
    st.tuples(st.booleans(), st.one_of(st.floats(0, 1), st.integers(0, 20).map(lambda k: k / 20))),
    min_size=1,
    max_size=80,
)
Rows = list[tuple[bool, float]]
KINDS: list[Bins] = ["width", "mass"]


def columns(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    truth, p = zip(*rows, strict=True)
    return np.array(truth), np.array(p)


def test_by_hand() -> None:
    truth, p = [1, 0, 1, 0], [0.9, 0.1, 0.6, 0.6]
    assert brier(truth, p) == pytest.approx((0.01 + 0.01 + 0.16 + 0.36) / 4)
    assert log_loss(truth, p) == pytest.approx(-(2 * math.log(0.9) + math.log(0.6) + math.log(0.4)) / 4)
    # Halves (0, 0.5] and (0.5, 1]: |0.1 − 0| on one item, |0.7 − 2/3| on three.
    assert ece(truth, p, bins=2) == pytest.approx(0.25 * 0.1 + 0.75 * (0.7 - 2 / 3))


def test_a_bin_ends_with_its_upper_edge() -> None:
    assert reliability_curve([0, 1, 1], [0.0, 0.5, 0.51], bins=2).counts.tolist() == [2, 1]


def test_a_sure_error_is_dear_but_finite() -> None:
    assert log_loss([1], [0.0]) == pytest.approx(52 * math.log(2))


def test_bins_of_mass_hold_the_same_number_and_keep_equals_together() -> None:
    p = np.random.default_rng(0).random(90) ** 4
    assert reliability_curve(p > 0.5, p, bins=9, kind="mass").counts.tolist() == [10] * 9
    assert reliability_curve([0, 1, 1], [0.2, 0.2, 0.2], kind="mass").counts.tolist() == [3]


def test_by_chance_alone_the_error_of_one_bin_is_the_spread_of_a_mean() -> None:
    # |mean of n truths − p| of a normal mean is √(2/π) of its standard deviation, √(p (1 − p) / n).
    for n, p in ((100, 0.3), (400, 0.5)):
        expected = math.sqrt(2 / math.pi * p * (1 - p) / n)
        assert ece_by_chance([p] * n, draws=4000) == pytest.approx(expected, rel=0.05)
    assert ece_by_chance([0.0, 1.0, 1.0]) == 0.0


def test_what_is_right_errs_as_by_chance_and_what_is_not_by_more() -> None:
    chance = np.random.default_rng(0)
    p = chance.random(2000)
    truth = chance.random(2000) < p
    floor = ece_by_chance(p)
    assert 0.5 * floor < ece(truth, p) < 1.5 * floor
    assert ece(truth, np.clip(p + 0.1, 0, 1)) > 3 * floor
    assert floor == ece_by_chance(p, seed=0) != ece_by_chance(p, seed=1)
    with pytest.raises(InvalidInput, match="draws"):
        ece_by_chance(p, draws=0)
    with pytest.raises(InvalidInput, match="p: probabilities"):
        ece_by_chance([1.5])


@given(JUDGED)
def test_scores_agree_with_scikit_learn(rows: Rows) -> None:
    truth, p = columns(rows)
    assert brier(truth, p) == pytest.approx(known.brier_score_loss(truth, p, pos_label=True))
    assert log_loss(truth, p) == pytest.approx(known.log_loss(truth, p, labels=[False, True]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_curve_agrees_with_scikit_learn(kind: Bins, bins: int) -> None:
    rng = np.random.default_rng(bins)
    p = np.round(rng.random(300), 2)
    truth = rng.random(300) < p**2
    curve = reliability_curve(truth, p, bins, kind)
    strategy = "uniform" if kind == "width" else "quantile"
    positive, predicted = calibration_curve(truth, p, n_bins=bins, strategy=strategy)
    np.testing.assert_allclose(curve.positive, positive)
    np.testing.assert_allclose(curve.predicted, predicted)
    assert curve.counts.sum() == 300


@given(JUDGED, st.integers(1, 30), st.sampled_from(KINDS))
def test_ece_is_a_share_and_at_least_the_overall_bias(rows: Rows, bins: int, kind: Bins) -> None:
    truth, p = columns(rows)
    bias = abs(truth.mean() - p.mean())
    assert bias - 1e-12 <= ece(truth, p, bins, kind) <= 1
    assert ece(truth, p, 1, kind) == pytest.approx(bias)
    assert ece(truth, truth.astype(float), bins, kind) == 0


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 4.0])
def test_the_temperature_logits_were_heated_by_is_found(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=40_000) * 2
    truth = rng.random(40_000) < 1 / (1 + np.exp(-z))
    found = temperature(z * true_temperature, truth)
    assert found == pytest.approx(true_temperature, rel=0.05)
    pairs = np.stack([np.zeros_like(z), z * true_temperature], 1)
    assert temperature(pairs + 7, truth) == pytest.approx(found)


def test_no_temperature_nearby_has_less_loss() -> None:
    rng = np.random.default_rng(1)
    z, truth, weight = rng.normal(size=(200, 3)), rng.integers(0, 3, 200), rng.random(200)

    def loss(t: float) -> float:
        q = z / t - np.log(np.exp(z / t).sum(1, keepdims=True))
        return float(-np.average(q[np.arange(200), truth], weights=weight))

    z[np.arange(200), truth] += 1
    best = temperature(z, truth, weight)
    assert all(loss(best) <= loss(best * factor) for factor in (0.9, 0.999, 1.001, 1.1))


def test_weights_count_as_copies() -> None:
    z, truth = [2.0, -1.0, 0.5, 1.0], [1, 0, 0, 1]
    copied = [0, 0, 0, 1, 2, 2]
    expected = temperature([z[i] for i in copied], [truth[i] for i in copied])
    assert temperature(z, truth, [3, 1, 2, 0]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("logits", "truth", "expected"),
    [([5, -5], [1, 0], 0.01), ([1e6, -1e6], [1, 0], 0.01), ([5, -5], [0, 1], 100), ([0, 0], [0, 1], 1)],
)
def test_temperature_without_a_least_loss_stops_at_an_end(logits: Any, truth: Any, expected: float) -> None:
    assert temperature(logits, truth) == expected


@given(JUDGED, st.data())
def test_isotonic_agrees_with_scikit_learn_and_never_falls(rows: Rows, data: st.DataObject) -> None:
    truth, p = columns(rows)
    p = np.round(p, 3)  # scikit-learn merges neighbours nearer than it can tell apart
    weight = np.array(data.draw(st.lists(st.integers(1, 5), min_size=len(p), max_size=len(p))), float)
    ours = isotonic(p, truth, weight)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(p, truth.astype(float), weight)
    grid = np.linspace(0, 1, 101)
    np.testing.assert_allclose(ours(grid), theirs.predict(grid), atol=1e-9)
    assert (np.diff(ours(grid)) >= -1e-12).all()
    assert (np.diff(ours.x) > 0).all()
    assert np.average(ours(p), weights=weight) == pytest.approx(np.average(truth, weights=weight))


def test_isotonic_by_hand() -> None:
    fitted = isotonic([0.1, 0.2, 0.4, 0.8], [0, 1, 0, 1])
    np.testing.assert_allclose(fitted([0.0, 0.1, 0.15, 0.2, 0.4, 0.6, 0.8, 1.0]), [0, 0, 0.25, 0.5, 0.5, 0.75, 1, 1])


def test_items_of_no_weight_are_not_there() -> None:
    fitted = isotonic([0.1, 0.5, 0.9], [0, 1, 0], [1, 1, 0])
    assert fitted.x.tolist() == [0.1, 0.5]


def test_isotonic_written_and_read_is_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    p = rng.random(50)
    fitted = isotonic(p, rng.random(50) < p)
    np.savez(tmp_path / "map.npz", **fitted.arrays("a/b"))  # type: ignore[arg-type]
    with np.load(tmp_path / "map.npz", allow_pickle=False) as arrays:
        again = Isotonic.from_arrays(arrays, "a/b")
        with pytest.raises(KeyError):
            Isotonic.from_arrays(arrays, "other")
    np.testing.assert_array_equal(again(p), fitted(p))


@pytest.mark.parametrize(
    ("truth", "p"),
    [
        ([], []),
        ([0, 1], [0.5]),
        ([0, 1], [0.5, 1.1]),
        ([0, 1], [-0.1, 0.5]),
        ([0, 1], [0.5, math.nan]),
        ([0, 2], [0.5, 0.5]),
        ([[0, 1]], [[0.5, 0.5]]),
    ],
)
def test_what_cannot_be_measured_is_refused(truth: Any, p: Any) -> None:
    for measure in (brier, log_loss, ece, reliability_curve):
        with pytest.raises(InvalidInput):
            measure(truth, p)
    with pytest.raises(InvalidInput):
        isotonic(p, truth)


@pytest.mark.parametrize("weight", [[1], [1, -1], [0, 0], [1, math.nan]])
def test_weights_that_weigh_nothing_are_refused(weight: Any) -> None:
    with pytest.raises(InvalidInput, match="weight"):
        isotonic([0.1, 0.2], [0, 1], weight)
    with pytest.raises(InvalidInput, match="weight"):
        temperature([0.1, 0.2], [0, 1], weight)


@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        ([], []),
        ([1, 2], [0]),
        ([1, math.inf], [0, 1]),
        ([1, 2], [0, 2]),
        ([[1, 2], [1, 2]], [0, -1]),
        ([[1], [2]], [0, 0]),
        ([["a"], ["b"]], [0, 0]),
        ([[1], [2, 3]], [0, 0]),
    ],
)
def test_logits_that_are_none_are_refused(logits: Any, truth: Any) -> None:
    with pytest.raises(InvalidInput):
        temperature(logits, truth)


def test_other_bins_are_refused() -> None:
    with pytest.raises(InvalidInput, match="kind"):
        ece([0, 1], [0.1, 0.2], kind="depth")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="one bin"):
        ece([0, 1], [0.1, 0.2], bins=0)
    with pytest.raises(InvalidInput, match="probabilities"):
        isotonic([0.1, 0.2], [0, 1])([1.5])
