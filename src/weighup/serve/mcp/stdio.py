"""MCP on standard input and output, for a client that starts the server itself. No key: the client is the user."""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

import anyio
from mcp.server.stdio import stdio_server

if TYPE_CHECKING:
    from weighup.serve.mcp.server import Server


def run(server: Server) -> None:
    """Serve until standard input ends."""
    # The protocol has standard output to itself: whatever else is printed, native libraries' lines too, goes to
    # standard error.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # The thread that waits for input cannot be interrupted, so Ctrl-C ends the process; what is kept is kept whole.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        anyio.run(_serve, server, TextIOWrapper(out, encoding="utf-8", errors="replace", write_through=True))
    finally:
        server.runner.close()


async def _serve(server: Server, out: TextIOWrapper) -> None:
    inside = server._mcp_server
    async with stdio_server(stdout=anyio.wrap_file(out)) as (reading, writing):
        await inside.run(reading, writing, inside.create_initialization_options())
