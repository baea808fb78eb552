"""Searchers over a space of architectures: random, Monte Carlo tree search with or without bisection, and SMBO.

DeepArchitect (Negrinho and Gordon 2017, arXiv 1704.08792, and its released code). A searcher proposes a
complete path and is told its score (higher is better).

MCTS: from the root the child of greatest `mean + c sqrt(2 ln n_parent / n_child)` (UCT; one never tried comes first)
down to a node that has no children yet, which gets them; from there uniform chance. Bisection splits an ordered
decision of M values into about log2 M halvings, so that what was learned of a value is shared with its neighbours.
SMBO: ridge regression from counts of module n-grams to the score; the best of `candidates` random architectures is
proposed, or any of them with probability `explore`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.moe.search.space import Architecture, Decision, Module, Path, follow, specified

Floats = NDArray[np.float64]


class Searcher(Protocol):
    """Proposes complete paths, learns from their scores."""

    def propose(self) -> Path:
        """The next path to evaluate."""

    def tell(self, path: Path, score: float) -> None:
        """The score of the path proposed last."""


class RandomSearcher:
    """Each decision uniformly at random."""

    def __init__(self, space: Module, *, seed: int) -> None:
        self.space, self.chance = space, np.random.default_rng(seed)

    def propose(self) -> Path:
        """A random complete path."""
        return completed(self.space, (), self.chance)

    def tell(self, path: Path, score: float) -> None:
        """Nothing is learned."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A node of the searched tree: choices made, and for a decision being bisected the options still possible."""

    path: Path
    low: int = 0
    high: int = 0


@dataclass(slots=True)
class _Statistics:
    total: float = 0.0
    tries: int = 0
    children: tuple[_Place, ...] = ()


class MCTSSearcher:
    """Monte Carlo tree search; `bisect` splits ordered decisions into halves. `exploration`: c of UCT."""

    def __init__(self, space: Module, *, seed: int, exploration: float = 0.3, bisect: bool = False) -> None:
        """Raises InvalidInput for a negative exploration."""
        if not exploration >= 0:
            raise InvalidInput(f"mcts: an exploration of 0 or more is needed, not {exploration}")
        self.space, self.exploration, self.bisect = space, exploration, bisect
        self.chance = np.random.default_rng(seed)
        self.root = _Place(())
        self.tree = {self.root: _Statistics()}
        self.walked: list[_Place] = []

    def propose(self) -> Path:
        """Down the tree by UCT, then by chance."""
        place = self.root
        self.walked = [place]
        while self.tree[place].children:
            place = self._best(self.tree[place])
            self.walked.append(place)
        self._expand(place)
        return self._rolled_out(place)

    def tell(self, path: Path, score: float) -> None:
        """Counts for every node that was walked through."""
        for place in self.walked:
            found = self.tree[place]
            found.total += score
            found.tries += 1

    def _best(self, parent: _Statistics) -> _Place:
        tries = np.array([self.tree[child].tries for child in parent.children], float)
        totals = np.array([self.tree[child].total for child in parent.children])
        worth = np.full(len(tries), np.inf)
        tried = tries > 0
        bonus = np.sqrt(2 * np.log(max(1, parent.tries)) / tries[tried])
        worth[tried] = totals[tried] / tries[tried] + self.exploration * bonus
        best = np.flatnonzero(worth == worth.max())
        return parent.children[int(self.chance.choice(best))]

    def _expand(self, place: _Place) -> None:
        children = self._children(place)
        self.tree[place].children = children
        for child in children:
            self.tree[child] = _Statistics()

    def _children(self, place: _Place) -> tuple[_Place, ...]:
        decision = follow(self.space, place.path)
        if isinstance(decision, Architecture):
            return ()
        if not (self.bisect and decision.ordered):
            return tuple(_Place((*place.path, index)) for index in range(decision.size))
        low, high = (place.low, place.high) if place.high else (0, decision.size)
        middle = (low + high) // 2
        halves = ((low, middle), (middle, high))
        return tuple(_Place((*place.path, a)) if b - a == 1 else _Place(place.path, a, b) for a, b in halves)

    def _rolled_out(self, place: _Place) -> Path:
        path = place.path
        if place.high:
            path = (*path, int(self.chance.integers(place.low, place.high)))
        return completed(self.space, path, self.chance)


