"""Significance: equal to SciPy and statsmodels where they have the test; rates held against simulation elsewhere."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from weighup.errors import InvalidInput
from weighup.metrics import significance
from weighup.metrics.significance import (
    Test,
    bh,
    holm,
    mixed_effects,
    paired_t,
    permutation,
    tukey_randomised,
    welch,
)

FLOATS = st.floats(-100, 100).map(lambda value: round(value, 3))
SAMPLE = st.lists(FLOATS, min_size=2, max_size=30)
PAIRED = st.lists(st.tuples(FLOATS, FLOATS), min_size=2, max_size=30)
P = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(SAMPLE, SAMPLE)
def test_welch_is_that_of_scipy(a: list[float], b: list[float]) -> None:
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    expected = scipy.stats.ttest_ind(a, b, equal_var=False)
    found = welch(a, b)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-9)
    assert (found.estimate, found.n) == (pytest.approx(np.mean(a) - np.mean(b)), len(a) + len(b))
    assert found.low < found.estimate < found.high
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


@given(PAIRED)
def test_paired_t_is_that_of_scipy(rows: list[tuple[float, float]]) -> None:
    a, b = np.array(rows).T
    assume(np.ptp(a - b) > 1e-6)
    expected = scipy.stats.ttest_rel(a, b)
    found = paired_t(a, b)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9, abs=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-9, abs=1e-9)
    assert found.n == len(a)


def test_one_sample_that_does_not_vary_is_enough_for_welch() -> None:
    assert welch([1, 1, 1], [1, 2, 3]).estimate == -1


@settings(max_examples=40)
@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=2, max_size=8))
def test_few_items_are_looked_at_in_all_signs(rows: list[tuple[float, float]]) -> None:
    a, b = np.array(rows).T
    difference = a - b
    signs = np.array(list(itertools.product([1, -1], repeat=len(a))))
    expected = np.mean(np.abs(signs @ difference) >= abs(difference.sum()) - 1e-9)
    found = permutation(a, b, seed=0)
    assert found.p == pytest.approx(expected, abs=1e-12)
    assert found.estimate == pytest.approx(difference.mean())


def test_the_sign_flip_test_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0.4, 1, 10)

    def mean(values: np.ndarray, axis: int) -> np.ndarray:
        return values.mean(axis=axis)

    expected = scipy.stats.permutation_test((a,), mean, permutation_type="samples", n_resamples=2000)
    assert permutation(a, np.zeros(10), seed=0).p == pytest.approx(expected.pvalue)


def test_many_items_are_drawn_by_seed_and_agree_with_t(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0.15, 1, 200)
    found, expected = permutation(a, np.zeros(200), seed=1), paired_t(a, np.zeros(200))
    assert found.p == pytest.approx(expected.p, abs=0.02)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert permutation(a, np.zeros(200), seed=1) == found != permutation(a, np.zeros(200), seed=2)
    monkeypatch.setattr(significance, "CELLS", 1000)
    in_blocks = permutation(a, np.zeros(200), seed=1)
    assert (in_blocks.low, in_blocks.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_no_p_of_drawn_signs_is_nought() -> None:
    assert permutation(np.arange(1, 101), np.zeros(100), n=99, seed=0).p == 0.01


def test_the_interval_holds_the_differences_that_the_test_does_not_refuse() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(1, 1, 10)
    found = permutation(a, np.zeros(10), seed=0)
    for difference in np.linspace(-0.5, 2.5, 61):
        accepted = permutation(a, np.full(10, difference), seed=0).p > 0.05
        assert accepted == (found.low <= difference <= found.high)


def test_with_fewer_than_six_items_no_difference_is_refused() -> None:
    found = permutation([5.0, 6, 7, 8, 9], [0.0] * 5, seed=0)
    assert (found.p, found.low, found.high) == (2 / 32, -math.inf, math.inf)
    assert permutation([5.0, 6, 7, 8, 9, 10], [0.0] * 6, seed=0).low == 5


def test_differences_that_are_equal_but_for_rounding_are_equal() -> None:
    assert permutation([0.3, 0.9, 0.4], [0.2, 1.0, 0.3], seed=0).p == 1  # 0.1, −0.1, 0.1


def test_no_difference_at_all_is_a_p_of_one() -> None:
    found = permutation(np.arange(10), np.arange(10), seed=0)
    assert (found.p, found.estimate, found.low, found.high) == (1, 0, 0, 0)


@pytest.mark.parametrize("test", [welch, paired_t, lambda a, b: permutation(a, b, seed=0)])
def test_what_two_samples_must_be(test: Any) -> None:
    for a, b, named in [
        ([1], [1], "^a: two items"),
        ([], [1, 2], "^a: "),
        ([1, math.nan], [1, 2], "^a: item 1"),
        ([1, 2], [1, math.inf], "^b: item 1"),
        ([[1, 2]], [[1, 2]], "^a: "),
    ]:
        with pytest.raises(InvalidInput, match=named):
            test(a, b)


def test_what_cannot_be_told_from_chance_is_refused() -> None:
    with pytest.raises(InvalidInput, match="same"):
        welch([1, 1], [2, 2])
    with pytest.raises(InvalidInput, match="difference is the same"):
        paired_t(np.arange(9) + 0.1, np.arange(9))
    with pytest.raises(InvalidInput, match="a has 2, b has 3"):
        paired_t([1, 2], [1, 2, 3])
    for test in (welch, paired_t):
        for unit in (1e200, 1e-200):
            with pytest.raises(InvalidInput, match=r"a, b: .* squared"):
                test(np.array([1, 2, 5]) * unit, [0, 0, 0])
    with pytest.raises(InvalidInput, match=r"^n: "):
        permutation([1, 2], [1, 1], n=0, seed=0)


def test_tukey_with_two_systems_is_the_sign_flip_test() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 30)) + np.array([[0.4], [0.0]])
    found = tukey_randomised(scores, n=20_000, seed=0)
    expected = permutation(*scores, n=20_000, seed=1).p
    assert found[0, 1] == found[1, 0] == pytest.approx(expected, abs=0.01)
    assert found.diagonal().tolist() == [1, 1]


def test_tukey_looked_at_in_full() -> None:
    scores = np.array([[3.0, 1.0], [2.0, 5.0], [0.5, 2.0]])
    orders = np.array(list(itertools.permutations(range(3))))
    means = (scores[orders, 0][:, None] + scores[orders, 1][None]) / 2
    largest = np.ptp(means, axis=2).ravel()
    seen = np.abs(np.subtract.outer(scores.mean(axis=1), scores.mean(axis=1)))
    expected = np.mean(largest >= seen[..., None] - 1e-12, axis=2)
    np.testing.assert_allclose(tukey_randomised(scores, n=40_000, seed=0), expected, atol=0.01)


def test_tukey_holds_the_rate_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    false = 0
    for seed in range(200):
        topic = rng.normal(size=(1, 20))
        p = tukey_randomised(topic + rng.normal(size=(5, 20)), n=199, seed=seed)
        false += bool((p <= 0.05).any())
    assert 1 <= false <= 0.05 * 200 + 3 * math.sqrt(200 * 0.05 * 0.95)


def test_tukey_sees_the_one_that_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 50)) + np.array([[1.5], [0], [0], [0]])
    for cells in (significance.CELLS, 1000):
        monkeypatch.setattr(significance, "CELLS", cells)
        p = tukey_randomised(scores, n=999, seed=0)
        assert (p[0, 1:] == 0.001).all()
        assert (p[1:, 1:] > 0.05).all()
        np.testing.assert_array_equal(p, p.T)


def test_tukey_counts_equal_differences_as_such() -> None:
    scores = np.array([[1, 0, 1, 0.1], [0, 1, 0.1, 1]]) * 0.1
    assert (tukey_randomised(scores, n=500, seed=0) == 1).all()
    assert (tukey_randomised(np.full((3, 4), 0.1), n=50, seed=0) == 1).all()


@pytest.mark.parametrize(
    ("scores", "n", "named"),
    [
        ([[1, 2, 3]], 10, "scores"),
        ([[1], [2]], 10, "scores"),
        ([1, 2], 10, "scores"),
        ([[1, 2], [1]], 10, "scores"),
        ([[1, 2], [1, math.nan]], 10, "scores: item 3"),
        ([[1, 2], [2, 1]], 0, "^n: "),
    ],
)
def test_what_tukey_refuses(scores: Any, n: int, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        tukey_randomised(scores, n=n, seed=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_corrections_are_those_of_statsmodels(seed: int) -> None:
    p = np.random.default_rng(seed).random(20).round(1) ** 3  # with ties
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-12)
    np.testing.assert_allclose(bh(p), multipletests(p, method="fdr_bh")[1], atol=1e-12)


@given(P)
def test_corrections_are_their_definitions(p: list[float]) -> None:
    least_first = sorted(p)
    at_most = [max(min(1, (len(p) - i) * least_first[i]) for i in range(p_rank(p, one) + 1)) for one in p]
    np.testing.assert_allclose(holm(p), at_most, atol=1e-12)
    np.testing.assert_allclose(bh(p), scipy.stats.false_discovery_control(p), atol=1e-12)


def p_rank(p: list[float], one: float) -> int:
    return sum(other < one for other in p)


@pytest.mark.parametrize("correct", [holm, bh])
@pytest.mark.parametrize("p", [[], [0.1, 1.1], [-0.1], [math.nan], [[0.1]]])
def test_what_is_no_p_is_refused(correct: Any, p: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^p: "):
        correct(p)


def grouped(seed: int, between: float, groups: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, 150)
    x = rng.normal(3, 2, 150) + rng.normal(size=groups)[group]
    y = 100 + 0.3 * x + between * rng.normal(size=groups)[group] + rng.normal(size=150)
    return y, group, x


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("seed", "between"), [(0, 0.5), (1, 1.0), (2, 3.0)])
def test_mixed_effects_is_that_of_statsmodels(seed: int, between: float, reml: bool) -> None:
    from statsmodels.regression.mixed_linear_model import MixedLM

    y, group, x = grouped(seed, between)
    expected = MixedLM(y, np.stack([np.ones(150), x], axis=1), groups=group).fit(reml=reml)
    found = mixed_effects(y, group, x, reml=reml)
    assert found.estimate == pytest.approx(expected.params[1], abs=1e-4)
    assert found.se == pytest.approx(expected.bse[1], rel=1e-3)
    assert found.p == pytest.approx(expected.pvalues[1], abs=1e-3)
    assert found.intercept == pytest.approx(expected.params[0], abs=1e-3)
    assert found.within**2 == pytest.approx(expected.scale, rel=1e-3)
    assert found.between**2 == pytest.approx(float(np.ravel(expected.cov_re)[0]), rel=1e-2)
    assert (found.low, found.high) == pytest.approx(tuple(expected.conf_int()[1]), abs=1e-3)
    assert (found.n, found.groups) == (150, 12)


def test_without_a_variance_between_groups_it_is_least_squares() -> None:
    y, group, x = grouped(0, 0.0)
    y = y - np.array([y[group == k].mean() - 0.3 * x[group == k].mean() for k in group])  # no group differs
    expected = scipy.stats.linregress(x, y)
    found = mixed_effects(y, group.astype(str), x)
    assert found.between == 0
    assert (found.estimate, found.se) == pytest.approx((expected.slope, expected.stderr), rel=1e-9)


def test_units_do_not_matter() -> None:
    y, group, x = grouped(1, 1.0)
    found, scaled = mixed_effects(y, group, x), mixed_effects(y * 1e6, group, x / 1e6 + 1e3)
    assert scaled.estimate == pytest.approx(found.estimate * 1e12, rel=1e-4)
    assert scaled.p == pytest.approx(found.p, rel=1e-3)


def test_mixed_effects_holds_its_rate_where_least_squares_does_not() -> None:
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(80):
        group = np.repeat(np.arange(30), 5)
        x = rng.normal(size=30)[group] + 0.1 * rng.normal(size=150)
        y = rng.normal(size=30)[group] + rng.normal(size=150)
        refused.append((mixed_effects(y, group, x).p < 0.05, scipy.stats.linregress(x, y).pvalue < 0.05))
    ours, plain = np.mean(refused, axis=0)
    assert ours <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 80)
    assert plain > 0.15


@pytest.mark.parametrize(
    ("y", "group", "x", "named"),
    [
        ([1, 2, 3, 5], [0, 0, 1, 1], [1, 1, 1, 1], "^x: all values"),
        ([1, 1, 1, 1], [0, 0, 1, 1], [1, 2, 3, 4], "^y: all values"),
        ([1, 2, 3, 5], [0, 0, 0, 0], [1, 2, 3, 4], "^group"),
        ([1, 2, 3, 5], [0, 1, 2, 3], [1, 2, 3, 4], "^group"),
        ([1, 2, 4], [0, 0, 1], [1, 2, 3], "^group"),
        ([1, 2, 3, 5], [0, 0, 1], [1, 2, 3, 4], "^group"),
        ([1, 2, 3, 5], [0, 0, 1, None], [1, 2, 3, 4], "^group"),
        ([1, 2, 3], [0, 0, 1, 1], [1, 2, 3, 4], "y has 3, x has 4"),
        ([1, 2, 3, math.nan], [0, 0, 1, 1], [1, 2, 3, 4], "^y: item 3"),
        ([2, 4, 6, 8], [0, 0, 1, 1], [1, 2, 3, 4], "^y: x and group"),
        ([2, 4, 16, 18, 26, 28], [0, 0, 1, 1, 2, 2], [1, 2, 3, 4, 3, 4], "^y: x and group"),
    ],
)
def test_what_mixed_effects_refuses(y: Any, group: Any, x: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        mixed_effects(y, group, x)


def test_a_test_is_fixed_once_found() -> None:
    found = welch([1, 2, 3], [2, 3, 5])
    assert isinstance(found, Test)
    with pytest.raises(AttributeError):
        found.p = 0.0  # type: ignore[misc]
