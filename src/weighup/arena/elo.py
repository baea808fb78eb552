"""Elo ratings (Elo 1978, "The Rating of Chessplayers, Past and Present"), averaged over random match orders.

R_a += K·w·(S − E), R_b −= the same, with E = 1/(1 + 10^((R_b − R_a)/400)), S the outcome (1, ½, 0) and w the match's
weight. The ratings depend on the order in which matches are played, so they are averaged over many orders and the
spread is given (as Wu and Aji 2023, arXiv 2307.03025, do). Ours: all orders are played at once, one numpy step a match.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weighup.arena.graph import Disconnected, compared, win_matrix
from weighup.arena.types import Floats, Leaderboard, Match, Matches, Ranking, levels
from weighup.errors import InvalidInput

START, SCALE, K = 1000.0, 400.0, 32.0
_AT_ONCE = 8_000_000  # matches × orders that are shuffled at once, 64 MB

Interval = Literal["orders", "bootstrap"]


def elo(
    matches: Matches | Iterable[Match],
    *,
    k: float = K,
    start: float = START,
    scale: float = SCALE,
    orders: int | None = 100,
    interval: Interval = "orders",
    level: float = 0.95,
    seed: int = 0,
    disconnected: Disconnected = "error",
) -> Leaderboard:
    """Mean rating over `orders` random orders; None: one pass in the order given, without an interval.

    low, high, sd of a rating are quantiles at `level` and standard deviation over the orders. With interval "orders"
    every order plays the same matches, so they tell of the order alone; with "bootstrap" each plays as many matches
    drawn with replacement, so they tell of the sample too. Raises InvalidInput for K, scale or orders not above 0 and
    for systems never compared (`graph.compared`).
    """
    taken = Matches.of(matches)
    _positive(k=k, scale=scale)
    if not math.isfinite(start):
        raise InvalidInput(f"start: a finite number is needed, not {start}")
    if orders is not None and orders < 1:
        raise InvalidInput(f"orders: one or more is needed, not {orders}")
    if interval not in ("orders", "bootstrap"):
        raise InvalidInput(f"interval: orders or bootstrap, not {interval!r}")
    if not 0 < level < 1:
        raise InvalidInput(f"level: between 0 and 1 (neither of them) is needed, not {level}")
    groups = compared(taken.systems, win_matrix(taken), disconnected)
    low = high = sd = None
    if orders is None:
        values = _play(taken, np.arange(len(taken))[None], k, start, scale)[0]
    else:
        found = _shuffled(taken, orders, interval, np.random.default_rng(seed), k, start, scale)
        values = found.mean(axis=0)
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
        sd = found.std(axis=0, ddof=1) if orders > 1 else None
    return Leaderboard.of(
        taken.systems,
        values,
        low=low,
        high=high,
        sd=sd,
        played=taken.played(),
        n=len(taken),
        components=groups,
        method="elo",
    )


class Elo:
    """Elo ratings kept up to date one vote at a time. A ranking of more than two is played as all its pairs, each
    against the ratings before the vote."""

    def __init__(self, systems: Sequence[str], k: float = K, start: float = START, scale: float = SCALE) -> None:
        """Raises InvalidInput for K or scale not above 0, or a name that stands twice."""
        _positive(k=k, scale=scale)
        if len(set(systems)) < len(systems) or len(systems) < 2:
            raise InvalidInput("systems: two different names or more are needed")
        self.systems = tuple(systems)
        self._place = {name: at for at, name in enumerate(self.systems)}
        self._ratings = [float(start)] * len(self.systems)
        self._k, self._scale = k, scale

    def update(self, ranking: Ranking) -> None:
        """One vote, best first, ties allowed. Raises InvalidInput as `types.levels`."""
        level = [(self._place[n], at) for at, names in enumerate(levels(ranking, self._place)) for n in names]
        moved: list[tuple[int, int, float]] = []
        for number, (a, above) in enumerate(level):
            for b, below in level[number + 1 :]:
                expected = 1 / (1 + 10 ** ((self._ratings[b] - self._ratings[a]) / self._scale))
                moved.append((a, b, self._k * ((0.5 if above == below else 1.0) - expected)))
        for a, b, by in moved:
            self._ratings[a] += by
            self._ratings[b] -= by

    def values(self) -> Floats:
        """The ratings [m], in the order of `systems`."""
        return np.array(self._ratings)


def _shuffled(
    matches: Matches, orders: int, interval: str, rng: np.random.Generator, k: float, start: float, scale: float
) -> Floats:
    """Final ratings [orders, m]."""
    n, parts = len(matches), []
    most = max(1, _AT_ONCE // n)
    for first in range(0, orders, most):
        some = min(most, orders - first)
        if interval == "orders":
            index = np.stack([rng.permutation(n) for _ in range(some)])
        else:
            index = rng.integers(0, n, (some, n))
        parts.append(_play(matches, index, k, start, scale))
    return np.concatenate(parts)


def _play(matches: Matches, index: NDArray[np.int64], k: float, start: float, scale: float) -> Floats:
    """Final ratings [o, m] of matches played in the orders `index` [o, n]."""
    orders, m = len(index), len(matches.systems)
    ratings = np.full(orders * m, start)
    shift = np.arange(orders) * m
    per = math.log(10) / scale
    gain, won = k * matches.weight, matches.outcome.astype(np.float64)
    for begin in range(0, index.shape[1], 10_000):  # gathered in pieces, to keep memory small
        rows = np.ascontiguousarray(index[:, begin : begin + 10_000].T)
        for a, b, won_here, by in zip(
            shift + matches.a[rows], shift + matches.b[rows], won[rows], gain[rows], strict=True
        ):
            first, second = ratings[a], ratings[b]
            step = by * (won_here - 1 / (1 + np.exp(np.minimum(per * (second - first), 700))))
            ratings[a] = first + step
            ratings[b] = second - step
    return ratings.reshape(orders, m)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise InvalidInput(f"{name}: a finite number above 0 is needed, not {value}")
