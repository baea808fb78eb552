"""`weighup db status|upgrade|export|labels|import|prune`: the database of verdicts, feeds and jobs, looked after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighup.cli.needs import require

if TYPE_CHECKING:
    from weighup.serve.db import Database
    from weighup.serve.db.look import Look

app = typer.Typer(
    help="The database of verdicts, feeds and jobs: see where it stands, upgrade, export, import, prune.\n\n"
    "Example: weighup db status",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="File or URL. Default: WEIGHUP_DATABASE, else a file in the user's data folder."),
]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose verdicts. Default: those of nobody in particular.")]
OneTenant = Annotated[str | None, typer.Option("--tenant", help="Only what is this tenant's. Default: everybody's.")]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
_SHOWN = 20  # broken lines shown one by one
_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0, "y": 365.25}
_TOLD = {
    "absent": "not there yet; it is made when it is first used",
    "new": "without tables yet; they are made when it is first used",
    "older": "tables of an older weighup; they are upgraded when it is next used, or by `weighup db upgrade`",
    "current": "up to date",
    "newer": "tables of a newer weighup; upgrade this one, or name another database",
    "foreign": "tables of another program; name another database",
}


@app.command()
def status(tenant: OneTenant = None, as_json: AsJson = False, database: DatabaseUrl = None) -> None:
    """Say where the database is, whether its tables are up to date, and what it holds. Changes nothing.

    Ends with 1 if it cannot be used as it is.

    Example: weighup db status --json
    """
    import json
    from dataclasses import asdict

    from weighup.console import table
    from weighup.errors import JobFailed

    require("sqlalchemy", "alembic", who="the database needs")
    from weighup.serve.db.look import look

    found = look(database, tenant=tenant)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "said": _TOLD[found.state]}, ensure_ascii=False))
    else:
        table(("what", "value"), _rows(found))
    if found.state in ("newer", "foreign"):
        raise JobFailed(f"{found.name}: holds {_TOLD[found.state]}")


@app.command()
def upgrade(database: DatabaseUrl = None) -> None:
    """Make the tables, or bring them up to this version. Every other command that uses the database does so too.

    Run it by itself before the servers of a new version start, to know that it went well. There is no way back but a
    copy made before.

    Example: weighup db upgrade
    """
    require("sqlalchemy", "alembic", who="the database needs")
    from weighup.serve.db.look import look

    before = look(database, count=False)
    with _open(database) as opened:
        name = opened.name
    after = look(database, count=False)
    if before.state == "current":
        typer.echo(f"{name}: was up to date (tables {after.tables})")
    elif before.tables is None:
        typer.echo(f"{name}: tables made (tables {after.tables})")
    else:
        typer.echo(f"{name}: upgraded from tables {before.tables} to {after.tables}")


@app.command("export")
def export_(
    out: Annotated[Path, typer.Argument(help="The file to write, .jsonl or .parquet.")],
    tenant: Tenant = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    quiet: Quiet = False,
    database: DatabaseUrl = None,
) -> None:
    """Write a tenant's verdicts with their timelines and labels. The file appears whole or not at all.

    Example: weighup db export verdicts.parquet
    """
    from weighup.console import progress
    from weighup.errors import InvalidInput

    if out.exists() and not force:
        raise InvalidInput(f"{out}: is there already; name another file or add --force")
    with _open(database) as opened:
        total = sum(opened.verdicts.count(tenant).values())
        with progress("exporting", total, show=not quiet) as advance:
            count = opened.transfer.export(tenant, out, on_progress=advance)
    typer.echo(f"wrote {count:,} verdicts to {out}")


@app.command()
def labels(
    out: Annotated[Path, typer.Argument(help="The file to write, .jsonl.")],
    tenant: Tenant = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    quiet: Quiet = False,
    database: DatabaseUrl = None,
) -> None:
    """Write the claims that people labelled, with their last label and the passages, as rows for `weighup train`.

    Example: weighup db labels mine.jsonl && weighup train content --data mine.jsonl --out weights
    """
    from weighup.console import progress
    from weighup.errors import InvalidInput

    if out.exists() and not force:
        raise InvalidInput(f"{out}: is there already; name another file or add --force")
    with _open(database) as opened:
        total = sum(opened.verdicts.count(tenant).values())
        with progress("reading", total, show=not quiet) as advance:
            count = opened.transfer.labelled(tenant, out, on_progress=advance)
    typer.echo(f"wrote {count:,} labelled claims to {out}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What `weighup db export` wrote, .jsonl or .parquet.")],
    tenant: Tenant = "",
    quiet: Quiet = False,
    database: DatabaseUrl = None,
) -> None:
    """Read an export into a tenant's verdicts. What is there already is not added again, so an import that was
    interrupted is simply run again. Ends with 1 if any line could not be read.

    Example: weighup db import verdicts.parquet --tenant newsroom
    """
    from weighup.console import progress
    from weighup.errors import InvalidInput, JobFailed

    if not file.is_file():
        raise InvalidInput(f"{file}: there is no such file")
    with _open(database) as opened, progress("importing", show=not quiet) as advance:
        report = opened.transfer.import_file(tenant, file, on_progress=advance)
    typer.echo(
        f"read {report.seen:,} verdicts: {report.verdicts_added:,} are new, with {report.checks_added:,} checks and "
        f"{report.labels_added:,} labels that were not there"
    )
    for line, why in report.broken[:_SHOWN]:
        typer.echo(f"weighup: {file}: line {line}: {why}", err=True)
    if report.broken_total > _SHOWN:
        typer.echo(f"weighup: and {report.broken_total - _SHOWN:,} more could not be read", err=True)
    if report.broken_total:
        raise JobFailed(f"{report.broken_total:,} of {report.seen:,} lines could not be read; the others are in")


@app.command()
def prune(
    older_than: Annotated[str, typer.Option("--older-than", help="Such as 90d, 12w, 36h or 1y.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    tenant: OneTenant = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    database: DatabaseUrl = None,
) -> None:
    """Delete what is old: verdicts by their newest check, entries of feeds, finished jobs, alerts that are done.

    Verdicts that somebody has labelled stay, and so does the audit log. It deletes in small steps beside running
    servers; interrupted, what is deleted is deleted and the rest waits for the next time.

    Example: weighup db prune --older-than 90d --dry-run
    """
    import json

    from weighup.console import progress, table

    days = _days(older_than)
    with _open(database) as opened:
        from weighup.serve.db.look import retention

        chosen = retention(opened, tenant=tenant, dry_run=dry_run)
        with progress("counting" if dry_run else "deleting", show=not quiet) as advance:
            counts = chosen.prune(days, on_progress=advance).counts
        if counts and not dry_run:
            from weighup.serve.db.records import AuditEntry

            told = {"older_than_days": round(days, 3), "deleted": counts}
            opened.audit.write([AuditEntry("command", "database pruned", "database", tenant or "", after=told)])
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "days": days, "deleted": counts}))
    elif counts:
        table(("what", "would be deleted" if dry_run else "deleted"), sorted(counts.items()))
    else:
        typer.echo(f"nothing is older than {older_than}")


def _days(text: str) -> float:
    """`90d` -> 90.0. Raises InvalidInput."""
    from weighup.errors import InvalidInput

    found = re.fullmatch(r"(\d{1,6})([hdwy])", text.strip(), re.ASCII)
    days = int(found[1]) * _DAYS[found[2]] if found else 0.0
    if not 0 < days <= 36_525:
        raise InvalidInput(f"--older-than {text[:40]!r}: write a number and h, d, w or y, as in 90d")
    return days


def _rows(found: Look) -> list[tuple[str, str]]:
    rows = [("database", found.name), ("state", _TOLD[found.state])]
    if found.server:
        rows.append(("server", found.server))
    if found.tables:
        rows.append(("tables", f"{found.tables} (this weighup's: {found.newest_tables})"))
    if found.size is not None:
        rows.append(("size", f"{found.size / 1e6:,.1f} MB"))
    if found.vector is not None:
        rows.append(("pgvector", found.vector))
    return rows + [(name.replace("_", " "), f"{count:,}") for name, count in found.counts.items()]


def _open(url: str | None) -> Database:
    require("sqlalchemy", "alembic", who="the database needs")
    from weighup.serve.db import Database

    return Database.open(url)
