"""PRE: language models review each other, once they have passed an exam ("PRE: A Peer Review Based Large Language Model
Evaluator", Chu, Ai, Tu, Li and Liu 2024, arXiv 2401.15641).

Faithful: a qualification exam on items with gold labels, optionally one of agreement with oneself; those who fail
either do not review; weights from the exam (uniform, log-odds, exponential, power), mixed where there are two; scores
are averaged with them, pairs are voted on over {-1, 0, 1} in both orders; systems are ranked by score or win rate.

Ours: exam rule "order" (the share of pairs of responses in gold's order, a tied score counting half), for reviewers
whose scores are on another scale than gold; with rule "mse" the weights come from the share within one level; log-odds
are taken of scores kept within 0.01 and 0.99 and are 0 up to 0.5; a reviewer's own submissions can be kept from it, and
how much better it finds its own is reported. For Elo or Bradley-Terry ratings of the pairs see `PeerReview.games`.

Shapes: tables are [reviewers, items, systems], NaN where there is no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.judge import exam as exams
from weighup.judge.exam import Weighing
from weighup.judge.orders import both_orders
from weighup.judge.pre_exam import Exam, Marks, Rule, mean_of, pairs_of, sit
from weighup.judge.types import Item, Judge, Judgement, unique
from weighup.metrics.estimate import Estimate
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.arena.board import Leaderboard

METHOD = Method(
    name="pre",
    room="judge",
    paper="PRE: A Peer Review Based Large Language Model Evaluator (Chu et al. 2024)",
    arxiv="2401.15641",
    command="weighup judge run",
    claim_check="weighup.judge.pre_claim:check",
)
Floats = NDArray[np.float64]
_SIDE = {"1": 1.0, "tie": 0.0, "2": -1.0}
_MOST_ERROR = 1.0  # of the exam by mean squared error


@dataclass(frozen=True, slots=True)
class Standing:
    """A system and its value: mean score, or win rate in [0, 1]; interval by a bootstrap over items."""

    system: str
    value: Estimate


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A reviewer's exam, its weight (0 if not admitted) and why it was not admitted. `own_gap`: what it gives its own
    submissions over what the other admitted reviewers give them, None if it has none or was not admitted."""

    name: str
    gold: Estimate
    consistency: Estimate | None
    weight: float
    why: str = ""
    own_gap: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Game:
    """One pair of systems on one item, as the panel decided: 1 first wins, 0 tie, -1 second wins."""

    item_id: str
    first: str
    second: str
    result: int


