"""What every rater returns: `Rating`, one system's; `Leaderboard`, all of them, best first, and how it is written."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weighup.errors import InvalidInput

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rating:
    """One system's rating. low, high: its interval; sd: its standard error (what they mean is told by the rater; None:
    not asked for). n: matches or votes the system took part in."""

    system: str
    value: float
    low: float | None
    high: float | None
    sd: float | None
    n: int
    method: str
    dimension: str | None = None


@dataclass(frozen=True, slots=True)
class Coefficient:
    """What one unit of a covariate is worth, in natural log-odds of winning, with its interval."""

    value: float
    low: float | None
    high: float | None
    sd: float | None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Ratings, best first. components: the groups of systems that were compared with one another, directly or by way
    of others; ratings of different groups cannot be compared. n: matches or votes."""

    ratings: tuple[Rating, ...]
    components: tuple[tuple[str, ...], ...]
    method: str
    n: int
    coefficients: Mapping[str, Coefficient] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        systems: Sequence[str],
        values: Floats,
        *,
        method: str,
        played: ArrayLike,
        n: int,
        components: tuple[tuple[str, ...], ...],
        low: Floats | None = None,
        high: Floats | None = None,
        sd: Floats | None = None,
        coefficients: Mapping[str, Coefficient] | None = None,
        dimension: str | None = None,
    ) -> Leaderboard:
        """From columns [m], sorted; equal values by name."""
        counts = np.asarray(played)

        def at(column: Floats | None, place: int) -> float | None:
            return None if column is None or not np.isfinite(column[place]) else float(column[place])

        order = sorted(range(len(systems)), key=lambda place: (-values[place], systems[place]))
        ratings = tuple(
            Rating(systems[i], float(values[i]), at(low, i), at(high, i), at(sd, i), int(counts[i]), method, dimension)
            for i in order
        )
        return cls(ratings, components, method, n, dict(coefficients or {}))

    def __getitem__(self, system: str) -> Rating:
        """A system's rating. Raises InvalidInput for one that is not on the board."""
        for rating in self.ratings:
            if rating.system == system:
                return rating
        raise InvalidInput(f"leaderboard: unknown system {system!r}; known are {some(self.order())}")

    def order(self) -> tuple[str, ...]:
        """The systems, best first."""
        return tuple(rating.system for rating in self.ratings)

    def table(self) -> list[dict[str, Any]]:
        """One row a system: rank, system, value, low, high, sd, n, and component (from 1) where there are several."""
        group = {name: number for number, names in enumerate(self.components, 1) for name in names}
        rows: list[dict[str, Any]] = []
        for rank, one in enumerate(self.ratings, 1):
            row = {key: getattr(one, key) for key in ("system", "value", "low", "high", "sd", "n")}
            several = {"component": group[one.system]} if len(self.components) > 1 else {}
            rows.append({"rank": rank, **row, **several})
        return rows


def write_leaderboard(board: Leaderboard, path: Path | str) -> Path:
    """Write to .json (all of it), .csv or .md (its table); returns the path. Raises InvalidInput for another ending."""
    path, rows = Path(path), board.table()
    kind = path.suffix.lower()
    if kind == ".json":
        path.write_text(json.dumps(asdict(board), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    elif kind == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    elif kind == ".md":
        lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
        lines += ["| " + " | ".join(map(_cell, row.values())) + " |" for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        raise InvalidInput(f"{path}: of unknown kind {path.suffix!r}; a leaderboard goes to .json, .csv or .md")
    return path


def some(names: Collection[str]) -> str:
    """Names for a message: at most eight of them."""
    shown = ", ".join(sorted(names)[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if isinstance(value, float) else str(value).replace("|", "\\|")
