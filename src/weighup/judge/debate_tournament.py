"""Who debates best? The double round robin of debate-driven evaluation (`debate`) and its ratings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weighup.errors import InvalidInput, JobFailed
from weighup.judge.debate import MOST, Debate, Pairing, debates
from weighup.judge.debate_players import Debater, debater
from weighup.judge.types import Item, Judge, unique
from weighup.metrics.estimate import Estimate, share
from weighup.models.metering import Meter
from weighup.models.types import LanguageModel

RIDGE = 0.1
"""Penalty λ/2·Σθ² of the ratings: a standard deviation of √10 natural log-odds, which hardly moves a rating, and keeps
that of a model that won everything finite."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one model did. `rating`: Bradley–Terry, mean 1000, with its 95 % interval (NaN without a decided debate);
    `pro`, `con`: shares won on each side; `score`: their mean, so that the harder side weighs as much, NaN if the
    model was decided on one side only."""

    model: str
    rating: float
    low: float
    high: float
    pro: Estimate
    con: Estimate
    score: float


@dataclass(frozen=True, slots=True)
class Tournament:
    """All debates, the standings, best rating first, and how many debates ended in each status."""

    debates: tuple[Debate, ...]
    standings: tuple[Standing, ...]
    statuses: Mapping[str, int]

    def order(self) -> tuple[str, ...]:
        """The models, best first."""
        return tuple(one.model for one in self.standings)


def debate_tournament(
    models: Sequence[Debater | LanguageModel],
    items: Sequence[Item],
    judge: Judge,
    seed: int,
    *,
    rounds: int = MOST,
    early: bool = True,
    meter: Meter | None = None,
) -> Tournament:
    """Every ordered pair of models debates every item: n·(n − 1)·items debates.

    Raises InvalidInput for fewer than two models, names that stand twice, and as `debates`; JobFailed when no debate
    was decided.
    """
    players = [debater(one) for one in models]
    names = [one.name for one in players]
    if len(players) < 2:
        raise InvalidInput(f"models: two debaters or more are needed, not {len(players)}")
    if len(set(names)) < len(names):
        raise InvalidInput(f"models: a name stands twice among {', '.join(sorted(names))}")
    unique(items)
    pairings = [Pairing(item, pro, con) for item in items for pro in players for con in players if pro is not con]
    return tournament(debates(pairings, judge, rounds, early=early, seed=seed, meter=meter))


def tournament(held: Sequence[Debate]) -> Tournament:
    """The standings of debates that were held. Raises JobFailed when none was decided."""
    names = sorted({name for one in held for name in (one.pro, one.con)})
    decided = [one for one in held if one.winner is not None]
    statuses = dict(Counter(str(one.status) for one in held))
    if not decided:
        told = next((one.transcript.note for one in held if one.transcript.note), "the judge named no side")
        raise JobFailed(f"debate: none of {len(held)} debates was decided ({statuses}): {told}")
    ratings = _ratings(decided)
    standings = []
    for name in names:
        pro = share([one.winner == "pro" for one in decided if one.pro == name])
        con = share([one.winner == "con" for one in decided if one.con == name])
        value, low, high = ratings.get(name, (math.nan, math.nan, math.nan))
        standings.append(Standing(name, value, low, high, pro, con, (pro.value + con.value) / 2))
    standings.sort(key=lambda one: (math.isnan(one.rating), -one.rating, one.model))
    return Tournament(tuple(held), tuple(standings), statuses)


def _ratings(decided: Sequence[Debate]) -> dict[str, tuple[float, float, float]]:
    from weighup.arena.bradley_terry import bradley_terry
    from weighup.arena.types import Match

    matches = [Match(one.pro, one.con, "a" if one.winner == "pro" else "b") for one in decided]
    board = bradley_terry(matches, ridge=RIDGE, disconnected="rank_each")
    return {
        one.system: (
            one.value,
            math.nan if one.low is None else one.low,
            math.nan if one.high is None else one.high,
        )
        for one in board.ratings
    }
