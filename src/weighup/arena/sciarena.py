"""SciArena: ratings from votes on literature-grounded answers, and how far votes and judges can be trusted.

Paper: SciArena: An Open Evaluation Platform for Foundation Models in Scientific Literature Tasks (Zhao et al. 2025,
arXiv 2507.01001).
Faithful: Bradley–Terry ratings, 400·log10 of the strength around 1000, intervals from 100 bootstraps, differences in
length, citations and attribution as controls; annotators' self-consistency and agreement, as weighted κ; a judge's
accuracy on people's votes, ties dropped (SciArena-Eval).
Ours: what makes a vote suspect (one side always, a second vote, too many a minute); the κ counts every pair of votes
both ways, so that nobody has to be first; a judge is asked in both orders, and what it fails to answer is wrong.

Shapes: votes are `Matches` with `voter`, `item` and, where known, `at`; side a is the one shown left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weighup.arena.bradley_terry import bradley_terry
from weighup.arena.elo import elo
from weighup.arena.graph import Disconnected
from weighup.arena.types import Leaderboard, Match, Matches, refuse, some
from weighup.errors import InvalidInput
from weighup.judge.orders import both_orders, conflict_rate
from weighup.judge.types import Item, Judge, Judgement, Winner, two, unique
from weighup.metrics.agreement import cohen_kappa
from weighup.metrics.estimate import Estimate, estimated, share
from weighup.metrics.significance import fair_coin
from weighup.registry import Method

METHOD = Method(
    name="sciarena",
    room="arena",
    paper="SciArena: An Open Evaluation Platform for Scientific Literature Tasks (Zhao et al. 2025)",
    arxiv="2507.01001",
    command="weighup arena rate votes.csv --method bt --style-control length",
    claim_check="weighup.arena.sciarena_claim:check",
)
ROUNDS = 100
ONE_SIDED = 0.001
"""An annotator whose choice of side is less likely than this by chance is flagged."""
PER_MINUTE = 10
"""More votes than this within a minute are flagged: two answers with citations cannot be read in six seconds."""
Flag = Literal["one side", "too fast"]


@dataclass(frozen=True, slots=True)
class Annotator:
    """left: share of decided votes for the answer shown left; p: two-sided binomial p of it; busiest: most votes within
    a minute (None: no times); same: share of its own second votes that repeat the first."""

    voter: str
    n: int
    left: Estimate
    p: float
    busiest: int | None
    same: Estimate
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True)
class Reliability:
    """consistency: share of second votes of the same annotator on the same item and systems that repeat the first;
    agreement: share of pairs of votes of two annotators on the same that agree; each with its κ. NaN where there are
    none."""

    annotators: tuple[Annotator, ...]
    consistency: Estimate
    consistency_kappa: Estimate
    agreement: Estimate
    kappa: Estimate

    @property
    def flagged(self) -> tuple[str, ...]:
        """Annotators with a flag."""
        return tuple(one.voter for one in self.annotators if one.flags)


@dataclass(frozen=True, slots=True)
class MetaEvaluation:
    """accuracy: of the verdicts in both orders on people's decided votes, a tie counting half and no verdict as wrong;
    conflict: share of votes on which the orders contradict each other; ties: votes dropped; unusable: verdicts that
    could not be had."""

    judge: str
    accuracy: Estimate
    conflict: Estimate
    by_category: tuple[tuple[str, Estimate], ...]
    ties: int
    unusable: int


def rate(
    matches: Matches | Iterable[Match],
    method: Literal["bt", "elo"] = "bt",
    controls: Sequence[str] = (),
    *,
    rounds: int = ROUNDS,
    ridge: float = 0.0,
    voters: Collection[str] | None = None,
    withdrawn: Collection[str] = (),
    repeated: Literal["error", "first", "last"] = "error",
    seed: int = 0,
    disconnected: Disconnected = "error",
) -> Leaderboard:
    """The leaderboard, with 95 % bootstrap intervals over `rounds` resamples; controls: covariates to hold constant.

    voters: only their votes (None: all). withdrawn: systems that are no longer shown; their votes still tell about the
    others. repeated: what a second vote of one voter on the same item and systems is: an error that names its row, or
    the "first" or "last" counts. Raises InvalidInput also for unknown voters or systems, fewer than two systems left,
    controls with "elo", and all that `bradley_terry` and `elo` raise for.
    """
    if method not in ("bt", "elo"):
        raise InvalidInput(f"method: bt or elo, not {method!r}")
    if method == "elo" and controls:
        raise InvalidInput('controls: Elo takes none; use method="bt"')
    if repeated not in ("error", "first", "last"):
        raise InvalidInput(f"repeated: error, first or last, not {repeated!r}")
    taken = Matches.of(matches)
    if unknown := set(withdrawn) - set(taken.systems):
        raise InvalidInput(f"withdrawn: unknown system {some(unknown)}; known are {some(taken.systems)}")
    if len(taken.systems) - len(set(withdrawn)) < 2:
        raise InvalidInput("withdrawn: fewer than two systems are left")
    taken = _once(_of_voters(taken, voters), repeated)
    if method == "elo":
        board = elo(taken, orders=rounds, interval="bootstrap", seed=seed, disconnected=disconnected)
    else:
        board = bradley_terry(
            taken,
            controls=controls,
            ridge=ridge,
            interval="bootstrap",
            rounds=rounds,
            seed=seed,
            disconnected=disconnected,
        )
    if not withdrawn:
        return board
    left = tuple(tuple(name for name in group if name not in withdrawn) for group in board.components)
    shown = tuple(one for one in board.ratings if one.system not in withdrawn)
    return replace(board, ratings=shown, components=tuple(group for group in left if group))


def annotator_reliability(
    votes: Matches | Iterable[Match],
    *,
    weights: Literal["linear", "quadratic"] | None = "linear",
    per_minute: int = PER_MINUTE,
    seed: int = 0,
    draws: int = 1000,
) -> Reliability:
    """How far annotators agree with themselves and with each other, and whose votes are suspect.

    weights: of disagreements in κ over won, tie, lost (`cohen_kappa`). Votes without an item count for sides and speed
    only. Intervals: Wilson's for shares, bootstrap over items for the others. Raises InvalidInput for votes without
    voters, or per_minute below 1.
    """
    taken = Matches.of(votes)
    if taken.voter is None or (taken.voter.code < 0).any():
        row = 0 if taken.voter is None else int(np.argmin(taken.voter.code))
        refuse(row, "voter", "is missing; reliability needs to know who voted")
    if per_minute < 1:
        raise InvalidInput(f"per_minute: one vote or more is needed, not {per_minute}")
    again, others = _pairs_of_votes(taken)
    annotators = tuple(
        _annotator(taken, code, name, [a == b for who, _, a, b in again if who == code], per_minute)
        for code, name in enumerate(taken.voter.names)
        if (taken.voter.code == code).any()
    )
    own = [(item, a, b) for _, item, a, b in again]
    figures = [figure for rows in (own, others) for figure in _agreed(rows, weights, seed, draws)]
    return Reliability(annotators, *figures)


def meta_evaluate(
    judge: Judge, votes: Sequence[tuple[Item, Winner]], *, seed: int = 0, draws: int = 1000
) -> MetaEvaluation:
    """How often a judge says what people voted: `votes` are items of two responses, each with what was voted.

    Every item is judged in both orders, in one batch. Raises InvalidInput for no vote that is decided, an item that
    stands twice or has other than two responses, or a vote that is none of 1, 2, tie.
    """
    for item, voted in votes:
        two(item)
        if voted not in ("1", "2", "tie"):
            raise InvalidInput(f"votes: item {item.id}: {voted!r} is none of 1, 2, tie")
    unique([item for item, _ in votes])
    decided = [(item, voted) for item, voted in votes if voted != "tie"]
    if not decided:
        raise InvalidInput("votes: every vote is a tie; a judge cannot be right or wrong about them")
    pairs = both_orders(judge, [item for item, _ in decided])
    right = np.array([[_right(one, voted) for one in pair] for pair, (_, voted) in zip(pairs, decided, strict=True)])
    score = right.mean(axis=1)
    kinds = np.array([item.category or "" for item, _ in decided])
    named = [kind for kind in dict.fromkeys(kinds.tolist()) if kind]
    return MetaEvaluation(
        judge.name,
        estimated(_mean, score, seed=seed, draws=draws),
        conflict_rate(pairs),
        tuple((kind, estimated(_mean, score[kinds == kind], seed=seed, draws=draws)) for kind in named),
        len(votes) - len(decided),
        sum(not one.usable for pair in pairs for one in pair),
    )


def _right(one: Judgement, voted: Winner) -> float:
    if not one.usable or one.winner is None:
        return 0.0
    return 0.5 if one.winner == "tie" else float(one.winner == voted)


def _of_voters(matches: Matches, voters: Collection[str] | None) -> Matches:
    if voters is None:
        return matches
    known = () if matches.voter is None else matches.voter.names
    if unknown := set(voters) - set(known):
        raise InvalidInput(f"voters: unknown {some(unknown)}; known are {some(known) or 'none'}")
    codes = [known.index(name) for name in voters]
    assert matches.voter is not None or not codes
    kept = np.zeros(len(matches), dtype=np.bool_) if matches.voter is None else np.isin(matches.voter.code, codes)
    return matches.take(kept)


def _keys(matches: Matches) -> NDArray[np.int64]:
    """[n, 4]: voter, item, and the two systems, the lesser first, of each match."""
    none = np.full(len(matches), -1)
    voter = none if matches.voter is None else matches.voter.code
    item = none if matches.item is None else matches.item.code
    return np.stack([voter, item, np.minimum(matches.a, matches.b), np.maximum(matches.a, matches.b)], axis=1)


def _once(matches: Matches, repeated: str) -> Matches:
    """Without second votes. Votes whose voter or item is not known cannot be told to be one."""
    keys = _keys(matches)
    known = np.flatnonzero((keys[:, :2] >= 0).all(axis=1))
    order = known[::-1] if repeated == "last" else known
    _, first = np.unique(keys[order], axis=0, return_index=True)
    if len(first) == len(known):
        return matches
    kept = np.ones(len(matches), dtype=np.bool_)
    kept[known] = False
    kept[order[first]] = True
    if repeated == "error":
        row = int(np.argmin(kept))
        assert matches.voter is not None
        assert matches.item is not None
        voter, item = matches.voter.names[keys[row, 0]], matches.item.names[keys[row, 1]]
        refuse(row, "voter", f'{voter!r} voted on {item!r} before; choose with repeated="first" or "last"')
    return matches.take(kept)


def _pairs_of_votes(
    matches: Matches,
) -> tuple[list[tuple[int, int, float, float]], list[tuple[int, float, float]]]:
    """Second votes with the ones before (voter, item, then, now), and votes of two annotators (item, one, other), each
    on the same item and systems, as what they are worth to the lesser system. An annotator's first vote counts."""
    keys = _keys(matches)
    worth = np.where(matches.a < matches.b, matches.outcome, 1 - matches.outcome).astype(float)
    when = np.zeros(len(matches)) if matches.at is None else np.nan_to_num(matches.at)
    cast: dict[tuple[int, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in np.lexsort((np.arange(len(matches)), when)):
        if keys[row, 1] >= 0:
            cast[tuple(keys[row, 1:].tolist())][int(keys[row, 0])].append(float(worth[row]))
    again = [
        (voter, place, before, after)
        for place, by in enumerate(cast.values())
        for voter, said in by.items()
        for before, after in pairwise(said)
    ]
    others = [
        (place, one[0], other[0])
        for place, by in enumerate(cast.values())
        for one, other in combinations(by.values(), 2)
    ]
    return again, others


def _agreed(
    rows: Sequence[tuple[int, float, float]], weights: Literal["linear", "quadratic"] | None, seed: int, draws: int
) -> tuple[Estimate, Estimate]:
    """Share of pairs that agree, and their κ."""
    nothing = Estimate(np.nan, np.nan, np.nan, len(rows))
    if not rows:
        return nothing, nothing
    item, one, other = (np.array(column) for column in zip(*rows, strict=True))

    def kappa(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return cohen_kappa(np.concatenate([a, b]), np.concatenate([b, a]), labels=(0.0, 0.5, 1.0), weights=weights)

    same = estimated(_mean, (one == other).astype(float), seed=seed, draws=draws, groups=item)
    try:
        return same, estimated(kappa, one, other, seed=seed, draws=draws, groups=item)
    except InvalidInput:  # all votes are alike: κ is not defined
        return same, nothing


def _annotator(matches: Matches, code: int, name: str, same: Sequence[bool], per_minute: int) -> Annotator:
    assert matches.voter is not None
    mine = matches.voter.code == code
    decided = matches.outcome[mine & (matches.outcome != 0.5)]
    left = share(decided == 1)
    p = fair_coin(int(decided.sum()), len(decided)) if len(decided) else 1.0
    busiest = None
    if matches.at is not None and np.isfinite(matches.at[mine]).any():
        times = np.sort(matches.at[mine][np.isfinite(matches.at[mine])])
        busiest = int((np.searchsorted(times, times + 60, side="left") - np.arange(len(times))).max())
    flags: list[Flag] = ["one side"] if p < ONE_SIDED else []
    flags += ["too fast"] if busiest is not None and busiest > per_minute else []
    return Annotator(name, int(mine.sum()), left, p, busiest, share(same), tuple(flags))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())
