"""What the arena's votes say: how systems stand, which voters favour a side, how often judges agree with people.

Votes on pairs are rated by Bradley–Terry (`weighup.arena.bradley_terry`), votes on larger sets by Gaussian beliefs
(`weighup.arena.belief`). Both need scipy, which the server does not: without it the shares of wins stand alone, and
what to install is said.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from weighup.errors import InvalidInput, JobFailed
from weighup.metrics.estimate import Estimate, estimated
from weighup.metrics.forest import forest
from weighup.metrics.significance import fair_coin
from weighup.verify.report import phrases

if TYPE_CHECKING:
    from weighup.arena.types import Leaderboard, Ranking
    from weighup.serve.db.arena import ArenaVote

FLAGGED = 0.001
"""A voter's share of left-side votes is flagged where chance alone would be as far from a half less often than this."""
RIDGE = 1.0
"""The penalty on strengths while some system has only won or only lost, and Bradley–Terry has no maximum."""
ENOUGH = 20
"""Items from which on a judge's agreement gets an interval: resamples of fewer say too little."""


@dataclass(frozen=True, slots=True)
class Row:
    """One system. `won`: share of its meetings that it won, ties as halves; `group`: from 1, of those compared."""

    system: str
    value: float | None
    low: float | None
    high: float | None
    votes: int
    won: float
    group: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """How systems stand by one kind of vote, best first. `notes`: what to know of the numbers; `drawing`: an SVG."""

    rows: tuple[Row, ...]
    votes: int
    rated: bool
    groups: int = 1
    notes: tuple[str, ...] = ()
    drawing: Markup | None = None


