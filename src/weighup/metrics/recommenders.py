"""Evaluating recommenders: some thirty measures of one set of lists, each with its n and, on request, an interval.

A Comprehensive Survey of Evaluation Techniques for Recommendation Systems (Jadon and Patil 2023, arXiv 2312.16015).

Faithful: the survey's families: similarity (`similarity`), candidate generation, predictive, ranking and business
measures, with the standard formulas; each file of the family says where they come from. Ours: where the survey leaves
a choice, trec_eval's (precision divides by k, AP and recall by all relevant items); calibration, popularity bias and
gaps between groups of users; one numbering of users and items and one matrix of top-k lists for all.

Shapes: tables of columns [rows] (see `recommender_inputs`); lists [users, max k]; memory linear in rows and users · k.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, Ints, numbers
from weighup.metrics.recommender_beyond import (
    calibration_measures,
    diversity_measures,
    exposure_measures,
    feature_matrix,
    most_popular,
    popularity,
    popularity_measures,
)
from weighup.metrics.recommender_business import list_measures, retention
from weighup.metrics.recommender_inputs import (
    Coded,
    Interactions,
    Items,
    Recommendations,
    code,
    label,
    read_interactions,
    read_items,
    read_recommendations,
)
from weighup.metrics.recommender_measure import Exposure, Measure, intervals, mean
from weighup.metrics.recommender_options import FAMILIES, WEEK, check_options, cuts_of, lacking, named, not_given
from weighup.metrics.recommender_predictive import predictive_measures
from weighup.metrics.recommender_similarity import similarity
from weighup.metrics.recommender_topk import accuracy_measures, correlation_measures
from weighup.registry import Method

__all__ = [
    "FAMILIES",
    "Interactions",
    "Items",
    "MeasuredValue",
    "Recommendations",
    "RecommenderReport",
    "evaluate_recommendations",
    "read_interactions",
    "read_items",
    "read_recommendations",
    "similarity",
]

METHOD = Method(
    name="recommenders",
    room="metrics",
    paper="A Comprehensive Survey of Evaluation Techniques for Recommendation Systems (Jadon 2023)",
    arxiv="2312.16015",
    command="weighup metrics recsys",
    claim_check="weighup.metrics.recommenders_claim:check",
)


@dataclass(frozen=True, slots=True)
class MeasuredValue:
    """One value: `n` of what (`of`) it is over; `low` and `high` None where no interval was asked for, or where the
    measure is undefined on most resamples."""

    metric: str
    k: int | None
    value: float
    n: int
    of: str
    low: float | None = None
    high: float | None = None

    @property
    def name(self) -> str:
        return self.metric if self.k is None else f"{self.metric}@{self.k}"


@dataclass(frozen=True, slots=True)
class RecommenderReport:
    """All values, by family; `skipped`: measure -> why it is not among them.

    `users` and `items` in any table; `judged` users have relevant held-out items, `unjudged` have a list and none of
    these (see `no_truth`), `unserved` are judged without a list.
    """

    values: tuple[MeasuredValue, ...]
    skipped: Mapping[str, str]
    users: int
    items: int
    judged: int
    unjudged: int
    unserved: int

    def __getitem__(self, name: str) -> MeasuredValue:
        """report["ndcg@10"]. Raises KeyError, saying why it was skipped if it was."""
        for value in self.values:
            if value.name == name:
                return value
        raise KeyError(f"{name}: {self.skipped.get(name, self.skipped.get(name.partition('@')[0], 'not measured'))}")


def evaluate_recommendations(
    interactions: Interactions,
    recommendations: Recommendations,
    items: Items | None = None,
    k: int | Sequence[int] = (5, 10),
    metrics: str | Sequence[str] = "all",
    *,
    train: Interactions | None = None,
    groups: Mapping[Any, Hashable] | None = None,
    relevant_at: float | None = None,
    no_truth: Literal["skip", "zero", "refuse"] = "skip",
    seen: Literal["refuse", "allow"] = "refuse",
    period: float = WEEK,
    interval: bool = False,
    draws: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> RecommenderReport:
    """Measure lists against held-out `interactions`.

    metrics: "all" (those whose inputs are there; the report says which are skipped and why), or names of measures or
    families (see `FAMILIES`). items: the catalogue; without it, every item named. train: what the recommender learned
    from, for novelty, popularity, calibration, and retention if it has times. groups: user -> group. relevant_at: least
    rating that is relevant; without it any over 0; unrated interactions are all relevant. no_truth: a user with a list
    but no relevant held-out item is left out of the accuracy measures, counts as 0, or is refused; a judged user
    without a list counts as 0. seen: whether a held-out pair may also stand in train. period: for retention, in the
    unit of the timestamps. interval: percentile bootstrap over users, `draws` resamples drawn by `seed`.

    Raises InvalidInput for a measure whose inputs are missing, k over the catalogue, an item twice in one list, a
    held-out pair in train (unless allowed) or rated twice unlike, an item outside the catalogue, negative ratings, and
    values that are not finite.
    """
    ks = cuts_of(k)
    missing = not_given(interactions, recommendations, items, train, groups)
    asked = named(metrics)
    skipped = {name: f"{lack} is not given" for name in sorted(asked) if (lack := lacking(name, missing))}
    if metrics != "all" and skipped:
        raise InvalidInput("metrics: " + "; ".join(f"{name}: {why}" for name, why in skipped.items()))
    names = frozenset(asked - set(skipped))
    check_options(relevant_at, no_truth, seen, period, draws, level)
    coded = code(interactions, recommendations, train, items, max(ks))
    if seen == "refuse":
        _refuse_seen(coded)
    features = feature_matrix(items.features, len(coded.items)) if items and items.features is not None else None
    gain = _gains(coded, relevant_at)
    judged = np.bincount(coded.held_user, gain > 0, len(coded.users)) > 0
    served = coded.top[:, 0] >= 0
    unjudged = served & ~judged
    if no_truth == "refuse" and unjudged.any():
        raise InvalidInput(
            f"interactions: user {label(coded.users, int(unjudged.argmax()))} has a list but no relevant item"
        )
    counted = judged | unjudged if no_truth == "zero" else judged
    counts = popularity(coded)
    found: list[Measure | Exposure] = []
    popular = most_popular(counts, ks) if train is not None else None
    found += accuracy_measures(coded, gain, ks, counted, _grouped(coded, groups), popular, names)
    if "rank_correlation" in names:
        found += correlation_measures(coded, ks)
    if "user_coverage" in names:
        found.append(mean("user_coverage", None, served.astype(np.float64), judged))
    if names & {"novelty", "arp"}:
        found += popularity_measures(coded, counts, ks, names)
    if names & {"coverage", "gini", "personalisation"}:
        found += exposure_measures(coded, ks, names)
    if "diversity" in names:
        found += diversity_measures(coded, features, ks)
    if "calibration" in names:
        found += calibration_measures(coded, features, ks)
    found += _outcomes(coded, interactions, recommendations, train, ks, period, names)
    values, undefined = _values(found, len(coded.users), (draws, seed, level) if interval else None)
    return RecommenderReport(
        values=tuple(values),
        skipped=skipped | undefined,
        users=len(coded.users),
        items=len(coded.items),
        judged=int(judged.sum()),
        unjudged=int(unjudged.sum()),
        unserved=int((judged & ~served).sum()),
    )


def _outcomes(
    coded: Coded,
    held: Interactions,
    recommended: Recommendations,
    train: Interactions | None,
    ks: Sequence[int],
    period: float,
    names: frozenset[str],
) -> list[Measure]:
    """Predictive and business measures, which need columns of their own."""
    found = list_measures(coded, recommended, ks, names)
    if names & set(FAMILIES["predictive"]) and held.rating is not None and held.prediction is not None:
        rating, prediction = numbers("rating", held.rating), numbers("interactions.prediction", held.prediction)
        found += predictive_measures(coded.held_row_user, len(coded.users), rating, prediction, names)
    if "retention" in names and held.timestamp is not None:
        user, when = coded.held_row_user, numbers("interactions.timestamp", held.timestamp)
        if train is not None and train.timestamp is not None:
            user = np.concatenate([user, coded.train_row_user])
            when = np.concatenate([when, numbers("train.timestamp", train.timestamp)])
        found.append(retention(user, len(coded.users), when, period))
    return found


def _values(
    measures: Sequence[Measure | Exposure], users: int, drawing: tuple[int, int, float] | None
) -> tuple[list[MeasuredValue], dict[str, str]]:
    order = {name: place for place, name in enumerate(name for family in FAMILIES.values() for name in family)}
    measures = sorted(measures, key=lambda m: order[m.name])
    points = [measure.value() for measure in measures]
    bounds: list[tuple[float, float]] = [(math.nan, math.nan)] * len(measures)
    if drawing is not None:
        draws, seed, level = drawing
        bounds = intervals(measures, users, draws=draws, seed=seed, level=level)
    values, undefined = [], {}
    for measure, point, (low, high) in zip(measures, points, bounds, strict=True):
        if not math.isfinite(point):
            cut = "" if measure.k is None else f"@{measure.k}"
            undefined[f"{measure.name}{cut}"] = f"undefined on these data (n = {measure.n} {measure.of})"
            continue
        ends = (low, high) if math.isfinite(low) else (None, None)
        values.append(MeasuredValue(measure.name, measure.k, point, measure.n, measure.of, *ends))
    return values, undefined


def _refuse_seen(coded: Coded) -> None:
    held = coded.pairs(coded.held_user, coded.held_item)
    trained = coded.pairs(coded.train_user, coded.train_item)
    place = np.minimum(np.searchsorted(trained, held), len(trained) - 1)
    both = held[trained[place] == held] if len(trained) else trained
    if len(both):
        user, item = label(coded.users, both[0] // len(coded.items)), label(coded.items, both[0] % len(coded.items))
        raise InvalidInput(
            f"interactions: {len(both)} pairs are in train too, for example user {user}, item {item}; "
            'take them out, or give seen="allow" where users come back to an item'
        )


def _gains(coded: Coded, relevant_at: float | None) -> Floats:
    if coded.rating is None:
        if relevant_at is not None:
            raise InvalidInput("relevant_at: the interactions have no ratings")
        return np.ones(len(coded.held_user))
    return coded.rating if relevant_at is None else np.where(coded.rating >= relevant_at, coded.rating, 0.0)


def _grouped(coded: Coded, groups: Mapping[Any, Hashable] | None) -> Ints | None:
    """The group of each user, numbered; −1 for a user without one."""
    if groups is None:
        return None
    numbered: dict[Hashable, int] = {}
    found: NDArray[np.int64] = np.full(len(coded.users), -1)
    for place, user in enumerate(coded.users.tolist()):
        if user in groups:
            found[place] = numbered.setdefault(groups[user], len(numbered))
    if len(numbered) < 2:
        raise InvalidInput(f"groups: two groups or more are needed among the users, not {len(numbered)}")
    return found
