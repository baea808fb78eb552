"""`weighup methods` and `weighup claims`: what is implemented, and which published claims hold here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from weighup.registry import Method

Room = Annotated[str | None, typer.Option("--room", help="Only this room, for example verify.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one list.")]


def methods(room: Room = None, as_json: Json = False) -> None:
    """List every implemented method with its paper.

    Example: weighup methods --room verify --json
    """
    chosen = _chosen(room, None)
    if as_json:
        from dataclasses import asdict

        _print_json([asdict(method) for method in chosen])
        return
    from weighup.console import table

    columns = ("room", "name", "paper", "arxiv", "module", "command", "claim check", "status")
    table(
        columns,
        [(m.room, m.name, m.paper, m.arxiv, m.module, m.command, m.claim_check, m.status) for m in chosen],
        title=f"methods: {len(chosen)}",
    )


def claims(
    room: Room = None,
    method: Annotated[str | None, typer.Option("--method", help="Only this method, for example ease.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Measure now and keep the results; needs the data.")] = False,
    data: Annotated[Path, typer.Option("--data", envvar="WEIGHUP_DATA", help="Folder with the labelled sets.")] = Path(
        "../shared/data"
    ),
    results: Annotated[
        Path | None, typer.Option("--results", help="Folder that keeps the results, if not the project's own.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="With --run: so many at once, each in its process.")] = 1,
    as_json: Json = False,
) -> None:
    """Show the claim checks: each method against its baseline, and whether the published claim holds here.

    Example: weighup claims --room verify --run --data ../shared/data
    Example: weighup claims --room moe --run --jobs 2
    """
    chosen = _chosen(room, method)
    from weighup import claims as checks

    folder = results or checks.results_folder()
    failed = _run_all(chosen, data, folder, jobs) if run else 0
    names = {(m.room, m.name) for m in chosen}
    found = [result for result in checks.stored(folder) if (result.room, result.method) in names]
    done = {(result.room, result.method) for result in found}
    pending = [m for m in chosen if m.claim_check and (m.room, m.name) not in done]
    if as_json:
        _print_json([result.model_dump(mode="json") for result in found])
    else:
        _print_results(found, pending)
    if failed:
        from weighup.errors import JobFailed

        raise JobFailed(f"{failed} of {len(chosen)} claim checks could not be run; the others are kept in {folder}")


def _chosen(room: str | None, name: str | None) -> list[Method]:
    from weighup.errors import InvalidInput
    from weighup.registry import ROOMS, methods

    if room is not None and room not in ROOMS:
        raise InvalidInput(f"--room {room!r} is not a room; rooms are {', '.join(ROOMS)}")
    in_room = [m for m in methods() if room is None or m.room == room]
    if name is None:
        return in_room
    named = [m for m in in_room if m.name == name]
    if not named:
        known = ", ".join(sorted({m.name for m in in_room})) or "none yet"
        raise InvalidInput(f"--method {name!r} is not a method of {room or 'any room'}; known: {known}")
    return named


def _run_all(chosen: list[Method], data: Path, folder: Path, jobs: int) -> int:
    """Run the checks; returns how many failed, each said on standard error."""
    from weighup import claims as checks
    from weighup.console import progress
    from weighup.errors import InvalidInput

    if not data.is_dir():
        raise InvalidInput(f"--data {data} is not a folder; name the folder with the labelled sets")
    checked = [m for m in chosen if m.claim_check]
    failed = 0
    with progress("claim checks", len(checked)) as advance:
        for method, wrong in checks.run_all(checked, data, folder, jobs=jobs):
            if wrong is not None:
                failed += 1
                typer.echo(f"weighup: {method.room}/{method.name}: {wrong}", err=True)
            advance(1, note=method.name)
    return failed


def _print_results(found: list[Any], pending: list[Method]) -> None:
    from weighup.console import table

    rows: list[tuple[Any, ...]] = [
        (
            f"{r.room}/{r.method}",
            r.claim,
            r.metric,
            r.value,
            r.baseline,
            r.baseline_value,
            f"{r.interval[0]:+.3f} to {r.interval[1]:+.3f}",
            r.holds,
        )
        for r in found
    ]
    rows += [(f"{m.room}/{m.name}", "not run yet (--run)", None, None, None, None, None, None) for m in pending]
    columns = ("method", "claim", "metric", "value", "baseline", "baseline value", "gain (95 %)", "holds")
    table(columns, rows, title=f"claims checked: {len(found)}")


def _print_json(rows: list[dict[str, Any]]) -> None:
    import json

    typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
