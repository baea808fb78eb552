"""How well each system does with each kind of query: a profile over Feedbacker's taxonomy.

Paper: Wang et al. 2025, arXiv 2505.06698. Faithful: results of systems by node of the tree, inner nodes too, and the
nodes in which a system is weak. Ours: intervals; a node is weak where its whole interval lies below the system's mean
over all. Nodes are many, and each interval is one of 95 %: of twenty nodes in truth no weaker, one may be called so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weighup.errors import InvalidInput
from weighup.judge.feedbacker_taxonomy import Branch, Taxonomy
from weighup.metrics.estimate import Estimate, estimated


@dataclass(frozen=True, slots=True)
class Slice:
    """How well a system does in a node: mean over its queries, with interval and n; `path` () is all of them."""

    system: str
    path: Branch
    value: Estimate


@dataclass(frozen=True, slots=True)
class Profile:
    """Slices of each system, all of it first, then by node, parents before children."""

    slices: tuple[Slice, ...]

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems, in order."""
        return tuple(dict.fromkeys(one.system for one in self.slices))

    def of(self, system: str, path: Branch = ()) -> Estimate:
        """One slice's value. Raises InvalidInput where there is none."""
        for one in self.slices:
            if (one.system, one.path) == (system, path):
                return one.value
        raise InvalidInput(f"profile: {system!r} has no results in {' / '.join(path) or 'all'}")

    def weak(self, system: str) -> list[Slice]:
        """The nodes in which a system does worse than over all, interval and all, worst first."""
        whole = self.of(system).value
        found = [one for one in self.slices if one.system == system and one.path and one.value.high < whole]
        return sorted(found, key=lambda one: one.value.value)

    def markdown(self) -> str:
        """A table, one row a node, one column a system."""
        paths = list(dict.fromkeys(one.path for one in self.slices))
        table = {(one.system, one.path): one.value for one in self.slices}
        lines = [f"| node | {' | '.join(self.systems)} |", "|" + " --- |" * (1 + len(self.systems))]
        for path in paths:
            cells = [str(table.get((system, path), "–")) for system in self.systems]
            lines.append(f"| {' / '.join(path) or 'all'} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def profile(
    results: Mapping[str, Mapping[str, Sequence[float]]], taxonomy: Taxonomy, *, seed: int = 0, draws: int = 1000
) -> Profile:
    """Mean result of every system in every node.

    results: system -> query id -> its results there (one or more numbers). A query counts once, as their mean; in the
    interval queries are drawn. Raises InvalidInput for no results, one that is not finite, or a query that is not in
    the taxonomy.
    """
    where = taxonomy.placements()
    nodes: list[Branch] = [(), *(path for path, _ in taxonomy.root.walk())]
    slices = []
    for system, told in results.items():
        strange = sorted(set(told) - set(where))
        if strange or not told:
            raise InvalidInput(f"results of {system}: {'no taxonomy place for ' + strange[0] if strange else 'none'}")
        means = {id: float(np.mean(values)) if len(values) else math.nan for id, values in told.items()}
        for id, value in means.items():
            if not math.isfinite(value):
                raise InvalidInput(f"results of {system}: query {id} has none, or one that is not a finite number")
        for path in nodes:
            some = [value for id, value in means.items() if where[id][: len(path)] == path]
            if some:
                slices.append(Slice(system, path, _mean(some, seed, draws)))
    return Profile(tuple(slices))


def _mean(values: Sequence[float], seed: int, draws: int) -> Estimate:
    if len(values) == 1:  # nothing to draw from
        return Estimate(values[0], math.nan, math.nan, 1)
    return estimated(lambda some: float(np.mean(some)), np.array(values), seed=seed, draws=draws)
