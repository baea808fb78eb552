"""Claims of the recommender measures: equal to other libraries, a reversal beyond accuracy, and speed.

Made worlds: 12 genres of items, popularity within a genre falling as 1/rank, users with two favourite genres each, a
fifth of the pairs held out. Three recommenders: `popular` (most used items the user has not used), `chance`, and
`oracle_diverse` (the user's own held-out items, one of each genre first).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.metrics.arrays import Floats, Ints
from weighup.metrics.extras import need
from weighup.metrics.recommenders import (
    Interactions,
    Items,
    Recommendations,
    RecommenderReport,
    evaluate_recommendations,
)

GENRES = 12
K = 10
USERS, ITEMS, ROWS = 2_000, 1_009, 60_000
MILLION = (50_000, 10_007, 1_000_000)
FAST = 5.0  # seconds for a million interactions and twenty measures
SAME = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """genre [items]; user, item, rating, prediction, timestamp [pairs]; held [pairs]: whether held out."""

    users: int
    genre: Ints
    user: Ints
    item: Ints
    rating: Floats
    prediction: Floats
    timestamp: Floats
    held: Any

    def interactions(self, held: bool) -> Interactions:
        here = self.held == held
        columns = (self.user, self.item, self.rating, self.timestamp, self.prediction)
        return Interactions(*(column[here] for column in columns))

    def items(self) -> Items:
        return Items(np.arange(len(self.genre)), np.eye(GENRES)[self.genre])


def made(seed: int, users: int, items: int, rows: int) -> World:
    """`rows` distinct pairs. items: a prime number, so that `chance` never names an item twice."""
    rng = np.random.default_rng(seed)
    genre = rng.integers(0, GENRES, items)
    by_genre = [np.flatnonzero(genre == number) for number in range(GENRES)]
    favourite = rng.integers(0, GENRES, (users, 2))
    pairs = np.empty(0, np.int64)
    while len(pairs) < rows:
        user = rng.integers(0, users, rows)
        liked = favourite[user, rng.integers(0, 2, rows)]
        wanted = np.where(rng.random(rows) < 0.7, liked, rng.integers(0, GENRES, rows))
        item = np.empty(rows, np.int64)
        for number, members in enumerate(by_genre):
            here = wanted == number
            chance = 1 / np.arange(1, len(members) + 1)
            item[here] = rng.choice(members, here.sum(), p=chance / chance.sum())
        pairs = np.union1d(pairs, user * items + item)
    pairs = rng.permutation(pairs)[:rows]
    rating = rng.integers(1, 6, rows).astype(np.float64)
    return World(
        users=users,
        genre=genre,
        user=pairs // items,
        item=pairs % items,
        rating=rating,
        prediction=rating + rng.normal(0, 1, rows),
        timestamp=rng.uniform(0, 100 * 86_400, rows),
        held=rng.random(rows) < 0.2,
    )


def popular(world: World) -> Recommendations:
    """The K most used training items the user has not used, of the first 400."""
    sparse = need("scipy.sparse")
    here = ~world.held
    used = sparse.csc_matrix(
        (np.ones(here.sum(), bool), (world.user[here], world.item[here])), (world.users, len(world.genre))
    )
    top = np.argsort(-np.diff(used.indptr), kind="stable")[:400]
    lists = np.empty((world.users, K), np.int64)
    block = 10_000
    for start in range(0, world.users, block):
        seen = used[:, top].tocsr()[start : start + block].toarray()
        lists[start : start + block] = top[np.argsort(seen, axis=1, kind="stable")[:, :K]]
    return listed(lists)


def chance(world: World, seed: int) -> Recommendations:
    """K different items from anywhere in the catalogue, for each user."""
    rng = np.random.default_rng(seed)
    n = len(world.genre)
    start, step = rng.integers(0, n, world.users), rng.integers(1, n, world.users)
    return listed((start[:, None] + np.arange(K) * step[:, None]) % n)


def oracle_diverse(world: World) -> Recommendations:
    """The user's held-out items, those that are the first of their genre before the second ones, and so on."""
    user, item = world.user[world.held], world.item[world.held]
    pool = user * GENRES + world.genre[item]
    order = np.argsort(pool, kind="stable")
    place = np.empty(len(pool), np.int64)
    place[order] = np.arange(len(pool)) - np.searchsorted(pool[order], pool[order])
    return Recommendations(user, item, rank=place)


def listed(lists: Ints) -> Recommendations:
    """lists [users, k], best first."""
    users, k = lists.shape
    return Recommendations(np.repeat(np.arange(users), k), lists.ravel(), rank=np.tile(np.arange(k), users))


