"""SciArena: ratings with what may count, how far annotators and judges are to be trusted, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from weighup.arena import Match, bradley_terry, simulate_votes
from weighup.arena.sciarena import annotator_reliability, meta_evaluate, rate
from weighup.arena.sciarena_claim import Preferences, arena, length_controlled
from weighup.arena.simulate import Style
from weighup.errors import InvalidInput
from weighup.judge.recorded import RecordedJudge
from weighup.judge.types import Item, Judgement, Winner, answered

RING = [Match("x", "y", "a"), Match("y", "z", "a"), Match("z", "x", "a"), Match("x", "z", "both_bad")] * 4
SKILLS = {"x": 1.0, "y": 0.0, "z": -1.0}


def vote(voter: str, item: str, winner: str, a: str = "x", b: str = "y", at: float | None = None) -> Match:
    return Match(a, b, winner, voter=voter, item=item, at=at)  # type: ignore[arg-type]


def test_ratings_are_bradley_terrys_with_a_hundred_bootstraps() -> None:
    matches = simulate_votes(SKILLS, n=300, seed=1)
    assert rate(matches, seed=4) == bradley_terry(matches, interval="bootstrap", rounds=100, seed=4)  # type: ignore[arg-type]
    assert rate(matches).order() == ("x", "y", "z")  # type: ignore[arg-type]
    assert rate(matches, "elo").order() == ("x", "y", "z")  # type: ignore[arg-type]


def test_length_held_constant() -> None:
    style = Style(0.5, {"x": -2.0, "y": 0.0, "z": 2.0}, name="length")
    matches = simulate_votes({"x": 0.6, "y": 0.0, "z": -0.6}, n=3000, seed=0, style=style)
    assert rate(matches).order() == ("z", "y", "x")  # type: ignore[arg-type]
    board = rate(matches, controls=["length"])  # type: ignore[arg-type]
    assert board.order() == ("x", "y", "z")
    found = board.coefficients["length"]
    assert found.low < 0.5 < found.high  # type: ignore[operator]


def test_a_withdrawn_model_is_not_shown_but_its_votes_count() -> None:
    whole, board = rate(RING), rate(RING, withdrawn=["y"])
    assert [one.system for one in board.ratings] == [one.system for one in whole.ratings if one.system != "y"]
    assert board["x"] == whole["x"]
    assert board.components == (("x", "z"),)
    with pytest.raises(InvalidInput, match="withdrawn: unknown system q"):
        rate(RING, withdrawn=["q"])
    with pytest.raises(InvalidInput, match="fewer than two"):
        rate(RING, withdrawn=["x", "y"])


def test_voting_twice() -> None:
    votes = [
        vote("v", "q1", "a"), vote("w", "q1", "b"), vote("v", "q2", "a"), vote("v", "q1", "a", "y", "x"),
        vote("v", "q1", "a", "y", "z"), vote("v", "q1", "b", "x", "z"), Match("z", "x", "b"), Match("z", "y", "a"),
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match=r"row 4, voter: 'v' voted on 'q1' before"):
        rate(votes)
    first, last = (rate(votes, repeated=which, ridge=1, rounds=5) for which in ("first", "last"))  # type: ignore[arg-type]
    assert (first.n, last.n) == (7, 7)
    assert first["x"].value > last["x"].value
    assert first["x"].value == pytest.approx(rate([*votes[:3], *votes[4:]], ridge=1, rounds=5)["x"].value)
    assert last["x"].value == pytest.approx(rate(votes[1:], ridge=1, rounds=5)["x"].value)


def test_only_trusted_voters() -> None:
    votes = [replace(m, voter="v", item=f"q{n}") for n, m in enumerate(RING)]
    more = [*votes, *[replace(m, voter="w") for m in votes]]
    assert rate(more, voters=["v"]) == rate(votes)
    with pytest.raises(InvalidInput, match="voters: unknown u; known are v, w"):
        rate(more, voters=["v", "u"])
    with pytest.raises(InvalidInput, match="voters: unknown v; known are none"):
        rate(RING, voters=["v"])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"method": "glicko"}, "method: bt or elo"),
        ({"method": "elo", "controls": ["length"]}, "controls: Elo takes none"),
        ({"controls": ["length"]}, "'length' is no covariate"),
        ({"repeated": "both"}, "repeated: error, first or last"),
        ({"rounds": 0}, "rounds"),
    ],
)
def test_a_rating_that_is_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        rate(RING, **how)


def test_models_never_compared() -> None:
    with pytest.raises(InvalidInput, match=r"2 groups .*\{u, v\}, \{x, y\}"):
        rate([Match("x", "y", "tie"), Match("u", "v", "tie")])


def test_an_annotator_who_always_picks_left_is_flagged() -> None:
    left = [vote("left", f"q{n}", "a") for n in range(11)]
    few = [vote("few", f"q{n}", "b") for n in range(10)]
    fair = [vote("fair", f"q{n}", "a" if n % 2 else "b") for n in range(40)]
    found = annotator_reliability([*left, *few, *fair])
    assert found.flagged == ("left",)
    one, two, three = found.annotators
    assert one.flags == ("one side",)
    assert one.p == pytest.approx(2 * 0.5**11)
    assert (one.n, one.left.value, one.busiest) == (11, 1.0, None)
    assert two.p == pytest.approx(2 * 0.5**10)
    assert three.left.value == 0.5
    right = [replace(m, winner="b") for m in left]
    assert annotator_reliability(right).flagged == ("left",)


def test_ties_alone_tell_of_no_side() -> None:
    (one,) = annotator_reliability([vote("v", f"q{n}", "tie") for n in range(20)]).annotators
    assert (one.flags, one.p) == ((), 1.0)
    assert math.isnan(one.left.value)


def test_votes_too_fast_for_a_reader_are_flagged() -> None:
    bot = [vote("bot", f"q{n}", "ab"[n % 2], at=5.0 * n) for n in range(12)]
    reader = [vote("reader", f"q{n}", "ab"[n % 2], at=90.0 * n) for n in range(12)]
    found = annotator_reliability([*bot, *reader])
    assert found.flagged == ("bot",)
    assert [one.busiest for one in found.annotators] == [12, 1]
    assert annotator_reliability(bot, per_minute=12).flagged == ()


def test_consistency_and_agreement_by_hand() -> None:
    votes = [
        vote("v", "q1", "a", at=1), vote("v", "q1", "b", "y", "x", at=2),  # the same, shown the other way round
        vote("v", "q2", "a", at=3), vote("v", "q2", "tie", at=4),
        vote("w", "q1", "a", at=5), vote("w", "q2", "b", at=6), vote("w", "q3", "a", at=7),
        vote("w", "q1", "a", "y", "z", at=8),  # other systems: another question
    ]  # fmt: skip
    found = annotator_reliability(votes, weights=None)
    assert (found.consistency.value, found.consistency.n) == (0.5, 2)
    assert (found.agreement.value, found.agreement.n) == (0.5, 2)
    assert found.annotators[0].same.value == 0.5
    assert found.annotators[1].same.n == 0
    # Pairs (1, 1) and (1, 0), each both ways.
    assert found.kappa.value == pytest.approx(cohen_kappa_score([1, 1, 1, 0], [1, 0, 1, 1]))
    assert found.consistency_kappa.value == pytest.approx(cohen_kappa_score([2, 2, 2, 1], [2, 1, 2, 2]))


def test_kappa_is_scikit_learns_and_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 3, 200)
    other = np.where(rng.random(200) < 0.7, one, rng.integers(0, 3, 200))
    names = ["b", "tie", "a"]
    votes = [vote(v, f"q{n}", names[y]) for v, said in (("v", one), ("w", other)) for n, y in enumerate(said)]
    found = annotator_reliability(votes).kappa
    both = np.concatenate([one, other]), np.concatenate([other, one])
    assert found.value == pytest.approx(cohen_kappa_score(*both, weights="linear"))
    assert found.low < found.value < found.high
    assert found.n == 200


def test_nobody_voted_twice_or_together() -> None:
    found = annotator_reliability([vote("v", "q1", "a"), Match("x", "y", "b", voter="w")])
    assert math.isnan(found.consistency.value)
    assert (found.agreement.n, found.kappa.n) == (0, 0)
    alike = annotator_reliability(
        [vote("v", "q1", "a"), vote("w", "q1", "a"), vote("v", "q2", "a"), vote("w", "q2", "a")]
    )
    assert alike.agreement.value == 1
    assert math.isnan(alike.kappa.value)


def test_votes_without_a_voter_are_refused() -> None:
    with pytest.raises(InvalidInput, match="row 1, voter: is missing"):
        annotator_reliability(RING)
    with pytest.raises(InvalidInput, match="row 2, voter: is missing"):
        annotator_reliability([vote("v", "q", "a"), Match("x", "y", "a")])
    with pytest.raises(InvalidInput, match="per_minute"):
        annotator_reliability([vote("v", "q", "a")], per_minute=0)


def judged(said: Sequence[tuple[str | None, str | None]]) -> tuple[list[Item], RecordedJudge]:
    """Items, and a judge that says of each in the given order, then swapped, in the item's own numbering."""
    items = [Item.pair(f"q{n}", "Why?", "One.", "Two.", category="en" if n % 2 else "de") for n in range(len(said))]
    verdicts: list[Judgement] = []
    for item, pair in zip(items, said, strict=True):
        for shown, winner in zip((item, item.swapped()), pair, strict=True):
            verdicts.append(
                Judgement(item_id=item.id, judge="j", order=shown.order, winner=winner)  # type: ignore[arg-type]
                if winner
                else answered(shown, "j", status="invalid")
            )
    return items, RecordedJudge(verdicts, "j")


