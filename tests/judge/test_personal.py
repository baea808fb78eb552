"""The personalised judge: what it is shown, what is made of its reply, and accuracy by certainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from weighup.errors import InvalidInput, ModelUnavailable
from weighup.judge.personal import BANDS, PersonalJudge, abstain_below, certainty_curve
from weighup.judge.types import Item, Judgement, Winner
from weighup.models.metering import Meter
from weighup.models.types import Choice, Prompt, Question, Reply

PERSONA = "The person is a nurse. The person likes short answers. The person is 35. The person lives in Rome."


class ScriptedModel:
    """Replies in order; orders features as told."""

    name, version = "scripted", "1"

    def __init__(self, *said: dict[str, Any] | Exception, order: Sequence[int] = (2, 4, 1, 3)) -> None:
        self.said, self.order = list(said), list(order)
        self.asked: list[Prompt] = []

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        self.asked += prompts
        found = []
        for one in prompts:
            assert one.schema is not None
            if "order" in one.schema.model_fields:
                found.append(Reply(value=one.schema.model_validate({"order": self.order})))
                continue
            told = self.said.pop(0)
            if isinstance(told, ModelUnavailable):
                found.append(Reply(error=told))
            else:
                assert isinstance(told, dict)
                found.append(Reply(value=one.schema.model_validate(told)))
        return found

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise AssertionError("not asked")


def item(id: str = "a", persona: str | None = PERSONA) -> Item:
    return Item.pair(id, "What now?", "a long text", "a short text", persona=persona)


def judgement(id: str, winner: Winner | None, certainty: float | None, **more: Any) -> Judgement:
    return Judgement(item_id=id, judge="j", winner=winner, certainty=certainty, **more)


def test_choice_and_certainty_are_read_and_mapped_back() -> None:
    model = ScriptedModel({"choice": "A", "certainty": 81}, {"choice": "A", "certainty": 40})
    given, swapped = PersonalJudge(model).judge([item(), item().swapped()])
    assert (given.winner, given.certainty, swapped.winner, swapped.certainty) == ("1", 0.81, "2", 0.4)
    first, second = (one.user for one in model.asked)
    assert first.index("a long text") < first.index("a short text")
    assert second.index("a short text") < second.index("a long text")
    assert "81 to 100 very certain" in first
    assert PERSONA in first
    assert set(given.prompts) == {"personal_pair"}


def test_a_tie_only_where_ties_are_allowed() -> None:
    model = ScriptedModel({"choice": "C", "certainty": 50})
    assert PersonalJudge(model, ties=True).judge([item()])[0].winner == "tie"
    schema = model.asked[0].schema
    PersonalJudge(plain := ScriptedModel({"choice": "B", "certainty": 50})).judge([item()])
    strict = plain.asked[0].schema
    assert schema is not None
    assert strict is not None
    with pytest.raises(ValueError, match="choice"):
        strict.model_validate({"choice": "C", "certainty": 50})


@pytest.mark.parametrize("certainty", [0, 101, "NA", None])
def test_a_certainty_out_of_range_or_missing_does_not_conform(certainty: object) -> None:
    PersonalJudge(model := ScriptedModel({"choice": "B", "certainty": 1})).judge([item()])
    schema = model.asked[0].schema
    assert schema is not None
    with pytest.raises(ValueError, match="certainty"):
        schema.model_validate({"choice": "A", "certainty": certainty})


def test_without_certainty_none_is_asked_for() -> None:
    model = ScriptedModel({"choice": "B"})
    (one,) = PersonalJudge(model, certainty=False).judge([item()])
    assert (one.winner, one.certainty) == ("2", None)
    assert "certain" not in model.asked[0].user


def test_a_reply_that_stays_unusable_is_invalid() -> None:
    model = ScriptedModel(ModelUnavailable("not JSON"), {"choice": "A", "certainty": 61})
    failed, fine = PersonalJudge(model).judge([item("a"), item("b")])
    assert (failed.status, failed.winner) == ("invalid", None)
    assert fine.winner == "1"


@pytest.mark.parametrize(
    ("features", "shown", "hidden"),
    [
        ("all", ["nurse", "short answers", "35", "Rome"], []),
        ("key", ["short answers", "Rome", "nurse"], ["35"]),
        ("least", ["35"], ["nurse", "Rome"]),
        ("none", [], ["nurse", "short answers", "35", "Rome"]),
    ],
)
def test_as_much_of_the_persona_as_was_asked_for_is_shown(features: Any, shown: list[str], hidden: list[str]) -> None:
    model = ScriptedModel({"choice": "A", "certainty": 70})
    (one,) = PersonalJudge(model, features=features).judge([item()])
    last = model.asked[-1].user
    assert [text for text in shown if text not in last] == []
    assert [text for text in hidden if text in last] == []
    assert ("personal_features" in one.prompts) == (features in ("key", "least")) == (len(model.asked) == 2)


def test_without_an_order_all_features_are_shown() -> None:
    model = ScriptedModel({"choice": "A", "certainty": 70}, order=[9])
    PersonalJudge(model, features="key").judge([item()])
    assert PERSONA in model.asked[-1].user


@pytest.mark.parametrize("persona", [None, "", "  "])
def test_a_persona_is_needed_unless_none_is_to_be_shown(persona: str | None) -> None:
    with pytest.raises(InvalidInput, match="item a: its persona is empty"):
        PersonalJudge(ScriptedModel()).judge([item(persona=persona)])
    assert PersonalJudge(ScriptedModel({"choice": "A", "certainty": 9}), features="none").judge([item(persona=persona)])


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(InvalidInput, match="item a: response 2 is empty"):
        PersonalJudge(ScriptedModel()).judge([Item.pair("a", "q", "text", "", persona="p")])
    with pytest.raises(InvalidInput, match="features"):
        PersonalJudge(ScriptedModel(), features="some")  # type: ignore[arg-type]


def test_the_curve_by_hand() -> None:
    said = [judgement("a", "1", 0.9), judgement("b", "1", 0.9), judgement("c", "2", 0.5), judgement("d", "1", 0.2)]
    gold: dict[str, Winner] = {"a": "1", "b": "1", "c": "1", "d": "1"}
    curve = certainty_curve(said, gold, [0.8, 0.0])
    assert [(one.threshold, one.coverage, one.accuracy.value) for one in curve.points] == [(0, 1, 0.75), (0.8, 0.5, 1)]
    assert {name: one.value for name, one in curve.bands.items()} == {
        "very certain": 1.0,
        "moderately certain": 0.0,
        "very uncertain": 1.0,
    }
    assert curve.accuracy.value == 0.75
    assert curve.auroc.value == pytest.approx(2 / 3)
    assert curve.ece.value == pytest.approx((2 * 0.1 + 0.5 + 0.8) / 4)
    assert (curve.items, curve.without) == (4, 0)
    assert math.isnan(certainty_curve(said[:2], gold).auroc.value)


def test_missing_certainties_are_counted_and_left_out() -> None:
    said = [judgement("a", "1", 0.9), judgement("b", "2", None), judgement("c", None, None, status="invalid")]
    curve = certainty_curve(said, {"a": "1", "b": "1", "c": "1"})
    assert (curve.items, curve.without, curve.accuracy.value) == (1, 1, 1.0)
    with pytest.raises(InvalidInput, match="no usable judgement"):
        certainty_curve(said[1:], {"a": "1", "b": "1"})


def test_a_pair_in_both_orders_is_one_item_and_tells_consistency() -> None:
    rng = np.random.default_rng(0)
    said: list[Judgement] = []
    for n in range(60):
        both: tuple[Winner, Winner] = ("1", "1") if rng.random() < 0.5 else ("2", "2")
        said += [judgement(f"i{n}", both[0], 0.7), judgement(f"i{n}", both[1], 0.7, order="swapped")]
    said[1] = judgement("i0", "2" if said[0].winner == "1" else "1", 0.7, order="swapped")
    gold: dict[str, Winner] = {f"i{n}": "1" for n in range(60)}
    curve = certainty_curve(said, gold)
    assert curve.items == 60
    assert (curve.conflict.n, curve.conflict.value) == (60, 1 / 60)
    alone = certainty_curve([one for one in said if one.order == "given"], gold)
    wide, narrow = (one.accuracy.high - one.accuracy.low for one in (alone, curve))
    assert narrow > 0.9 * wide  # twice the judgements, no more independent items


def test_abstaining_below_a_threshold() -> None:
    said = abstain_below([judgement("a", "1", 0.8), judgement("b", "1", 0.79), judgement("c", "1", None)], 0.8)
    assert [one.status for one in said] == ["ok", "abstained", "abstained"]
    with pytest.raises(InvalidInput, match="certainty"):
        abstain_below([], 80)


def test_bands_cover_one_to_a_hundred_once() -> None:
    assert [n for low, high, _ in BANDS for n in range(low, high + 1)] == list(range(1, 101))