def check(
    data: Path, seeds: Sequence[int], size: tuple[int, int, int] = (USERS, ITEMS, ROWS), large: Any = MILLION
) -> list[ClaimResult]:
    """`data` is not used: worlds are made. size and large: users, items (prime) and pairs of the worlds."""
    worlds = [made(seed, *size) for seed in seeds]
    reports = [
        {
            "popular": _report(world, popular(world)),
            "chance": _report(world, chance(world, seed)),
            "oracle-diverse": _report(world, oracle_diverse(world)),
        }
        for seed, world in zip(seeds, worlds, strict=True)
    ]
    about: dict[str, Any] = {
        "seeds": seeds,
        "data": f"made worlds of {size[0]:,} users, {size[1]:,} items, {size[2]:,} pairs",
    }
    results = [_agreement(worlds, reports, about)]
    for claim, metric, ours, theirs in (
        ("accuracy puts popular items above chance", "ndcg@10", "popular", "chance"),
        ("novelty reverses it", "novelty@10", "chance", "popular"),
        ("coverage reverses it", "coverage@10", "chance", "popular"),
        ("right and diverse lists are above popular ones in accuracy", "ndcg@10", "oracle-diverse", "popular"),
        ("right and diverse lists are above popular ones in diversity", "diversity@10", "oracle-diverse", "popular"),
    ):
        results.append(
            compare(
                claim,
                metric=metric,
                values=[report[ours][metric].value for report in reports],
                baseline=theirs,
                baseline_values=[report[theirs][metric].value for report in reports],
                n=reports[0][ours][metric].n,
                **about,
            )
        )
    return [*results, _speed(seeds, large)]


def _report(world: World, recommendations: Recommendations) -> RecommenderReport:
    return evaluate_recommendations(
        world.interactions(held=True), recommendations, world.items(), train=world.interactions(held=False)
    )


def _agreement(
    worlds: Sequence[World], reports: Sequence[dict[str, RecommenderReport]], about: dict[str, Any]
) -> ClaimResult:
    """Greatest difference from ir-measures and scikit-learn, over all measures that they have."""
    worst = []
    for world, report in zip(worlds, reports, strict=True):
        expected = elsewhere(world, popular(world))
        worst.append(max(abs(report["popular"][name].value - value) for name, value in expected.items()))
    return compare(
        f"equal to ir-measures and scikit-learn on {len(expected)} values",
        metric="greatest absolute difference",
        values=worst,
        baseline="1e-9",
        baseline_values=[SAME] * len(worst),
        lower_is_better=True,
        n=reports[0]["popular"].judged,
        interval=(SAME - max(worst), SAME - min(worst)),
        **about,
    )


def elsewhere(world: World, recommendations: Recommendations) -> dict[str, float]:
    """The same measures by ir-measures (trec_eval) and scikit-learn."""
    ir, learn = need("ir_measures"), need("sklearn.metrics")
    held = world.interactions(held=True)
    user, item, rating = (np.asarray(column) for column in (held.user, held.item, held.rating))
    qrels = [ir.Qrel(str(u), str(i), int(r)) for u, i, r in zip(user, item, rating, strict=True)]
    judged = set(np.unique(user).tolist())
    rows = zip(
        *(np.asarray(c).tolist() for c in (recommendations.user, recommendations.item, recommendations.rank)),
        strict=True,
    )
    run = [ir.ScoredDoc(str(u), str(i), -float(r)) for u, i, r in rows if u in judged]
    names = {"precision": "P", "recall": "R", "map": "AP", "ndcg": "nDCG", "mrr": "RR", "hit": "Success"}
    wanted = {f"{ours}@{k}": ir.parse_measure(f"{theirs}@{k}") for ours, theirs in names.items() for k in (5, 10)}
    found = ir.calc_aggregate(list(wanted.values()), qrels, run)
    values = {ours: float(found[theirs]) for ours, theirs in wanted.items()}
    foretold = np.asarray(held.prediction)
    return values | {
        "mse": float(learn.mean_squared_error(rating, foretold)),
        "rmse": float(learn.root_mean_squared_error(rating, foretold)),
        "mae": float(learn.mean_absolute_error(rating, foretold)),
        "mape": float(learn.mean_absolute_percentage_error(rating, foretold)),
        "explained_variance": float(learn.explained_variance_score(rating, foretold)),
        "r2": float(learn.r2_score(rating, foretold)),
    }


def _speed(seeds: Sequence[int], large: tuple[int, int, int]) -> ClaimResult:
    world = made(0, *large)
    lists = popular(world)
    seconds, measured = [], 0
    for _ in seeds:
        began = time.perf_counter()
        measured = len({value.metric for value in _report(world, lists).values})
        seconds.append(time.perf_counter() - began)
    return compare(
        f"{large[2]:,} interactions and {measured} measures at k 5 and 10 within {FAST:g} seconds",
        metric="seconds",
        values=seconds,
        baseline=f"{FAST:g} s",
        baseline_values=[FAST] * len(seconds),
        lower_is_better=True,
        seeds=seeds,
        n=large[2],
        data=f"a made world of {large[0]:,} users and {large[1]:,} items",
    )
