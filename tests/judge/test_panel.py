"""Panels and repeated asking: weights, own votes, last words, both orders, and who has to be waited for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from weighup.errors import InvalidInput
from weighup.judge.balanced import Calibrated, Samples
from weighup.judge.human import HumanJudge
from weighup.judge.panel import Panel, described
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Item, Judge, Judgement, Response, Rubric, Spent, Winner, answered


class Says:
    """Says the same of every item, as shown."""

    def __init__(self, name: str, winner: Winner | None, **said: object) -> None:
        self.name = name
        self.said = {"winner": winner, **said}
        self.asked: list[Item] = []

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        self.asked += items
        usage = Spent(calls=1)
        return [answered(item, self.name, usage=usage, prompts={self.name: "0"}, **self.said) for item in items]


ITEM = Item.pair("a", "q", "x", "y")


def test_votes_by_weight() -> None:
    judges = [Says("a", "1", rationale="ra"), Says("b", "1"), Says("c", "2")]
    panel = Panel(judges)
    assert isinstance(panel, Judge)
    one = panel.judge([ITEM])[0]
    assert (one.winner, one.judge, one.certainty) == ("1", "panel", pytest.approx(2 / 3))
    assert (one.usage.calls, one.prompts, one.rationale) == (3, {"a": "0", "b": "0", "c": "0"}, "a: ra")
    assert Panel(judges, {"c": 3.0}).judge([ITEM])[0].winner == "2"


def test_a_judge_without_weight_is_not_asked() -> None:
    judges = [Says("a", "1"), Says("b", "2")]
    assert Panel(judges, {"a": 0.0}).judge([ITEM])[0].winner == "2"
    assert judges[0].asked == []


def test_the_order_of_the_item_is_kept() -> None:
    one = Panel([Says("a", "1")], name="p").judge([ITEM.swapped().drawn(3)])[0]
    assert (one.winner, one.order, one.sample, one.judge) == ("2", "swapped", 3, "p")


def test_means_of_scores() -> None:
    judges = [Says("a", None, scores=(1.0, 4.0)), Says("b", None, scores=(8.0, 4.0))]
    one = Panel(judges, how="mean").judge([ITEM])[0]
    assert (one.winner, one.scores) == ("1", (4.5, 4.0))


def test_unusable_votes_are_left_out() -> None:
    judges = [Says("a", None, status="invalid"), Says("b", "2")]
    assert Panel(judges).judge([ITEM])[0].winner == "2"
    assert Panel(judges[:1]).judge([ITEM])[0].status == "invalid"


def test_no_vote_on_an_own_answer() -> None:
    item = Item(id="a", prompt="q", responses=(Response(text="x", system="m1"), Response(text="y", system="m2")))
    judges = [Says("m1", "1"), Says("judge of m2", "1"), Says("m3", "2")]
    assert Panel(judges).judge([item])[0].winner == "1"
    apart = Panel(judges, own_votes=False, systems={"judge of m2": "m2"})
    assert apart.judge([item])[0].winner == "2"
    alone = Panel(judges[:1], own_votes=False).judge([item])[0]
    assert (alone.status, alone.winner) == ("abstained", None)
    told = Item.pair("a", "q", "x", "y", meta={"own": ["m3"]})
    assert Panel(judges, own_votes=False).judge([told])[0].winner == "1"
    assert len(judges[2].asked) == 2


def test_a_judge_with_the_last_word_reads_the_others_as_shown() -> None:
    last = Says("last", "2", rationale="on balance")
    judges = [Says("a", "1"), Says("b", None, scores=(3.0, 7.0))]
    panel = Panel(judges, how=last)
    one = panel.judge([ITEM.model_copy(update={"context": "known"})])[0]
    assert (one.winner, one.judge, one.rationale, one.usage.calls) == ("2", "panel", "on balance", 3)
    told = last.asked[0].context
    assert told is not None
    assert told.startswith("known\n")
    assert "- a: response 1 is better\n- b: scores 3, 7" in told
    panel.judge([ITEM.swapped()])
    assert "- a: response 1 is better\n- b: scores 3, 7" in str(last.asked[1].context)


def test_people_are_asked_first_and_waited_for(tmp_path: Path) -> None:
    costly, human = Says("model", "1"), HumanJudge(tmp_path / "queue.db")
    panel = Panel([costly, human])
    items = [ITEM, Item.pair("b", "q", "x", "y")]
    assert {one.status for one in panel.judge(items)} == {"waiting"}
    assert costly.asked == []
    human.answer("b", "1", "ann")
    said = panel.judge(items)
    assert [one.status for one in said] == ["waiting", "ok"]
    assert [item.id for item in costly.asked] == ["b"]
    assert panel.waits
    assert Calibrated(panel).waits
    assert Calibrated(panel).judge([ITEM])[0].status == "waiting"


def test_panels_that_cannot_be() -> None:
    a, b = Says("a", "1"), Says("b", "1")
    for judges, more, message in (
        ([], {}, "no judges"),
        ([a, Says("a", "2")], {}, "there twice: a"),
        ([a, b], {"weights": {"c": 1.0}}, "weights of unknown judges: c"),
        ([a, b], {"weights": {"a": -1.0}}, "weights are 0 or more"),
        ([a], {"weights": {"a": 0.0}}, "one of them more than 0"),
        ([a], {"how": "loudest"}, "how: vote"),
        ([a], {"systems": {"z": "m"}}, "systems of unknown judges: z"),
    ):
        with pytest.raises(InvalidInput, match=message):
            Panel(judges, **more)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="item a: stands there twice"):
        Panel([a]).judge([ITEM, ITEM])


def test_a_panel_of_noisy_judges_beats_its_members() -> None:
    items = [Item.pair(str(n), "q", "x", "y", meta={"quality": [6.0, 5.0]}) for n in range(400)]
    judges = [SimulatedJudge(Faults(accuracy=0.7), seed=n, name=f"j{n}") for n in range(5)]

    def right(judge: Judge) -> float:
        return sum(one.winner == "1" for one in judge.judge(items)) / len(items)

    assert right(Panel(judges)) > max(map(right, judges)) + 0.05


def test_both_orders_take_a_bias_out() -> None:
    items = [Item.pair(str(n), "q", "x", "y", meta={"quality": [5.0, 5.5]}) for n in range(5)]
    biased = SimulatedJudge(Faults(order_bias=1.0), seed=0, name="biased")
    assert {one.winner for one in biased.judge(items)} == {"1"}
    assert {one.winner for one in Calibrated(biased).judge(items)} == {"tie"}
    assert {one.winner for one in Calibrated(biased, how="mean").judge(items)} == {"2"}
    assert {one.status for one in Calibrated(biased, how="consistent").judge(items)} == {"abstained"}
    assert Calibrated(biased).judge(items)[0].judge == "biased/balanced"
    assert Calibrated(biased).judge([]) == []


def test_samples_of_samples_differ() -> None:
    inner = Says("a", "1")
    one = Samples(inner, 3).judge([ITEM.drawn(2).swapped()])[0]
    assert [(item.sample, item.order) for item in inner.asked] == [(6, "swapped"), (7, "swapped"), (8, "swapped")]
    assert (one.winner, one.sample, one.order, one.usage.calls) == ("2", 2, "swapped", 3)
    once = Samples(Says("a", "1"), 1).judge([ITEM.drawn(2)])[0]
    assert (once.sample, once.judge) == (2, "a/1 samples")


def test_bad_samples() -> None:
    with pytest.raises(InvalidInput, match="samples: one or more"):
        Samples(Says("a", "1"), 0)
    with pytest.raises(InvalidInput, match="how:"):
        Samples(Says("a", "1"), how="loudest")  # type: ignore[arg-type]
    three = Item(id="t", prompt="q", responses=tuple(Response(text=t) for t in "abc"))
    with pytest.raises(InvalidInput, match="item t"):
        Calibrated(Says("a", "1")).judge([three])


def test_a_panel_tells_what_it_is_made_of() -> None:
    told = described(Panel([Calibrated(Says("a", "1")), Says("b", "2")], {"b": 2.0}))
    assert told["weights"] == {"a/balanced": 1.0, "b": 2.0}
    assert told["judges"][1] == {"judge": "Says", "name": "b"}  # type: ignore[index]
