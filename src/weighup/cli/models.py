"""`weighup models list|test|pull`: what models there are, whether they work, and getting them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(help="Models: list, test and pull them.\n\nExample: weighup models pull", no_args_is_help=True)


@app.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the models weighup can fetch, and those the settings name.

    Example: weighup models list --json
    """
    from weighup.console import table
    from weighup.models.catalogue import ASSETS
    from weighup.settings import load_settings

    settings = load_settings()
    if as_json:
        rows = [
            {
                "name": a.name,
                "what": a.what,
                "bytes": a.size,
                "licence": a.licence,
                "origin": a.origin,
                "sha256": a.sha256,
                "needed": a.needed,
                "present": a.present,
                "path": str(a.path),
            }
            for a in ASSETS
        ]
        in_use = {"language": settings.models.language, "encoder": settings.models.encoder}
        typer.echo(json.dumps({"in_use": in_use, "models": rows}, indent=2))
        return
    table(
        ["name", "what", "size", "licence", "present", "path"],
        [[a.name, a.what, f"{a.size / 1e6:.0f} MB", a.licence, "yes" if a.present else "no", a.path] for a in ASSETS],
    )
    typer.echo(f"in use: language {settings.models.language}, encoder {settings.models.encoder}")


@app.command("pull")
def pull_models(
    names: Annotated[list[str] | None, typer.Argument(help="Which; by default those that are needed to run.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, the ones for training too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is there.")] = False,
) -> None:
    """Fetch models into the cache folder, checked by sha256. What is there already is left alone.

    Example: weighup models pull smollm2 minilm
    """
    from weighup.models.catalogue import ASSETS, asset
    from weighup.models.pull import pull

    wanted = [asset(name) for name in names] if names else [a for a in ASSETS if every or a.needed]
    for one in wanted:
        fetched = pull(one, force=force)
        typer.echo(f"{one.name}: {'fetched to' if fetched else 'already at'} {one.path}")


@app.command("test")
def try_models(
    name: Annotated[str | None, typer.Argument(help="language or encoder, or a pulled model's name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Load the models in use, write and embed a little, and print how quickly.

    Example: weighup models test
    """
    from weighup.console import table
    from weighup.models.trial import trials

    results = trials(name)
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        table(["model", "load s", "did", "per second", "result"], [list(r.values()) for r in results])
