"""Gaussian beliefs about systems' skills, updated vote by vote: TrueSkill's two-player update (Herbrich, Minka and
Graepel 2007, "TrueSkill: a Bayesian skill rating system"), as K-Sort Arena uses it (Li et al. 2024, arXiv 2408.14468).

A system's skill is N(μ, σ²), its performance in a vote the skill plus N(0, β²). For a winner w and a loser l:

    c² = 2β² + σ_w² + σ_l²    t = (μ_w − μ_l)/c    v = φ(t)/Φ(t)    w = v·(v + t)
    μ_w += σ_w²/c·v    μ_l −= σ_l²/c·v    σ² *= max(1 − σ²/c²·w, κ)

A vote over K systems is taken apart into its K(K − 1)/2 pairs, all against the beliefs before the vote; each system
moves by the mean of what its K − 1 pairs say. No draw margin: a tie says that the performances were equal, the limit of
TrueSkill's draw for a margin of 0, v = −t and w = 1. Ours: taking the mean over the system's own pairs, where the paper
speaks of the vote's; the defaults μ 25, σ 25/3, β 25/6 are TrueSkill's, κ 10⁻⁴ the floor of one update's factor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from weighup.arena.graph import Disconnected, compared
from weighup.arena.types import Floats, Leaderboard, Match, Matches, Ranking, levels
from weighup.errors import InvalidInput

MU, SIGMA, BETA, FLOOR = 25.0, 25 / 3, 25 / 6, 1e-4
_LEAST_SIGMA = 1e-3  # of σ: many certain votes must not make it 0
_SQRT2 = math.sqrt(2)
_TAIL = -30.0  # below, Φ(t) is near the least number there is, and its expansion is exact to rounding


class Beliefs:
    """Beliefs about systems, kept up to date one vote at a time.

    systems: names; mu, sigma: float64 [m]; plays: int64 [m], votes of each; pairs: int64 [m, m], votes in which two
    met; votes: how many there were.
    """

    def __init__(
        self,
        systems: Sequence[str],
        *,
        mu: float = MU,
        sigma: float = SIGMA,
        beta: float = BETA,
        floor: float = FLOOR,
    ) -> None:
        """Raises InvalidInput for names that stand twice, σ or β not above 0, or a floor outside (0, 1)."""
        if len(set(systems)) < len(systems):
            raise InvalidInput("systems: a name stands twice")
        if not (sigma > 0 and beta > 0 and all(map(math.isfinite, (mu, sigma, beta)))):
            raise InvalidInput(f"beliefs: finite mu and sigma, beta above 0 are needed, not {mu}, {sigma}, {beta}")
        if not 0 < floor < 1:
            raise InvalidInput(f"floor: between 0 and 1 (neither of them) is needed, not {floor}")
        self.systems: tuple[str, ...] = ()
        self._start, self._beta, self._floor = (float(mu), float(sigma)), float(beta), float(floor)
        self.mu, self.sigma = np.zeros(0), np.zeros(0)
        self.plays, self.pairs = np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.int64)
        self._wins = np.zeros((0, 0))
        self._place: dict[str, int] = {}
        self.votes = 0
        for name in systems:
            self.add(name)

    def add(self, system: str) -> None:
        """A system more, as uncertain as one that never played. Raises InvalidInput for one already known."""
        if system in self._place:
            raise InvalidInput(f"systems: {system!r} is already known")
        self._place[system] = len(self.systems)
        self.systems = (*self.systems, system)
        self.mu, self.sigma = np.append(self.mu, self._start[0]), np.append(self.sigma, self._start[1])
        self.plays = np.append(self.plays, 0)
        self.pairs, self._wins = np.pad(self.pairs, (0, 1)), np.pad(self._wins, (0, 1))

    def update(self, ranking: Ranking) -> None:
        """One vote, best first, ties allowed. Raises InvalidInput as `types.levels`; nothing is then changed."""
        groups = levels(ranking, self._place)
        self.votes += 1
        who = [(self._place[name], rank) for rank, names in enumerate(groups) for name in names]
        mu, variance = self.mu.tolist(), (self.sigma**2).tolist()
        moved = {system: 0.0 for system, _ in who}
        shrunk = {system: 0.0 for system, _ in who}
        for number, (a, above) in enumerate(who):
            for b, below in who[number + 1 :]:
                c = math.sqrt(2 * self._beta**2 + variance[a] + variance[b])
                v, w = _tied((mu[a] - mu[b]) / c) if above == below else _won((mu[a] - mu[b]) / c)
                moved[a] += variance[a] / c * v
                moved[b] -= variance[b] / c * v
                for system in (a, b):
                    shrunk[system] += max(1 - variance[system] / c**2 * w, self._floor) - 1
                self._wins[a, b] += 0.5 if above == below else 1.0
                self._wins[b, a] += 0.5 if above == below else 0.0
                self.pairs[a, b] += 1
                self.pairs[b, a] += 1
        for system, _ in who:
            self.mu[system] += moved[system] / (len(who) - 1)
            factor = 1 + shrunk[system] / (len(who) - 1)
            self.sigma[system] = max(math.sqrt(variance[system] * factor), _LEAST_SIGMA * self._start[1])
            self.plays[system] += 1

    def values(self) -> Floats:
        """The mean skills μ [m], in the order of `systems`."""
        return self.mu.copy()

    def scores(self) -> Floats:
        """μ − 3σ [m], what a system's skill is almost surely above."""
        return np.asarray(self.mu - 3 * self.sigma)

    def win_chance(self, a: str, b: str) -> float:
        """P(a's performance is above b's) in (0, 1)."""
        i, j = (self._known(name) for name in (a, b))
        c = math.sqrt(2 * self._beta**2 + self.sigma[i] ** 2 + self.sigma[j] ** 2)
        return NormalDist().cdf(float(self.mu[i] - self.mu[j]) / c)

    def leaderboard(
        self, *, conservative: bool = False, level: float = 0.95, disconnected: Disconnected = "error"
    ) -> Leaderboard:
        """By μ, or by μ − 3σ where `conservative`; low and high hold the skill with chance `level`, sd is σ.

        Raises InvalidInput for systems never compared (`graph.compared`).
        """
        if not 0 < level < 1:
            raise InvalidInput(f"level: between 0 and 1 (neither of them) is needed, not {level}")
        half = NormalDist().inv_cdf((1 + level) / 2) * self.sigma
        return Leaderboard.of(
            self.systems,
            self.scores() if conservative else self.mu,
            low=self.mu - half,
            high=self.mu + half,
            sd=self.sigma,
            played=self.plays,
            n=self.votes,
            components=compared(self.systems, self._wins, disconnected),
            method="gaussian_belief",
        )

    def _known(self, name: str) -> int:
        if name not in self._place:
            raise InvalidInput(f"systems: unknown system {name!r}")
        return self._place[name]


