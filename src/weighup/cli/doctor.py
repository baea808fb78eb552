"""`weighup doctor`: what works here, what is missing, and exactly what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from weighup.cli.findings import Finding

_COLOURS = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "missing": typer.colors.RED}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no online source whether it answers.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="Settings from this weighup.toml.")] = None,
) -> None:
    """Say what works, what is missing, and what to do. Changes nothing, sends no alert, prints no secret.

    \b
    Examples:
      weighup doctor
      weighup doctor --offline --json

    Ends with 0 if everything that is needed is there, with 1 if not. What is only worth knowing is a note.
    """
    import json

    from weighup import __version__
    from weighup.cli.findings import examine
    from weighup.settings import use_config

    use_config(config)
    found = examine(offline=offline)
    missing = sum(one.state == "missing" for one in found)
    if as_json:
        rows = [{"name": f.name, "state": f.state, "said": f.said, "remedy": f.remedy} for f in found]
        typer.echo(json.dumps({"version": __version__, "ok": not missing, "findings": rows}, indent=2))
    else:
        _show(found)
        if missing:
            typer.echo(
                f"{missing} thing{'s are' if missing > 1 else ' is'} missing; what to do stands beside the arrows"
            )
        else:
            typer.echo("everything that is needed is there")
    if missing:
        raise typer.Exit(1)


def _show(found: list[Finding]) -> None:
    wide = max(len(one.name) for one in found)
    for one in found:
        state = typer.style(f"{one.state:<7}", fg=_COLOURS[one.state])
        typer.echo(f"{state}  {one.name:<{wide}}  {one.said}")
        if one.remedy:
            typer.echo(f"{'':<{wide + 11}}→ {one.remedy}")