def test_a_judge_against_votes_by_hand() -> None:
    items, judge = judged([("1", "1"), ("1", "2"), ("2", "tie"), (None, "1"), ("1", "1")])
    voted: list[Winner] = ["1", "1", "2", "1", "tie"]
    found = meta_evaluate(judge, list(zip(items, voted, strict=True)))
    assert found.accuracy.value == pytest.approx((1 + 0.5 + 0.75 + 0.5) / 4)
    assert (found.judge, found.accuracy.n, found.ties, found.unusable) == ("j", 4, 1, 1)
    assert found.conflict.n == 3
    assert dict(found.by_category)["de"].value == pytest.approx((1 + 0.75) / 2)
    assert found.accuracy.low <= found.accuracy.value <= found.accuracy.high


def test_votes_on_judges_that_are_refused() -> None:
    items, judge = judged([("1", "1"), ("2", "2")])
    with pytest.raises(InvalidInput, match="every vote is a tie"):
        meta_evaluate(judge, [(item, "tie") for item in items])
    with pytest.raises(InvalidInput, match="item q1: 'left' is none of"):
        meta_evaluate(judge, [(items[0], "1"), (items[1], "left")])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="q0"):
        meta_evaluate(judge, [(items[0], "1"), (items[0], "2")])


def test_the_claims_arena_and_regression() -> None:
    one = arena(0, votes=1500)
    assert one.controlled > one.plain
    assert one.half > 0
    rng = np.random.default_rng(0)
    gap = 500 * rng.standard_normal((3, 400)) + np.array([[-400.0], [0], [400]])
    hard = rng.standard_normal(400)
    liking = 1 / (1 + np.exp(-(1.5 * np.tanh(gap / gap.std(axis=1, keepdims=True)) + hard)))
    told = Preferences(("a", "b", "c"), (rng.random((3, 400)) < liking).astype(float), gap, gap.mean(axis=1), gap[:, 0])
    raw, controlled = told.preference.mean(axis=1), length_controlled(told)
    assert np.ptp(controlled) < np.ptp(raw) / 2
    assert length_controlled(told, 1e9) == pytest.approx(raw, abs=1e-3)
