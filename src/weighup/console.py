"""The one progress bar and the one table printer. Progress goes to standard error, results to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol


class Advance(Protocol):
    """Called as work is done: how many units more, and optionally what is being done now."""

    def __call__(self, step: int = 1, *, note: str | None = None) -> None: ...


@contextmanager
def progress(label: str, total: int | None = None, *, unit: str = "", show: bool | None = None) -> Iterator[Advance]:
    """A bar on standard error. Shown at once on a terminal; elsewhere one line at start (so logs tell of it).

    `total` None draws a spinner; `unit` "bytes" prints sizes and speed. `show=False` is silent.
    """
    if show is False:
        yield _silent
        return
    if not sys.stderr.isatty():
        print(f"{label} …", file=sys.stderr, flush=True)  # noqa: T201
        yield _silent
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("[progress.description]{task.description}")]
    if total is not None:
        count: list[ProgressColumn] = [MofNCompleteColumn()]
        if unit == "bytes":
            count = [DownloadColumn(), TransferSpeedColumn()]
        columns += [BarColumn(), *count]
        columns.append(TimeRemainingColumn())
    columns.append(TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(label), total=total)

        def advance(step: int = 1, *, note: str | None = None) -> None:
            bar.update(task, advance=step, description=escape(f"{label}: {note}") if note else None)

        yield advance


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table to standard output; numbers right-aligned, floats to three places."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(_cell(value)) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _silent(step: int = 1, *, note: str | None = None) -> None:
    return None
