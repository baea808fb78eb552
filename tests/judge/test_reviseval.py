"""RevisEval: adapted references, what a reviser may not hand back, and the judge around a metric or another judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import BudgetExceeded, InvalidInput
from weighup.judge.corrupt import corrupt
from weighup.judge.llm import LLMJudge
from weighup.judge.reviseval import ReferenceJudge, revise, revise_reference
from weighup.judge.reviseval_claim import ScriptedReviser
from weighup.judge.reviseval_reviser import Draft, ModelReviser, Task
from weighup.judge.types import Item, Judgement, Response, Rubric
from weighup.metrics.text import METRICS, score
from weighup.models.metering import Meter, Usage
from weighup.models.types import Choice, Prompt, Question, Reply

GOOD = "The bridge was opened in 1932. It is 500 metres long. Ships pass beneath it. People walk over it on Sundays."
POOR = "The bridge opened in 1950. Ships pass beneath it."


class Rewriter:
    """A reviser by rule."""

    name, instructions = "rewriter", "Change only what is wrong and keep everything that is right of the response."
    prompts: Mapping[str, str] = {"rewriter": "abc"}

    def __init__(self, rule: Callable[[Task], str | Draft]) -> None:
        self._rule, self.seen = rule, list[Task]()

    def revise(self, tasks: Sequence[Task], rubric: Rubric | None = None) -> list[Draft]:
        self.seen += tasks
        made = [self._rule(task) for task in tasks]
        return [one if isinstance(one, Draft) else Draft(one) for one in made]


class Writer:
    """A language model that says what it is told to."""

    name, version = "writer", "1"

    def __init__(self, said: str, tokens: int = 5, error: BudgetExceeded | None = None) -> None:
        self._said, self._tokens, self._error = said, tokens, error
        self.prompts: list[Prompt] = []

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        self.prompts += prompts
        usage = Usage(calls=1, tokens_in=10, tokens_out=self._tokens)
        return [Reply(self._said if self._error is None else "", usage=usage, error=self._error) for _ in prompts]

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise AssertionError("a reviser writes")


def one(text: str = POOR, id: str = "a", **more: object) -> Item:
    return Item(id=id, prompt="Tell of the bridge.", responses=(Response(text=text),), **more)  # type: ignore[arg-type]


def fault(said: str | Draft, item: Item | None = None) -> str:
    found = revise(Rewriter(lambda _: said), [item or one()])[0][0]
    assert found.text is None
    return found.fault


def test_a_metric_sees_the_response_beside_its_revision() -> None:
    judge = ReferenceJudge("rougeL", reviser=Rewriter(lambda _: GOOD))
    said = judge.judge([one()])[0]
    assert said.judge == "metric/rougeL/adapted"
    assert said.scores == pytest.approx(score("rougeL", [POOR], [GOOD]))
    assert said.prompts == {"rewriter": "abc"}


@pytest.mark.parametrize("name", ["bleu", "chrf", "rouge1", "rouge2", "rougeL", "token_f1", "exact_match"])
def test_any_reference_metric_and_its_maximum_where_nothing_is_changed(name: str) -> None:
    judge = ReferenceJudge(name, reviser=Rewriter(lambda task: task.response + "  "))
    said = judge.judge([one()])[0]
    assert said.scores == (METRICS[name].most,)
    assert "response 1: unchanged" in said.rationale


def test_the_best_of_an_error_rate_is_its_least() -> None:
    said = ReferenceJudge("ter", reviser=Rewriter(lambda task: task.response)).judge([one()])[0]
    assert said.scores == (0.0,)


def test_a_pair_shares_the_revision_of_one_drawn_response_with_the_other_in_view() -> None:
    pairs = [Item.pair(f"p{n}", "Tell of the bridge.", GOOD, POOR) for n in range(40)]
    reviser = Rewriter(lambda task: f"{GOOD} Trains cross it as well.")
    said = ReferenceJudge("rouge1", reviser=reviser).judge([*pairs, *(pair.swapped() for pair in pairs)])
    assert {task.number for task in reviser.seen} == {1, 2}
    assert all({task.response, task.material} == {GOOD, POOR} for task in reviser.seen)
    assert len(reviser.seen) == 40, "both orders share one revision"
    assert {one.winner for one in said} == {"1"}
    assert [one.scores for one in said[:40]] == [one.scores for one in said[40:]]
    other = Rewriter(lambda task: GOOD + " More.")
    revise(other, pairs, seed=1)
    assert [task.number for task in other.seen] != [task.number for task in reviser.seen]


def test_each_response_against_its_own_revision_where_it_is_not_shared_or_there_are_more() -> None:
    fixes = {POOR: POOR.replace("1950", "1932"), GOOD: GOOD, "Bridge.": "The bridge, opened in 1932."}
    reviser = Rewriter(lambda task: fixes[task.response])
    three = Item(id="t", prompt="Tell.", responses=tuple(Response(text=text) for text in fixes))
    pair = Item.pair("p", "Tell.", POOR, GOOD)
    judge = ReferenceJudge("rouge1", reviser=reviser, shared=False)
    said = judge.judge([three, pair, pair.swapped()])
    assert said[0].ranking == (2, 1, 3)
    assert said[0].scores is not None
    assert said[0].scores[1] == 1.0
    assert said[1].winner == said[2].winner == "2"
    assert said[2].order == "swapped"
    assert len(reviser.seen) == 5, "the same revision is asked for once"


def test_fixed_and_no_references() -> None:
    item = one(reference=GOOD)
    assert ReferenceJudge("rouge1", "fixed").judge([item])[0].scores == pytest.approx(score("rouge1", [POOR], [GOOD]))
    assert ReferenceJudge("length", "none").judge([item])[0].scores == pytest.approx(score("length", [POOR]))
    with pytest.raises(InvalidInput, match="item a: has no reference"):
        ReferenceJudge("rouge1", "fixed").judge([one()])


class Seeing:
    """A judge that keeps what it is shown."""

    name = "seeing"

    def __init__(self) -> None:
        self.items: list[Item] = []

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        self.items += items
        return [Judgement(item_id=item.id, judge=self.name, winner="1", order=item.order) for item in items]


def test_any_judge_sees_the_reference_it_is_meant_to() -> None:
    pair = Item.pair("p", "Tell.", GOOD, POOR, reference="the original")
    for kind, shown in (("adapted", "revised text"), ("fixed", "the original"), ("none", None)):
        inner = Seeing()
        said = ReferenceJudge(inner, kind, reviser=Rewriter(lambda _: "revised text")).judge([pair])  # type: ignore[arg-type]
        assert [item.reference for item in inner.items] == [shown]
        assert said[0].winner == "1"
        assert said[0].judge == f"seeing/{kind}"
    with pytest.raises(InvalidInput, match="gives no scores"):
        ReferenceJudge(Seeing(), reviser=Rewriter(lambda _: "revised text"), shared=False).judge([pair])


def test_a_language_model_judges_with_the_reference_a_language_model_made() -> None:
    writer = Writer("A revised text.")
    judge = ReferenceJudge(LLMJudge(writer, prompt="score"), reviser=writer)
    said = judge.judge([one(reference="what somebody else said")], Rubric.of("names the year"))[0]
    revising, judging = (prompt.user for prompt in writer.prompts)
    assert "what somebody else said" in revising
    assert "names the year" in revising
    assert POOR in revising
    assert "A revised text." in judging
    assert "what somebody else said" not in judging
    assert said.status == "invalid", "the writer gives no JSON"
    assert set(said.prompts) == {"reviseval_revise", "score"}
    assert said.usage.calls == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("  \n", "wrote nothing"),
        (GOOD * 10, "4 times longer"),
        ("Well: change only what is wrong and keep everything that is right.", "repeats its prompt"),
        ("<response-1a2b3c4d> The bridge opened in 1932.", "repeats its prompt"),
        ("这座桥于一九三二年开通,全长五百米,船只从桥下通过,人们周日在桥上散步。", "another language"),
        ("El puente fue abierto en el año 1932 y los barcos pasan por debajo de la estructura.", "another language"),
        (Draft("The bridge was", cut=True), "cut off"),
    ],
)
def test_what_is_no_reference_makes_the_item_invalid(said: str | Draft, why: str) -> None:
    text = "The bridge was opened in 1950 and the ships that come from the sea pass beneath it."
    assert why in fault(said, one(text))
    judged = ReferenceJudge("rouge1", reviser=Rewriter(lambda _: said)).judge([one(text)])[0]
    assert (judged.status, judged.winner, judged.scores) == ("invalid", None, None)
    assert why in judged.rationale
    assert revise_reference(Rewriter(lambda _: said), [one(text)]) == [None]


def test_a_copy_of_the_other_response_is_no_revision_but_of_its_own_is_unchanged() -> None:
    pair = Item.pair("p", "Tell.", GOOD, POOR)
    copied = revise(Rewriter(lambda task: task.material or ""), [pair])[0][0]
    assert copied.text is None
    assert "copy of the other" in copied.fault
    kept = revise(Rewriter(lambda task: task.response), [pair])[0][0]
    assert kept.unchanged
    assert kept.text in (GOOD, POOR)


def test_the_language_may_become_that_of_the_reference() -> None:
    chinese = "这座桥于一九三二年开通,全长五百米,船只从桥下通过。"
    said = "这座桥于一九五〇年开通,船只从桥下通过,人们在桥上散步。"
    assert revise_reference(Rewriter(lambda _: said), [one(reference=chinese)]) == [said]


def test_a_short_poor_response_may_grow_to_its_reference() -> None:
    assert revise_reference(Rewriter(lambda _: GOOD), [one("Long.", reference=GOOD)]) == [GOOD]
    assert "longer" in fault(GOOD, one("Long."))


def test_a_model_that_wraps_its_text_in_marks_is_understood_and_one_that_fails_is_told() -> None:
    wrapped = Writer("<response-0a1b2c3d>\nThe bridge opened in 1932.\n</response-0a1b2c3d>")
    assert revise_reference(wrapped, [one()]) == ["The bridge opened in 1932."]
    broke = Writer("", error=BudgetExceeded("spent"))
    assert ReferenceJudge("rouge1", reviser=broke).judge([one()])[0].status == "waiting"


def test_a_draft_without_an_end_is_unusable_or_kept_up_to_its_last_sentence() -> None:
    endless = Writer("The bridge opened in 1932. Ships pass. And then the", tokens=16)
    assert revise_reference(ModelReviser(endless, max_tokens=16), [one()]) == [None]
    trimmed = ModelReviser(endless, max_tokens=16, trim=True)
    assert revise_reference(trimmed, [one()]) == ["The bridge opened in 1932. Ships pass."]
    assert revise_reference(ModelReviser(Writer("and then", 16), max_tokens=16, trim=True), [one()]) == [None]


def test_bad_input_is_refused_at_the_door() -> None:
    reviser = Rewriter(lambda _: GOOD)
    with pytest.raises(InvalidInput, match="item a: response 1 is empty"):
        ReferenceJudge("rouge1", reviser=reviser).judge([one(" ")])
    with pytest.raises(InvalidInput, match="item a: its prompt is empty"):
        revise(reviser, [one().model_copy(update={"prompt": ""})])
    with pytest.raises(InvalidInput, match="item a: stands there twice"):
        ReferenceJudge("rouge1", reviser=reviser).judge([one(), one()])
    with pytest.raises(InvalidInput, match="adapted, fixed, none, not 'best'"):
        ReferenceJudge("rouge1", "best")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="need reviser="):
        ReferenceJudge("rouge1")
    with pytest.raises(InvalidInput, match="compares with a reference"):
        ReferenceJudge("rouge1", "none")
    with pytest.raises(InvalidInput, match="item a: has 3 responses"):
        revise_reference(reviser, [one().model_copy(update={"responses": (Response(text="x"),) * 3})])
    with pytest.raises(InvalidInput, match="item a: too long for writer"):
        revise(ModelReviser(Writer("x"), context=512), [one(POOR * 40)])
    with pytest.raises(InvalidInput, match=r"prompt pair: has no place for \$response"):
        ModelReviser(Writer("x"), prompt="pair")
    assert ReferenceJudge("rouge1", reviser=reviser).judge([]) == []


@given(st.integers(0, 5), st.integers(0, 20))
def test_the_scripted_reviser_repairs_what_it_should(count: int, seed: int) -> None:
    kinds = ["dropped", "contradiction", "ungrammatical", "unsupported", "padded"][: max(1, count)]
    made = corrupt(GOOD, kinds, seed=seed)
    task = Task("a", 1, "Tell.", made.text)
    whole = ScriptedReviser([made], rate=1.0, seed=0).revise([task])[0].text
    none = ScriptedReviser([made], rate=0.0, seed=0).revise([task])[0].text
    assert whole == GOOD
    assert none.split() == made.text.split()
