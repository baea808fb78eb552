"""Rank correlation: equal to SciPy where it has the measure, to the mean over all broken ties for AP correlation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.metrics import ranking
from weighup.metrics.ranking import pair_counts, pearson, rank_order, spearman, tau_ap, tau_b

FLOATS = st.floats(-1e6, 1e6)
TIED = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=60)
FREE = st.lists(st.tuples(FLOATS, FLOATS), min_size=3, max_size=40)
FEW = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=5)


def columns(rows: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.array(rows, dtype=float).T
    assume(np.ptp(x) > 1e-3 * np.abs(x).max() and np.ptp(y) > 1e-3 * np.abs(y).max())
    return x, y


@given(st.one_of(TIED, FREE))
def test_equal_to_scipy(rows: list[tuple[float, float]]) -> None:
    x, y = columns(rows)
    assert tau_b(x, y) == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-9)
    assert pearson(x, y) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-9)


@pytest.mark.parametrize("n", [199, 200, 201, 500])
def test_tau_b_is_the_same_by_either_way(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.integers(0, 30, n), rng.normal(size=n)
    found = tau_b(x, y)
    monkeypatch.setattr(ranking, "SMALL", 1000)
    assert tau_b(x, y) == pytest.approx(found, abs=1e-12)
    assert found == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 50), rng.integers(0, 9, 50)
    found = pair_counts(x, y), tau_ap(x, y)
    monkeypatch.setattr(ranking, "CELLS", 120)
    assert (pair_counts(x, y), tau_ap(x, y)) == found


@given(TIED)
def test_the_pairs_add_up(rows: list[tuple[int, int]]) -> None:
    x, y = zip(*rows, strict=True)
    found = pair_counts(x, y)
    signs = [(x[i] > x[j]) - (x[i] < x[j]) for i, j in itertools.combinations(range(len(x)), 2)]
    other = [(y[i] > y[j]) - (y[i] < y[j]) for i, j in itertools.combinations(range(len(x)), 2)]
    pairs = list(zip(signs, other, strict=True))
    assert found.alike == sum(a * b == 1 for a, b in pairs)
    assert found.otherwise == sum(a * b == -1 for a, b in pairs)
    assert found.tied_x == sum(a == 0 != b for a, b in pairs)
    assert found.tied_y == sum(b == 0 != a for a, b in pairs)
    assert found.tied_both == sum(a == b == 0 for a, b in pairs)


def plain_tau_ap(truth: tuple[int, ...], predicted: tuple[int, ...]) -> float:
    """Of two orders, best first, without ties: the formula of Yilmaz, Aslam and Robertson."""
    total = 0.0
    for i in range(1, len(predicted)):
        total += sum(truth.index(above) < truth.index(predicted[i]) for above in predicted[:i]) / i
    return 2 * total / (len(predicted) - 1) - 1


@given(FEW)
def test_tau_ap_is_the_mean_over_all_broken_ties(rows: list[tuple[int, int]]) -> None:
    truth, predicted = zip(*rows, strict=True)
    assume(len(set(truth)) > 1 and len(set(predicted)) > 1)
    orders = list(itertools.permutations(range(len(rows))))
    fit = [
        [order for order in orders if all(score[a] >= score[b] for a, b in itertools.pairwise(order))]
        for score in (truth, predicted)
    ]
    expected = np.mean([plain_tau_ap(true, other) for true in fit[0] for other in fit[1]])
    assert tau_ap(truth, predicted) == pytest.approx(expected, abs=1e-12)


def test_tau_ap_by_hand() -> None:
    truth = [4, 3, 2, 1]
    assert tau_ap(truth, [4, 3, 2, 1]) == 1
    assert tau_ap(truth, [1, 2, 3, 4]) == -1
    top_swapped, last_swapped = tau_ap(truth, [3, 4, 2, 1]), tau_ap(truth, [4, 3, 1, 2])
    assert top_swapped == pytest.approx(2 / 3 * (0 + 1 + 1) - 1)
    assert last_swapped == pytest.approx(2 / 3 * (1 + 1 + 2 / 3) - 1)
    assert tau_b(truth, [3, 4, 2, 1]) == tau_b(truth, [4, 3, 1, 2])


def test_tau_ap_of_an_order_at_random_is_nought_on_average() -> None:
    rng = np.random.default_rng(0)
    found = [tau_ap(np.arange(20), rng.permutation(20)) for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0, abs=0.03)


@given(FREE)
def test_rank_order_puts_the_highest_first(rows: list[tuple[float, float]]) -> None:
    scores = [row[0] for row in rows]
    assert rank_order(scores).tolist() == sorted(range(len(scores)), key=lambda i: -scores[i])


def test_equal_scores_keep_their_order() -> None:
    assert rank_order([1, 2, 2, 3]).tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize("measure", [tau_b, spearman, pearson, tau_ap])
def test_what_no_order_can_be_seen_in_is_refused(measure: Any) -> None:
    first, second = ("truth", "predicted") if measure is tau_ap else ("x", "y")
    for x, y, named in [
        ([1, 1, 1], [1, 2, 3], f"^{first}: all values"),
        ([1, 2, 3], [2, 2, 2], f"^{second}: all values"),
        ([1], [1], f"^{first}: two items"),
        ([], [], f"^{first}: "),
        ([1, math.nan], [1, 2], f"^{first}: item 1"),
        ([1, 2], [1, math.inf], f"^{second}: item 1"),
        ([1, 2], [1, 2, 3], f"{first} has 2, {second} has 3"),
        ([[1, 2]], [[1, 2]], f"^{first}: "),
        (["a", "b"], [1, 2], f"^{first}: numbers"),
    ]:
        with pytest.raises(InvalidInput, match=named):
            measure(x, y)


def test_values_near_the_ends_of_what_floats_hold() -> None:
    assert pearson([0, 1e-320], [1, 2]) == pytest.approx(1)
    assert pearson([1e200, 2e200, 4e200], [1, 2, 4]) == pytest.approx(1)
    assert tau_b([0, 5e-324], [-1.7e308, 1.7e308]) == 1
    with pytest.raises(InvalidInput, match="too large"):
        pearson([1.7e308, 1.7e308, -1.7e308], [1, 2, 3])


@pytest.mark.parametrize("scores", [[], [math.nan], [[1, 2]], ["a"]])
def test_what_rank_order_refuses(scores: Any) -> None:
    with pytest.raises(InvalidInput, match="scores"):
        rank_order(scores)