@dataclass(frozen=True, slots=True)
class Voter:
    """One voter. Of the votes on pairs that chose a side, `left` of `decided` chose the left one; `p`: how often chance
    alone would be as far from a half (exact, two-sided). `seconds`: the median from page to vote."""

    id: str
    votes: int
    decided: int
    left: int
    p: float | None
    seconds: float | None

    @property
    def flagged(self) -> bool:
        """Whether the side seems to decide, not the answers."""
        return self.p is not None and self.p < FLAGGED


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a judge named the system that people chose. Ties, the people's and the judge's, are left out; `ties`:
    votes on which only the judge saw one."""

    judge: str
    share: Estimate
    items: int
    ties: int


@dataclass(frozen=True, slots=True)
class Standing:
    """All of it. `pairs` and `sets` are None without votes of their kind."""

    votes: int
    items: int
    pairs: Table | None
    sets: Table | None
    voters: tuple[Voter, ...]
    judges: tuple[Agreement, ...]


@dataclass(slots=True)
class _Heard:
    """What was gathered of one voter."""

    votes: int = 0
    left: int = 0
    right: int = 0
    seconds: list[float] = field(default_factory=list)


def standing(votes: Iterable[ArenaVote], judged: Mapping[str, Mapping[str, str | None]]) -> Standing:
    """From all votes, oldest first, and what judges said: by item and judge, the system that won, None for a tie."""
    pairs: list[tuple[str, str, str]] = []
    sets: list[Ranking] = []
    heard: dict[str, _Heard] = {}
    hits: dict[str, list[tuple[str, bool]]] = {}
    ties: Counter[str] = Counter()
    items: set[str] = set()
    for vote in votes:
        items.add(vote.item)
        voter = heard.setdefault(vote.voter, _Heard())
        voter.votes += 1
        if vote.seconds is not None:
            voter.seconds.append(vote.seconds)
        if vote.ranking is not None:
            sets.append(vote.ranking)
        if vote.winner is None:
            continue
        a, b = vote.shown
        pairs.append((a, b, vote.winner))
        if vote.winner not in ("a", "b"):
            continue
        voter.left += vote.winner == "a"
        voter.right += vote.winner == "b"
        chosen = a if vote.winner == "a" else b
        for judge, winner in judged.get(vote.item, {}).items():
            if winner is None:
                ties[judge] += 1
            else:
                hits.setdefault(judge, []).append((vote.item, winner == chosen))
    return Standing(
        votes=sum(one.votes for one in heard.values()),
        items=len(items),
        pairs=_of_pairs(pairs) if pairs else None,
        sets=_of_sets(sets) if sets else None,
        voters=tuple(sorted((_voter(id, one) for id, one in heard.items()), key=lambda one: (-one.votes, one.id))),
        judges=tuple(_agreement(judge, hits.get(judge, []), ties[judge]) for judge in sorted({*hits, *ties})),
    )


def _of_pairs(pairs: Sequence[tuple[str, str, str]]) -> Table:
    from weighup.arena.bradley_terry import bradley_terry
    from weighup.arena.types import OUTCOMES, Matches

    met: list[tuple[str, str, float]] = [(a, b, OUTCOMES[winner]) for a, b, winner in pairs]
    first, second, winners = (list(column) for column in zip(*pairs, strict=True))
    matches = Matches.columns(first, second, winners)
    notes: list[str] = []

    def rate() -> Leaderboard:
        try:
            return bradley_terry(matches, disconnected="rank_each")
        except InvalidInput:  # no finite maximum yet
            notes.append(
                "Some system has only won or only lost against the others so far. Until that changes, ratings are held "
                f"together by a penalty (ridge {RIDGE:g}), which draws them towards the mean."
            )
            return bradley_terry(matches, ridge=RIDGE, disconnected="rank_each")

    return _table("Ratings from pairs", "rating", rate, notes, met, len(pairs))


def _of_sets(rankings: Sequence[Ranking]) -> Table:
    from weighup.arena.belief import gaussian_belief
    from weighup.arena.types import levels

    met: list[tuple[str, str, float]] = []
    for ranking in rankings:
        groups = levels(ranking)
        placed = [(name, place) for place, group in enumerate(groups) for name in group]
        for number, (a, above) in enumerate(placed):
            met += [(a, b, 0.5 if above == below else 1.0) for b, below in placed[number + 1 :]]
    return _table(
        "Skills from sets",
        "skill",
        lambda: gaussian_belief(rankings, disconnected="rank_each"),
        [],
        met,
        len(rankings),
    )


def _table(
    title: str,
    axis: str,
    rate: Callable[[], Leaderboard],
    notes: list[str],
    met: Sequence[tuple[str, str, float]],
    votes: int,
) -> Table:
    """`met`: every meeting of two, and what the first won of it."""
    won: defaultdict[str, float] = defaultdict(float)
    meetings: Counter[str] = Counter()
    for a, b, share in met:
        won[a] += share
        won[b] += 1 - share
        meetings.update((a, b))
    shares = {name: won[name] / count for name, count in meetings.items()}
    try:
        board = rate()
    except JobFailed as error:
        notes.append(f"There are no ratings with intervals: {error}. These are the shares of wins alone.")
        order = sorted(shares, key=lambda name: (-shares[name], name))
        rows = tuple(Row(name, None, None, None, meetings[name], shares[name]) for name in order)
        return Table(rows, votes, rated=False, notes=tuple(notes))
    groups = {name: number for number, names in enumerate(board.components, 1) for name in names}
    if len(board.components) > 1:
        notes.append(
            f"The systems fall into {len(board.components)} groups that were never compared with one another. Each is "
            "ranked by itself; ratings of different groups cannot be compared."
        )
    ranked = sorted(board.ratings, key=lambda one: groups[one.system])  # stable: best first within each
    rows = tuple(
        Row(one.system, one.value, one.low, one.high, one.n, shares[one.system], groups[one.system]) for one in ranked
    )
    drawn = [(phrases.plain(one.system), one.value, one.low, one.high) for one in ranked]
    drawing = Markup(forest(title, drawn, axis=axis))  # it escapes what it is given
    return Table(rows, votes, True, len(board.components), tuple(notes), drawing)


def _voter(id: str, heard: _Heard) -> Voter:
    decided = heard.left + heard.right
    p = fair_coin(heard.left, decided) if decided else None
    return Voter(id, heard.votes, decided, heard.left, p, median(heard.seconds) if heard.seconds else None)


def _agreement(judge: str, hits: Sequence[tuple[str, bool]], ties: int) -> Agreement:
    named = sorted({item for item, _ in hits})
    agreed = np.array([float(hit) for _, hit in hits])
    if len(named) < ENOUGH:  # none, or too few items to resample
        value = float(agreed.mean()) if len(hits) else math.nan
        return Agreement(judge, Estimate(value, math.nan, math.nan, len(hits)), len(named), ties)
    place = {item: number for number, item in enumerate(named)}
    groups = np.array([place[item] for item, _ in hits])
    return Agreement(judge, estimated(lambda seen: float(seen.mean()), agreed, seed=0, groups=groups), len(named), ties)
