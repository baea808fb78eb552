"""What comparing metrics gives: correlations with intervals, stability lines, and their shapes as text.

See `weighup.metrics.illusion`, which fills them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """Correlation of one metric with one column, its 95 % interval, and n items or systems.

    None where undefined: the metric gives all texts the same value, or has none for this column, or (interval) too few
    resamples have one. At system level resampling adds noise to the means, so that intervals lean to 0 and, with few
    systems, may leave the value out.
    """

    metric: str
    dataset: str
    dimension: str
    level: str
    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Stability:
    """One metric over the columns of a level where it has a value.

    best_rank, worst_rank: its least and largest rank in a column (1: the highest correlation); rank_range: their
    difference; best_share: share of these columns where it is first, ties counting for each. lowest, highest: its least
    and largest correlation; spread: their difference, with the 95 % percentile interval, which leans upwards, as a
    range of noisy values does.
    """

    metric: str
    level: str
    columns: int
    best_rank: int
    worst_rank: int
    rank_range: int
    best_share: float
    lowest: float
    highest: float
    spread: float
    spread_low: float | None
    spread_high: float | None


@dataclass(frozen=True, slots=True)
class MetricTable:
    """What `compare_metrics` found; notes say what was left out and why."""

    coefficient: str
    cells: tuple[Cell, ...]
    stability: tuple[Stability, ...]
    notes: tuple[str, ...]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """(head, rows): a row a column of the study, a metric beside a metric, "value [low, high]"; "–" for none."""
        metrics = list(dict.fromkeys(cell.metric for cell in self.cells))
        rows: dict[tuple[str, str, str], list[str]] = {}
        for cell in self.cells:
            key = (cell.level, cell.dataset, cell.dimension)
            row = rows.setdefault(key, [*key, str(cell.n), *["–"] * len(metrics)])
            row[4 + metrics.index(cell.metric)] = _shown(cell)
        return ["level", "data set", "dimension", "n", *metrics], list(rows.values())

    def as_markdown(self) -> str:
        """The table, the stability lines and the notes, in Markdown."""
        head = ["metric", "level", "columns", "best in", "ranks", "lowest", "highest", "spread, 95 % interval"]
        lines = [
            [
                s.metric,
                s.level,
                str(s.columns),
                f"{s.best_share:.0%}",
                f"{s.best_rank}–{s.worst_rank}",
                f"{s.lowest:.2f}",
                f"{s.highest:.2f}",
                _interval(s.spread, s.spread_low, s.spread_high),
            ]
            for s in self.stability
        ]
        notes = "".join(f"- {note}\n" for note in self.notes)
        return "\n".join([_markdown(*self.table()), _markdown(head, lines), notes]).rstrip() + "\n"

    def as_json(self) -> str:
        """`{"coefficient", "cells", "stability", "notes"}`."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def as_csv(self) -> str:
        """One line a cell, with a head; empty where there is no value."""
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(Cell.__slots__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(cell) for cell in self.cells)
        return out.getvalue()


def _shown(cell: Cell) -> str:
    if cell.value is None:
        return "–"
    return _interval(cell.value, cell.low, cell.high)


def _interval(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |\n" for line in lines)
