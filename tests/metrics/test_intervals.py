"""Bootstrap intervals: how often they hold the truth, and what they do where a statistic is undefined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from weighup.errors import InvalidInput
from weighup.metrics import accuracy, auroc, bootstrap, paired_bootstrap


def mean(values: ArrayLike) -> float:
    return float(np.mean(values))


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap(mean, values, n=4000, seed=0)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)
    inner = bootstrap(mean, values, n=4000, seed=0, level=0.5)
    assert low < inner[0] < inner[1] < high


def test_the_truth_is_inside_as_often_as_said() -> None:
    inside = 0
    for seed in range(200):
        low, high = bootstrap(mean, np.random.default_rng(seed).exponential(size=80), n=200, seed=seed, level=0.9)
        inside += low <= 1 <= high
    assert 0.82 <= inside / 200 <= 0.96


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap(mean, values, seed=1) == bootstrap(mean, values, seed=1) != bootstrap(mean, values, seed=2)


def test_arrays_are_drawn_together_along_their_first_axis() -> None:
    rows = np.arange(40).reshape(20, 2)

    def together(a: np.ndarray, b: np.ndarray) -> float:
        return float((a[:, 0] == b).all())

    assert bootstrap(together, rows, rows[:, 0], n=50, seed=0) == (1, 1)


def test_whole_groups_are_drawn() -> None:
    groups = np.array(["a", "b", "c", "b", "a", "b"])

    def whole(drawn: np.ndarray) -> float:
        counts = {name: int((drawn == name).sum()) for name in "abc"}
        return float(
            counts["a"] % 2 == 0 and counts["b"] % 3 == 0 and counts["a"] / 2 + counts["b"] / 3 + counts["c"] == 3
        )

    assert bootstrap(whole, groups, n=100, seed=0, groups=groups) == (1, 1)


def test_copies_within_groups_make_nothing_surer() -> None:
    values = np.random.default_rng(0).normal(size=60)
    tenfold, group = np.repeat(values, 10), np.repeat(np.arange(60), 10)
    single = bootstrap(mean, values, seed=0)
    assert bootstrap(mean, tenfold, seed=0, groups=group) == pytest.approx(single)
    low, high = bootstrap(mean, tenfold, seed=0)
    assert high - low < 0.5 * (single[1] - single[0])


def test_the_difference_is_taken_on_the_same_resamples() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    called = np.where(rng.random(300) < 0.7, truth, 1 - truth)
    better = called.copy()
    better[:30] = truth[:30]
    assert paired_bootstrap(accuracy, (truth, called), (truth, called), seed=0) == (0, 0)
    low, high = paired_bootstrap(accuracy, (truth, better), (truth, called), seed=0)
    assert 0 < low < accuracy(truth, better) - accuracy(truth, called) < high
    back = paired_bootstrap(accuracy, (truth, called), (truth, better), seed=0)
    assert back == pytest.approx((-high, -low))


def test_undefined_resamples_are_drawn_again() -> None:
    truth, score = np.array([1, *[0] * 19]), np.arange(20)[::-1]
    assert bootstrap(auroc, truth, score, n=200, seed=0) == (1, 1)  # a third of resamples have no positive


def test_mostly_undefined_is_refused() -> None:
    def only_as_given(values: np.ndarray) -> float:
        return 1.0 if (values == np.arange(30)).all() else math.nan

    with pytest.raises(InvalidInput, match="undefined on 20 of 20"):
        bootstrap(only_as_given, np.arange(30), n=20, seed=0)


def test_undefined_on_the_items_themselves_is_refused_with_its_reason() -> None:
    with pytest.raises(InvalidInput, match="both classes"):
        bootstrap(auroc, [1, 1, 1], [0.1, 0.2, 0.3], seed=0)
    with pytest.raises(InvalidInput, match="not a finite number"):
        bootstrap(lambda _: math.nan, [1, 2], seed=0)


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ([], {}),
        ([[]], {}),
        ([[1]], {}),
        ([3], {}),
        ([[1, 2], [1, 2, 3]], {}),
        ([[1, 2]], {"n": 0}),
        ([[1, 2]], {"level": 1.0}),
        ([[1, 2]], {"groups": [1]}),
        ([[1, 2]], {"groups": [1, 1]}),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(arrays: list[Any], options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        bootstrap(mean, *arrays, seed=0, **options)


def test_a_side_is_a_tuple_of_arrays() -> None:
    with pytest.raises(InvalidInput, match="tuple"):
        paired_bootstrap(mean, np.arange(3), np.arange(3), seed=0)  # type: ignore[arg-type]
