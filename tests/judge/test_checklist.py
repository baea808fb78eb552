"""Checklists: rules by hand, unknowns, and what people's scores teach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weighup.errors import InvalidInput
from weighup.judge.checklist import RULES, aggregate, check, reweight, values
from weighup.judge.types import Criterion, Item, Judgement, Response, Rubric

FLAT = Rubric.of("a?", "b?", "c?")
TREE = Rubric(
    criteria=(
        Criterion(id="must", text="", critical=True),
        Criterion(
            id="steps",
            text="",
            weight=3,
            sequential=True,
            children=(Criterion(id="s1", text=""), Criterion(id="s2", text=""), Criterion(id="s3", text="")),
        ),
        Criterion(id="nice", text="", weight=1),
    )
)


class Says:
    """A judge that gives each item what it was told to."""

    name = "says"

    def __init__(self, checks: Mapping[str, Mapping[str, float | None]]) -> None:
        self.checks = checks

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        return [
            Judgement(item_id=one.id, judge=self.name, kind="checklist", checks=self.checks[one.id])
            if one.id in self.checks
            else Judgement(item_id=one.id, judge=self.name, kind="checklist", status="invalid")
            for one in items
        ]


def item(name: str, responses: int = 1) -> Item:
    return Item(id=name, prompt="p", responses=(Response(text="r"),) * responses)


def test_a_judge_is_asked_for_every_leaf() -> None:
    judge = Says({"x": {"c3": 0.25, "c1": 1, "c2": None}, "y": {"c1": 0}})
    found = check([item("x"), item("y"), item("z")], FLAT, judge)
    np.testing.assert_array_equal(found, [[1, np.nan, 0.25], [0, np.nan, np.nan], [np.nan] * 3])


@pytest.mark.parametrize(
    ("items", "checks", "said"),
    [
        ([], {}, "none"),
        ([item("x"), item("x")], {}, "x: stands there twice"),
        ([item("x", 2)], {}, "x: a checklist is of one response"),
        ([item("x")], {"x": {"c9": 1}}, "'c9', which the rubric does not have"),
        ([item("x")], {"x": {"c1": 1.5}}, "lie in"),
    ],
)
def test_what_cannot_be_checked_is_refused(items: list[Item], checks: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        check(items, FLAT, Says(checks))


def test_a_criterion_may_not_stand_twice() -> None:
    with pytest.raises(ValidationError, match="c1"):
        Rubric(criteria=(Criterion(id="c1", text="a"), Criterion(id="c1", text="b")))


@pytest.mark.parametrize(
    ("leaves", "mean", "weighted", "gate", "sequential"),
    [
        #   must s1 s2 s3 nice: weights 1, 3 (mean of three), 1
        ([1, 1, 1, 1, 1], 1.0, 1.0, 1.0, 1.0),
        ([0, 1, 1, 1, 1], 0.8, 0.8, 0.0, 0.0),
        ([1, 0, 1, 1, 1], 0.8, (1 + 2 + 1) / 5, (0 + 1) / 4, 0.0),
        ([1, 1, 0, 1, 0], 0.6, (1 + 2 + 0) / 5, (3 / 3) / 4, (3 / 3) / 4),
        ([1, 1, 1, 1, 0], 0.8, 0.8, 0.75, 0.75),
        ([0.6, 0.5, 0.6, 0.8, 0.2], 0.54, (0.6 + 1.9 + 0.2) / 5, (1.9 + 0.2) / 4, (1.9 + 0.2) / 4),
    ],
)
def test_rules_by_hand(leaves: list[float], mean: float, weighted: float, gate: float, sequential: float) -> None:
    found = {rule: float(aggregate(TREE, leaves, rule)[0]) for rule in ("mean", "weighted", "gate", "sequential")}  # type: ignore[arg-type]
    assert found == pytest.approx({"mean": mean, "weighted": weighted, "gate": gate, "sequential": sequential})


def test_the_mark_may_be_raised() -> None:
    assert aggregate(TREE, [0.9, 1, 1, 1, 1], "gate", at=1.0)[0] == 0
    assert aggregate(TREE, [0.9, 1, 1, 1, 1], "gate")[0] == 1


def test_where_all_are_critical_passing_is_everything() -> None:
    both = Rubric(criteria=(Criterion(id="a", text="", critical=True), Criterion(id="b", text="", critical=True)))
    np.testing.assert_array_equal(aggregate(both, [[0.6, 0.7], [1, 0.2]], "gate"), [1, 0])


def test_f1_is_of_the_means() -> None:
    table = [[[1, 1], [1, 0], [0, 0]], [[0, 0]] * 3, [[1, 1]] * 3]
    recall, precision = 2 / 3, 1 / 3
    np.testing.assert_allclose(aggregate(FLAT, table, "f1"), [2 * recall * precision / (recall + precision), 0, 1])


def test_what_is_not_known_is_left_out_of_means_and_closes_no_gate() -> None:
    nan = math.nan
    np.testing.assert_array_equal(aggregate(FLAT, [[1, nan, 0], [nan] * 3]), [0.5, nan])
    found = aggregate(TREE, [[nan, 1, 1, 1, 1], [1, nan, 1, 1, 1], [1, 0, nan, 1, 1]], "gate")
    np.testing.assert_array_equal(found, [nan, 1, 0.25])


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=1, max_size=4),
    st.sampled_from(RULES[:4]),
    st.integers(0, 4),
)
def test_a_leaf_that_gains_never_costs(table: list[list[float]], rule: str, leaf: int) -> None:
    before = aggregate(TREE, table, rule)  # type: ignore[arg-type]
    better = [[1.0 if i == leaf else value for i, value in enumerate(row)] for row in table]
    after = aggregate(TREE, better, rule)  # type: ignore[arg-type]
    assert ((before >= 0) & (before <= 1)).all()
    # Exact but for rounding.
    assert (after >= before - 1e-12).all()


@pytest.mark.parametrize(
    ("table", "rule", "said"),
    [
        ([[1, 0]], "mean", "shape"),
        ([[1, 0, 1]], "f1", "shape"),
        ([[1, 0, 1.5]], "mean", "lie in"),
        ([[1, 0, 1]], "median", "rule"),
    ],
)
def test_what_cannot_be_summed_is_refused(table: list[list[float]], rule: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        aggregate(FLAT, table, rule)  # type: ignore[arg-type]


@pytest.mark.parametrize("regressor", ["trees", "linear"])
def test_people_teach_which_leaves_count(regressor: str) -> None:
    rng = np.random.default_rng(0)
    table = (rng.random((200, 3)) > 0.5).astype(float)
    learnt = reweight(table, 2 + 7 * table[:, 1], regressor=regressor)  # type: ignore[arg-type]
    low, high = learnt.predict([[1, 0, 1], [0, 1, 0]])
    assert 2 <= low < 3.5
    assert 7.5 < high <= 9
    np.testing.assert_array_equal(
        learnt.predict(table), reweight(table, 2 + 7 * table[:, 1], regressor=regressor).predict(table)
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "scores", "said"),
    [
        ([[1.0, 0.0]], [3.0], "two items"),
        ([[1.0, math.nan], [0.0, 1.0]], [3.0, 4.0], "item 0"),
        ([[1.0, 0.0], [0.0, 1.0]], [3.0], "one finite score"),
        ([[1.0, 0.0], [0.0, 1.0]], [3.0, math.nan], "one finite score"),
    ],
)
def test_what_teaches_nothing_is_refused(table: list[list[float]], scores: list[float], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        reweight(table, scores)


def test_an_unusable_judgement_knows_nothing() -> None:
    one = Judgement(item_id="x", judge="j", kind="checklist", checks={"c1": 1}, status="refused")
    assert np.isnan(values([one], FLAT)).all()
