"""Claim check of K-Sort Arena (2408.14468): how many votes until the order is right, against Elo on random pairs?

Simulated: 50 systems of skill uniform in [0, 1], voters exchange neighbours with a chance of 0.1; three runs a seed.
Real: the orders in which people ranked 15 systems (CoBBLEr: Koo et al. 2023), a vote being a random person's order on a
random question among those shown, twenty runs a seed; the truth is the mean rank. K-Sort's order is that of the scores
it shows, μ − 3σ. Elo has in each run the best of four K, chosen afterwards, is looked at every ten votes (every five on
real ones), and where it never gets there its limit counts, which is in its favour. Intervals: Student's t over seeds
for the simulations, a bootstrap over the runs of all seeds for people's orders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.arena.elo import Elo
from weighup.arena.ksort import SET, KSort, elo_votes, ksort_votes, skills
from weighup.arena.simulate import votes_until
from weighup.arena.types import Ranking
from weighup.claims import ClaimResult, compare
from weighup.judge.sets import JudgingSet, load
from weighup.metrics.intervals import bootstrap

SYSTEMS, NOISE = 50, 0.1
RUNS, REAL_RUNS = 3, 20
ELO_KS = (4.0, 8.0, 16.0, 32.0)
LIMIT, REAL_LIMIT = 12_000, 3_000
PAIRS = SET * (SET - 1) // 2
SIMULATED = f"{SYSTEMS} simulated systems, neighbours exchanged with chance {NOISE:g}"
REAL = "cobbler, orders of people on 40 questions"


@dataclass(frozen=True, slots=True)
class _Votes:
    """Votes needed in each run of each seed."""

    elo: tuple[tuple[int, ...], ...]
    ksort: tuple[tuple[int, ...], ...]

    def ratios(self, pairs: int = 1) -> list[float]:
        """Elo's votes over K-Sort's, each of which counts as `pairs`, by seed."""
        return [sum(theirs) / (pairs * sum(ours)) for theirs, ours in zip(self.elo, self.ksort, strict=True)]

    def __str__(self) -> str:
        elo, ours = (sorted(n for some in runs for n in some) for runs in (self.elo, self.ksort))
        return f"Elo {elo[0]:,} to {elo[-1]:,} votes, K-Sort {ours[0]:,} to {ours[-1]:,}"


def check(data: Path, seeds: Sequence[int], *, systems: int = SYSTEMS, runs: int = RUNS) -> list[ClaimResult]:
    """Votes to τ ≥ 0.9 and to τ ≥ 0.95 in simulation, and to τ ≥ 0.8 on people's orders."""
    found = []
    for tau in (0.9, 0.95):
        needed = simulated(seeds, tau, systems=systems, runs=runs)
        found.append(_result(f"votes to tau {tau:g} ({needed})", "votes", needed, 8.0, 1, seeds, runs, SIMULATED))
        found.append(
            _result(f"comparisons to tau {tau:g}, a vote of {SET} being {PAIRS}", "comparisons", needed, 2.0, PAIRS,
                    seeds, runs, SIMULATED)
        )  # fmt: skip
    real = people(load("cobbler", data), seeds)
    series = [np.array([n for some in runs for n in some], float) for runs in (real.elo, real.ksort)]
    low, high = bootstrap(lambda elo, ours: float(elo.sum() / ours.sum()) - 3, *series, seed=seeds[0])
    claim = f"votes of people to tau 0.8 ({real})"
    return [*found, _result(claim, "votes", real, 3.0, 1, seeds, REAL_RUNS, REAL, interval=(low, high))]


def simulated(seeds: Sequence[int], tau: float, *, systems: int = SYSTEMS, runs: int = RUNS) -> _Votes:
    """Votes needed on made votes."""
    elo, ours = [], []
    for numbers in _runs(seeds, runs):
        elo.append(tuple(_best(_made_votes(systems, tau, at), LIMIT) for at in numbers))
        votes = [ksort_votes(skills(systems, at), noise=NOISE, tau=tau, limit=LIMIT, seed=at) for at in numbers]
        ours.append(tuple(LIMIT if one is None else one for one in votes))
    return _Votes(tuple(elo), tuple(ours))


def _made_votes(systems: int, tau: float, seed: int) -> Callable[[float, int], int | None]:
    truth = skills(systems, seed)
    return lambda k, limit: elo_votes(truth, noise=NOISE, tau=tau, limit=limit, seed=seed, k=k, every=10)


def people(cobbler: JudgingSet, seeds: Sequence[int], runs: int = REAL_RUNS) -> _Votes:
    """Votes needed on people's orders."""
    systems = tuple(response.system for response in cobbler.items[0].responses)
    places = np.array([place for item in cobbler.items for place in cobbler.places[item.id]])  # [orders, systems]
    truth = dict(zip(systems, (-places.mean(axis=0)).tolist(), strict=True))

    def elo(at: int) -> int:
        def votes(k: float, limit: int) -> int | None:
            vote = _voter(systems, places, at)
            return votes_until(Elo(systems, k=k), 0.8, truth, vote, limit=limit, seed=at, every=5)

        return _best(votes, REAL_LIMIT)

    def ksort(at: int) -> int:
        arena = KSort(systems, SET, seed=at)
        found = votes_until(arena, 0.8, truth, _voter(systems, places, at), arena.next, limit=REAL_LIMIT)
        return REAL_LIMIT if found is None else found

    every = _runs(seeds, runs)
    return _Votes(tuple(tuple(map(elo, some)) for some in every), tuple(tuple(map(ksort, some)) for some in every))


def _voter(systems: Sequence[str], places: NDArray[np.int64], seed: int) -> Callable[[Sequence[str]], Ranking]:
    """Ranks what it is shown by a random one of the orders `places` [orders, systems]."""
    at: Mapping[str, int] = {name: number for number, name in enumerate(systems)}
    rng = np.random.default_rng(seed)

    def vote(shown: Sequence[str]) -> Ranking:
        order = places[rng.integers(len(places))]
        return tuple(sorted(shown, key=lambda name: int(order[at[name]])))

    return vote


def _best(votes: Callable[[float, int], int | None], limit: int) -> int:
    """The least votes that any of Elo's K needs; once one is known, the others need not go beyond it."""
    for k in ELO_KS:
        found = votes(k, limit)
        limit = limit if found is None else found
    return limit


def _runs(seeds: Sequence[int], runs: int) -> list[list[int]]:
    return [[1000 * seed + run for run in range(runs)] for seed in seeds]


def _result(
    claim: str,
    unit: str,
    votes: _Votes,
    least: float,
    pairs: int,
    seeds: Sequence[int],
    runs: int,
    data: str,
    interval: tuple[float, float] | None = None,
) -> ClaimResult:
    return compare(
        claim,
        metric=f"{unit} of Elo for one of K-Sort",
        values=votes.ratios(pairs),
        baseline=f"{least:g} times as many",
        baseline_values=[least] * len(seeds),
        seeds=seeds,
        n=runs,
        data=data,
        interval=interval,
    )
