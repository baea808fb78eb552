"""Peer review: exam, weights, ranking, self-preference, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.judge.pre import peer_review, weighted
from weighup.judge.pre_exam import Exam, order_share
from weighup.judge.recorded import RecordedJudge
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Item, Judgement, Response, Rubric, answered
from weighup.metrics.agreement import pairwise_accuracy

SYSTEMS = ("weak", "middle", "strong")
QUALITY = (3.0, 5.0, 7.0)


class Backwards:
    """Scores and prefers the worse."""

    name = "backwards"

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        told = [np.array(item.meta["quality"], float) for item in items]  # type: ignore[arg-type]
        kept = [one[_place(item)] for item, one in zip(items, told, strict=True)]
        return [
            Judgement(
                item_id=item.id, judge=self.name, order=item.order, sample=item.sample, scores=tuple(10 - one),
                winner=None if len(one) != 2 else "1" if one[0] < one[1] else "2",
            )
            for item, one in zip(items, kept, strict=True)
        ]  # fmt: skip


class Good(Backwards):
    """Prefers the better; in pairs, `doubt` of the items the first shown, whatever it is."""

    def __init__(self, name: str, loves: str = "", always_first: bool = False) -> None:
        self.name, self.loves, self.always_first = name, loves, always_first

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        found = []
        for item in items:
            told = np.array(item.meta["quality"], float)[_place(item)]  # type: ignore[arg-type]
            told = told + [10.0 * (one.system == self.loves) for one in item.responses]
            winner = None if len(told) != 2 else "1" if told[0] > told[1] else "2"
            if self.always_first and winner:
                found.append(answered(item, self.name, winner="1"))
            else:
                found.append(
                    Judgement(
                        item_id=item.id, judge=self.name, order=item.order, sample=item.sample, scores=tuple(told),
                        winner=winner,
                    )
                )  # fmt: skip
        return found


def _place(item: Item) -> list[int]:
    names = item.meta["names"]
    assert isinstance(names, list)
    return [names.index(one.system) for one in item.responses]


def tasks(n: int, prefix: str = "t") -> list[Item]:
    meta: dict[str, Any] = {"quality": list(QUALITY), "names": list(SYSTEMS)}
    answers = tuple(Response(text=f"text of {one}", system=one) for one in SYSTEMS)
    return [Item(id=f"{prefix}{k}", prompt="q", responses=answers, meta=meta) for k in range(n)]


def exam(n: int = 5) -> Exam:
    items = tuple(tasks(n, "e"))
    return Exam(items, {item.id: QUALITY for item in items})


@pytest.mark.parametrize("kind", ["pair", "score"])
def test_those_who_fail_do_not_review(kind: Any) -> None:
    found = peer_review([Backwards(), Good("good")], tasks(4), exam(), kind=kind)
    assert found.ranking == ("strong", "middle", "weak")
    assert found.weights == {"good": 1.0}
    failed, passed = found.reviewers
    assert failed.gold.value == 0
    assert "0.00 of the exam is right, under 0.6" in failed.why
    assert (failed.weight, passed.weight, passed.why) == (0.0, 1.0, "")
    assert all(one.value.n == 4 for one in found.standings)


def test_win_rates_and_games_by_hand() -> None:
    found = peer_review([Good("good")], tasks(2), exam())
    assert [one.value.value for one in found.standings] == [1.0, 0.5, 0.0]
    assert len(found.games) == 6
    assert {(one.first, one.second, one.result) for one in found.games} == {
        ("weak", "middle", -1),
        ("weak", "strong", -1),
        ("middle", "strong", -1),
    }
    assert found.elo().order() == ("strong", "middle", "weak")


def test_scores_are_averaged_with_the_weights() -> None:
    found = peer_review([Good("a"), Good("b", loves="weak")], tasks(2), exam(), 0.0, "uniform", kind="score")
    assert {one.system: one.value.value for one in found.standings} == {"weak": 8.0, "strong": 7.0, "middle": 5.0}


def test_weights_grow_with_the_exam_and_never_for_worse_than_chance() -> None:
    judges = [Good("good"), Backwards(), Good("fan", loves="weak")]  # the fan has one of three pairs right
    found = peer_review(judges, tasks(2), exam(), 0.0, "log", kind="score")
    assert found.weights == {"good": 1.0, "backwards": 0.0, "fan": 0.0}
    assert [one.gold.value for one in found.reviewers] == pytest.approx([1, 0, 1 / 3])
    even = peer_review(judges, tasks(2), exam(), 0.0, "poly", kind="score").weights
    assert even == pytest.approx({"good": 0.75, "backwards": 0.0, "fan": 0.25})


def test_a_judge_that_contradicts_itself_fails_the_second_exam() -> None:
    judges = [Good("good"), Good("first", always_first=True)]
    found = peer_review(judges, tasks(2), exam(), 0.4, consistent_at=0.6, gold_share=0.5)
    assert found.weights == {"good": 1.0}
    told = found.reviewers[1]
    assert told.consistency is not None
    assert (told.consistency.value, told.gold.value) == (0.0, 0.5)
    assert "agrees with itself in 0.00" in told.why
    again = peer_review([Good("good")], tasks(2), exam(), kind="score", consistent_at=0.6)
    assert again.reviewers[0].consistency is not None
    assert again.reviewers[0].consistency.value == 1.0


@pytest.mark.parametrize("kind", ["pair", "score"])
def test_own_votes_can_be_dropped_and_the_gap_is_told(kind: Any) -> None:
    judges = [Good("weak", loves="weak"), Good("other"), Good("third")]
    own = peer_review(judges, tasks(3), exam(), 0.0, "uniform", kind=kind)
    gap = next(one.own_gap for one in own.reviewers if one.name == "weak")
    assert gap is not None
    assert gap.value == pytest.approx(1.0 if kind == "pair" else 10.0)
    assert gap.n == 3
    without = peer_review(judges, tasks(3), exam(), 0.0, "uniform", False, kind=kind)
    assert without.ranking == ("strong", "middle", "weak")
    worst = without.standings[-1].value.value
    assert worst == pytest.approx(0.0 if kind == "pair" else 3.0)


def test_levels_and_squared_error() -> None:
    items = tuple(tasks(2, "e"))
    off = Exam(items, {item.id: [3.0, 5.0, 8.0] for item in items})
    found = peer_review([Good("a")], tasks(2), off, kind="score", rule="exact")
    assert found.reviewers[0].gold.value == pytest.approx(2 / 3)
    peer_review([Good("a")], tasks(2), off, kind="score", rule="mse")
    far = Exam(items, {item.id: [3.0, 5.0, 9.0] for item in items})
    with pytest.raises(InvalidInput, match=r"a: mean squared error 1\.33 is over 1"):
        peer_review([Good("a")], tasks(2), far, kind="score", rule="mse")


def test_a_judge_without_any_verdict_fails_and_says_so() -> None:
    silent = RecordedJudge([], "silent")
    found = peer_review([silent, Good("good")], tasks(2), exam(), kind="score")
    assert found.reviewers[0].why == "no usable verdict in the exam"
    with pytest.raises(InvalidInput, match="silent: no usable verdict in the exam"):
        peer_review([silent], tasks(2), exam())


def test_nobody_or_too_few_pass() -> None:
    with pytest.raises(InvalidInput, match=r"0 of 1 reviewers .*backwards: 0\.00 .*min_reviewers"):
        peer_review([Backwards()], tasks(2), exam())
    with pytest.raises(InvalidInput, match="1 of 2 reviewers pass where 2 are needed"):
        peer_review([Backwards(), Good("good")], tasks(2), exam(), min_reviewers=2)


def test_an_exam_without_gold_is_refused() -> None:
    items = tuple(tasks(2, "e"))
    with pytest.raises(InvalidInput, match="item e1 has no gold label"):
        Exam(items, {"e0": QUALITY})
    with pytest.raises(InvalidInput, match="no items"):
        Exam((), {})
    for gold in ("1", [1.0, 2.0], [1.0, 2.0, math.nan]):
        with pytest.raises(InvalidInput, match="item e0: gold"):
            Exam(items[:1], {"e0": gold})  # type: ignore[dict-item]


def test_winners_as_gold_are_for_pairs() -> None:
    pair = tasks(1)[0].pairs()[0]
    gold = Exam((pair,), {pair.id: "2"})
    assert peer_review([Good("good")], [pair], gold).ranking == ("middle", "weak")
    with pytest.raises(InvalidInput, match="gold is a winner"):
        peer_review([Good("good")], [pair], gold, kind="score")


def test_what_cannot_be_reviewed_is_refused() -> None:
    good = Good("good")
    with pytest.raises(InvalidInput, match="reviewers"):
        peer_review([], tasks(1), exam())
    with pytest.raises(InvalidInput, match="reviewers"):
        peer_review([good, good], tasks(1), exam())
    with pytest.raises(InvalidInput, match="pass_at"):
        peer_review([good], tasks(1), exam(), 1.2)
    with pytest.raises(InvalidInput, match="item x: responses of two or more different, named systems"):
        peer_review([good], [Item.pair("x", "q", "a", "b")], exam())

    class Scorer(Good):
        def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
            return [one.model_copy(update={"winner": None}) for one in super().judge(items)]

    with pytest.raises(InvalidInput, match="names no winner"):
        peer_review([Scorer("good")], tasks(1), exam(), 0.0, "uniform")


def test_noisier_reviewers_weigh_less() -> None:
    items = [
        Item(
            id=f"n{k}", prompt="q", responses=tuple(Response(text="t", system=one) for one in SYSTEMS),
            meta={"quality": list(QUALITY)},
        )
        for k in range(40)
    ]  # fmt: skip
    judges = [SimulatedJudge(Faults(noise=sd), seed=1, name=f"sd{sd}", kind="score") for sd in (0.5, 2.0, 6.0)]
    taken = Exam(tuple(items[:20]), {item.id: QUALITY for item in items[:20]})
    weight = list(peer_review(judges, items[20:], taken, 0.5, kind="score").weights.values())
    assert weight == sorted(weight, reverse=True)
    assert sum(weight) == pytest.approx(1)


ROWS = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 4), min_size=n, max_size=n), st.lists(st.integers(0, 4), min_size=n, max_size=n)
    )
)


@given(ROWS)
def test_order_share_is_pairwise_accuracy(rows: tuple[list[int], list[int]]) -> None:
    gold, scores = rows
    if len(set(gold)) == 1:
        assert math.isnan(float(order_share(gold, scores)))
    else:
        assert float(order_share(gold, scores)) == pytest.approx(pairwise_accuracy(gold, scores, ties="half"))


def test_weighted_means_skip_what_is_missing() -> None:
    table = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    found = weighted(table, np.array([3.0, 1.0]))
    assert found[:2].tolist() == [1.5, 5.0]
    assert math.isnan(found[2])
