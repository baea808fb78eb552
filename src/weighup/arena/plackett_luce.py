"""Plackett–Luce ratings from rankings of two systems or more, ties allowed.

Plackett 1975, Luce 1959: a ranking is drawn from the top, each place chosen among those left with chances in proportion
to their strengths. Maximum and its existence: Hunter 2004 ("MM algorithms for generalized Bradley–Terry models"); here
it is found by Newton's method, which has the same optimum and the information matrix that intervals need. Ours: a tie
of t systems counts as the mean log-likelihood over its t! orders, which for two is Bradley–Terry's half win; the orders
are not listed but the 2^t sets from which one is chosen are, so at most eight may tie.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from weighup.arena.graph import Disconnected, compared, grouped, linked, told
from weighup.arena.types import Floats, Leaderboard, Ranking, levels
from weighup.errors import InvalidInput
from weighup.metrics.extras import need

SCALE, MEAN = 400 / math.log(10), 1000.0
MOST_TIED = 8
_STEPS, _CLOSE = 100, 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class _Choices:
    """Choices from sets. member: sparse [s, m], 1 where a system is in the set; weight: [s]; vote: sparse [votes, s],
    1 where the choice is the vote's; chosen: sparse [votes, m], how often each system was chosen; above: [m, m], how
    often one was ranked above another; played: [m], votes of each."""

    member: Any
    weight: Floats
    vote: Any
    chosen: Any
    above: Floats
    played: Any


def plackett_luce(
    rankings: Iterable[Ranking],
    systems: Sequence[str] | None = None,
    *,
    ridge: float = 0.0,
    interval: Literal["sandwich", "none"] = "sandwich",
    level: float = 0.95,
    disconnected: Disconnected = "error",
) -> Leaderboard:
    """Ratings 1000 + 400·log10(strength), of mean 1000 over the systems of each component.

    systems: all of them (None: those ranked). ridge: as `bradley_terry`. interval: value ± z·sd at `level`, from the
    robust covariance over votes. Raises InvalidInput for a ranking that cannot be used (naming its row), more than
    eight tied, systems never compared, and systems ranked always above or below the others while ridge is 0.
    """
    if not (ridge >= 0 and math.isfinite(ridge)):
        raise InvalidInput(f"ridge: a number of at least 0 is needed, not {ridge}")
    if interval not in ("sandwich", "none"):
        raise InvalidInput(f"interval: sandwich or none, not {interval!r}")
    if not 0 < level < 1:
        raise InvalidInput(f"level: between 0 and 1 (neither of them) is needed, not {level}")
    votes = [levels(one, systems, where=f"rankings: row {row}") for row, one in enumerate(rankings, 1)]
    if not votes:
        raise InvalidInput("rankings: there are none; one or more is needed")
    names = tuple(systems) if systems is not None else tuple(sorted({n for vote in votes for g in vote for n in g}))
    choices = _choices(votes, names)
    groups = compared(names, choices.above, disconnected)
    label = linked(choices.above, "weak")
    strong = linked(choices.above, "strong")
    if not ridge and strong.max() > label.max():
        raise InvalidInput(
            f"rankings: no system of one of these groups was ever ranked above one of another: "
            f"{told(grouped(names, strong))}, so the strengths have no finite maximum of likelihood; add votes or give "
            "ridge= (for example 1)"
        )
    at, information = _maximise(choices, label, ridge)
    low = high = sd = None
    if interval == "sandwich":
        bread = np.linalg.inv(information)
        score = _scores(choices, at)
        spread = (score.T @ score).toarray()
        alone = np.bincount(label)[label] == 1
        sd = np.where(alone, np.nan, SCALE * np.sqrt(np.maximum(np.diag(bread @ spread @ bread), 0)))
        half = NormalDist().inv_cdf((1 + level) / 2) * sd
        low, high = MEAN + SCALE * at - half, MEAN + SCALE * at + half
    return Leaderboard.of(
        names,
        MEAN + SCALE * at,
        low=low,
        high=high,
        sd=sd,
        played=choices.played,
        n=len(votes),
        components=groups,
        method="plackett_luce",
    )


def _choices(votes: Sequence[list[tuple[str, ...]]], names: tuple[str, ...]) -> _Choices:
    sparse = need("scipy.sparse")
    place = {name: at for at, name in enumerate(names)}
    m = len(names)
    above = np.zeros((m, m))
    chosen: list[tuple[int, int, float]] = []
    rows: list[int] = []
    columns: list[int] = []
    weights: list[float] = []
    owners: list[int] = []
    for vote, tied in enumerate(votes):
        groups = [[place[name] for name in group] for group in tied]
        if (most := max(map(len, groups))) > MOST_TIED:
            raise InvalidInput(f"rankings: row {vote + 1}: {most} systems tie; at most {MOST_TIED} may")
        for number, group in enumerate(groups):
            rest = [system for later in groups[number + 1 :] for system in later]
            chosen += [(vote, system, 1.0 if rest else 1.0 - 1.0 / len(group)) for system in group]
            for system in group:
                above[system, rest] += 1
                above[system, [other for other in group if other != system]] += 0.5
            # The sets from which one of the group is chosen, over all its orders; from a set of one there is no choice.
            for size in range(1, len(group) + 1):
                if size + len(rest) < 2:
                    continue
                for subset in combinations(group, size):
                    members = [*subset, *rest]
                    rows += [len(weights)] * len(members)
                    columns += members
                    weights.append(1 / math.comb(len(group), size))
                    owners.append(vote)
    member = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(weights), m))
    owner = sparse.csr_array((np.ones(len(owners)), (owners, np.arange(len(owners)))), shape=(len(votes), len(owners)))
    ranked, who, times = (np.array(column) for column in zip(*chosen, strict=True))
    taken = sparse.csr_array((times, (ranked, who)), shape=(len(votes), m))
    return _Choices(member, np.array(weights), owner, taken, above, np.bincount(who, minlength=m))


def _maximise(choices: _Choices, label: Any, ridge: float) -> tuple[Floats, Floats]:
    """Strengths [m] (natural logarithm), and the information [m, m] there, made regular along each level."""
    m = choices.chosen.shape[1]
    at, won = np.zeros(m), np.asarray(choices.chosen.sum(axis=0)).ravel()
    value = _value(choices, won, at, ridge)
    for _ in range(_STEPS):
        chance = _chances(choices, at)
        weighed = (chance * choices.weight[:, None]).tocsr()
        expected = np.asarray(weighed.sum(axis=0)).ravel()
        information = np.diag(expected) - (chance.T @ weighed).toarray()
        information += (label[:, None] == label) * (np.trace(information) / m**2) + ridge * np.eye(m)
        move = np.linalg.solve(information, won - expected - ridge * at)
        size = float(np.abs(move).max())
        if size < _CLOSE:
            return at, information
        move *= min(1.0, 5.0 / size)
        for _ in range(30):
            new = _value(choices, won, at + move, ridge)
            if new >= value - 1e-12 * choices.weight.sum():
                break
            move = move / 2
        at, value = at + move, new
    raise InvalidInput("rankings: the likelihood has no finite maximum that can be found; give ridge= (for example 1)")


def _chances(choices: _Choices, at: Floats) -> Any:
    """Sparse [s, m]: the chance of each member of a set to be chosen from it."""
    strength = np.exp(at - at.max())
    return choices.member * strength / (choices.member @ strength)[:, None]


def _value(choices: _Choices, won: Floats, at: Floats, ridge: float) -> float:
    total = np.log(choices.member @ np.exp(at - at.max())) + at.max()
    return float(won @ at - choices.weight @ total - ridge / 2 * at @ at)


def _scores(choices: _Choices, at: Floats) -> Any:
    """Each vote's derivative of its log-likelihood, sparse [votes, m]."""
    return choices.chosen - choices.vote @ (_chances(choices, at) * choices.weight[:, None]).tocsr()
