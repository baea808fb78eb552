"""The `weighup` command: puts the subcommands together and turns errors into messages and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from weighup.cli import (
    alerts,
    arena,
    check,
    database,
    doctor,
    evaluate,
    judge,
    keys,
    mcp,
    methods,
    metrics,
    models,
    moe,
    schema,
    serve,
    store,
    train,
    watch,
)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="weighup",
    help='Weigh up what can be trusted.\n\nExample: weighup check "Drinking bleach cures COVID-19." --offline',
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check")(check.check)
app.command("evaluate")(evaluate.evaluate)
app.command("schema")(schema.schema)
app.command("methods")(methods.methods)
app.command("claims")(methods.claims)
app.command("serve")(serve.serve)
app.command("watch")(watch.watch)
app.command("mcp")(mcp.mcp)
app.command("doctor")(doctor.doctor)
app.add_typer(judge.app, name="judge")
app.add_typer(arena.app, name="arena")
app.add_typer(metrics.app, name="metrics")
app.add_typer(moe.app, name="moe")
app.add_typer(keys.app, name="keys")
app.add_typer(alerts.app, name="alerts")
app.add_typer(database.app, name="db")
app.add_typer(models.app, name="models")
app.add_typer(store.app, name="store")
app.add_typer(train.app, name="train")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    if version:
        from weighup import __version__

        typer.echo(f"weighup {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point. Ends with 0, 1 (a failed job), 2 (bad usage or input) or 130 (Ctrl-C)."""
    _open_closed_streams()
    debug = "--debug" in sys.argv
    if debug:  # understood before and after the subcommand alike
        sys.argv = [sys.argv[0], *(argument for argument in sys.argv[1:] if argument != "--debug")]
    from weighup.errors import WeighupError

    try:
        app()
    except WeighupError as error:
        if debug:
            raise
        typer.echo(f"weighup: {_printable(str(error))}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("weighup: stopped; finished work is kept", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        if debug:
            raise
        message = f"unexpected {type(error).__name__}: {error} (run again with --debug and report it)"
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            message = f"the output could not be written: {error.strerror}"
        typer.echo(f"weighup: {_printable(message)}", err=True)
        sys.exit(1)


def _open_closed_streams() -> None:
    """What is written to a closed standard output or error (`2>&-`) is lost, as was asked; it is no failure."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _printable(message: str) -> str:
    """Messages quote files and servers, whose control characters must not reach the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in message)


if __name__ == "__main__":
    main()
