"""Classification measures: by hand, against scikit-learn, and what must not change them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as known

from weighup.errors import InvalidInput
from weighup.metrics import accuracy, auroc, average_precision, balanced_accuracy, macro_f1

LABELLED = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)
# Few distinct scores, so that ties are common.
SCORED = st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=2, max_size=60).filter(
    lambda rows: len({truth for truth, _ in rows}) == 2
)


def test_by_hand() -> None:
    truth, called = [0, 0, 0, 1], [0, 0, 1, 1]
    assert accuracy(truth, called) == 0.75
    assert balanced_accuracy(truth, called) == pytest.approx((2 / 3 + 1) / 2)
    assert macro_f1(truth, called) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_class_that_is_called_but_never_true_costs_hits_only() -> None:
    assert macro_f1([1, 1], [1, 1]) == 1
    assert macro_f1([1, 1], [1, 2]) == pytest.approx(2 / 3)


@given(LABELLED)
def test_labels_agree_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, called = map(np.array, zip(*rows, strict=True))
    classes = np.unique(truth)
    assert accuracy(truth, called) == pytest.approx(known.accuracy_score(truth, called))
    recall = known.recall_score(truth, called, labels=classes, average="macro", zero_division=0)
    assert balanced_accuracy(truth, called) == pytest.approx(recall)
    f1 = known.f1_score(truth, called, labels=classes, average="macro", zero_division=0)
    assert macro_f1(truth, called) == pytest.approx(f1)


@given(SCORED)
def test_scores_agree_with_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    truth, score = map(np.array, zip(*rows, strict=True))
    assert auroc(truth, score) == pytest.approx(known.roc_auc_score(truth, score))
    assert average_precision(truth, score) == pytest.approx(known.average_precision_score(truth, score))


@given(SCORED)
def test_auroc_sees_only_the_order_and_flips_with_it(rows: list[tuple[bool, int]]) -> None:
    truth, score = map(np.array, zip(*rows, strict=True))
    assert auroc(truth, np.exp(score) * 3 - 1) == auroc(truth, score)
    assert auroc(truth, -score) == pytest.approx(1 - auroc(truth, score))
    assert auroc(~truth, score) == pytest.approx(1 - auroc(truth, score))


def test_equal_scores_are_chance() -> None:
    assert auroc([0, 1, 1], [0.3, 0.3, 0.3]) == 0.5
    assert average_precision([0, 1, 1], [0.3, 0.3, 0.3]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("measure", [accuracy, balanced_accuracy, macro_f1, auroc, average_precision])
@pytest.mark.parametrize(
    ("truth", "other"),
    [
        ([], []),
        ([0, 1], [0, 1, 1]),
        ([[0, 1]], [[0, 1]]),
        ([[0], [0, 1]], [0, 1]),
        ([0, math.nan], [0, 1]),
        ([0, 1], [0, math.inf]),
        (["a", "b"], [0, 1]),
        ([0, 0.5], [0, 1]),
        (0, 1),
    ],
)
def test_what_cannot_be_measured_is_refused(measure: Callable[..., float], truth: Any, other: Any) -> None:
    with pytest.raises(InvalidInput):
        measure(truth, other)


def test_one_class_has_no_ranking() -> None:
    with pytest.raises(InvalidInput, match="both classes"):
        auroc([1, 1], [0.1, 0.2])
    with pytest.raises(InvalidInput, match="positive"):
        average_precision([0, 0], [0.1, 0.2])
    with pytest.raises(InvalidInput, match="only 0 and 1"):
        auroc([0, 2], [0.1, 0.2])
    with pytest.raises(InvalidInput, match="whole numbers"):
        macro_f1([0, 1], [0.2, 0.7])
