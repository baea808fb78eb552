"""Both orders, samples, and one judgement of many: by hand, and by what must always hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.judge.orders import (
    both_orders,
    by_item,
    combine,
    conflict_rate,
    conflicts,
    first_rate,
    outcome_entropy,
    sample_k,
)
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import OTHER, Item, Judgement, Response, Rubric, Spent, answered

ITEMS = [Item.pair(str(n), "q", "x", "y", meta={"quality": [5, 5.5]}) for n in range(4)]
WINNERS = st.lists(st.sampled_from(["1", "2", "tie"]), min_size=1, max_size=8)


class First:
    """Always names the response shown first."""

    name = "first"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        self.batches.append(len(items))
        return [answered(item, self.name, winner="1") for item in items]


def said(*winners: str | None, judge: str = "j", **more: object) -> list[Judgement]:
    return [
        Judgement.model_validate({"item_id": "a", "judge": judge, "winner": winner, "status": _status(winner), **more})
        for winner in winners
    ]


def _status(winner: str | None) -> str:
    return "invalid" if winner is None else "ok"


def test_both_orders_in_one_batch() -> None:
    judge = First()
    pairs = both_orders(judge, ITEMS)
    assert judge.batches == [8]
    assert [(a.item_id, a.order, b.order) for a, b in pairs] == [(i.id, "given", "swapped") for i in ITEMS]
    assert {(a.winner, b.winner) for a, b in pairs} == {("1", "2")}
    assert (conflict_rate(pairs).value, conflict_rate(pairs).n) == (1.0, 4)
    assert first_rate(pairs).value == 1.0


def test_a_judge_without_a_bias_has_no_conflict() -> None:
    pairs = both_orders(SimulatedJudge(seed=0), ITEMS)
    assert conflict_rate(pairs).value == 0
    assert first_rate(pairs).n == 0
    assert math.isnan(first_rate(pairs).value)


def test_conflicts_leave_out_what_is_not_usable() -> None:
    (a,), (b,), (none,) = said("1"), said("2"), said(None)
    assert conflicts([(a, b), (a, a), (a, none)]).tolist() == [True, False]
    assert conflict_rate([]).n == 0


def test_samples_and_both_orders_of_them() -> None:
    judge = First()
    found = sample_k(judge, ITEMS, 3, balance=True)
    assert judge.batches == [24]
    assert [(one.sample, one.order) for one in found[0]] == [
        (0, "given"),
        (1, "given"),
        (2, "given"),
        (0, "swapped"),
        (1, "swapped"),
        (2, "swapped"),
    ]
    with pytest.raises(InvalidInput, match="k: one sample or more"):
        sample_k(judge, ITEMS, 0)


def test_a_judge_that_gives_too_few_is_named() -> None:
    class Short(First):
        def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
            return super().judge(items)[1:]

    with pytest.raises(InvalidInput, match="judge first: gave 7 judgements of 8 items"):
        both_orders(Short(), ITEMS)


def test_items_that_are_no_pairs_or_stand_twice() -> None:
    one = Item(id="o", prompt="q", responses=(Response(text="x"),))
    with pytest.raises(InvalidInput, match="item o: has 1 responses"):
        both_orders(First(), [one])
    with pytest.raises(InvalidInput, match="item 0: stands there twice"):
        both_orders(First(), [ITEMS[0], ITEMS[0]])
    with pytest.raises(InvalidInput, match="there are none"):
        sample_k(First(), [], 1)


@given(WINNERS)
def test_a_vote_does_not_depend_on_order_and_turns_with_its_votes(winners: list[str]) -> None:
    one = combine(said(*winners))
    assert combine(said(*winners[::-1])).winner == one.winner
    assert combine(said(*(OTHER[w] for w in winners))).winner == OTHER[str(one.winner)]
    assert one.certainty is not None
    assert 0 <= one.certainty <= 1


@pytest.mark.parametrize(
    ("winners", "winner", "certainty"),
    [
        (("1", "1", "2"), "1", 2 / 3),
        (("1", "2"), "tie", 0.0),
        (("1", "tie"), "1", 0.5),
        (("tie", "tie", "2"), "2", 1 / 3),
        (("1", None), "1", 1.0),
    ],
)
def test_votes_by_hand(winners: tuple[str | None, ...], winner: str, certainty: float) -> None:
    one = combine(said(*winners))
    assert (one.winner, one.certainty, one.status) == (winner, pytest.approx(certainty), "ok")


def test_weights_are_by_judge() -> None:
    votes = [*said("1", judge="a"), *said("2", judge="b"), *said("2", judge="c")]
    assert combine(votes, weights={"a": 3.0}).winner == "1"
    assert combine(votes, weights={"b": 0.0, "c": 0.0}).winner == "1"
    with pytest.raises(InvalidInput, match="all weights of item a are 0"):
        combine(votes, weights={"a": 0.0, "b": 0.0, "c": 0.0})


def test_means_of_scores_leave_gaps_out() -> None:
    votes = said("1", scores=(8.0, None)) + said("1", scores=(4.0, 7.0))
    one = combine(votes, "mean", name="both")
    assert (one.scores, one.winner, one.judge) == ((6.0, 7.0), "2", "both")
    assert combine(said("1", "2", scores=(5.0, 5.0)), "mean").winner == "tie"
    with pytest.raises(InvalidInput, match="a mean needs scores"):
        combine(said("1"), "mean")
    with pytest.raises(InvalidInput, match="a mean needs scores"):
        combine(said("1", scores=(1.0, 2.0)) + said("1", scores=(1.0,)), "mean")


def test_scores_alone_are_averaged_by_a_vote_too() -> None:
    votes = [Judgement(item_id="a", judge="j", kind="score", scores=(n,)) for n in (2.0, 4.0)]
    one = combine(votes)
    assert (one.scores, one.winner) == ((3.0,), None)


def test_log_odds_let_the_sure_count_more() -> None:
    votes = said("1", certainty=0.9) + said("2", "2", certainty=0.6)
    one = combine(votes, "log_odds")
    odds = math.log(9) - 2 * math.log(1.5)
    assert one.winner == "1"
    assert one.certainty == pytest.approx(1 / (1 + math.exp(-odds)))
    assert combine(said("1", "2", certainty=1.0), "log_odds").winner == "tie"
    with pytest.raises(InvalidInput, match="log-odds need winner and certainty"):
        combine(said("1"), "log_odds")


def test_consistent_or_undecided() -> None:
    assert combine(said("1", "1", None), "consistent").winner == "1"
    undecided = combine(said("1", "2"), "consistent")
    assert (undecided.winner, undecided.status, undecided.certainty) == (None, "abstained", None)


def test_nothing_usable_is_invalid_and_what_it_cost_is_kept() -> None:
    one = combine(said(None, None, usage=Spent(calls=2)))
    assert (one.status, one.winner, one.usage.calls) == ("invalid", None, 4)


def test_what_cannot_be_combined() -> None:
    with pytest.raises(InvalidInput, match="no judgements"):
        combine([])
    other = said("1")[0].model_copy(update={"item_id": "b"})
    with pytest.raises(InvalidInput, match="judgements of one item"):
        combine([*said("1"), other])
    mixed = [*said("1"), Judgement(item_id="a", judge="j", scores=(1.0, 2.0))]
    with pytest.raises(InvalidInput, match="some judgements name no winner"):
        combine(mixed)


def test_entropy_by_hand() -> None:
    found = outcome_entropy([said("1", "1"), said("1", "2"), said("1", "2", "tie"), said(None), []])
    assert found[:3] == pytest.approx([0.0, math.log(2), math.log(3)])
    assert [math.isnan(value) for value in found[3:]] == [True, True]


@given(WINNERS)
def test_entropy_lies_between_none_and_three_ways(winners: list[str]) -> None:
    assert -1e-12 <= outcome_entropy([said(*winners)])[0] <= math.log(3) + 1e-12


def test_judgements_by_item_keep_their_order() -> None:
    votes = [Judgement(item_id=i, judge="j", winner="1", sample=n) for n, i in enumerate("baab")]
    assert {key: [one.sample for one in some] for key, some in by_item(votes).items()} == {"b": [0, 3], "a": [1, 2]}


def test_both_orders_average_a_bias_out() -> None:
    judge = SimulatedJudge(Faults(order_bias=1.0), seed=0)
    for pair in both_orders(judge, ITEMS):
        assert combine(pair, "mean").winner == "2"
        assert combine(pair).winner == "tie"