@dataclass(frozen=True, slots=True)
class PeerReview:
    """`standings`, the best first; `reviewers` in the order given; `games` where pairs were judged."""

    standings: tuple[Standing, ...]
    reviewers: tuple[Reviewer, ...]
    games: tuple[Game, ...] = ()

    @property
    def ranking(self) -> tuple[str, ...]:
        """Systems, the best first."""
        return tuple(one.system for one in self.standings)

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the admitted, which sum to 1."""
        return {one.name: one.weight for one in self.reviewers if not one.why}

    def elo(self, *, k: float = 32.0, orders: int = 100, seed: int = 0) -> Leaderboard:
        """The ranking by Elo on random orders of the games, as the authors' code has it too. Raises InvalidInput where
        no pairs were judged."""
        from weighup.arena.elo import elo
        from weighup.arena.types import Match, Winner

        winners: dict[int, Winner] = {1: "a", 0: "tie", -1: "b"}
        matches = [Match(one.first, one.second, winners[one.result], item=one.item_id) for one in self.games]
        if not matches:
            raise InvalidInput("peer review: no pairs were judged, so there are no games to rate")
        return elo(matches, k=k, orders=orders, seed=seed)


def peer_review(
    reviewers: Sequence[Judge],
    submissions: Sequence[Item],
    exam: Exam,
    pass_at: float = 0.6,
    weights: Weighing = "log",
    own_votes: bool = True,
    *,
    kind: Literal["pair", "score"] = "pair",
    rule: Rule = "order",
    consistent_at: float | None = None,
    gold_share: float = 1.0,
    min_reviewers: int = 1,
    alpha: float = 1.0,
    seed: int = 0,
) -> PeerReview:
    """Rank the systems whose responses stand in `submissions` by the votes of the reviewers who pass the exam.

    pass_at: least share of the exam that is right (rule "mse": passing is a mean squared error of at most 1).
    consistent_at: least agreement with oneself (pairs: in the other order; scores: when asked again), None: not asked
    for; the weight is then gold_share of that by gold plus the rest by consistency. own_votes: whether reviewers judge
    submissions of the system that bears their name. alpha: of the weights "exp" and "poly".

    Raises InvalidInput for no reviewers or two of one name, responses without a system or with the same in one item,
    an exam without gold, shares outside [0, 1], fewer than min_reviewers who pass (naming all scores).
    """
    shares = {"pass_at": pass_at, "consistent_at": consistent_at, "gold_share": gold_share}
    systems = _checked(reviewers, submissions, shares)
    again = consistent_at is not None
    marks = {judge.name: sit(judge, exam, kind, rule, seed=seed, again=again) for judge in reviewers}
    why = {name: _why(one, rule, pass_at, consistent_at) for name, one in marks.items()}
    passed = {name: one.gold.value for name, one in marks.items() if not why[name]}
    if len(passed) < max(1, min_reviewers):
        listed = "; ".join(f"{name}: {why[name] or 'passed'}" for name in marks)
        raise InvalidInput(
            f"exam: {len(passed)} of {len(marks)} reviewers pass where {max(1, min_reviewers)} are needed ({listed}); "
            "lower pass_at, or min_reviewers"
        )
    weight = exams.weights(passed, weights, alpha=alpha)
    if consistent_at is not None and gold_share < 1:
        agreed = {name: one.consistency.value for name, one in marks.items() if name in passed and one.consistency}
        other = exams.weights(agreed, weights, alpha=alpha)
        weight = {name: gold_share * weight[name] + (1 - gold_share) * other[name] for name in weight}
    admitted = [judge for judge in reviewers if judge.name in passed]
    column = np.array([weight[judge.name] for judge in admitted])
    games: tuple[Game, ...] = ()
    if kind == "score":
        table = score_tables(admitted, submissions, systems)
        joint = weighted(table if own_votes else _without_own(table, admitted, systems), column)
    else:
        pairs = pairs_of(submissions)
        votes = _votes(admitted, [pair for _, pair in pairs])
        table = np.stack([_win_rates(one, pairs, len(submissions), systems) for one in votes])
        kept = votes if own_votes else _without_own_pairs(votes, admitted, [pair for _, pair in pairs])
        side = weighted(kept, column)
        result = np.where(np.isnan(side), np.nan, np.sign(np.where(np.abs(side) < 1e-9, 0.0, side)))
        joint = _win_rates(result, pairs, len(submissions), systems)
        games = tuple(
            Game(submissions[place].id, pair.responses[0].system, pair.responses[1].system, int(one))
            for (place, pair), one in zip(pairs, result, strict=True)
            if not math.isnan(one)
        )
    gaps = own_gaps(table, [judge.name for judge in admitted], systems, seed=seed)
    told = tuple(
        Reviewer(name, one.gold, one.consistency, weight.get(name, 0.0), why[name], gaps.get(name))
        for name, one in marks.items()
    )
    return PeerReview(_standings(joint, systems, seed), told, games)


def weighted(table: Floats, weight: Floats) -> Floats:
    """Mean over the first axis of `table` [reviewers, ...] with `weight` [reviewers], of what is not NaN; NaN where
    nothing is that has weight."""
    there = ~np.isnan(table)
    shaped = weight.reshape(-1, *[1] * (table.ndim - 1))
    total = (shaped * there).sum(0)
    sums = (shaped * np.where(there, table, 0.0)).sum(0)
    return np.asarray(np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0), np.float64)


def score_tables(judges: Sequence[Judge], items: Sequence[Item], systems: Sequence[str]) -> Floats:
    """The scores of each judge [judges, items, systems]; NaN where there is none."""
    place = {system: column for column, system in enumerate(systems)}
    found = np.full((len(judges), len(items), len(systems)), np.nan)
    for row, judge in enumerate(judges):
        for number, (item, said) in enumerate(zip(items, judge.judge(items), strict=True)):
            if said.usable and said.scores is not None:
                for response, score in zip(item.responses, said.scores, strict=True):
                    found[row, number, place[response.system]] = np.nan if score is None else score
    return found


def own_gaps(table: Floats, reviewers: Sequence[str], systems: Sequence[str], *, seed: int = 0) -> dict[str, Estimate]:
    """Self-preference: what each reviewer gives the system of its own name over the mean of what the others give it,
    by reviewer. table [reviewers, items, systems]. Two reviewers or more are needed for any."""
    found = {}
    for row, name in enumerate(reviewers):
        if name not in systems or len(reviewers) < 2:
            continue
        column = table[:, :, list(systems).index(name)]
        others = weighted(np.delete(column, row, axis=0), np.ones(len(reviewers) - 1))
        found[name] = mean_of(column[row] - others, seed)
    return found


def _votes(judges: Sequence[Judge], pairs: Sequence[Item]) -> Floats:
    """[judges, pairs]: mean over the two orders of 1 for the first response, 0 for a tie, -1 for the second."""
    found = np.full((len(judges), len(pairs)), np.nan)
    for row, judge in enumerate(judges):
        for column, both in enumerate(both_orders(judge, pairs)):
            said = [_side(one) for one in both if one.usable]
            if said:
                found[row, column] = np.mean(said)
    return found


def _side(one: Judgement) -> float:
    if one.winner is None:
        raise InvalidInput(f"item {one.item_id}: {one.judge} names no winner")
    return _SIDE[one.winner]


def _win_rates(side: Floats, pairs: Sequence[tuple[int, Item]], items: int, systems: Sequence[str]) -> Floats:
    """side [pairs] in [-1, 1] -> share of its pairs that each system wins [items, systems], a tie being half."""
    place = {system: column for column, system in enumerate(systems)}
    total, count = np.zeros((items, len(systems))), np.zeros((items, len(systems)))
    for (row, pair), one in zip(pairs, side, strict=True):
        if not math.isnan(one):
            for response, value in zip(pair.responses, ((1 + one) / 2, (1 - one) / 2), strict=True):
                total[row, place[response.system]] += value
                count[row, place[response.system]] += 1
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0), np.float64)


def _without_own(table: Floats, judges: Sequence[Judge], systems: Sequence[str]) -> Floats:
    own = np.array([[judge.name == system for system in systems] for judge in judges])
    return np.where(own[:, None, :], np.nan, table)


def _without_own_pairs(votes: Floats, judges: Sequence[Judge], pairs: Sequence[Item]) -> Floats:
    own = np.array([[judge.name in {one.system for one in pair.responses} for pair in pairs] for judge in judges])
    return np.where(own, np.nan, votes)


def _standings(joint: Floats, systems: Sequence[str], seed: int) -> tuple[Standing, ...]:
    found = [Standing(system, mean_of(joint[:, column], seed)) for column, system in enumerate(systems)]
    return tuple(sorted(found, key=lambda one: (math.isnan(one.value.value), -one.value.value)))


def _why(marks: Marks, rule: Rule, pass_at: float, consistent_at: float | None) -> str:
    """Why a reviewer is not admitted; empty if it is."""
    if not marks.said:
        return "no usable verdict in the exam"
    if rule == "mse" and marks.mse is not None:
        if marks.mse > _MOST_ERROR:
            return f"mean squared error {marks.mse:.2f} is over {_MOST_ERROR:g}"
    elif not marks.gold.value >= pass_at:
        return f"{marks.gold.value:.2f} of the exam is right, under {pass_at:g}"
    if consistent_at is not None and marks.consistency is not None and not marks.consistency.value >= consistent_at:
        return f"agrees with itself in {marks.consistency.value:.2f}, under {consistent_at:g}"
    return ""


def _checked(
    reviewers: Sequence[Judge], submissions: Sequence[Item], shares: Mapping[str, float | None]
) -> tuple[str, ...]:
    """The systems, in the order in which they first appear."""
    names = [judge.name for judge in reviewers]
    if not names or len(set(names)) < len(names):
        raise InvalidInput(f"reviewers: one or more of different names are needed, not {', '.join(names) or 'none'}")
    for name, value in shares.items():
        if value is not None and not 0 <= value <= 1:
            raise InvalidInput(f"{name}: a share in [0, 1] is needed, not {value}")
    unique(submissions)
    for item in submissions:
        systems = [one.system for one in item.responses]
        if not all(systems) or len(set(systems)) < max(2, len(systems)):
            raise InvalidInput(f"item {item.id}: responses of two or more different, named systems are needed")
    return tuple(dict.fromkeys(one.system for item in submissions for one in item.responses))
