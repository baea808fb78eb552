"""Items, rubrics, judgements: JSON both ways, orders mapped back, what cannot be refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weighup.errors import InvalidInput
from weighup.judge.types import (
    OTHER,
    Criterion,
    Item,
    Judgement,
    Response,
    Rubric,
    Spent,
    answered,
    by_scores,
    two,
    unique,
)

PAIR = Item.pair("a", "q", "x", "y")
THREE = Item(id="t", prompt="q", responses=tuple(Response(text=t) for t in "abc"))
SCORES = st.floats(-1e6, 1e6)


@given(st.text(min_size=1), st.text(), st.text(), st.text(), st.dictionaries(st.text(), st.integers(-9, 9)))
def test_items_survive_json(id: str, prompt: str, first: str, second: str, meta: dict[str, int]) -> None:
    item = Item.pair(id, prompt, first, second, meta=meta).swapped().drawn(2)
    again = Item.model_validate_json(item.model_dump_json())
    assert again == item
    assert hash(again) == hash(item)


def test_swapping_changes_what_is_shown_not_the_numbering() -> None:
    swapped = PAIR.swapped()
    assert swapped.responses == PAIR.responses
    assert [r.text for r in swapped.shown()] == ["y", "x"]
    assert swapped.swapped() == PAIR
    assert len({PAIR, swapped, PAIR.drawn(1)}) == 3
    with pytest.raises(InvalidInput, match="item t: has 3 responses where a pair is needed"):
        THREE.swapped()


def test_every_two_of_an_item() -> None:
    found = THREE.pairs()
    assert [one.id for one in found] == ["t#1-2", "t#1-3", "t#2-3"]
    assert [r.text for r in found[1].responses] == ["a", "c"]


@given(st.sampled_from(["1", "2", "tie"]), SCORES, SCORES)
def test_what_is_said_of_a_swapped_pair_is_mapped_back(winner: str, first: float, second: float) -> None:
    said = {"winner": winner, "scores": (first, second), "ranking": (1, 2)}
    one = answered(PAIR.swapped().drawn(4), "j", **said)
    assert (one.winner, one.scores, one.ranking) == (OTHER[winner], (second, first), (2, 1))
    assert (one.order, one.sample, one.item_id) == ("swapped", 4, "a")
    assert answered(PAIR, "j", **said).winner == winner


def test_nothing_said_stays_nothing() -> None:
    one = answered(PAIR.swapped(), "j", status="invalid")
    assert (one.winner, one.scores, one.usable) == (None, None, False)


def test_a_line_is_short_and_reads_back() -> None:
    one = Judgement(item_id="a", judge="j", winner="tie", usage=Spent(calls=1), prompts={"p": "0"})
    assert "rationale" not in one.line()
    assert Judgement.model_validate_json(one.line()) == one
    assert "\n" not in one.model_copy(update={"rationale": "two\nlines"}).line()


@given(SCORES, SCORES)
def test_the_larger_score_wins(first: float, second: float) -> None:
    winner = by_scores((first, second))
    assert by_scores((second, first)) == OTHER[winner]
    if abs(first - second) > 1e-9:
        assert winner == ("1" if first > second else "2")


def test_scores_near_each_other_tie() -> None:
    assert by_scores((1.0, 1.0 + 1e-10)) == "tie"
    assert by_scores((1.0, 1.4), within=0.5) == "tie"


def test_spending_adds_up() -> None:
    one = Spent(calls=1, tokens_in=2, tokens_out=3, seconds=0.5, usd=0.25)
    assert one + one == Spent(calls=2, tokens_in=4, tokens_out=6, seconds=1.0, usd=0.5)


def test_rubrics_are_trees() -> None:
    flat = Rubric.of("right", "short")
    assert [leaf.id for leaf in flat.leaves()] == ["c1", "c2"]
    deep = Criterion(id="a", text="A", children=(Criterion(id="b", text="B"), Criterion(id="c", text="C")))
    rubric = Rubric(criteria=(deep, Criterion(id="d", text="D")))
    assert [leaf.id for leaf in rubric.leaves()] == ["b", "c", "d"]
    assert Rubric.model_validate_json(rubric.model_dump_json()) == rubric


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Rubric(criteria=()), "at least 1"),
        (lambda: Rubric(criteria=(Criterion(id="a", text=""), Criterion(id="a", text=""))), "there twice: a"),
        (lambda: Rubric(criteria=(Criterion(id="a", text="", weight=0),)), "all weights are 0"),
        (lambda: Criterion(id="a", text="", weight=-1), "weight"),
        (lambda: Criterion(id="a", text="", scale=(1, 1)), "does not rise"),
        (lambda: Item(id="", prompt="", responses=(Response(text=""),)), "id"),
        (lambda: Item(id="a", prompt="", responses=()), "responses"),
        (lambda: Item.pair("a", "", "", "", sample=-1), "sample"),
        (lambda: Item.pair("a", "", "", "", colour="red"), "colour"),
        (lambda: Judgement(item_id="a", judge="j", winner="3"), "winner"),
        (lambda: Judgement(item_id="a", judge="j", certainty=1.1), "certainty"),
        (lambda: Judgement(item_id="a", judge="j", certainty=float("nan")), "certainty"),
        (lambda: Judgement(item_id="a", judge="j", status="lost"), "status"),
    ],
)
def test_what_cannot_be_is_refused(made: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        made()  # type: ignore[operator]


def test_pairs_and_duplicates() -> None:
    assert two(PAIR) == PAIR.responses
    unique([PAIR, PAIR.swapped(), PAIR.drawn(1), THREE])
    with pytest.raises(InvalidInput, match="item a: stands there twice"):
        unique([PAIR, THREE, PAIR])
    with pytest.raises(InvalidInput, match="there are none"):
        unique([])
