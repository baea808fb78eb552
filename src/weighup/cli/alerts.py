"""`weighup alerts list|dead|retry|test`: look into the outbox, try what is dead again, see whether word gets out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from weighup.cli.needs import require

if TYPE_CHECKING:
    import uuid

    from weighup.serve.db import Database
    from weighup.serve.db.records import Alert

app = typer.Typer(
    help="Alerts: what waits, what has left, what could not be delivered, and whether it would be.\n\n"
    "Example: weighup alerts dead",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="File or URL. Default: WEIGHUP_DATABASE, else a file in the user's data folder."),
]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose alerts. Default: those of nobody in particular.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many at most.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
STATES = ("queued", "sent", "dead")


@app.command("list")
def list_(
    state: Annotated[list[str] | None, typer.Option("--state", help="queued, sent or dead; may be repeated.")] = None,
    limit: Limit = 50,
    tenant: Tenant = "",
    as_json: AsJson = False,
    database: DatabaseUrl = None,
) -> None:
    """Show alerts, newest first.

    Example: weighup alerts list --state queued --json
    """
    from weighup.errors import InvalidInput

    states = state or []
    for one in states:
        if one not in STATES:
            raise InvalidInput(f"--state {one[:40]!r}: is none of {', '.join(STATES)}")
    with _open(database) as opened:
        from weighup.serve.alerts.history import recent

        _show(recent(opened, tenant, states=states, limit=limit), as_json)


@app.command()
def dead(limit: Limit = 50, tenant: Tenant = "", as_json: AsJson = False, database: DatabaseUrl = None) -> None:
    """Show the dead letters: alerts that were given up, newest first, each with the last reason.

    Example: weighup alerts dead
    """
    with _open(database) as opened:
        _show(opened.alerts.dead(tenant, limit=limit), as_json)


@app.command()
def retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids, as `weighup alerts dead` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    tenant: Tenant = "",
    database: DatabaseUrl = None,
) -> None:
    """Put dead letters back into the outbox. A running `weighup watch` or `weighup serve` delivers them.

    Example: weighup alerts retry --all
    """
    from weighup.errors import InvalidInput

    if bool(ids) == everything:
        raise InvalidInput("name the ids of dead letters, or give --all")
    wanted = [_id(text) for text in ids or ()]
    revived = 0
    with _open(database) as opened:
        if not everything:
            revived = opened.alerts.revive(tenant, wanted)
        else:
            while found := opened.alerts.dead(tenant, limit=500):
                revived += opened.alerts.revive(tenant, [one.id for one in found])
    typer.echo(f"{revived:,} dead letters will be tried again")
    missing = len(set(wanted)) - revived
    if not everything and missing:
        raise InvalidInput(f"{missing:,} of the ids are no dead letters of tenant {tenant[:60]!r}")


@app.command()
def test() -> None:
    """Send a test message through everything that is set (watch.webhook, watch.email_to, watch.console), now and once.

    Touches no database. Ends with 1 if any did not take it.

    Example: weighup alerts test
    """
    require("sqlalchemy", who="alerts need")
    import uuid

    from weighup.errors import InvalidInput, JobFailed
    from weighup.serve.alerts.courier import channels
    from weighup.serve.alerts.delivery import Undelivered
    from weighup.serve.alerts.message import trial_payload
    from weighup.serve.alerts.targets import targets
    from weighup.serve.db.records import Alert
    from weighup.serve.db.sessions import present
    from weighup.settings import load_settings

    settings = load_settings()
    told = targets(settings).channels
    if not told:
        raise InvalidInput("nobody would be told: set watch.webhook, watch.email_to or watch.console")
    ways, failed = channels(settings), 0
    for channel, target in told:
        now, name = present(), channel if channel == target else f"{channel} {target}"
        alert = Alert(uuid.uuid4(), "", None, channel, target, trial_payload(), "queued", 1, now, None, now)
        try:
            ways[channel].send(alert)
            typer.echo(f"{name}: sent")
        except Undelivered as error:
            failed += 1
            typer.echo(f"{name}: not sent: {error}", err=True)
    if failed:
        raise JobFailed(f"{failed} of {len(told)} were not sent")


def _open(url: str | None) -> Database:
    require("sqlalchemy", who="alerts need")
    from weighup.serve.db import Database

    return Database.open(url)


def _id(text: str) -> uuid.UUID:
    import uuid

    from weighup.errors import InvalidInput

    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidInput(f"{text[:60]!r} is not an alert's id; `weighup alerts dead` shows them") from None


def _show(alerts: list[Alert], as_json: bool) -> None:
    import json

    from weighup.console import table
    from weighup.serve.alerts.history import shown
    from weighup.serve.alerts.message import one_line

    if as_json:
        for alert in alerts:
            typer.echo(json.dumps(shown(alert), ensure_ascii=False))
        return
    if not alerts:
        typer.echo("no alerts", err=True)
        return
    rows = []
    for told in map(shown, alerts):
        claim = one_line(str(told["claim"] or ""), 60)
        error = one_line(str(told["last_error"] or ""), 100)
        where = told["channel"] if told["channel"] == told["target"] else f"{told['channel']} {told['target']}"
        rows.append((told["id"], told["state"], where, told["attempts"], told["created_at"], claim, error))
    table(("id", "state", "to", "tries", "raised", "claim", "last error"), rows)
