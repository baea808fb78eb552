"""`weighup serve`: the API and the pages, with workers, watcher and alerts beside them, in one process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighup.cli.check import ENGINES
from weighup.cli.needs import require

if TYPE_CHECKING:
    from weighup.retrieve.store import EvidenceStore
    from weighup.settings import Settings
    from weighup.verify.batch import Checker
    from weighup.verify.verifier import Verifier


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the flags say; None: as the settings do."""

    host: str | None
    port: int | None
    workers: int | None
    watch: bool
    offline: bool
    brief: bool
    names: tuple[str, ...]
    config: Path | None
    engine: str = "local"
    address: str | None = None


def serve(
    host: Annotated[
        str | None, typer.Option("--host", help="Where to listen: 127.0.0.1. Elsewhere than here takes an API key.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", min=0, max=65_535, help="8642 by default; 0: any free one.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, max=64, help="Threads that work on jobs; 0: others do. With ray: processes."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Poll feeds, check again what is due.")] = True,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network: local store only.")] = False,
    brief: Annotated[bool, typer.Option("--brief", help="Write no text: extracts and probabilities only.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A further name that it may be asked by; repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Settings from this weighup.toml.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray: check in several processes.")] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="With ray: the host:port of a cluster that runs; takes --workers.")
    ] = None,
) -> None:
    """Serve the API and the pages until told to stop (Ctrl-C, SIGTERM); what is under way is finished first.

    \b
    Examples:
      weighup serve
      weighup serve --port 9000 --brief --offline
      weighup keys create newsroom --scope write --scope read && weighup serve --host 0.0.0.0
      weighup serve --engine ray --workers 4

    On this machine only, unless there is an API key. Verdicts, jobs and feeds are kept in the database that
    WEIGHUP_DATABASE names, else in the user's data folder. Needs pip install 'weighup[serve]'.
    """
    from weighup.errors import InvalidInput

    require("fastapi", "sqlalchemy", "uvicorn")
    if engine not in ENGINES:
        raise InvalidInput(f"--engine {engine}: is not one of {', '.join(ENGINES)}")
    if address is not None and engine != "ray":
        raise InvalidInput("--address only goes with --engine ray")
    _run(Wanted(host, port, workers, watch, offline, brief, tuple(allow_host or ()), config, engine, address))


def _run(wanted: Wanted) -> None:
    from weighup.serve.alerts.policy import outbox
    from weighup.serve.api.app import create_app
    from weighup.serve.api.binding import address_of, bind, require_key
    from weighup.serve.api.running import Server, more_files
    from weighup.serve.db import Database
    from weighup.serve.desk import Desk
    from weighup.serve.work.manners import few_arenas, set_aside

    few_arenas()
    settings = read_settings(wanted)
    with Database.open() as database, set_aside():
        require_key(database, settings.serve.host)
        with bind(settings.serve.host, settings.serve.port) as bound, _checking(settings, wanted) as served:
            settings = served.settings
            desk = Desk(served.checker, database, alerts=outbox(settings), settings=settings.watch)
            watch = wanted.watch and not wanted.offline
            app = create_app(settings, database, desk, watch=watch, names=wanted.names, stores=served.stores)
            more_files()
            where = address_of(bound, settings.serve.host)
            server = Server(app, ready=lambda: typer.echo(f"weighup: listening on {where}", err=True))
            server.run(sockets=[bound])


@dataclass(frozen=True, slots=True)
class Served:
    """What checks, with the settings that it makes of the given ones; `stores` None: the checker's own."""

    settings: Settings
    checker: Checker
    stores: Sequence[EvidenceStore] | None = None


@contextmanager
def _checking(settings: Settings, wanted: Wanted) -> Iterator[Served]:
    """The checker of this process, or one over several."""
    if wanted.engine == "ray":
        from weighup.serve.scale.serve import over_workers

        workers = wanted.workers or None  # 0 says that others work on jobs, not that nobody checks
        with over_workers(settings, offline=wanted.offline, workers=workers, address=wanted.address) as spread:
            yield Served(spread.settings, spread.checker, spread.stores)
        return
    from weighup.models.open import encoder
    from weighup.serve.watch.vectors import Remembering
    from weighup.verify.verifier import Verifier

    # The verdict, its vector in the database and its story all want the claim's vector.
    with Verifier(settings, offline=wanted.offline, encoder=Remembering(encoder(settings))) as verifier:
        _warm(verifier)
        yield Served(settings, verifier)


def read_settings(wanted: Wanted) -> Settings:
    """All layers of settings, flags on top, and the log set up by them. Raises SettingsError or InvalidInput."""

    from weighup.models.onnx import cores
    from weighup.serve.api.observe import set_up_logs
    from weighup.settings import load_settings, use_config

    use_config(wanted.config)
    given = {"host": wanted.host, "port": wanted.port, "workers": wanted.workers}
    flags: dict[str, dict[str, Any]] = {"serve": {name: value for name, value in given.items() if value is not None}}
    if wanted.brief:
        flags["verify"] = {"brief": True}
    settings = load_settings({section: values for section, values in flags.items() if values})
    set_up_logs(settings.log)
    if settings.models.threads == 0:  # one core is left to those who only read
        models = settings.models.model_copy(update={"threads": max(1, cores() - 1)})
        settings = settings.model_copy(update={"models": models})
    return settings


def _warm(verifier: Verifier) -> None:
    """Load the models while nobody waits for them yet, and say at once if one is missing."""
    import threading

    from weighup.errors import WeighupError
    from weighup.serve.work.manners import then_gives_way

    def load() -> None:
        try:
            with then_gives_way():  # the threads that the models compute on
                verifier.versions()
        except WeighupError as error:
            typer.echo(f"weighup: claims cannot be checked yet: {error}", err=True)

    threading.Thread(target=load, name="weighup-load", daemon=True).start()
