"""Agreement: equal to scikit-learn where it has the measure, to published examples and to the definitions elsewhere."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from weighup.errors import InvalidInput
from weighup.metrics import bootstrap
from weighup.metrics.agreement import (
    cohen_kappa,
    human_ceiling,
    krippendorff_alpha,
    leave_one_out_agreement,
    pairwise_accuracy,
)

_ = None
# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section C: four observers, twelve units.
WORKED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40)
VOTES = st.integers(2, 5).flatmap(
    lambda raters: st.lists(
        st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=raters, max_size=raters), min_size=2, max_size=12
    )
)


@given(PAIRS, st.sampled_from([None, "linear", "quadratic"]))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]], weights: Any) -> None:
    a, b = zip(*pairs, strict=True)
    assume(len({*a, *b}) > 1)
    assert cohen_kappa(a, b, weights=weights) == pytest.approx(cohen_kappa_score(a, b, weights=weights), abs=1e-12)
    every = [3, 1, 0, 2, 4]
    expected = cohen_kappa_score(a, b, labels=every, weights=weights)
    assert cohen_kappa(a, b, every, weights) == pytest.approx(expected, abs=1e-12)


def test_kappa_of_text_by_hand() -> None:
    a, b = ["1", "1", "2", "2"], ["1", "1", "2", "1"]
    assert cohen_kappa(a, b) == pytest.approx(0.5)
    assert cohen_kappa(np.array(a), b) == cohen_kappa(a, np.array(b, dtype=object)) == cohen_kappa(a, b)


def test_the_order_of_labels_decides_what_a_step_is() -> None:
    a, b = ["low", "mid", "high", "high"], ["mid", "mid", "high", "low"]
    numbers = {"low": 0, "mid": 1, "high": 2}
    expected = cohen_kappa([numbers[i] for i in a], [numbers[i] for i in b], weights="quadratic")
    assert cohen_kappa(a, b, labels=["low", "mid", "high"], weights="quadratic") == pytest.approx(expected)
    assert cohen_kappa(a, b, weights="quadratic") != pytest.approx(expected)


def test_kappa_can_be_bootstrapped() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 3, 300)
    b = np.where(rng.random(300) < 0.7, a, rng.integers(0, 3, 300))
    low, high = bootstrap(cohen_kappa, a, b, n=200, seed=0)
    assert low < cohen_kappa(a, b) < high


@pytest.mark.parametrize(
    ("a", "b", "more", "named"),
    [
        ([1], [1], {}, "a"),
        ([1, 2], [1, 2, 2], {}, "a has 2, b has 3"),
        ([1, 1], [1, 1], {}, "every label is the same"),
        ([1, None], [1, 2], {}, "a: item 1 is missing"),
        ([1, 2], [1, math.nan], {}, "b: item 1 is missing"),
        (["x", math.nan], ["x", "y"], {}, "a: item 1 is missing"),
        ([1, 2], ["1", "2"], {}, "b: text"),
        ([1, "x"], [1, 2], {}, "a: labels"),
        ([1, math.inf], [1, 2], {}, "a: a label is infinite"),
        ([[1, 2]], [[1, 2]], {}, "a: "),
        ([], [], {}, "a: "),
        ([1 + 2j, 1], [1, 1], {}, "a: "),
        ([1, 2], [1, 3], {"labels": [1, 2]}, "b: .*3.* labels"),
        ([1, 2], [1, 2], {"labels": [1, 2, 2]}, "labels: .* twice"),
        ([1, 2], [1, 2], {"labels": ["1", "2"]}, "labels: text"),
        ([1, 2], [1, 2], {"weights": "cubic"}, "weights"),
        (np.arange(3000) / 3, np.arange(3000) / 3, {}, "3000 different labels"),
        (np.array([1, 2], dtype="datetime64[D]"), [1, 2], {}, "a: "),
    ],
)
def test_what_kappa_refuses(a: Any, b: Any, more: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        cohen_kappa(a, b, **more)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_worked_example(level: Any, alpha: float) -> None:
    assert krippendorff_alpha(WORKED, level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_takes_text_and_nan() -> None:
    names = {None: None, 1: "a", 2: "b", 3: "c", 4: "d", 5: "e"}
    worded = [[names[vote] for vote in row] for row in WORKED]
    assert krippendorff_alpha(worded) == pytest.approx(krippendorff_alpha(WORKED))
    numbers = np.array(WORKED, dtype=float)
    assert krippendorff_alpha(numbers, "ordinal") == krippendorff_alpha(WORKED, "ordinal")


def by_definition(rows: list[list[int | None]], level: str) -> float | None:
    """rows [items][raters]: alpha from all pairs of votes of an item, and all pairs of votes."""
    units = [[vote for vote in row if vote is not None] for row in rows]
    units = [unit for unit in units if len(unit) > 1]
    every = sorted(vote for unit in units for vote in unit)
    count = Counter(every)

    def apart(a: int, b: int) -> float:
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return float((a - b) ** 2)
        between = sum(count[v] for v in range(min(a, b), max(a, b) + 1))
        return float((between - (count[a] + count[b]) / 2) ** 2)

    chance = sum(apart(a, b) for a, b in itertools.permutations(every, 2)) / max(len(every) - 1, 1)
    if not chance:
        return None
    seen = sum(apart(a, b) / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2))
    return 1 - seen / chance


@given(VOTES, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_its_definition(rows: list[list[int | None]], level: Any) -> None:
    votes = [list(column) for column in zip(*rows, strict=True)]
    expected = by_definition(rows, level)
    if expected is None:
        with pytest.raises(InvalidInput, match="votes"):
            krippendorff_alpha(votes, level)
    else:
        assert krippendorff_alpha(votes, level) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("votes", "level", "named"),
    [
        ([[1, 2, 3]], "nominal", "two raters"),
        ([[1], [2]], "nominal", "two raters"),
        ([1, 2], "nominal", "votes"),
        ([[1, 2], [1]], "nominal", "votes"),
        ([[1, None], [None, 2]], "nominal", "no item has two votes"),
        ([[1, 1, 2], [1, 1, None]], "nominal", "every vote is the same"),
        ([[None, None], [None, None]], "nominal", "every label is missing"),
        ([["a", "b"], ["a", "a"]], "ordinal", "needs numbers"),
        ([[1, 2], [1, 1]], "ratio", "level"),
    ],
)
def test_what_alpha_refuses(votes: Any, level: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        krippendorff_alpha(votes, level)


def test_a_verdict_is_held_against_the_mode_of_the_others() -> None:
    votes = [["1", "1"], ["1", "2"], ["1", "2"], ["2", "2"]]  # item 1: 1 1 1 2; item 2: 1 2 2 2
    found = leave_one_out_agreement(votes, ["1", "1"], seed=0)
    assert found.items.tolist() == [1.0, 0.0]
    assert (found.value, found.n, found.low, found.high) == (0.5, 2, None, None)


def test_the_ceiling_is_one_annotator_against_the_others() -> None:
    votes = [["1", "1"], ["1", "2"], ["1", "2"], ["2", "2"]]
    assert human_ceiling(votes, seed=0).items.tolist() == [0.75, 0.75]
    assert human_ceiling([[1, 2], [1, 2], [1, 2]], seed=0).value == 1


def test_modes_that_tie_are_drawn_evenly_and_by_seed() -> None:
    votes = np.array([[0] * 4000, [1] * 4000, [2] * 4000])  # each time two are left that tie
    found = leave_one_out_agreement(votes, np.zeros(4000), seed=1)
    assert found.value == pytest.approx(2 / 3 / 2, abs=0.03)
    assert leave_one_out_agreement(votes, np.zeros(4000), seed=1).items.tolist() == found.items.tolist()
    assert leave_one_out_agreement(votes, np.zeros(4000), seed=2).items.tolist() != found.items.tolist()


def test_with_the_same_seed_judge_and_annotator_see_the_same_modes() -> None:
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 3, (2, 500))
    ceiling = human_ceiling(votes, seed=5)
    judges = [leave_one_out_agreement(votes, row, seed=5).items for row in votes]
    assert ceiling.items.tolist() == (votes[0] == votes[1]).astype(float).tolist()
    np.testing.assert_allclose((judges[0] + judges[1]) / 2, 0.5 + 0.5 * (votes[0] == votes[1]))


def test_missing_votes_leave_out_annotators_and_items() -> None:
    found = leave_one_out_agreement([[1, 1, None], [1, None, None], [2, None, 1]], [1, 1, 1], seed=0)
    assert found.n == 1
    assert np.isnan(found.items).tolist() == [False, True, True]
    two = [[1, 1], [1, None], [None, 1]]
    assert leave_one_out_agreement(two, [1, 1], seed=0).items.tolist() == [1.0, 1.0]


def test_a_missing_or_unheard_verdict_agrees_with_nobody() -> None:
    votes = [["1", "2"], ["1", "2"]]
    assert leave_one_out_agreement(votes, [None, "2"], seed=0).items.tolist() == [0.0, 1.0]
    assert leave_one_out_agreement(votes, ["tie", "2"], seed=0).items.tolist() == [0.0, 1.0]
    assert leave_one_out_agreement(votes, [None, None], seed=0).value == 0


def test_the_interval_is_over_items() -> None:
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 2, (3, 400))
    found = leave_one_out_agreement(votes, votes[0], seed=0, draws=500)
    assert found.low is not None
    assert found.high is not None
    spread = 1.96 * found.items.std() / 20
    assert (found.low, found.high) == pytest.approx((found.value - spread, found.value + spread), abs=0.01)


def test_many_labels_are_counted_in_blocks() -> None:
    votes = np.tile(np.arange(2000), (3, 2))
    assert human_ceiling(votes, seed=0).value == 1


@pytest.mark.parametrize(
    ("votes", "verdicts", "more", "named"),
    [
        ([[1, 2], [1, 2]], [1], {}, "verdicts: one for each of 2"),
        ([[1, 2], [1, 2]], ["1", "2"], {}, "verdicts: text"),
        ([[1, None], [None, 2]], [1, 2], {}, "votes: no item"),
        ([[1, 2]], [1, 2], {}, "votes: two raters"),
        ([[1, 2], [1, 2]], [1, 2], {"draws": -1}, "draws"),
        (np.arange(6000).reshape(2, 3000), np.zeros(3000), {}, "votes: 6000 different"),
    ],
)
def test_what_leave_one_out_refuses(votes: Any, verdicts: Any, more: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        leave_one_out_agreement(votes, verdicts, seed=0, **more)


def test_pairwise_accuracy_by_hand() -> None:
    gold, score = [3, 2, 1, 1], [3, 3, 1, 2]  # six pairs: 01 tied in score, 23 in gold, the others right
    assert pairwise_accuracy(gold, score) == pytest.approx(4.5 / 5)
    assert pairwise_accuracy(gold, score, "strict") == pytest.approx(4 / 6)
    assert pairwise_accuracy(gold, score, "drop") == 1
    assert pairwise_accuracy([1, 2, 2], [1, 2, 2], "strict") == 1


@given(PAIRS)
def test_pairwise_accuracy_is_a_share_of_pairs(rows: list[tuple[int, int]]) -> None:
    gold, score = zip(*rows, strict=True)
    signs = [
        (np.sign(gold[i] - gold[j]), np.sign(score[i] - score[j]))
        for i, j in itertools.combinations(range(len(rows)), 2)
    ]
    expected = {
        "half": [1.0 if g == s else 0.5 if s == 0 else 0.0 for g, s in signs if g],
        "strict": [float(g == s) for g, s in signs],
        "drop": [float(g == s) for g, s in signs if g and s],
    }
    for ties, each in expected.items():
        if each:
            assert pairwise_accuracy(gold, score, ties) == pytest.approx(np.mean(each))  # type: ignore[arg-type]
        else:
            with pytest.raises(InvalidInput, match="no pair"):
                pairwise_accuracy(gold, score, ties)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gold", "score", "ties", "named"),
    [
        ([1], [1], "half", "gold"),
        ([1, 2], [1, 2, 3], "half", "gold has 2, score has 3"),
        ([1, math.nan], [1, 2], "half", "gold"),
        ([1, 2], [1, math.inf], "half", "score"),
        ([1, 2], [1, 2], "third", "ties"),
        ([1, 1], [1, 2], "half", "no pair"),
    ],
)
def test_what_pairwise_accuracy_refuses(gold: Any, score: Any, ties: Any, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        pairwise_accuracy(gold, score, ties)
