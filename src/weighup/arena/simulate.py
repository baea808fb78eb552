"""Votes of made voters about systems of known skill: what raters and matching are tried on.

A voter sees utility = skill + effect·style + noise·Gumbel and ranks by it, so that votes follow Plackett–Luce, for two
systems Bradley–Terry, with log-odds (s_a − s_b)/noise; a tie between two has Davidson's (1970) chance. A "swap" voter
knows the true order and exchanges neighbours, each pair once from the top, with a chance of `noise` (as in K-Sort
Arena's simulation, Li et al. 2024, arXiv 2408.14468).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from weighup.arena.types import Floats, Matches, Ranking
from weighup.errors import InvalidInput
from weighup.metrics.extras import need

Errors = Literal["logistic", "swap"]
Pairing = Literal["random", "round_robin"]


class OnlineRater(Protocol):
    """What keeps ratings up to date vote by vote: `belief.Beliefs`, `elo.Elo`."""

    @property
    def systems(self) -> tuple[str, ...]: ...

    def update(self, ranking: Ranking) -> None: ...

    def values(self) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Style:
    """Something beside skill that voters like: each answer has mean (by system) + N(0, sd²) of it, and one unit is
    worth `effect` of skill. The matches' covariate `name` holds a's less b's."""

    effect: float
    mean: Mapping[str, float]
    sd: float = 1.0
    name: str = "style"


def simulate_votes(
    skills: Mapping[str, float],
    policy: Pairing = "random",
    noise: float = 1.0,
    n: int = 1000,
    seed: int = 0,
    *,
    k: int = 2,
    ties: float = 0.0,
    style: Style | None = None,
    errors: Errors = "logistic",
) -> Matches | list[Ranking]:
    """n votes: `Matches` for k = 2, rankings (best first) for more.

    policy: who meets, "random" sets of k or "round_robin" over all pairs (k = 2 only), sides at random. noise: above 0,
    or a chance in [0, 1] for "swap" errors. ties: Davidson's ν ≥ 0; equals tie with chance ν/(2 + ν); with k > 2 or
    "swap" errors, neighbours tie with that chance whatever their skills. Raises InvalidInput for values outside these.
    """
    names, skill = _skills(skills)
    _voting(noise, ties, errors)
    if n < 1 or not 2 <= k <= len(names):
        raise InvalidInput(f"n: one or more, k: from 2 to {len(names)} is needed, not {n} and {k}")
    if policy not in ("random", "round_robin") or (policy == "round_robin" and k > 2):
        raise InvalidInput(f"policy: random or (k = 2) round_robin, not {policy!r}")
    if style is not None and (k > 2 or set(style.mean) != set(names)):
        raise InvalidInput("style: a mean for each system is needed, and k = 2")
    rng = np.random.default_rng(seed)
    shown = _shown(len(names), n, k, policy, rng)
    if k > 2:
        return [_ranked([names[i] for i in row], skill[row], noise, ties, errors, rng) for row in shown]
    gap, extra = skill[shown[:, 0]] - skill[shown[:, 1]], None
    if style is not None:
        mean = np.array([style.mean[name] for name in names])
        each = mean[shown] + style.sd * rng.standard_normal((n, 2))
        extra = each[:, 0] - each[:, 1]
        gap = gap + style.effect * extra
    outcome = _outcomes(gap, noise, ties, errors, rng)
    named = () if style is None else (style.name,)
    return Matches.coded(names, shown[:, 0], shown[:, 1], outcome, covariates=extra, covariate_names=named)


def voter(
    skills: Mapping[str, float], noise: float = 1.0, *, seed: int = 0, ties: float = 0.0, errors: Errors = "logistic"
) -> Callable[[Sequence[str]], Ranking]:
    """What ranks any systems it is shown, best first. As `simulate_votes`, one vote a call."""
    names, skill = _skills(skills)
    _voting(noise, ties, errors)
    place = {name: at for at, name in enumerate(names)}
    rng = np.random.default_rng(seed)

    def vote(shown: Sequence[str]) -> Ranking:
        return _ranked(shown, skill[[place[name] for name in shown]], noise, ties, errors, rng)

    return vote