def gaussian_belief(
    votes: Matches | Iterable[Match] | Iterable[Ranking],
    systems: Sequence[str] | None = None,
    *,
    mu: float = MU,
    sigma: float = SIGMA,
    beta: float = BETA,
    floor: float = FLOOR,
    conservative: bool = False,
    level: float = 0.95,
    disconnected: Disconnected = "error",
) -> Leaderboard:
    """The leaderboard after all votes, in the order given, on which it depends a little.

    votes: matches, or rankings best first. systems: all of them (None: those in the votes). Raises InvalidInput for a
    vote that cannot be used (naming its row), matches with weights other than 1, and systems never compared.
    """
    rankings = _rankings(votes)
    if not rankings:
        raise InvalidInput("votes: there are none; one or more is needed")
    named = [name for row, one in enumerate(rankings, 1) for g in levels(one, where=f"votes: row {row}") for name in g]
    beliefs = Beliefs(systems or sorted(set(named)), mu=mu, sigma=sigma, beta=beta, floor=floor)
    for row, one in enumerate(rankings, 1):
        levels(one, beliefs.systems, where=f"votes: row {row}")
        beliefs.update(one)
    return beliefs.leaderboard(conservative=conservative, level=level, disconnected=disconnected)


def _rankings(votes: Matches | Iterable[Match] | Iterable[Ranking]) -> list[Ranking]:
    given = votes if isinstance(votes, Matches) else list(votes)
    if isinstance(given, Matches):
        matches = given
    elif given and isinstance(given[0], Match):
        matches = Matches.of(one for one in given if isinstance(one, Match))
        if len(matches) < len(given):
            raise InvalidInput("votes: matches and rankings are mixed; give one kind")
    else:
        rankings: list[Any] = [one for one in given if not isinstance(one, Match)]
        if len(rankings) < len(given):
            raise InvalidInput("votes: matches and rankings are mixed; give one kind")
        return rankings
    if (matches.weight != 1).any():
        raise InvalidInput("matches: Gaussian beliefs take no weights; all must be 1")
    names = matches.systems
    sides = zip(matches.a.tolist(), matches.b.tolist(), matches.outcome.tolist(), strict=True)
    return [
        ((names[a], names[b]),) if y == 0.5 else (names[a], names[b]) if y else (names[b], names[a])
        for a, b, y in sides
    ]


def _won(t: float) -> tuple[float, float]:
    """v and w of a win."""
    if t < _TAIL:
        v = -t - 1 / t + 2 / t**3
    else:
        v = math.exp(-t * t / 2) / math.sqrt(2 * math.pi) / (math.erfc(-t / _SQRT2) / 2)
    return v, min(max(v * (v + t), 0.0), 1.0)


def _tied(t: float) -> tuple[float, float]:
    """v and w of a tie."""
    return -t, 1.0
