"""CLEAR: planted omissions, additions and contradictions by hand; models that extract badly; windows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from weighup.errors import BudgetExceeded, InvalidInput, ModelUnavailable, WeighupError
from weighup.judge.clear import Clear, Extracted, Matcher, clear, clear_many
from weighup.judge.clear_claim import RUBRIC as REPORT
from weighup.judge.clear_claim import headings, make
from weighup.judge.clear_models import ModelExtractor, ModelMatcher, lexical_matcher, windows
from weighup.judge.types import Criterion, Item, Judge, Rubric
from weighup.models.metering import Meter
from weighup.models.types import Choice, Prompt, Question, Reply

RUBRIC = Rubric.of("Who?", "When?", "Where?", "Why?")


def scripted(text: str, rubric: Rubric, /) -> Extracted:
    """Reads `c1=…|c2=…`."""
    return dict(one.split("=", 1) for one in text.split("|"))  # type: ignore[misc]


def exact(asked: Sequence[tuple[Criterion, str, str]], /) -> np.ndarray:
    """Every letter of the content is in the text."""
    return np.array([float(set(content) <= set(text)) for _, content, text in asked])


def never(asked: Sequence[tuple[Criterion, str, str]], /) -> np.ndarray:
    return np.zeros(len(asked))


def unsure(asked: Sequence[tuple[Criterion, str, str]], /) -> np.ndarray:
    return np.full(len(asked), np.nan)


def test_by_hand() -> None:
    #  c1 equal (1, 1); c2 lacks b (0, 1); c3 adds z (1, 0); c4 N/A in the output only (0, 0)
    found = clear("c1=ab|c2=a|c3=xyz|c4=N/A", "c1=ab|c2=ab|c3=xy|c4=q", RUBRIC, scripted, exact)
    assert [(one.id, one.recall, one.precision) for one in found.items] == [
        ("c1", 1, 1),
        ("c2", 0, 1),
        ("c3", 1, 0),
        ("c4", 0, 0),
    ]
    assert (found.recall, found.precision, found.f1) == (0.5, 0.5, 0.5)
    assert (found.both, found.one_way) == (0.25, 0.5)


def test_nothing_is_asked_where_a_side_says_nothing() -> None:
    asked: list[str] = []

    def watched(pairs: Sequence[tuple[Criterion, str, str]], /) -> np.ndarray:
        asked.extend(one.id for one, _, _ in pairs)
        return exact(pairs)

    found = clear("c1=a|c2=n/a.|c3=|c4=d", "c1=a|c2=None|c3=c|c4=N/A", RUBRIC, scripted, watched)
    assert asked == ["c1", "c1"]
    assert [one.recall for one in found.items] == [1, 1, 0, 0]


def test_a_panel_is_the_mean_and_who_is_unsure_is_left_out() -> None:
    text = "c1=a|c2=b|c3=c|c4=d"
    assert clear(text, text, RUBRIC, scripted, [exact, never]).f1 == 0.5
    assert clear(text, text, RUBRIC, scripted, [exact, unsure]).f1 == 1
    assert not clear(text, text, RUBRIC, scripted, unsure).usable


def test_planted_defects_are_found_and_f1_falls_in_step() -> None:
    for made in make(0, 12):
        found = clear(made.output, made.reference, REPORT, headings, lexical_matcher)
        assert found.recall == pytest.approx(made.recall)
        assert found.precision == pytest.approx(made.precision)


def test_many_have_an_interval_and_tell_what_failed() -> None:
    def halting(text: str, rubric: Rubric, /) -> Extracted | None:
        return None if text == "broken" else scripted(text, rubric)

    good, half = "c1=a|c2=b|c3=c|c4=d", "c1=a|c2=b|c3=N/A|c4=N/A"
    report = clear_many([(good, good), (half, good), ("broken", good)], RUBRIC, halting, exact, draws=200)
    assert (report.f1.value, report.f1.n, report.failed) == (0.75, 2, 1)
    assert report.f1.low <= 0.75 <= report.f1.high
    assert not report.scores[2].usable
    assert report.scores[2].items == ()
    with pytest.raises(InvalidInput, match="every document"):
        clear_many([("broken", good)], RUBRIC, halting, exact)
    with pytest.raises(InvalidInput, match="no documents"):
        clear_many([], RUBRIC, halting, exact)


@pytest.mark.parametrize(
    ("output", "reference", "rubric", "said"),
    [
        ("", "c1=a", RUBRIC, "output is empty"),
        ("c1=a", " ", RUBRIC, "reference is empty"),
        ("c1=a", "c1=" + "a" * 2_000_000, RUBRIC, "reference has over"),
        ("c1=a|c9=b", "c1=a", RUBRIC, "told of c9"),
        ("c1=a", "c1=N/A|c2=none", RUBRIC, "says nothing on any item"),
        ("c1=a", "c1=a", Rubric.of("Who?", "who? "), "c1 and c2 ask the same"),
    ],
)
def test_what_cannot_be_compared_is_refused(output: str, reference: str, rubric: Rubric, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        clear(output, reference, rubric, scripted, exact)


@pytest.mark.parametrize("panel", [[], [lambda asked: np.ones(1)], [lambda asked: np.full(len(asked), 2.0)]])
def test_a_matcher_must_answer_every_question(panel: list[Matcher]) -> None:
    with pytest.raises(InvalidInput, match="matcher"):
        clear("c1=a", "c1=a", RUBRIC, scripted, panel)


def test_as_a_judge_it_scores_by_f1_and_names_the_winner() -> None:
    good, bad = "c1=a|c2=b|c3=c|c4=d", "c1=a|c2=N/A|c3=N/A|c4=d"
    judge: Judge = Clear(scripted, exact)
    (pair,) = judge.judge([Item.pair("x", "p", bad, good, reference=good)], RUBRIC)
    assert (pair.scores, pair.winner, pair.kind) == ((0.5, 1.0), "2", "pair")
    single = Item(id="y", prompt="p", responses=Item.pair("y", "p", bad, good).responses[:1], reference=good)
    assert judge.judge([single], RUBRIC)[0].checks == {"c1": 1, "c2": 0, "c3": 0, "c4": 1}
    lost = Clear(lambda text, rubric: None, exact).judge([single], RUBRIC)[0]
    assert (lost.status, lost.scores) == ("invalid", None)


@pytest.mark.parametrize(
    ("item", "rubric", "said"),
    [
        (Item.pair("x", "p", "a", "b"), RUBRIC, "item x: has no reference"),
        (Item.pair("x", "p", "", "b", reference="c1=a"), RUBRIC, "item x: clear: the output is empty"),
        (Item.pair("x", "p", "a", "b", reference="c1=a"), None, "rubric is needed"),
    ],
)
def test_a_judge_names_the_item_it_cannot_judge(item: Item, rubric: Rubric | None, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Clear(scripted, exact).judge([item], rubric)


class Writes:
    """A model that fills the schema it is asked for with the pieces it was given, reply by reply."""

    name, version = "writes", "1"

    def __init__(self, *replies: Mapping[str, str] | WeighupError, yes: float = 0.9) -> None:
        self.replies = list(replies)
        self.yes = yes
        self.asked: list[Prompt] = []
        self.questions: list[str] = []

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        self.asked += prompts
        return [self._reply(one) for one in prompts]

    def _reply(self, prompt: Prompt) -> Reply:
        said = self.replies.pop(0)
        if isinstance(said, WeighupError):
            return Reply(error=said)
        assert prompt.schema is not None
        pieces = [{"id": name, "text": text} for name, text in said.items()]
        return Reply(value=prompt.schema.model_validate({"items": pieces}))

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        self.questions += [one.user for one in questions]
        return [Choice((self.yes, 1 - self.yes)) for _ in questions]


WHOLE = {"c1": "Ann", "c2": "N/A", "c3": "Oslo", "c4": "none"}


def test_a_model_extracts_item_by_item() -> None:
    model = Writes(WHOLE)
    assert ModelExtractor(model)("Ann lives in Oslo.", RUBRIC) == {"c1": "Ann", "c2": None, "c3": "Oslo", "c4": None}
    assert "c3: Where?" in model.asked[0].user
    assert re.search(r"<document-(\w+)>\nAnn lives in Oslo\.\n</document-\1>", model.asked[0].user)


@pytest.mark.parametrize("bad", [{"c1": "Ann"}, {**WHOLE, "c9": "made up"}, ModelUnavailable("no JSON")])
def test_a_model_that_invents_or_forgets_an_item_is_asked_again_twice(bad: Mapping[str, str] | WeighupError) -> None:
    model = Writes(bad, bad, WHOLE)
    assert ModelExtractor(model)("text", RUBRIC) is not None
    assert "no others." in model.asked[2].user
    assert model.asked[0].user != model.asked[1].user
    assert ModelExtractor(Writes(bad, bad, bad))("text", RUBRIC) is None


def test_a_spent_budget_is_no_failed_extraction() -> None:
    with pytest.raises(BudgetExceeded):
        ModelExtractor(Writes(BudgetExceeded("spent")))("text", RUBRIC)


def test_a_long_text_is_extracted_in_windows_and_joined() -> None:
    second = {"c1": "Bo", "c2": "in May", "c3": "Oslo", "c4": "N/A"}
    model = Writes(WHOLE, second)
    text = "Ann lives in Oslo. " * 2
    found = ModelExtractor(model, window=5)(text.strip(), RUBRIC)
    assert len(model.asked) == 2
    assert found == {"c1": "Ann\nBo", "c2": "in May", "c3": "Oslo", "c4": None}


def test_windows_hold_everything_once_and_keep_to_their_size() -> None:
    text = " ".join(f"Sentence number {n} stands here." for n in range(40)) + " " + "x" * 250
    parts = windows(text, 100)
    assert max(map(len, parts)) <= 100
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert windows("short", 100) == ["short"]
    with pytest.raises(InvalidInput, match="window"):
        ModelExtractor(Writes(), window=0)


@pytest.mark.parametrize(("yes", "said"), [(0.9, 1.0), (0.5, 0.0), (0.1, 0.0)])
def test_a_model_matches_by_the_likelier_answer(yes: float, said: float) -> None:
    model = Writes(yes=yes)
    assert ModelMatcher(model)([(RUBRIC.leaves()[0], "Ann", "Ann and Bo")]).tolist() == [said]
    assert model.questions[0].index("Ann and Bo") < model.questions[0].rindex("Ann\n")


def test_prompts_of_models_are_told() -> None:
    model = Writes(WHOLE, WHOLE)
    item = Item(id="x", prompt="p", responses=Item.pair("x", "p", "Ann.", "b").responses[:1], reference="Ann.")
    (found,) = Clear(ModelExtractor(model), ModelMatcher(model)).judge([item], RUBRIC)
    assert set(found.prompts) == {"clear_extract", "clear_match"}
    assert found.scores == (1.0,)


def test_words_match_where_every_claim_is_there() -> None:
    leaf = RUBRIC.leaves()[0]
    asked = [
        (leaf, "Ann lives in Oslo.", "Since 2001 Ann lives in Oslo. She paints."),
        (leaf, "Ann lives in Oslo. She paints.", "Ann lives in Oslo."),
        (leaf, "Ann lives in Oslo.", "Ann does not live in Oslo."),
        (leaf, "Oslo", "Oslo"),
    ]
    assert lexical_matcher(asked).tolist() == [1, 0, 0, 1]
    assert lexical_matcher([]).tolist() == []


def test_a_score_without_extraction_is_not_a_number() -> None:
    lost = clear("a", "b", RUBRIC, lambda text, rubric: None, exact)
    assert math.isnan(lost.f1)
    assert not lost.usable
