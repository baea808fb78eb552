"""`weighup mcp`: weighup's tools for language models, over the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighup.cli.needs import require

if TYPE_CHECKING:
    from weighup.settings import Settings

PORT = 8643


def mcp(
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP instead of standard input and output.")] = False,
    host: Annotated[
        str | None, typer.Option("--host", help="With --http: where to listen; elsewhere than here takes an API key.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help=f"With --http: {PORT} by default; 0: any free one.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="With --http: a further name that clients may ask for; repeatable."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network: local store only.")] = False,
    config: Annotated[Path | None, typer.Option("--config", help="Settings from this weighup.toml.")] = None,
) -> None:
    """Offer check_claim, search_evidence, get_verdict and list_methods to a language model's program.

    \b
    Examples:
      weighup mcp
      weighup mcp --http --port 8643

    Without --http a client starts it and talks to it over standard input and output. Verdicts are kept in the
    database that `weighup serve` uses (WEIGHUP_DATABASE). Needs pip install 'weighup[serve]'.
    """

    from weighup.errors import InvalidInput

    if not http and (host is not None or port is not None or allow_host):
        raise InvalidInput("--host, --port and --allow-host go with --http; add it, or leave them out")
    require("mcp", "sqlalchemy", "fastapi", "uvicorn")
    if http:
        _over_http(host or "127.0.0.1", PORT if port is None else port, allow_host or [], offline, config)
    else:
        _over_stdio(offline, config)


def _over_stdio(offline: bool, config: Path | None) -> None:
    from contextlib import ExitStack, closing

    from weighup.serve.mcp import stdio
    from weighup.serve.mcp.server import make
    from weighup.serve.mcp.service import Service, open_database

    settings = _settings(config)
    with ExitStack() as opened:
        database = open_database(required=False)
        if database is not None:
            opened.enter_context(database)
        stdio.run(make(opened.enter_context(closing(Service(settings, database, offline=offline)))))


def _over_http(host: str, port: int, names: list[str], offline: bool, config: Path | None) -> None:
    from contextlib import closing

    from weighup.serve.db import Database
    from weighup.serve.mcp.http import serve
    from weighup.serve.mcp.service import Service

    settings = _settings(config)
    with Database.open() as database, closing(Service(settings, database, offline=offline)) as service:
        serve(service, database, host=host, port=port, more_names=names)


def _settings(config: Path | None) -> Settings:

    from weighup.cli.checking import set_up_log
    from weighup.settings import load_settings, use_config

    use_config(config)
    settings = load_settings()
    set_up_log(settings.log, quiet=False)
    return settings
