"""`weighup arena load|votes`: what people compare at the server's arena page, and the votes they gave there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighup.cli.needs import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weighup.judge.types import Item
    from weighup.serve.db import Database

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="File or URL. Default: WEIGHUP_DATABASE, else a file in the user's data folder."),
]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose arena. Default: that of nobody in particular.")]


def load(
    items: Annotated[Path, typer.Argument(help="Items: .jsonl, .csv or .parquet, 2 to 8 responses a row.")],
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="Take all comparisons with this system out; their votes stay."),
    ] = None,
    tenant: Tenant = "",
    database: DatabaseUrl = None,
) -> None:
    """Put answers of several systems into the arena of `weighup serve`, where people vote on them blindly.

    A row: {"id": "q1", "prompt": "…", "responses": [{"system": "x", "text": "…"}, {"system": "y", "text": "…"}]}, and,
    if there are any, reference, context, category, and meta with judgements of judges ({"judge": "1", "2" or "tie"}) or
    "active": false, which takes the comparison out. What is there already is not added again.

    Example: weighup arena load items.jsonl --without old-model
    """
    from weighup.console import progress

    require("sqlalchemy", "alembic", who="the arena needs")
    from weighup.judge.item_files import read_items
    from weighup.serve.db.records import AuditEntry

    with _open(database) as opened:
        with progress("loading", None) as advance:

            def told() -> Iterator[Item]:
                for item in read_items(items):
                    yield item
                    advance(1)

            done = opened.arena.load(tenant, told())
        out = {system: opened.arena.withdraw(tenant, system) for system in without or ()}
        after = {"added": done.added, "changed": done.changed, "withdrawn": out}
        opened.audit.write([AuditEntry("command", "arena items loaded", "arena", tenant, after=after)])
    typer.echo(f"{done.added:,} comparisons added, {done.changed:,} changed, {done.known:,} were there already")
    for system, count in out.items():
        typer.echo(f"{count:,} with {system} taken out")


def votes(
    out: Annotated[Path, typer.Argument(help="The file to write: .csv or .jsonl.")],
    sets: Annotated[
        bool, typer.Option("--sets", help="The rankings of sets of three and more, .jsonl, not the votes on pairs.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    tenant: Tenant = "",
    database: DatabaseUrl = None,
) -> None:
    """Write the votes given at the arena page, as `weighup arena rate` reads them. A file appears whole or not at all.

    Example: weighup arena votes votes.csv && weighup arena rate votes.csv
    """
    from weighup.errors import InvalidInput

    require("sqlalchemy", "alembic", who="the arena needs")
    from weighup.serve.db.arena_files import write_matches, write_rankings

    if out.exists() and not force:
        raise InvalidInput(f"{out}: is there already; name another file or add --force")
    with _open(database) as opened:
        count = (write_rankings if sets else write_matches)(opened.arena.votes(tenant), out)
    typer.echo(f"wrote {count:,} {'rankings' if sets else 'votes on pairs'} to {out}")


def _open(url: str | None) -> Database:
    from weighup.serve.db import Database

    return Database.open(url)
