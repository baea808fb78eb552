"""`weighup models list|test|pull`: what models there are, whether they work, and getting them."""

from __future__ import annotations

import typer

app = typer.Typer(help="Models: list, test and pull them.", no_args_is_help=True)
