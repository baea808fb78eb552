"""FairEval: orders and samples averaged, entropy, people's labels, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.judge.faireval import IDENTICAL, evidence_judge, faireval, position_entropy
from weighup.judge.faireval_claim import _gain, _guided, _simulated, _unguided
from weighup.judge.prompt_files import prompt
from weighup.judge.recorded import RecordedJudge
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Item, Judgement, Order, Rubric, Winner, answered
from weighup.models.metering import Meter
from weighup.models.types import Choice, Prompt, Question, Reply

ORDERS: tuple[Order, Order] = ("given", "swapped")


class Scores:
    """A judge whose scores as shown are told by order and sample."""

    name = "scores"

    def __init__(self, shown: dict[tuple[str, int], tuple[float, float] | None]) -> None:
        self.shown = shown

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        told = [(item, self.shown[item.order, item.sample]) for item in items]
        return [
            answered(item, self.name, **({"status": "invalid"} if one is None else {"scores": one}))
            for item, one in told
        ]


class ScriptedModel:
    """Prefers whatever is shown first, with evidence."""

    name, version = "scripted", "1"

    def __init__(self) -> None:
        self.asked: list[Prompt] = []

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        self.asked += prompts
        found = []
        for one in prompts:
            assert one.schema is not None
            values = {"reasons": "the first is fuller", "score_1": 8, "score_2": 6}
            found.append(Reply(text="{}", value=one.schema.model_validate(values)))
        return found

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise AssertionError("not asked")


def item(id: str = "a", **more: Any) -> Item:
    return Item.pair(id, "question", "first", "second", **more)


def votes(*rows: Sequence[Winner | None]) -> tuple[RecordedJudge, list[Item]]:
    """Items with verdicts: those in the given order first, then as many swapped."""
    said = []
    for number, row in enumerate(rows):
        k = len(row) // 2
        for place, winner in enumerate(row):
            status = "ok" if winner else "invalid"
            said.append(
                Judgement(
                    item_id=f"i{number}",
                    judge="j",
                    order=ORDERS[place // k],
                    sample=place % k,
                    winner=winner,
                    status=status,
                )
            )
    return RecordedJudge(said, "j"), [item(f"i{n}") for n in range(len(rows))]


def test_scores_are_averaged_over_samples_and_orders_by_hand() -> None:
    # Shown scores; swapped, the first shown is the item's second. Sums: first 8 + 7 + 5 + 4, second 6 + 6 + 8 + 9.
    shown = {("given", 0): (8.0, 6.0), ("given", 1): (7.0, 6.0), ("swapped", 0): (8.0, 5.0), ("swapped", 1): (9.0, 4.0)}
    (one,) = faireval(Scores(dict(shown)), [item()], k=2)
    assert one.scores == (24 / 4, 29 / 4)
    assert one.winner == "2"
    assert one.checks == {"1": 0.5, "tie": 0.0, "2": 0.5}
    assert position_entropy([one])[0] == pytest.approx(math.log(2))
    (single,) = faireval(Scores(dict(shown)), [item()], k=2, balance=False)
    assert (single.winner, single.scores) == ("1", (7.5, 6.0))


def test_equal_means_tie() -> None:
    (one,) = faireval(Scores({("given", 0): (7.0, 4.0), ("swapped", 0): (7.0, 4.0)}), [item()], k=1)
    assert (one.winner, one.scores) == ("tie", (5.5, 5.5))


def test_what_cannot_be_used_is_dropped_and_nothing_left_is_invalid() -> None:
    judge = Scores({("given", 0): None, ("given", 1): (3.0, 9.0), ("swapped", 0): None, ("swapped", 1): None})
    (one,) = faireval(judge, [item()], k=2)
    assert (one.winner, one.scores, one.status) == ("2", (3.0, 9.0), "ok")
    (none,) = faireval(judge, [item()], k=1)
    assert (none.winner, none.status, none.checks) == (None, "invalid", {})
    assert math.isnan(position_entropy([none])[0])


def test_entropy_counts_wins_ties_and_losses() -> None:
    judge, items = votes(["1", "1", "1", "1"], ["1", "2", "1", "2"], ["1", "tie", "2", "1"])
    found = position_entropy(faireval(judge, items, k=2))
    assert found == pytest.approx([0, math.log(2), -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))])


@given(
    st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("12"), st.sampled_from("12")), min_size=1, max_size=30)
)
def test_balancing_plain_verdicts_of_one_sample_gains_nothing_where_ties_count_half(
    rows: list[tuple[str, ...]],
) -> None:
    judge, items = votes(*([a, b] for a, b, _ in rows))  # type: ignore[list-item]
    said = faireval(judge, items, k=1)
    balanced = np.mean(
        [0.5 if one.winner == "tie" else one.winner == row[2] for one, row in zip(said, rows, strict=True)]
    )
    orders = [np.mean([row[order] == row[2] for row in rows]) for order in (0, 1)]
    assert balanced == pytest.approx(np.mean(orders))


def test_a_bias_for_the_first_is_taken_out() -> None:
    items = [item(f"i{n}", meta={"quality": [5.0, 5.5] if n % 2 else [5.5, 5.0]}) for n in range(40)]
    judge = SimulatedJudge(Faults(order_bias=1.0), seed=0)
    assert {one.winner for one in faireval(judge, items, k=1, balance=False)} == {"1"}
    assert [one.winner for one in faireval(judge, items, k=1)] == ["2" if n % 2 else "1" for n in range(40)]


def test_people_get_the_most_entropic_share() -> None:
    judge, items = votes(["1", "1"], ["1", "2"], ["1", "1"], ["2", "2"], ["2", "2"])
    human: dict[str, Winner] = {f"i{n}": "2" for n in range(5)}
    said = faireval(judge, items, k=1, human=human, beta=0.2)
    assert [one.winner for one in said] == ["1", "2", "1", "2", "2"]
    assert [one.judge.endswith("+human") for one in said] == [False, True, False, False, False]
    waiting = faireval(judge, items, k=1, human={}, beta=0.2)[1]
    assert (waiting.status, waiting.winner) == ("waiting", None)
    assert all(not one.judge.endswith("+human") for one in faireval(judge, items, k=1, human=human, beta=0))


def test_identical_answers_tie_flagged_and_unasked() -> None:
    same = Item.pair("same", "q", "text", " text\n")
    (one,) = faireval(Scores({}), [same])
    assert (one.winner, one.status, one.rationale) == ("tie", "ok", IDENTICAL)
    assert position_entropy([one])[0] == 0


def test_the_papers_judge_asks_for_evidence_first_at_temperature_one() -> None:
    model = ScriptedModel()
    (one,) = faireval(evidence_judge(model), [item()], k=3)
    assert (one.winner, one.scores) == ("tie", (7.0, 7.0))
    assert len(model.asked) == 6
    assert {ask.temperature for ask in model.asked} == {1.0}
    assert {ask.max_tokens for ask in model.asked} == {512}
    assert len({ask.seed for ask in model.asked}) == 3
    schema = model.asked[0].schema
    assert schema is not None
    assert list(schema.model_fields)[-2:] == ["score_1", "score_2"]
    assert one.prompts == prompt("faireval_evidence").told


@pytest.mark.parametrize("responses", [1, 3])
def test_a_pair_is_needed(responses: int) -> None:
    with pytest.raises(InvalidInput, match=f"item a: has {responses}"):
        faireval(Scores({}), [Item(id="a", prompt="q", responses=[{"text": "x"}] * responses)])  # type: ignore[arg-type]


def test_what_cannot_be_judged_is_refused() -> None:
    judge = Scores({(order, n): (5.0, 12.0) for order in ORDERS for n in range(3)})
    with pytest.raises(InvalidInput, match="item a: response 2 is empty"):
        faireval(judge, [Item.pair("a", "q", "text", " ")])
    with pytest.raises(InvalidInput, match=r"item a: scores gave scores .* outside 1 to 10"):
        faireval(judge, [item()])
    assert faireval(judge, [item()], scale=(0, 20))[0].winner == "tie"
    for beta in (-0.1, 1.1, math.nan):
        with pytest.raises(InvalidInput, match="beta"):
            faireval(judge, [item()], beta=beta)
    with pytest.raises(InvalidInput, match="k: one sample"):
        faireval(judge, [item()], k=0)
    with pytest.raises(InvalidInput, match="item a: a human label is 1, 2 or tie"):
        faireval(judge, [item()], human={"a": "3"})  # type: ignore[dict-item]
    with pytest.raises(InvalidInput, match="neither two scores nor a winner"):
        faireval(RecordedJudge([Judgement(item_id="a", judge="j")]), [item()], k=1)


def test_the_claims_baseline_is_a_random_share_and_can_win() -> None:
    right = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    doubt = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    assert _guided(right, doubt, np.zeros(5)) == 0.8
    assert _unguided(right) == pytest.approx(0.6 + 0.2 * 0.4)
    assert _gain(right, doubt, np.zeros(5)) > 0 > _gain(right, -doubt + [5, 0, 0, 0, 0], np.zeros(5))


@pytest.mark.claim
def test_the_simulated_claim_holds() -> None:
    assert [one.holds for one in _simulated((0, 1, 2))] == ["true", "true"]
