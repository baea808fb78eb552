"""`weighup keys create|list|revoke`: who may ask a server, and for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighup.cli.needs import require

if TYPE_CHECKING:
    from weighup.serve.db import Database
    from weighup.serve.db.records import ApiKey

app = typer.Typer(
    help="API keys: who may ask `weighup serve` and `weighup mcp --http`, for what, and how often.\n\n"
    "Example: weighup keys create newsroom --scope read --scope check",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="File or URL. Default: WEIGHUP_DATABASE, else a file in the user's data folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
WHO = "command"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people to read.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="read, check, feeds, review, write (check, feeds and review) or admin (all)."),
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose verdicts it sees. Keys of one tenant share all.")] = "",
    per_minute: Annotated[int | None, typer.Option("--per-minute", min=1, help="Requests in a minute.")] = None,
    per_day: Annotated[int | None, typer.Option("--per-day", min=1, help="Requests and rows of jobs in a day.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, max=3650, help="Days until it expires.")] = None,
    as_json: AsJson = False,
    database: DatabaseUrl = None,
) -> None:
    """Make a key and show it, this once: only its hash is kept. Scopes are read and check unless some are named.

    Example: weighup keys create newsroom --scope read --scope check --per-minute 600
    """
    import json
    from datetime import timedelta

    from weighup.errors import InvalidInput

    require("sqlalchemy", "fastapi", "argon2", who="keys need")
    from weighup.serve.api.auth import SCOPES
    from weighup.serve.db.records import AuditEntry
    from weighup.serve.db.sessions import present

    scopes = scope or ["read", "check"]
    for one in scopes:
        if one not in SCOPES:
            raise InvalidInput(f"--scope {one[:40]!r}: is none of {', '.join(SCOPES)}")
    if not name.strip() or len(name) > 200:
        raise InvalidInput("name: must have 1 to 200 characters")
    expires = None if days is None else present() + timedelta(days=days)
    with _open(database) as opened:
        limits = {"per_minute": per_minute, "per_day": per_day}
        key, text = opened.api_keys.create(name, tenant=tenant, scopes=set(scopes), expires_at=expires, **limits)
        after = {"name": key.name, "scopes": sorted(key.scopes)}
        opened.audit.write([AuditEntry(WHO, "key created", f"key:{key.prefix}", tenant, after=after)])
    if as_json:
        typer.echo(json.dumps({**_shown(key), "key": text}, ensure_ascii=False))
        return
    typer.echo(text)
    typer.echo("weighup: keep it well; it is shown this once. Send it as `Authorization: Bearer …`", err=True)


@app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Of one tenant only.")] = None,
    as_json: AsJson = False,
    database: DatabaseUrl = None,
) -> None:
    """Show keys, oldest first, revoked ones too, without their secrets.

    Example: weighup keys list --json
    """
    import json

    from weighup.console import table

    with _open(database) as opened:
        keys = [_shown(key) for key in opened.api_keys.known(tenant)]
    if as_json:
        for key in keys:
            typer.echo(json.dumps(key, ensure_ascii=False))
        return
    if not keys:
        typer.echo("no keys", err=True)
        return
    columns = ("prefix", "name", "tenant", "scopes", "per_minute", "per_day", "expires_at", "revoked_at")
    rows = [[" ".join(key[c]) if c == "scopes" else "" if key[c] is None else key[c] for c in columns] for key in keys]
    table(("prefix", "name", "tenant", "scopes", "a minute", "a day", "expires", "revoked"), rows)


@app.command()
def revoke(
    prefixes: Annotated[list[str], typer.Argument(help="As `weighup keys list` shows them.")],
    database: DatabaseUrl = None,
) -> None:
    """End keys, for good. A running server takes up to 2 seconds to notice.

    Example: weighup keys revoke 0123456789ab
    """
    from weighup.errors import InvalidInput

    require("sqlalchemy", "fastapi", "argon2", who="keys need")
    from weighup.serve.db.records import AuditEntry

    with _open(database) as opened:
        known = {key.prefix: key for key in opened.api_keys.known()}
        missing = [prefix[:40] for prefix in prefixes if prefix not in known]
        if missing:
            raise InvalidInput(f"there is no key {', '.join(missing)}; `weighup keys list` shows them")
        ended = [known[prefix] for prefix in dict.fromkeys(prefixes) if known[prefix].revoked_at is None]
        opened.api_keys.revoke([key.prefix for key in ended])
        opened.audit.write([AuditEntry(WHO, "key revoked", f"key:{key.prefix}", key.tenant) for key in ended])
    typer.echo(f"keys revoked: {len(ended):,}")


def _shown(key: ApiKey) -> dict[str, Any]:
    from weighup.serve.api.administration import KeyView

    told: dict[str, Any] = KeyView.of(key).model_dump()
    return told


def _open(url: str | None) -> Database:
    require("sqlalchemy", "fastapi", "argon2", who="keys need")
    from weighup.serve.db import Database

    return Database.open(url)
