"""Rows of a result, as a table on the terminal or as JSON, CSV, Markdown or a picture in a file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

FORMATS = ("table", "json", "csv", "markdown")
Format = Annotated[str, typer.Option("--format", help="table, json, csv or markdown.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write there (.json .csv .md; .svg draws) instead of printing.")
]
_BY_SUFFIX = {".json": "json", ".csv": "csv", ".md": "markdown"}


def emit(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    form: str = "table",
    out: Path | None = None,
    picture: str | None = None,
) -> None:
    """Print the rows, or write them to `out` in the form that its name says; `picture` is the SVG for `.svg`.

    Raises InvalidInput for an unknown form or suffix, and for a picture where there is none.
    """
    from weighup.errors import InvalidInput

    if form not in FORMATS:
        raise InvalidInput(f"--format {form}: is not one of {', '.join(FORMATS)}")
    if out is not None and out.suffix == ".svg":
        if picture is None:
            raise InvalidInput(f"--out {out}: there is nothing to draw here; use .json, .csv or .md")
        _write(out, picture)
        return
    if out is not None and out.suffix not in _BY_SUFFIX:
        raise InvalidInput(f"--out {out}: its name must end with .json, .csv, .md or .svg")
    kind = _BY_SUFFIX[out.suffix] if out is not None else form
    if kind == "table":
        from weighup.console import table

        columns = list(dict.fromkeys(name for row in rows for name in row))
        table(columns, [tuple(row.get(name) for name in columns) for row in rows], title=title)
        return
    text = {"json": as_json, "csv": as_csv, "markdown": as_markdown}[kind](rows)
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text)


def _write(path: Path, text: str) -> None:
    from weighup.errors import JobFailed

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise JobFailed(f"--out {path}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {path}", err=True)


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """A list of objects; what is not finite is null."""
    plain = [{name: _finite(value) for name, value in row.items()} for row in rows]
    return json.dumps(plain, indent=1, ensure_ascii=False, default=str) + "\n"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """With a header of all columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows([{name: "" if _finite(value) is None else value for name, value in row.items()} for row in rows])
    return text.getvalue()


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table that pastes into a page."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
