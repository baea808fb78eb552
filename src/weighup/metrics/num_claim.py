"""NUM's claim: over simulated users it follows their satisfaction better than nDCG by query and than sDCG.

A user needs a total gain of 1 to 6 and asks up to six queries. Each shows ten results whose chance of being relevant
falls with rank and differs by query; grades are 0 to 2, a grade's gain 2^grade − 1. The user reads snippets from the
top, opens a relevant one with chance .85 and another with .2, goes on down the list with chance .85, stops when the
need is met, and gives up after a query with chance .15. Satisfaction is the share of the need met less the effort:
seconds spent over 600. Reading speeds (20 to 40 characters a second) and the seconds a reformulation takes (5 to 30)
are the user's own and NUM is told neither. All measures see the same grades; nDCG's and sDCG's lists are cut at ten.
sDCG (Järvelin et al. 2008): Σ_q DCG_q / (1 + log4 q), with rank discount 1 + log2 rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.metrics.arrays import Floats
from weighup.metrics.extras import need
from weighup.metrics.intervals import paired_bootstrap
from weighup.metrics.num import Query, Result, Session, num

SESSIONS = 1_000
SHOWN = 10
MOST_QUERIES = 6
MARGINS = {"mean nDCG by query": 0.05, "sDCG": 0.02}


def check(data: Path, seeds: Sequence[int], sessions: int = SESSIONS, draws: int = 1_000) -> list[ClaimResult]:
    """Two results, one a baseline. `data` is not used: users are simulated."""
    spearmanr = need("scipy.stats").spearmanr

    def agreement(scores: Floats, satisfaction: Floats) -> float:
        return float(spearmanr(scores, satisfaction).statistic)

    worlds = [_measured(seed, sessions) for seed in seeds]
    pooled = {name: np.concatenate([world[name] for world in worlds]) for name in worlds[0]}
    results = []
    for name, margin in MARGINS.items():
        ours, theirs = ([agreement(world[which], world["satisfaction"]) for world in worlds] for which in ("NUM", name))
        low, high = paired_bootstrap(
            agreement,
            (pooled["NUM"], pooled["satisfaction"]),
            (pooled[name], pooled["satisfaction"]),
            n=draws,
            seed=seeds[0],
        )
        results.append(
            compare(
                f"NUM follows simulated users' satisfaction better than {name}",
                metric="Spearman with satisfaction",
                values=ours,
                baseline=f"{name} + {margin}",
                baseline_values=[value + margin for value in theirs],
                seeds=seeds,
                n=sessions,
                data="simulated sessions",
                interval=(low - margin, high - margin),
            )
        )
    return results


def _measured(seed: int, sessions: int) -> dict[str, Floats]:
    """Per session: NUM, the two baselines and satisfaction, each [sessions]."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(sessions):
        session, satisfaction = simulate(rng, f"{seed}-{number}")
        grades = [np.array([r.relevance or 0 for r in q.results]) for q in session.queries]
        rows.append((num(session, labels="qrels"), mean_ndcg(grades), sdcg(grades), satisfaction))
    columns = np.array(rows).T
    return dict(zip(("NUM", "mean nDCG by query", "sDCG", "satisfaction"), columns, strict=True))


def simulate(rng: np.random.Generator, name: str) -> tuple[Session, float]:
    """One user's session and satisfaction, in (−∞, 1]."""
    wanted, gained, seconds = float(rng.integers(1, 7)), 0.0, 0.0
    speed, pause = rng.uniform(20, 40), rng.uniform(5, 30)
    queries = []
    for place in range(MOST_QUERIES):
        quality = rng.beta(2, 3)
        chance = quality / (1 + 0.15 * np.arange(SHOWN))
        grades = (rng.random(SHOWN) < chance) * rng.choice([1, 2], SHOWN, p=[0.6, 0.4])
        lengths = np.maximum(300, rng.lognormal(8.0, 0.6, SHOWN)).astype(int)
        snippets = rng.integers(100, 300, SHOWN)
        opens = rng.random(SHOWN) < np.where(grades > 0, 0.85, 0.2)
        goes_on = rng.random(SHOWN) < 0.85
        clicked = np.zeros(SHOWN, bool)
        seconds += pause if place else 0.0
        for rank in range(SHOWN):
            seconds += snippets[rank] / speed
            if opens[rank]:
                clicked[rank] = True
                seconds += lengths[rank] / speed
                gained += 2.0 ** grades[rank] - 1
            if gained >= wanted or not goes_on[rank]:
                break
        results = tuple(
            Result(
                id=f"{place}-{rank}",
                snippet_length=int(snippets[rank]),
                length=int(lengths[rank]),
                clicked=bool(clicked[rank]),
                relevance=int(grades[rank]),
            )
            for rank in range(SHOWN)
        )
        queries.append(Query(results=results))
        if gained >= wanted or rng.random() < 0.15:
            break
    return Session(id=name, queries=tuple(queries)), min(1.0, gained / wanted) - seconds / 600


def mean_ndcg(grades: Sequence[Floats]) -> float:
    """Mean over queries of nDCG at the length of the list, gain 2^grade − 1; 0 for a list without relevant results."""
    found = []
    for one in grades:
        discount = 1 / np.log2(np.arange(len(one)) + 2)
        best = np.sort(2.0**one - 1)[::-1] @ discount
        found.append(float((2.0**one - 1) @ discount / best) if best else 0.0)
    return math.fsum(found) / len(found)


def sdcg(grades: Sequence[Floats]) -> float:
    """sDCG, gain 2^grade − 1, rank base 2, query base 4, at least 0."""
    return math.fsum(
        float((2.0**one - 1) @ (1 / (1 + np.log2(np.arange(len(one)) + 1)))) / (1 + math.log(place, 4))
        for place, one in enumerate(grades, 1)
    )
