"""Which systems should meet next.

"uncertain": those with the widest sd. "least_played": those with the fewest votes. "close": one at random, and those
nearest to it in value. "ucb" (K-Sort Arena: Li et al. 2024, arXiv 2408.14468): the least played system i, and those of
the greatest U_q = −|S_i − S_q| + α·sqrt(ln n / n_iq), with S the value, n the votes so far and n_iq those in which i
and q met. Ours: the formula as printed adds the distance, which would match the unlike; closeness must raise U. A pair
that never met counts as met once, so that closeness decides among such pairs. Equals are told apart at random.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.arena.belief import Beliefs
from weighup.arena.types import Floats, Leaderboard, some
from weighup.errors import InvalidInput

Policy = Literal["uncertain", "close", "least_played", "ucb"]


def next_match(
    board: Beliefs | Leaderboard,
    policy: Policy = "uncertain",
    *,
    k: int = 2,
    seed: int | np.random.Generator = 0,
    alpha: float = 1.0,
    among: Collection[str] | None = None,
    pairs: ArrayLike | None = None,
) -> tuple[str, ...]:
    """The k different systems to be compared next, the first chosen first.

    among: only these (None: all). alpha ≥ 0, pairs [m, m] (in how many votes two met, by the board's order): for "ucb",
    which beliefs count by themselves. seed: a number, or a generator to draw on. Raises InvalidInput for k below 2 or
    above the number of systems, an unknown policy or system, a board without sd for "uncertain", without pairs for
    "ucb".
    """
    names, value, sd, plays = _columns(board)
    if policy not in ("uncertain", "close", "least_played", "ucb"):
        raise InvalidInput(f"policy: uncertain, close, least_played or ucb, not {policy!r}")
    if among is not None and (unknown := set(among) - set(names)):
        raise InvalidInput(f"among: unknown {some(unknown)}; known are {some(names)}")
    free = np.array([among is None or name in among for name in names])
    if not 2 <= k <= free.sum():
        raise InvalidInput(f"k: from 2 to the number of systems ({free.sum()}) is needed, not {k}")
    if not (alpha >= 0 and math.isfinite(alpha)):
        raise InvalidInput(f"alpha: a finite number of at least 0 is needed, not {alpha}")
    rng = np.random.default_rng(seed)
    if policy == "uncertain":
        if not np.isfinite(sd[free]).all():
            raise InvalidInput('board: has no standard errors, which policy "uncertain" needs; rate with an interval')
        return tuple(names[i] for i in _greatest(sd, free, k, rng))
    if policy == "least_played":
        return tuple(names[i] for i in _greatest(-plays, free, k, rng))
    first = _greatest(np.zeros(len(names)) if policy == "close" else -plays, free, 1, rng)[0]
    free[first] = False
    wish = -np.abs(value - value[first])
    if policy == "ucb":
        met = board.pairs if isinstance(board, Beliefs) and pairs is None else pairs
        if met is None or np.shape(met) != (len(names), len(names)):
            raise InvalidInput('pairs: policy "ucb" needs in how many votes each two systems met, an array [m, m]')
        votes = board.votes if isinstance(board, Beliefs) else board.n
        wish = wish + alpha * np.sqrt(math.log(max(votes, 1)) / np.maximum(np.asarray(met)[first], 1))
    return tuple(names[i] for i in [first, *_greatest(wish, free, k - 1, rng)])


def _columns(board: Beliefs | Leaderboard) -> tuple[tuple[str, ...], Floats, Floats, Floats]:
    """Names, values, sd (NaN: none) and votes of each system."""
    if isinstance(board, Beliefs):
        return board.systems, board.values(), board.sigma, board.plays.astype(np.float64)
    columns = [(one.value, math.nan if one.sd is None else one.sd, one.n) for one in board.ratings]
    value, sd, plays = np.array(columns, dtype=np.float64).T
    return board.order(), value, sd, plays


def _greatest(wish: Floats, free: NDArray[np.bool_], k: int, rng: np.random.Generator) -> list[int]:
    """Places of the k greatest among those free."""
    order = np.lexsort((rng.random(len(wish)), -wish, ~free))
    return [int(place) for place in order[:k]]
