"""What arenas take: matches and rankings; what they give (`Rating`, `Leaderboard`) is in `board` and named here too.

`Match` is one vote between two systems; `Matches` holds many of them as columns, which is what raters compute on (a
million matches are 20 MB). A `Ranking` is one vote over several systems. Rows are counted from 1 in messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.arena.board import Coefficient, Floats, Leaderboard, Rating, some
from weighup.errors import InvalidInput

__all__ = [
    "OUTCOMES",
    "Coefficient",
    "Floats",
    "Labels",
    "Leaderboard",
    "Match",
    "Matches",
    "Ranking",
    "Rating",
    "Winner",
    "levels",
    "refuse",
    "some",
]

Winner = Literal["a", "b", "tie", "both_bad"]
Ranking = Sequence[str | Sequence[str]]
"""One vote, best first; an entry that is a sequence of names is a tie: ("w", ("x", "y"), "z")."""

OUTCOMES: Mapping[str, float] = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
"""What a vote is worth to system a. "Both bad" says nothing of which is better and counts as a tie (ours, as the public
arenas do)."""


def refuse(row: int, field: str, why: str) -> NoReturn:
    """Raises InvalidInput naming the match (`row` counts from 0 here, from 1 in the message) and its field."""
    raise InvalidInput(f"matches: row {row + 1}, {field}: {why}")


@dataclass(frozen=True, slots=True)
class Match:
    """One vote between systems `a` and `b`. `at`: seconds since 1970. `id`, where given, is unique among matches."""

    a: str
    b: str
    winner: Winner
    weight: float = 1.0
    dimension: str | None = None
    voter: str | None = None
    item: str | None = None
    at: float | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A column of names: `names[code]`, or nothing where the code is −1. code: int32 [n]."""

    names: tuple[str, ...]
    code: NDArray[np.int32]

    @classmethod
    def of(cls, values: Iterable[str | None]) -> Labels | None:
        """Names in order of first use; None where no row has one."""
        seen: dict[str, int] = {}
        code = np.array([-1 if v is None else seen.setdefault(v, len(seen)) for v in values], dtype=np.int32)
        return cls(tuple(seen), code) if seen else None


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Matches as columns; made by `of`, `columns` or `coded`, which check them.

    a, b: int32 [n], places in `systems`, never equal; outcome: float32 [n], 1 (a won), 0.5 or 0; weight: float64 [n],
    at least 0 and not all 0; covariates: float64 [n, c], a's value less b's; voter, item: names a row; at: float64 [n].
    """

    systems: tuple[str, ...]
    a: NDArray[np.int32]
    b: NDArray[np.int32]
    outcome: NDArray[np.float32]
    weight: Floats
    covariates: Floats
    covariate_names: tuple[str, ...] = ()
    voter: Labels | None = None
    item: Labels | None = None
    at: Floats | None = None

    def __len__(self) -> int:
        return len(self.a)

    @classmethod
    def of(
        cls,
        matches: Matches | Iterable[Match],
        *,
        systems: Sequence[str] | None = None,
        dimension: str | None = None,
        covariates: ArrayLike | None = None,
        covariate_names: Sequence[str] = (),
    ) -> Matches:
        """Columns of matches; `Matches` are returned as they are.

        systems: who may play, and in what order they are kept (None: by name). dimension: only its matches.
        covariates [n, c]: of the matches kept. Raises InvalidInput for a match that cannot be used, naming row and
        field, and for matches of several dimensions when none is chosen.
        """
        if isinstance(matches, Matches):
            return matches
        kept = list(matches)
        if dimension is not None:
            kept = [one for one in kept if one.dimension == dimension]
            if not kept:
                raise InvalidInput(f"matches: none has dimension {dimension!r}")
        elif len(found := {one.dimension for one in kept}) > 1:
            named = ", ".join(sorted(map(str, found)))
            raise InvalidInput(f"matches: of several dimensions ({named}); choose one with dimension=")
        ids: dict[str, int] = {}
        for row, one in enumerate(kept):
            if one.id is not None and (first := ids.setdefault(one.id, row)) != row:
                refuse(row, "id", f"{one.id!r} is also the id of row {first + 1}")
        at = [one.at for one in kept]
        return cls.columns(
            [one.a for one in kept],
            [one.b for one in kept],
            [one.winner for one in kept],
            weight=[one.weight for one in kept],
            systems=systems,
            covariates=covariates,
            covariate_names=covariate_names,
            voter=Labels.of(one.voter for one in kept),
            item=Labels.of(one.item for one in kept),
            at=None if all(t is None for t in at) else np.array([np.nan if t is None else t for t in at]),
        )

    @classmethod
    def columns(
        cls,
        a: Sequence[str],
        b: Sequence[str],
        winner: Sequence[str] | NDArray[np.float32],
        *,
        weight: ArrayLike | None = None,
        systems: Sequence[str] | None = None,
        covariates: ArrayLike | None = None,
        covariate_names: Sequence[str] = (),
        voter: Labels | None = None,
        item: Labels | None = None,
        at: ArrayLike | None = None,
    ) -> Matches:
        """From names [n], [n] and winners ("a", "b", "tie", "both_bad") or outcomes (1, 0.5, 0) [n]."""
        if not len(a) == len(b) == len(winner):
            raise InvalidInput(f"matches: a has {len(a)} rows, b {len(b)}, winner {len(winner)}; one each is needed")
        if not isinstance(winner, np.ndarray):
            for row, value in enumerate(winner):
                if value not in OUTCOMES:
                    refuse(row, "winner", f"{value!r} is none of {', '.join(OUTCOMES)}")
            winner = np.array([OUTCOMES[value] for value in winner], dtype=np.float32)
        known = tuple(systems) if systems is not None else _named(a, b)
        place = {name: at for at, name in enumerate(known)}
        codes = [np.array([place.get(name, -1) for name in side], dtype=np.int32) for side in (a, b)]
        for name, side, code in (("a", a, codes[0]), ("b", b, codes[1])):
            if (code < 0).any():
                row = int(np.argmin(code))
                refuse(row, name, f"unknown system {side[row]!r}; known are {some(known)}")
        return cls.coded(
            known,
            codes[0],
            codes[1],
            winner,
            weight=weight,
            covariates=covariates,
            covariate_names=covariate_names,
            voter=voter,
            item=item,
            at=at,
        )

    @classmethod
    def coded(
        cls,
        systems: Sequence[str],
        a: ArrayLike,
        b: ArrayLike,
        outcome: ArrayLike,
        *,
        weight: ArrayLike | None = None,
        covariates: ArrayLike | None = None,
        covariate_names: Sequence[str] = (),
        voter: Labels | None = None,
        item: Labels | None = None,
        at: ArrayLike | None = None,
    ) -> Matches:
        """From places in `systems` [n], [n] and outcomes [n], all checked at numpy's speed."""
        first, second = np.asarray(a, dtype=np.int32), np.asarray(b, dtype=np.int32)
        n = len(first)
        if not n:
            raise InvalidInput("matches: there are none; one or more is needed")
        result = np.asarray(outcome, dtype=np.float32)
        weights = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
        names = tuple(covariate_names)
        extra = np.zeros((n, 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
        extra = extra[:, None] if extra.ndim == 1 else extra
        times = None if at is None else np.asarray(at, dtype=np.float64)
        if len(set(systems)) < len(systems):
            raise InvalidInput("systems: a name stands twice")
        if extra.ndim != 2 or extra.shape[1] != len(names):
            raise InvalidInput(f"covariates: {len(names)} names for an array of shape {extra.shape}")
        for name, column in (("b", second), ("winner", result), ("weight", weights), ("covariates", extra)):
            if len(column) != n:
                raise InvalidInput(f"matches: a has {n} rows, {name} {len(column)}; one each is needed")
        for name, side in (("a", first), ("b", second)):
            _rows((side >= 0) & (side < len(systems)), name, f"not the place of one of {len(systems)} systems")
        if (same := first == second).any():
            row = int(np.argmax(same))
            refuse(row, "b", f"{systems[second[row]]!r} plays against itself")
        _rows(np.isin(result, (0.0, 0.5, 1.0)), "winner", "an outcome is 1, 0.5 or 0")
        _rows(np.isfinite(weights) & (weights >= 0), "weight", "a finite number of at least 0 is needed")
        if not weights.any():
            raise InvalidInput("matches: all weights are 0")
        for place, name in enumerate(names):
            _rows(np.isfinite(extra[:, place]), name, "a finite number is needed")
        return cls(tuple(systems), first, second, result, weights, extra, names, voter, item, times)

    def take(self, rows: NDArray[Any]) -> Matches:
        """Some of the matches (places or a mask) between the same systems. Raises InvalidInput where none is left."""
        return self._with(self.systems, rows, self.a[rows], self.b[rows])

    def among(self, systems: Collection[str]) -> Matches:
        """Only the matches between these systems, which alone remain, in the order they had."""
        if unknown := set(systems) - set(self.systems):
            raise InvalidInput(f"systems: unknown {', '.join(sorted(unknown))}; known are {some(self.systems)}")
        kept = [place for place, name in enumerate(self.systems) if name in systems]
        new = np.full(len(self.systems), -1, dtype=np.int32)
        new[kept] = np.arange(len(kept))
        a, b = new[self.a], new[self.b]
        rows = np.flatnonzero((a >= 0) & (b >= 0))
        return self._with(tuple(self.systems[place] for place in kept), rows, a[rows], b[rows])

    def played(self) -> NDArray[np.int64]:
        """Matches of each system [m]."""
        m = len(self.systems)
        return np.bincount(self.a, minlength=m) + np.bincount(self.b, minlength=m)

    def _with(self, systems: tuple[str, ...], rows: NDArray[Any], a: ArrayLike, b: ArrayLike) -> Matches:
        def labels(column: Labels | None) -> Labels | None:
            return None if column is None else Labels(column.names, column.code[rows])

        return Matches.coded(
            systems,
            a,
            b,
            self.outcome[rows],
            weight=self.weight[rows],
            covariates=self.covariates[rows],
            covariate_names=self.covariate_names,
            voter=labels(self.voter),
            item=labels(self.item),
            at=None if self.at is None else self.at[rows],
        )


def levels(ranking: Ranking, known: Collection[str] | None = None, *, where: str = "ranking") -> list[tuple[str, ...]]:
    """A ranking as tied groups, best first.

    Raises InvalidInput for fewer than two systems, one named twice, an empty group, or one not among `known`.
    """
    groups = [(entry,) if isinstance(entry, str) else tuple(entry) for entry in ranking]
    names = [name for group in groups for name in group]
    if len(names) < 2:
        raise InvalidInput(f"{where}: two systems or more are needed, not {len(names)}")
    if not all(groups):
        raise InvalidInput(f"{where}: holds an empty tie")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"{where}: {twice!r} is ranked twice")
    if known is not None and (unknown := [name for name in names if name not in known]):
        raise InvalidInput(f"{where}: unknown system {unknown[0]!r}; known are {some(known)}")
    return groups


def _named(a: Sequence[str], b: Sequence[str]) -> tuple[str, ...]:
    for name, side in (("a", a), ("b", b)):
        for row, value in enumerate(side):
            if not isinstance(value, str) or not value.strip():
                refuse(row, name, f"a system's name is needed, not {value!r}")
    return tuple(sorted({*a, *b}))


def _rows(fine: NDArray[np.bool_], name: str, why: str) -> None:
    if not fine.all():
        refuse(int(np.argmin(fine)), name, why)
