"""`weighup check --input`: many rows with a progress bar, stopped and resumed at will, and a report of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from weighup.errors import InvalidInput, JobFailed

if TYPE_CHECKING:
    from weighup.cli.check import Ask
    from weighup.console import Advance
    from weighup.settings import Settings
    from weighup.verify.batch import Checker
    from weighup.verify.rows import BadRow, Row

_BRIEF_BATCH, _WRITING_BATCH = 64, 8
"""Rows checked together: what is not written goes fast, what is written should be saved often."""
_SAY_EVERY = 30.0
"""Seconds between lines of progress where there is no terminal to draw a bar on."""


class Stopped(KeyboardInterrupt):
    """A signal asked for the end. Not an Exception, so that no row's error handling takes it for its own."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def check_rows(ask: Ask) -> None:
    """Check all rows of --input into --output, then write the report asked for. Raises JobFailed if rows failed."""
    assert ask.input is not None
    assert ask.output is not None
    output = _output(ask.input, ask.output) if ask.engine == "ray" else ask.output
    _refuse_paths(ask.input, output, ask)
    from weighup.console import progress

    with progress(f"weighup: checking {ask.input.name}", show=False if ask.quiet else None):
        from weighup.cli.checking import read_settings
        from weighup.verify.batch import run_batch
        from weighup.verify.conditions import conditions
        from weighup.verify.row_files import count_rows, read_rows

        settings = read_settings(ask)
        rows = read_rows(ask.input)
        total = count_rows(ask.input)
        if ask.engine == "local":
            import weighup.verify.verifier  # noqa: F401 - heavy: while the line that says so is shown
    size = ask.batch_size or (_BRIEF_BATCH if settings.verify.brief else _WRITING_BATCH)
    teller = _Teller(quiet=ask.quiet)
    try:
        with (
            _stopping_on_signals(),
            progress("rows", total, show=_bar(ask.quiet)) as advance,
            _engine(ask, settings, rows, size) as (checker, rows),
        ):
            teller.advance = advance
            outcome = run_batch(
                checker,
                rows,
                output,
                batch_size=size,
                overwrite=ask.overwrite,
                report=teller.report,
                conditions=conditions(settings, offline=ask.offline, search=ask.search),
            )
    except Stopped as stop:
        typer.echo(
            f"weighup: stopped after {teller.done} rows; they are kept in {output}. "
            "Run the same command again (without --overwrite) to go on.",
            err=True,
        )
        raise typer.Exit(128 + stop.number) from None
    done = outcome.kept + outcome.added
    if not ask.quiet:
        kept = f" ({outcome.kept} were there already)" if outcome.kept else ""
        typer.echo(f"weighup: {done} rows{kept} in {output}", err=True)
    if ask.format != "jsonl":
        _write_report(ask, output)
    if outcome.failed:
        raise JobFailed(f"{outcome.failed} of {done} rows failed; each says why under `error` in {output}")


@contextmanager
def _engine(
    ask: Ask, settings: Settings, rows: Iterator[Row | BadRow], size: int
) -> Iterator[tuple[Checker, Iterator[Row | BadRow]]]:
    """Who checks, and the rows as it wants them read."""
    if ask.engine == "ray":
        from weighup.serve.scale.rows import over_workers

        with over_workers(
            settings,
            rows,
            batch_size=size,
            offline=ask.offline,
            search=ask.search,
            workers=ask.workers,
            address=ask.address,
        ) as ahead:
            yield ahead, ahead
        return
    from weighup.verify.verifier import Verifier

    with Verifier(settings, offline=ask.offline, search=ask.search) as verifier:
        yield verifier, rows


def _output(rows: Path, output: Path) -> Path:
    """The file meant: in a folder, which is made if it is not there, the one named after the input."""
    if output.suffix and not output.is_dir():
        return output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"--output {output}: is no folder that can be made: {error.strerror or error}") from error
    return output / f"{rows.name.split('.')[0]}.jsonl"


def _refuse_paths(rows: Path, output: Path, ask: Ask) -> None:
    if output.is_dir() or not output.parent.is_dir():
        what = "is a folder" if output.is_dir() else f"there is no folder {output.parent}"
        raise InvalidInput(f"--output {output}: {what}; name a .jsonl file")
    if output.suffix.lower() not in (".jsonl", ".ndjson"):
        raise InvalidInput(
            f"--output {output}: verdicts are written as JSON lines; name a .jsonl file"
            " (a report goes to --out, with --format html or markdown)"
        )
    if output.exists() and rows.exists() and output.samefile(rows):
        raise InvalidInput(f"--output {output} is the input itself; name another file")
    if ask.out is not None and ask.out.exists() and any(p.exists() and ask.out.samefile(p) for p in (rows, output)):
        raise InvalidInput(f"--out {ask.out} is the input or the output itself; name another file")


def _write_report(ask: Ask, output: Path) -> None:
    from weighup.cli.checking import write_whole
    from weighup.verify.batch import read_output

    out = ask.out or output.with_suffix(".md" if ask.format == "markdown" else ".html")
    if ask.format == "markdown":
        from weighup.verify.report.markdown import stream_markdown

        write_whole(out, stream_markdown(read_output(output), explain=ask.explain))
    else:
        from weighup.verify.report.html import stream_html

        write_whole(out, stream_html(lambda: read_output(output), title=output.stem))
    typer.echo(f"weighup: wrote {out}", err=True)


@contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise Stopped. What is half done is not written; what is written stays."""

    def stop(number: int, frame: Any) -> None:
        # A second one ends the process on the spot, whatever still waits for an answer: the output bears that.
        for name in names:
            signal.signal(name, lambda again, _: os._exit(128 + again))
        raise Stopped(number)

    names = (signal.SIGINT, signal.SIGTERM)
    before: list[tuple[signal.Signals, Any]] = [(name, signal.signal(name, stop)) for name in names]
    try:
        yield
    finally:
        for name, handler in before:
            signal.signal(name, handler)


def _bar(quiet: bool) -> bool:
    import sys

    return not quiet and sys.stderr.isatty()


class _Teller:
    """Progress with rows a second: on the bar, or a line now and then where there is no terminal."""

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.done = 0
        self.advance: Advance | None = None
        self._quiet = quiet
        self._clock = clock
        self._began: tuple[float, int] | None = None
        self._said = clock()

    def report(self, done: int, failed: int) -> None:
        moment = self._clock()
        step, self.done = done - self.done, done
        if self._began is None:  # rows found done, and the loading of models, say nothing about speed
            self._began = (moment, done)
        began, first = self._began
        rate = f"{(done - first) / (moment - began):.1f} rows/s" if done > first and moment > began else "…"
        note = f"{rate}, {failed} failed" if failed else rate
        if self.advance is not None:
            self.advance(step, note=note)
        if not self._quiet and not _bar(self._quiet) and moment - self._said >= _SAY_EVERY:
            self._said = moment
            typer.echo(f"weighup: {done} rows, {note}", err=True)
