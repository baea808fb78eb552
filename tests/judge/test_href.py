"""HREF: a method for each category, chosen by the annotators, and the win rate that follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge.href import CompositeJudge, Development, href, standard_methods
from weighup.judge.href_choice import LEAST, agreement, agreements, family_wise, pick, votes_table
from weighup.judge.recorded import RecordedJudge
from weighup.judge.types import Item, Judgement, Winner
from weighup.metrics.agreement import leave_one_out_agreement
from weighup.models.metering import Meter
from weighup.models.types import Choice, Prompt, Question, Reply

Verdicts = Mapping[str, Winner | None]


def pair(id: str, category: str | None = "open_qa", **more: object) -> Item:
    return Item.pair(id, "Who built it?", "Ada built it.", "Nobody knows.", category=category, **more)


def method(name: str, said: Verdicts) -> RecordedJudge:
    found = []
    for id, winner in said.items():
        status = "ok" if winner is not None else "invalid"
        found.append(Judgement(item_id=id, judge=name, winner=winner, status=status))
    return RecordedJudge(found, name)


def world(each: int = 30) -> tuple[list[RecordedJudge], Development, list[Item]]:
    """Two categories; method "a" is right in the first and nearly so in the second, "b" the other way round."""
    items = [pair(f"{c}{n}", c) for c in ("extract", "rewrite") for n in range(2 * each)]
    votes: dict[str, list[Winner]] = {item.id: ["1", "1", "1"] for item in items}

    def right(own: str, item: Item, n: int, often: int) -> Winner:
        return "1" if item.category == own or n % often else "2"

    said = [
        {item.id: right(own, item, n, k) for n, item in enumerate(items)} for own, k in (("extract", 3), ("rewrite", 2))
    ]
    dev = [item for n, item in enumerate(items) if n % (2 * each) < each]
    test = [item for item in items if item not in dev]
    return [method("a", said[0]), method("b", said[1])], Development(dev, votes), test


def test_each_category_gets_the_method_that_agrees_best() -> None:
    methods, dev, test = world()
    made = href(methods, dev, test)
    assert made.overall == "a"
    assert {name: one.method for name, one in made.picks.items()} == {"extract": "a", "rewrite": "b"}
    assert all(one.why == "" and one.n == 30 and one.agreement == 1 for one in made.picks.values())
    assert made.average.value == 1
    assert made.average.n == len(test)
    assert made.agreement["a"].value == pytest.approx(1 - 10 / 60)
    assert made.ceiling is not None
    assert made.ceiling.value == 1
    assert [one.item_id for one in made.judgements] == [item.id for item in test]
    assert {one.judge for one in made.judgements} == {"href"}
    assert made.judgements[-1].rationale == "b"
    again = made.judge.judge(test)
    assert again == list(made.judgements)


def test_a_small_gain_does_not_move_a_category_unless_the_papers_rule_is_asked_for() -> None:
    items = [pair(f"i{n}", "open_qa" if n < 20 else "rewrite") for n in range(60)]
    votes: dict[str, list[Winner]] = {item.id: ["1"] for item in items}
    a = method("a", {f"i{n}": "2" if n in (0, 1) else "1" for n in range(60)})
    b = method("b", {f"i{n}": "2" if n in (2, *range(30, 50)) else "1" for n in range(60)})
    test = [pair("t", "open_qa")]
    shrunk, naive = (href([a, b], Development(items, votes), test, shrink=one) for one in (1.64, 0.0))
    assert (shrunk.picks["open_qa"].method, shrunk.picks["open_qa"].why) == ("a", "not clearly better")
    assert (naive.picks["open_qa"].method, naive.picks["open_qa"].why) == ("b", "")
    assert shrunk.ceiling is None


def test_a_category_without_or_with_few_development_items_gets_the_overall_best_and_says_so() -> None:
    methods, dev, _ = world()
    few = [pair(f"few{n}", "classify") for n in range(LEAST - 1)]
    said = [method(one.name, {item.id: "1" if one.name == "b" else "2" for item in few}) for one in methods]
    both = [
        RecordedJudge([*one.judge(dev.items), *other.judge(few)], one.name)
        for one, other in zip(methods, said, strict=True)
    ]
    more = Development([*dev.items, *few], {**dev.votes, **{item.id: ["1", "1"] for item in few}})
    made = href(both, more, [pair("x", "brainstorm")])
    assert made.picks["classify"].why == "too few development items"
    fallback = made.picks["brainstorm"]
    assert (fallback.method, fallback.why, fallback.n) == (made.overall, "no development items", 0)
    assert math.isnan(fallback.agreement)
    assert list(made.win_rates) == ["brainstorm"]
    # Nothing was recorded of x.
    assert (made.unusable, made.average.n) == (1, 0)


def test_win_rate_counts_ties_half_and_leaves_out_what_is_unusable() -> None:
    dev = [pair(f"d{n}") for n in range(4)]
    test = [pair(f"t{n}", "open_qa" if n < 4 else "rewrite") for n in range(6)]
    said: Verdicts = {
        **{item.id: "1" for item in dev},
        "t0": "1",
        "t1": "tie",
        "t2": "2",
        "t3": None,
        "t4": "1",
        "t5": "tie",
    }
    made = href([method("a", said)], Development(dev, {item.id: ["1", "1"] for item in dev}), test)
    assert made.win_rates["open_qa"].value == pytest.approx(0.5)
    assert made.win_rates["open_qa"].n == 3
    assert made.win_rates["rewrite"].value == pytest.approx(0.75)
    assert made.average.value == pytest.approx((1 + 0.5 + 0 + 1 + 0.5) / 5), "over items, not over categories"
    assert made.unusable == 1


def test_agreement_is_leave_one_out_or_with_the_only_vote() -> None:
    items = [pair(f"i{n}") for n in range(4)]
    dev = Development(items, {"i0": ["1", "1", "2"], "i1": ["2", "2", "2"], "i2": ["tie"], "i3": ["1", "1"]})
    votes = votes_table(dev)
    assert votes.shape == (3, 4)
    assert votes[1, 2] is None
    found = agreement(votes, ["1", "1", "tie", None], seed=3)
    assert found[1:].tolist() == [0, 1, 0]
    whole = leave_one_out_agreement(votes[:, [0, 1, 3]], ["1", "1", None], seed=3)
    assert found[[0, 1, 3]].tolist() == whole.items.tolist()
    alone = agreement(votes[:, [2, 1]], ["tie", "2"])
    assert alone.tolist() == [1, 1], "also with one item of several votes"


def test_without_a_majority_modes_are_drawn_and_it_is_told() -> None:
    items = [pair(f"i{n}") for n in range(6)]
    votes: dict[str, list[Winner]] = {item.id: ["1", "2", "tie"] for item in items[:4]} | {
        "i4": ["1", "1", "2"],
        "i5": ["1"],
    }
    said: Verdicts = dict.fromkeys([*votes, "t"], "1")
    made = href([method("a", said)], Development(items, votes), [pair("t")])
    assert made.no_majority == 4
    table = votes_table(Development(items[:4], votes))
    seeds = {float(agreements([method("a", said)], items[:4], table, seed=seed).mean()) for seed in range(5)}
    assert len(seeds) > 1


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=12, max_size=12), min_size=1, max_size=5),
    st.floats(0, 3),
)
def test_what_is_picked_is_best_overall_or_better_in_its_category(rows: list[list[int]], shrink: float) -> None:
    agreed: NDArray[np.float64] = np.array(rows, float)
    groups = ["x"] * 6 + ["y"] * 4 + ["z"] * 2
    best, found = pick(agreed, groups, shrink)
    assert agreed[best].mean() == agreed.mean(1).max()
    for group, (own, why) in found.items():
        here = agreed[:, [one == group for one in groups]].mean(1)
        assert own == best if why else here[own] == here.max()
    assert {group: own for group, (own, _) in pick(agreed, groups, 0)[1].items()}.keys() == {"x", "y", "z"}


def test_grouped_by_an_entry_of_meta_or_a_function() -> None:
    methods, dev, test = world()
    moved = [
        [one.model_copy(update={"category": None, "meta": {"kind": one.category}}) for one in items]
        for items in (dev.items, test)
    ]
    plain = href(methods, dev, test)
    by_meta = href(methods, Development(moved[0], dev.votes), moved[1], by="kind")
    by_rule = href(methods, dev, test, by=lambda item: (item.category or "").upper())
    assert by_meta.picks == plain.picks
    assert [one.winner for one in by_rule.judgements] == [one.winner for one in plain.judgements]
    assert set(by_rule.picks) == {"EXTRACT", "REWRITE"}


class Writer:
    """A language model that always finds response 1 better, and keeps what it was asked."""

    name, version = "writer", "1"

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        self.prompts += [one.user for one in prompts]
        verdicts = [one.schema.model_validate({"reasons": "so", "verdict": "1"}) for one in prompts if one.schema]
        return [Reply("{}", value=one) for one in verdicts]

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise AssertionError("it is not asked to choose")


def test_the_standard_methods_see_the_persons_response_where_they_should() -> None:
    writer = Writer()
    alone, with_human, rouge = standard_methods(writer)
    item = pair("a", reference="It was Ada who built it.")
    assert [one.judge([item])[0].winner for one in (alone, with_human, rouge)] == ["1", "1", "1"]
    without, with_ = writer.prompts
    assert "Ada who" in with_
    assert "Ada who" not in without
    assert alone.judge([pair("b")])[0].winner == "1"
    for needing in (with_human, rouge):
        with pytest.raises(InvalidInput, match="item b: has no reference"):
            needing.judge([pair("b")])


def test_bad_input_is_refused_at_the_door() -> None:
    methods, dev, test = world()
    with pytest.raises(InvalidInput, match="methods of different names"):
        href([], dev, test)
    with pytest.raises(InvalidInput, match="methods of different names"):
        href([methods[0], methods[0]], dev, test)
    with pytest.raises(InvalidInput, match="item x: has no category by category"):
        href(methods, dev, [pair("x", None)])
    with pytest.raises(InvalidInput, match="item extract0: is a development and a test item"):
        href(methods, dev, [*test, dev.items[0]])
    with pytest.raises(InvalidInput, match="item lone: no annotator voted"):
        href(methods, Development([*dev.items, pair("lone")], dev.votes), test)
    with pytest.raises(InvalidInput, match="item lone: a vote is 1, 2 or tie, not 'A'"):
        href(methods, Development([pair("lone")], {"lone": ["A"]}), test)  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="shrink: standard errors"):
        href(methods, dev, test, shrink=-1)
    with pytest.raises(InvalidInput, match="there are none"):
        href(methods, dev, [])
    with pytest.raises(InvalidInput, match="needed"):
        href(methods, dev, [pair("x").model_copy(update={"responses": pair("x").responses[:1]})])
    with pytest.raises(InvalidInput, match="no method c"):
        CompositeJudge(methods, {"extract": "c"}, "a", name="own")


def test_correcting_for_all_choices_grows_with_their_number() -> None:
    assert family_wise(1, 1) == 0.0  # nothing to choose
    assert family_wise(1, 2) == pytest.approx(1.645, abs=0.001)
    assert family_wise(5, 44) == pytest.approx(3.500, abs=0.01)
