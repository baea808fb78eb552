"""Contextual judging: criteria in their order, what is decided without asking, and accuracy in both orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.judge.contextual import (
    BOTH_REFUSE,
    CHANCE,
    CONTEXTUAL,
    IDENTICAL,
    SPLITS,
    ContextualJudge,
    consistent_accuracy,
    refuses_to_answer,
)
from weighup.judge.contextual_claim import Detectors
from weighup.judge.contextual_pairs import CRITERIA, REFUSAL, planted_pairs
from weighup.judge.recorded import RecordedJudge
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import OTHER, Criterion, Item, Judgement, Rubric, Winner, answered
from weighup.models.metering import Meter, Usage
from weighup.models.types import Choice, Prompt, Question, Reply

CONTEXTS = (
    "The mill was built in 1820. It burned down in 1871. The owner was a widow. She had it rebuilt. It stands today. "
    "Visitors may see it.",
    "Otters live in the river. They eat fish. In winter they stay. People feed them. They are counted. There are 12.",
)


def pair(id: str = "a", first: str = "The mill burned down.", second: str = "The mill stands.") -> Item:
    return Item.pair(id, "What happened to the mill?", first, second, context=CONTEXTS[0], category=SPLITS[2])


class ByCriterion:
    """Says of each criterion what it is told to, as of the order given."""

    name = "by criterion"

    def __init__(self, said: Mapping[str, Winner | None]) -> None:
        self._said, self.asked = said, list[tuple[str, str]]()

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        assert rubric is not None
        assert len(rubric.criteria) == 1
        criterion = rubric.criteria[0].id
        self.asked += [(item.id, criterion) for item in items]
        winner = self._said.get(criterion, "tie")
        if winner is None:
            return [answered(item, self.name, status="refused", rationale="no") for item in items]
        return [
            Judgement(item_id=item.id, judge=self.name, winner=winner, rationale="so", order=item.order)
            for item in items
        ]


def test_the_first_criterion_that_differs_decides_and_later_ones_are_not_asked() -> None:
    judge = ByCriterion({"faithfulness": "2", "completeness": "1", "concision": "1"})
    said = ContextualJudge(judge).judge([pair()])[0]
    assert said.winner == "2"
    assert said.rationale == "decided by faithfulness: so"
    assert said.checks == {"refusal": 0.5, "faithfulness": 0.0}
    assert judge.asked == [("a", "refusal"), ("a", "faithfulness")]
    assert said.judge == "contextual(by criterion)"


def test_where_no_criterion_differs_it_is_a_tie() -> None:
    said = ContextualJudge(ByCriterion({})).judge([pair()])[0]
    assert (said.winner, said.status) == ("tie", "ok")
    assert said.rationale.startswith("no criterion tells them apart")
    assert set(said.checks) == set(CRITERIA)


def test_an_unusable_answer_is_not_passed_over() -> None:
    judge = ByCriterion({"faithfulness": None, "completeness": "1"})
    said = ContextualJudge(judge).judge([pair()])[0]
    assert (said.winner, said.status, said.rationale) == (None, "refused", "faithfulness: no")
    assert said.checks == {"refusal": 0.5}


def test_criteria_by_name_by_rubric_and_with_the_call() -> None:
    judge = ByCriterion({"faithfulness": "1", "concision": "2", "tone": "2"})
    assert ContextualJudge(judge, ["concision", "faithfulness"]).judge([pair()])[0].winner == "2"
    own = Rubric(criteria=(Criterion(id="tone", text="Is it polite?"),))
    assert ContextualJudge(judge, own).judge([pair()])[0].winner == "2"
    assert ContextualJudge(judge).judge([pair()], own)[0].checks == {"tone": 0.0}
    with pytest.raises(InvalidInput, match="unknown 'tone'; give a rubric or a list of refusal, faithfulness"):
        ContextualJudge(judge, ["faithfulness", "tone"])
    with pytest.raises(InvalidInput, match="named twice"):
        ContextualJudge(judge, ["concision", "concision"])
    for nothing in ([], "concision"):
        with pytest.raises(InvalidInput, match="criteria"):
            ContextualJudge(judge, nothing)


def test_identical_responses_and_two_refusals_tie_without_being_asked() -> None:
    judge = ByCriterion({"refusal": "1"})
    same = pair("same", "It burned down.", "It  burned down.\n")
    both = pair("both", REFUSAL, "I cannot answer that from the text.")
    said = ContextualJudge(judge).judge([same, both, pair("asked", REFUSAL)])
    assert [one.winner for one in said] == ["tie", "tie", "1"]
    assert [one.rationale for one in said[:2]] == [IDENTICAL, BOTH_REFUSE]
    assert judge.asked == [("asked", "refusal")]
    lenient = ContextualJudge(ByCriterion({"refusal": "1"}), refuses=lambda text: False)
    assert lenient.judge([both])[0].winner == "1"


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        (REFUSAL, True),
        ("I'm sorry, but the passage does not mention who the owner was.", True),
        ("I cannot determine the date from this document.", True),
        ("It is unable to be answered: insufficient information.", True),
        ("The mill burned down in 1871.", False),
        ("The owner was a widow. " * 20 + "It does not say more.", False),
    ],
)
def test_refusals_by_their_wording(text: str, refuses: bool) -> None:
    assert refuses_to_answer(text) is refuses


class Model:
    """A language model that gives the verdict of its script for the criterion it reads."""

    name, version = "model", "1"

    def __init__(self, said: Mapping[str, str]) -> None:
        self._said, self.prompts = said, list[Prompt]()

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        self.prompts += prompts
        return [self._reply(one) for one in prompts]

    def _reply(self, asked: Prompt) -> Reply:
        verdict = next((v for text, v in self._said.items() if text in asked.user), "tie")
        assert asked.schema is not None
        value = asked.schema.model_validate({"reasons": "seen", "verdict": verdict})
        return Reply("{}", value=value, usage=Usage(calls=1, tokens_in=7))

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise AssertionError("it is not asked to choose")


def test_a_language_model_is_asked_one_criterion_at_a_time_with_the_context() -> None:
    model = Model({"Completeness.": "1"})
    judge = ContextualJudge(model)
    given, swapped = judge.judge([pair(), pair().swapped()])
    # It always names what is shown first.
    assert (given.winner, swapped.winner) == ("1", "2")
    assert given.usage.calls == 3
    assert given.usage.tokens_in == 21
    assert set(given.prompts) == {"contextual_pair"}
    assert len(model.prompts) == 6
    assert all(CONTEXTS[0] in one.user for one in model.prompts)
    assert sum("Completeness." in one.user for one in model.prompts) == 2
    assert not any("Concision." in one.user for one in model.prompts)


def test_a_context_the_model_cannot_take_whole_is_refused() -> None:
    long = pair("long").model_copy(update={"context": "The mill stands by the river. " * 500})
    model = Model({})
    with pytest.raises(InvalidInput, match="item long: too long for model"):
        ContextualJudge(model, context=2048).judge([pair(), long])
    assert not model.prompts, "nothing was asked"


def test_bad_input_is_refused_at_the_door() -> None:
    judge = ContextualJudge(ByCriterion({}))
    with pytest.raises(InvalidInput, match="item a: its context is empty"):
        judge.judge([pair().model_copy(update={"context": "  "})])
    with pytest.raises(InvalidInput, match="item a: response 2 is empty"):
        judge.judge([pair(second=" ")])
    with pytest.raises(InvalidInput, match="item a: has 1 responses"):
        judge.judge([pair().model_copy(update={"responses": pair().responses[:1]})])
    with pytest.raises(InvalidInput, match="item a: stands there twice"):
        judge.judge([pair(), pair()])
    with pytest.raises(InvalidInput, match="item a: its gold label must be 1 or 2, not 'tie'"):
        consistent_accuracy(judge, [pair()], {"a": "tie"})
    with pytest.raises(InvalidInput, match="item a: its gold label"):
        consistent_accuracy(judge, [pair()], {})
    with pytest.raises(InvalidInput, match="there are none"):
        consistent_accuracy(judge, [], {})
    with pytest.raises(InvalidInput, match="context 1: has 2 sentences, 5 or more"):
        planted_pairs(["Too short. Is it?"], seed=0)
    with pytest.raises(InvalidInput, match="contexts: there are none"):
        planted_pairs([], seed=0)
    assert judge.judge([]) == []


def recorded(verdicts: Mapping[str, tuple[Winner | None, Winner | None]]) -> RecordedJudge:
    found = []
    for id, both in verdicts.items():
        for order, winner in zip(("given", "swapped"), both, strict=True):
            status = "ok" if winner else "invalid"
            found.append(Judgement(item_id=id, judge="r", winner=winner, status=status, order=order))  # type: ignore[arg-type]
    return RecordedJudge(found, "r")


def test_accuracy_in_both_orders_by_hand() -> None:
    said: dict[str, tuple[Winner | None, Winner | None]] = {
        "a": ("1", "1"),  # right in both
        "b": ("1", "2"),  # the place decides: right, wrong
        "c": ("2", "2"),  # wrong in both
        "d": ("tie", "1"),
        "e": (None, "1"),
    }
    items = [pair(id) for id in said]
    items[0] = items[0].model_copy(update={"category": SPLITS[0]})
    found = consistent_accuracy(recorded(said), items, dict.fromkeys(said, "1"))
    assert found.consistent.value == pytest.approx(1 / 5)
    assert found.consistent.n == 5
    assert found.given.value == pytest.approx(2 / 5)
    assert found.swapped.value == pytest.approx(3 / 5)
    assert found.accuracy == pytest.approx(0.5)
    assert found.inverse.value == pytest.approx(1 / 5)
    assert found.conflict.value == pytest.approx(2 / 4)
    assert found.conflict.n == 4
    assert found.first.value == 1
    assert found.first.n == 1
    assert found.unusable == 1
    assert found.by[SPLITS[0]].value == 1
    assert found.by[SPLITS[2]].value == 0
    assert found.macro == pytest.approx(0.5)


@given(st.lists(st.tuples(*[st.sampled_from(["1", "2", "tie", None])] * 2), min_size=1, max_size=20))
def test_consistent_accuracy_is_never_above_accuracy(rows: list[tuple[Winner | None, Winner | None]]) -> None:
    said = {f"i{n}": row for n, row in enumerate(rows)}
    found = consistent_accuracy(recorded(said), [pair(id) for id in said], dict.fromkeys(said, "1"))
    assert found.consistent.value <= min(found.given.value, found.swapped.value)
    assert found.consistent.value + found.inverse.value <= 1


def test_a_judge_that_guesses_is_right_in_both_orders_a_quarter_of_the_time() -> None:
    items = [pair(f"i{n}").model_copy(update={"meta": {"quality": [6, 5]}}) for n in range(2000)]
    guesses = SimulatedJudge(Faults(accuracy=0.5), seed=1)
    found = consistent_accuracy(guesses, items, {item.id: "1" for item in items})
    assert found.consistent.low <= CHANCE <= found.consistent.high
    assert found.accuracy == pytest.approx(0.5, abs=0.05)


def test_planted_pairs_hold_what_they_say() -> None:
    plain = planted_pairs(CONTEXTS, seed=0)
    crossed = planted_pairs(CONTEXTS, seed=0, conflict=True)
    assert len(plain.items) == 2 * 4
    assert len(crossed.items) == 2 * 6
    assert plain.items == planted_pairs(CONTEXTS, seed=0).items
    for item in crossed.items:
        worse = OTHER[crossed.gold[item.id]]
        bad, good = (crossed.planted[item.id][int(side) - 1] for side in (worse, crossed.gold[item.id]))
        assert list(bad) == [item.category]
        assert CRITERIA.index(next(iter(bad))) < CRITERIA.index(next(iter(good)))
    assert set(plain.gold.values()) == {"1", "2"}


def test_detectors_that_miss_nothing_are_always_right_in_order_and_never_by_one_count() -> None:
    pairs = planted_pairs(CONTEXTS, seed=0, conflict=True)
    perfect = Detectors(pairs, recall=1.0, seed=0)
    in_order = consistent_accuracy(ContextualJudge(perfect), pairs.items, pairs.gold)
    blended = consistent_accuracy(perfect, pairs.items, pairs.gold, CONTEXTUAL)
    assert in_order.consistent.value == 1
    assert blended.consistent.value == 0
