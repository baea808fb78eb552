"""The simulated judge has the faults it is given, in the size it is given them, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from weighup.errors import InvalidInput
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Item, Judge, Judgement, Response

LOW, HIGH = 5.0, 6.0


def items(n: int = 2_000, quality: tuple[float, float] = (LOW, HIGH), **more: object) -> list[Item]:
    meta = {"quality": list(quality), **more}
    return [Item.model_validate(Item.pair(str(i), "q", "x", "y").model_copy(update={"meta": meta})) for i in range(n)]


def share(said: list[Judgement], winner: str) -> float:
    return float(np.mean([one.winner == winner for one in said]))


def test_without_faults_it_is_right_in_both_orders() -> None:
    judge = SimulatedJudge(seed=0)
    assert isinstance(judge, Judge)
    asked = items(20)
    for one in judge.judge([*asked, *(item.swapped() for item in asked)]):
        assert (one.winner, one.scores) == ("2", (LOW, HIGH))


def test_the_same_item_gets_the_same_answer_whatever_stands_beside_it() -> None:
    judge, asked = SimulatedJudge(Faults(noise=2), seed=0), items(50)
    whole = judge.judge(asked)
    assert judge.judge(asked[::-1])[::-1] == whole
    assert judge.judge([item.drawn(1) for item in asked]) != [one.model_copy(update={"sample": 1}) for one in whole]
    other = SimulatedJudge(Faults(noise=2), seed=1).judge(asked)
    assert [one.scores for one in other] != [one.scores for one in whole]


def test_accuracy_is_the_chance_of_naming_the_better() -> None:
    for accuracy in (0.0, 0.7, 1.0):
        said = SimulatedJudge(Faults(accuracy=accuracy, noise=5), seed=0).judge(items())
        assert share(said, "2") == pytest.approx(accuracy, abs=0.03)


def test_noise_has_its_standard_deviation() -> None:
    said = SimulatedJudge(Faults(noise=0.5), seed=0).judge(items())
    scores = np.array([one.scores for one in said], float)
    assert scores.std(0) == pytest.approx([0.5, 0.5], abs=0.03)
    assert scores.mean(0) == pytest.approx([LOW, HIGH], abs=0.05)


def test_the_place_bias_is_for_what_is_shown_first() -> None:
    judge, asked = SimulatedJudge(Faults(order_bias=2.0), seed=0), items(5)
    assert judge.judge(asked)[0].scores == (LOW + 2, HIGH)
    swapped = judge.judge([item.swapped() for item in asked])[0]
    assert swapped.scores == (LOW, HIGH + 2)
    assert swapped.winner == "2"


def test_length_and_self_bias() -> None:
    long = Item.pair("a", "q", "x" * 2_000, "y", meta={"quality": [LOW, HIGH], "own": 1})
    biased = SimulatedJudge(Faults(length_bias=0.3), seed=0).judge([long])[0]
    assert biased.scores == pytest.approx((LOW + 0.6, HIGH + 0.0003))
    selfish = SimulatedJudge(Faults(self_bias=2), seed=0).judge([long, long.swapped()])
    assert [one.scores for one in selfish] == [(LOW + 2, HIGH)] * 2


def test_compression_draws_to_the_middle_and_the_scale_holds() -> None:
    said = SimulatedJudge(Faults(compression=0.5), seed=0, scale=(1, 9)).judge(items(1, (1.0, 8.0)))[0]
    assert said.scores == (3.0, 6.5)
    said = SimulatedJudge(seed=0, scale=(1, 5)).judge(items(1, (-3.0, 8.0)))[0]
    assert said.scores == (1.0, 5.0)


def test_ties_and_refusals() -> None:
    assert SimulatedJudge(Faults(ties=1.0), seed=0).judge(items(1))[0].winner == "tie"
    assert SimulatedJudge(Faults(ties=0.9), seed=0).judge(items(1))[0].winner == "2"
    said = SimulatedJudge(Faults(refuse=0.25), seed=0).judge(items())
    refused = [one for one in said if one.status == "refused"]
    assert len(refused) / len(said) == pytest.approx(0.25, abs=0.03)
    assert {one.winner for one in refused} == {None}


def test_more_than_two_are_ranked() -> None:
    texts = tuple(Response(text=text) for text in "abc")
    item = Item(id="a", prompt="q", responses=texts, meta={"quality": [2, 9, 5]})
    one = SimulatedJudge(seed=0, kind="rank").judge([item])[0]
    assert (one.kind, one.ranking, one.winner) == ("rank", (2, 3, 1), None)


def test_bad_input() -> None:
    for meta in ({}, {"quality": [1]}, {"quality": 3}, {"quality": ["1", "2"]}):
        with pytest.raises(InvalidInput, match=r"item a: meta.quality must hold one number a response"):
            SimulatedJudge(seed=0).judge([Item.pair("a", "q", "x", "y", meta=meta)])
    for faults in ({"accuracy": 1.5}, {"refuse": -0.1}, {"compression": 2.0}, {"noise": -1.0}, {"ties": -1.0}):
        with pytest.raises(InvalidInput, match="simulated judge"):
            Faults(**faults)
