"""Which recommender measures there are, what each needs, and the options of an evaluation, checked."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from weighup.errors import InvalidInput
from weighup.metrics.arrays import inside
from weighup.metrics.recommender_inputs import Interactions, Items, Recommendations

NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "candidates": dict.fromkeys(("precision", "recall", "hit", "f1", "map"), ()),
    "ranking": {"ndcg": (), "mrr": (), "arhr": (), "rank_correlation": ("interactions.rating",)},
    "beyond": {
        "novelty": ("train",),
        "diversity": ("items.features",),
        "coverage": (),
        "user_coverage": (),
        "serendipity": ("train",),
        "personalisation": (),
        "calibration": ("train", "items.features"),
    },
    "bias": {"arp": ("train",), "gini": (), "gap_recall": ("groups",), "gap_ndcg": ("groups",)},
    "predictive": dict.fromkeys(
        ("rmse", "mae", "mse", "mape", "explained_variance", "r2"), ("interactions.rating", "interactions.prediction")
    ),
    "business": {
        "ctr": ("recommendations.clicked",),
        "conversion": ("recommendations.clicked", "recommendations.bought"),
        "adoption": ("recommendations.bought",),
        "revenue": ("recommendations.revenue",),
        "retention": ("interactions.timestamp",),
    },
}
"""Family -> measure -> the inputs it needs beside user, item and rank or score."""
FAMILIES = {family: tuple(measures) for family, measures in NEEDS.items()}
WEEK = 7 * 86_400.0  # seconds


def not_given(
    held: Interactions,
    recommended: Recommendations,
    items: Items | None,
    train: Interactions | None,
    groups: Mapping[Any, Hashable] | None,
) -> set[str]:
    """The inputs that are not there, by the names `NEEDS` uses."""
    given = {
        "train": train is not None,
        "groups": groups is not None,
        "items.features": items is not None and items.features is not None,
        "interactions.rating": held.rating is not None,
        "interactions.prediction": held.prediction is not None,
        "interactions.timestamp": held.timestamp is not None,
        "recommendations.clicked": recommended.clicked is not None,
        "recommendations.bought": recommended.bought is not None,
        "recommendations.revenue": recommended.revenue is not None,
    }
    return {name for name, there in given.items() if not there}


def lacking(name: str, missing: set[str]) -> str:
    """What a measure needs and is not there, in words; empty if nothing."""
    wanted = next(measures[name] for measures in NEEDS.values() if name in measures)
    return " and ".join(part for part in wanted if part in missing)


def named(metrics: str | Sequence[str]) -> set[str]:
    """Names of measures or families, or "all" -> names of measures. Raises InvalidInput for an unknown one."""
    every = {name for family in FAMILIES.values() for name in family}
    if metrics == "all":
        return every
    asked: set[str] = set()
    for name in [metrics] if isinstance(metrics, str) else metrics:
        if name not in every and name not in FAMILIES:
            raise InvalidInput(f"metrics: {name!r} is none of {', '.join([*FAMILIES, *sorted(every)])}, all")
        asked |= set(FAMILIES.get(name, (name,)))
    if not asked:
        raise InvalidInput("metrics: none is asked for")
    return asked


def cuts_of(k: int | Sequence[int]) -> tuple[int, ...]:
    """k as rising whole numbers from 1 on, each once. Raises InvalidInput for anything else."""
    cuts = (k,) if isinstance(k, int) else tuple(k)
    if not cuts or any(isinstance(cut, bool) or not isinstance(cut, (int, np.integer)) or cut < 1 for cut in cuts):
        raise InvalidInput(f"k: one or more whole numbers from 1 on are needed, not {k!r}")
    return tuple(sorted({int(cut) for cut in cuts}))


def check_options(relevant_at: float | None, no_truth: str, seen: str, period: float, draws: int, level: float) -> None:
    """Raises InvalidInput naming an option out of its range."""
    if relevant_at is not None and not 0 < relevant_at < math.inf:
        raise InvalidInput(f"relevant_at: a rating over 0 is needed, not {relevant_at}")
    if no_truth not in ("skip", "zero", "refuse"):
        raise InvalidInput(f'no_truth: "skip", "zero" or "refuse" is needed, not {no_truth!r}')
    if seen not in ("refuse", "allow"):
        raise InvalidInput(f'seen: "refuse" or "allow" is needed, not {seen!r}')
    if not 0 < period < math.inf:
        raise InvalidInput(f"period: a time over 0 is needed, not {period}")
    if draws < 1:
        raise InvalidInput(f"draws: one resample or more is needed, not {draws}")
    inside("level", level)