class SMBOSearcher:
    """Sequential model-based optimisation with a ridge regression on module n-grams.

    `start` random evaluations come first; `candidates` are drawn for each further one; `explore`: how often one of
    them is taken by chance; `ridge`: the penalty; `longest`: n of the longest n-gram.
    """

    def __init__(
        self, space: Module, *, seed: int, start: int = 8, candidates: int = 128, explore: float = 0.1,
        ridge: float = 1.0, longest: int = 3,
    ) -> None:  # fmt: skip
        """Raises InvalidInput for settings outside their ranges."""
        if min(start, candidates, longest) < 1 or not 0 <= explore <= 1 or not ridge > 0:
            raise InvalidInput(
                "smbo: start, candidates and longest of 1 or more, explore in [0, 1] and a positive ridge are needed, "
                f"not {start}, {candidates}, {longest}, {explore}, {ridge}"
            )
        self.space, self.chance = space, np.random.default_rng(seed)
        self.start, self.candidates, self.explore = start, candidates, explore
        self.ridge, self.longest = ridge, longest
        self.known: list[dict[str, int]] = []
        self.scores: list[float] = []
        self.seen: set[Path] = set()

    def propose(self) -> Path:
        """The candidate that the surrogate thinks best among those not evaluated yet."""
        if len(self.scores) < self.start:
            return completed(self.space, (), self.chance)
        drawn = [completed(self.space, (), self.chance) for _ in range(self.candidates)]
        new = [path for path in drawn if path not in self.seen] or drawn
        if self.chance.random() < self.explore:
            return new[int(self.chance.integers(len(new)))]
        return new[int(np.argmax(self.predicted(new)))]

    def tell(self, path: Path, score: float) -> None:
        """One more observation."""
        self.known.append(ngrams(specified(self.space, path), self.longest))
        self.scores.append(score)
        self.seen.add(path)

    def predicted(self, paths: list[Path]) -> Floats:
        """The surrogate's score of each path [paths]."""
        columns = {gram: n for n, gram in enumerate(sorted({gram for row in self.known for gram in row}))}
        x = _counted(self.known, columns)
        y = np.array(self.scores)
        centre, mean = x.mean(0), y.mean()
        # As many unknowns as observations: solved in the space of the rows.
        kernel = (x - centre) @ (x - centre).T
        dual = np.linalg.solve(kernel + self.ridge * np.eye(len(y)), y - mean)
        weight = (x - centre).T @ dual
        rows = [ngrams(specified(self.space, path), self.longest) for path in paths]
        return np.asarray((_counted(rows, columns) - centre) @ weight + mean, np.float64)


def ngrams(architecture: Architecture, longest: int) -> dict[str, int]:
    """How often every run of 1 to `longest` neighbouring modules occurs, and how many modules there are."""
    tokens = architecture.tokens()
    found = {"modules": len(tokens)}
    for n in range(1, longest + 1):
        for at in range(len(tokens) - n + 1):
            gram = " ".join(tokens[at : at + n])
            found[gram] = found.get(gram, 0) + 1
    return found


def _counted(rows: list[dict[str, int]], columns: dict[str, int]) -> Floats:
    found = np.zeros((len(rows), len(columns)))
    for n, row in enumerate(rows):
        for gram, times in row.items():
            if gram in columns:
                found[n, columns[gram]] = times
    return found


def completed(space: Module, path: Path, chance: np.random.Generator) -> Path:
    """The path with every decision that is left made uniformly at random."""
    asking = space.ask()
    found = list(path)
    try:
        decision: Decision = next(asking)
        for index in path:
            decision = asking.send(index)
        while True:
            found.append(int(chance.integers(decision.size)))
            decision = asking.send(found[-1])
    except StopIteration:
        return tuple(found)


@dataclass(frozen=True)
class History:
    """What was evaluated, in order."""

    paths: tuple[Path, ...]
    scores: tuple[float, ...]
    best_so_far: tuple[float, ...] = field(default=())

    @property
    def best(self) -> tuple[Path, float]:
        """The path of the highest score (the first of equals), and the score."""
        place = int(np.argmax(self.scores))
        return self.paths[place], self.scores[place]

    @property
    def area(self) -> float:
        """Area under best-so-far: its mean over the evaluations."""
        return float(np.mean(self.best_so_far))