def votes_until(
    rater: OnlineRater,
    tau: float,
    truth: Mapping[str, float],
    vote: Callable[[Sequence[str]], Ranking],
    choose: Callable[[], Sequence[str]] | None = None,
    *,
    k: int = 2,
    limit: int = 10_000,
    every: int = 1,
    seed: int = 0,
) -> int | None:
    """Votes until Kendall's τ-b between the rater's values and the truth is at least `tau`; None if `limit` do not do.

    choose: who meets next (None: k at random by `seed`). τ is looked at after every `every` votes. Raises InvalidInput
    for a truth that does not name the rater's systems, or tau outside (−1, 1].
    """
    if set(truth) != set(rater.systems):
        raise InvalidInput("truth: a value for each of the rater's systems is needed")
    if not -1 < tau <= 1 or limit < 1 or every < 1:
        raise InvalidInput(f"tau in (−1, 1], limit and every of 1 or more are needed, not {tau}, {limit}, {every}")
    kendalltau = need("scipy.stats").kendalltau
    rng = np.random.default_rng(seed)
    wanted = [truth[name] for name in rater.systems]
    for cast in range(1, limit + 1):
        if choose is None:
            shown: Sequence[str] = [rater.systems[i] for i in rng.choice(len(rater.systems), k, replace=False)]
        else:
            shown = choose()
        rater.update(vote(shown))
        if cast % every == 0 and kendalltau(rater.values(), wanted).statistic >= tau:
            return cast
    return None


def _shown(m: int, n: int, k: int, policy: Pairing, rng: np.random.Generator) -> NDArray[np.int64]:
    """Who meets [n, k]."""
    if policy == "round_robin":
        first, second = np.triu_indices(m, 1)
        pairs = np.stack([first, second], axis=1)[np.arange(n) % len(first)]
        return rng.permuted(pairs, axis=1)
    if k == 2:
        a = rng.integers(0, m, n)
        return np.stack([a, (a + rng.integers(1, m, n)) % m], axis=1)
    return np.stack([rng.choice(m, k, replace=False) for _ in range(n)])


def _outcomes(gap: Floats, noise: float, ties: float, errors: Errors, rng: np.random.Generator) -> Floats:
    drawn = rng.random(len(gap))
    if errors == "swap":
        right = np.where(gap == 0, 0.5, gap > 0)
        outcome = np.where(drawn < noise, 1 - right, right)
        return np.where(rng.random(len(gap)) < ties / (2 + ties), 0.5, outcome)
    up = np.exp(np.clip(gap / noise, -600, 600) / 2)
    z = up + ties + 1 / up
    return np.where(drawn < up / z, 1.0, np.where(drawn < (up + ties) / z, 0.5, 0.0))


def _ranked(
    shown: Sequence[str], skill: Floats, noise: float, ties: float, errors: Errors, rng: np.random.Generator
) -> Ranking:
    """One vote over systems of these skills."""
    if len(shown) == 2 and errors == "logistic":
        won = float(_outcomes(skill[:1] - skill[1:], noise, ties, errors, rng)[0])
        return (tuple(shown),) if won == 0.5 else (shown[0], shown[1]) if won else (shown[1], shown[0])
    utility = skill if errors == "swap" else skill + noise * rng.gumbel(size=len(skill))
    order = [shown[i] for i in np.lexsort((rng.random(len(skill)), -utility))]
    if errors == "swap":
        for i in range(len(order) - 1):
            if rng.random() < noise:
                order[i], order[i + 1] = order[i + 1], order[i]
    groups: list[list[str]] = [[order[0]]]
    for name in order[1:]:
        if ties and rng.random() < ties / (2 + ties):
            groups[-1].append(name)
        else:
            groups.append([name])
    return tuple(group[0] if len(group) == 1 else tuple(group) for group in groups)


def _skills(skills: Mapping[str, float]) -> tuple[tuple[str, ...], Floats]:
    names, skill = tuple(skills), np.array(list(skills.values()), dtype=np.float64)
    if len(names) < 2 or not np.isfinite(skill).all():
        raise InvalidInput("skills: two systems or more with finite skills are needed")
    return names, skill


def _voting(noise: float, ties: float, errors: str) -> None:
    if errors not in ("logistic", "swap"):
        raise InvalidInput(f"errors: logistic or swap, not {errors!r}")
    if not ((0 <= noise <= 1) if errors == "swap" else (noise > 0 and math.isfinite(noise))):
        raise InvalidInput(f"noise: above 0 (logistic) or in [0, 1] (swap) is needed, not {noise}")
    if not (ties >= 0 and math.isfinite(ties)):
        raise InvalidInput(f"ties: a finite number of at least 0 is needed, not {ties}")
