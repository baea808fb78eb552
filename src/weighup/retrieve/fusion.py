"""Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): score(d) = sum over lists of 1 / (k + rank(d)).

Faithful: k = 60, ranks from 1. Ours: scores are divided by the best attainable, so that they lie in (0, 1].
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

from weighup.registry import Method

METHOD = Method(
    name="rrf",
    room="retrieve",
    paper="Reciprocal Rank Fusion outperforms Condorcet and Individual Rank Learning Methods",
    arxiv=None,
    command="weighup store search",
)
Key = TypeVar("Key", bound=Hashable)
K = 60


def fuse(rankings: Sequence[Sequence[Key]], *, k: int = K) -> list[tuple[Key, float]]:
    """Merge ranked lists, best first, into one of (key, score); ties keep the order of first appearance.

    A key that heads every list scores 1. Empty lists count: a key found by one list of two scores at most 1/2.
    """
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (k + rank)
    best = max(1, len(rankings)) / (k + 1)
    return sorted(((key, score / best) for key, score in scores.items()), key=lambda pair: -pair[1])
