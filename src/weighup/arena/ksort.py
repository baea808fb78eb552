"""K-Sort Arena: people rank K answers at once, beliefs about skills are Gaussian, and who meets is chosen.

Paper: K-Sort Arena: Efficient and Reliable Benchmarking for Generative Models via K-wise Human Preferences (Li et al.
2024, arXiv 2408.14468).
Faithful: a vote over K systems is taken apart into its K(K − 1)/2 pairs, each a Bayesian update of N(μ, σ²), of which
the mean is taken; the score shown is μ − 3σ; the least played system is matched with those of near skill that it has
seldom met (an upper confidence bound).
Ours: closeness raises the bound (the printed formula adds the distance); details and defaults are in `belief` and
`next_match`. A vote in which all tie counts: it says that they are equal.

Shapes: beliefs mu, sigma float64 [m], in the order of `systems`. All chance comes from `seed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from weighup.arena.belief import Beliefs
from weighup.arena.board import Leaderboard
from weighup.arena.elo import Elo
from weighup.arena.graph import Disconnected
from weighup.arena.next_match import next_match
from weighup.arena.simulate import voter, votes_until
from weighup.arena.types import Floats, Ranking
from weighup.errors import InvalidInput
from weighup.registry import Method

METHOD = Method(
    name="ksort",
    room="arena",
    paper="K-Sort Arena: Benchmarking Generative Models via K-wise Human Preferences (Li et al. 2024)",
    arxiv="2408.14468",
    command="weighup arena simulate --systems 50 --noise 0.1",
    claim_check="weighup.arena.ksort_claim:check",
)
SET = 4
"""Systems a vote, the paper's K."""
ELO_K = 4.0
"""Elo's points at stake in simulations: with much more, its ratings never settle enough for a τ of 0.95."""


class KSort:
    """An arena that is kept up to date vote by vote. `beliefs` holds μ, σ, and who met whom how often."""

    def __init__(self, models: Sequence[str], k: int = SET, alpha: float = 1.0, *, seed: int = 0) -> None:
        """k: systems a vote; alpha ≥ 0: how much having seldom met counts against being alike.

        Raises InvalidInput for names that stand twice, k below 2 or above their number, or alpha below 0.
        """
        self.beliefs = Beliefs(models)
        if not 2 <= k <= len(self.beliefs.systems):
            raise InvalidInput(f"k: from 2 to the number of systems ({len(self.beliefs.systems)}) is needed, not {k}")
        if not (alpha >= 0 and np.isfinite(alpha)):
            raise InvalidInput(f"alpha: a finite number of at least 0 is needed, not {alpha}")
        self.k, self.alpha = k, alpha
        self._rng = np.random.default_rng(seed)

    @property
    def systems(self) -> tuple[str, ...]:
        """In the order in which they came."""
        return self.beliefs.systems

    def next(self) -> tuple[str, ...]:
        """The k systems to be ranked next; the first is one of those played least. Equals are told apart at random."""
        return next_match(self.beliefs, "ucb", k=self.k, alpha=self.alpha, seed=self._rng)

    def update(self, ranking: Ranking) -> None:
        """One vote over two systems or more, best first, ties allowed.

        Raises InvalidInput for a system that is unknown or ranked twice, and for fewer than two; then nothing changes.
        """
        self.beliefs.update(ranking)

    def add(self, model: str) -> None:
        """A system more, as uncertain as one that never played, and so met first. Raises InvalidInput for one known."""
        self.beliefs.add(model)

    def values(self) -> Floats:
        """The score shown, μ − 3σ [m], in the order of `systems`."""
        return self.beliefs.scores()

    def leaderboard(self, *, level: float = 0.95, disconnected: Disconnected = "error") -> Leaderboard:
        """By μ − 3σ; low and high hold the skill with chance `level`, sd is σ. Raises as `Beliefs.leaderboard`."""
        return self.beliefs.leaderboard(conservative=True, level=level, disconnected=disconnected)


def votes_needed(
    systems: int, *, noise: float = 0.1, tau: float = 0.9, limit: int = 5000, seed: int = 0
) -> dict[str, int | None]:
    """Votes until Kendall's τ with the truth is at least `tau`: Elo on random pairs beside K-Sort, the same voters.

    Skills are uniform in [0, 1]; a voter knows them and exchanges neighbours with a chance of `noise`. None: more than
    `limit`. Raises InvalidInput for fewer than three systems, noise outside [0, 1], tau outside (−1, 1], limit below 1.
    """
    if systems < 3:
        raise InvalidInput(f"systems: three or more are needed, not {systems}")
    truth = skills(systems, seed)
    k = min(SET, systems)
    return {
        "Elo, random pairs": elo_votes(truth, noise=noise, tau=tau, limit=limit, seed=seed),
        f"K-Sort, sets of {k}": ksort_votes(truth, k=k, noise=noise, tau=tau, limit=limit, seed=seed),
    }


def skills(systems: int, seed: int) -> dict[str, float]:
    """Made systems with skills uniform in [0, 1]."""
    return dict(
        zip([f"s{n}" for n in range(systems)], np.random.default_rng(seed).random(systems).tolist(), strict=True)
    )


def elo_votes(
    truth: Mapping[str, float], *, noise: float, tau: float, limit: int, seed: int, k: float = ELO_K, every: int = 1
) -> int | None:
    """Votes over random pairs until Elo has the order; `every`: see `votes_until`."""
    votes = voter(truth, noise, seed=seed, errors="swap")
    return votes_until(Elo(tuple(truth), k=k), tau, truth, votes, limit=limit, seed=seed, every=every)


def ksort_votes(
    truth: Mapping[str, float], *, k: int = SET, noise: float, tau: float, limit: int, seed: int
) -> int | None:
    """Votes until K-Sort's scores have the order."""
    arena = KSort(tuple(truth), k, seed=seed)
    return votes_until(arena, tau, truth, voter(truth, noise, seed=seed, errors="swap"), arena.next, limit=limit)
