"""Real `weighup mcp` processes, and the SDK's own client to talk to them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

PATIENCE = timedelta(seconds=120)
COMMAND = (sys.executable, "-m", "weighup.cli.main", "mcp")


def environment(database: Path | str, **more: str) -> dict[str, str]:
    """Ours, without settings but these. One thread: other tests run beside."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WEIGHUP_") or k == "WEIGHUP_CACHE_DIR"}
    return {**kept, "OMP_NUM_THREADS": "1", "WEIGHUP_DATABASE": str(database), **more}


@asynccontextmanager
async def over_stdio(
    env: Mapping[str, str], *arguments: str, command: tuple[str, ...] = COMMAND, log: Path
) -> AsyncIterator[ClientSession]:
    """A session with a server of its own; what that writes to standard error goes to `log`."""
    program, *rest = (*command, *arguments)
    told = StdioServerParameters(command=program, args=rest, env=dict(env), cwd=str(log.parent))
    with log.open("w") as errors:
        async with (
            stdio_client(told, errlog=errors) as (reading, writing),
            ClientSession(reading, writing, read_timeout_seconds=PATIENCE) as session,
        ):
            await session.initialize()
            yield session


@dataclass(frozen=True)
class Served:
    """A server over HTTP: where it is, and what it logged."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def over_http(env: Mapping[str, str], *arguments: str, log: Path) -> Iterator[Served]:
    """A `weighup mcp --http` on a free port of loopback."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*COMMAND, "--http", "--port", "0", "--offline", *arguments],
            env=dict(env),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
    try:
        end = time.monotonic() + 120
        while not (found := re.search(r"MCP on (http://\S+)", log.read_text(errors="replace"))):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.05)
        yield Served(found[1], process, log)
        assert process.poll() is None, "it ended by itself"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@asynccontextmanager
async def session_at(url: str, **headers: str) -> AsyncIterator[ClientSession]:
    """The SDK's client on streamable HTTP."""
    async with (
        httpx.AsyncClient(headers=headers, timeout=120, trust_env=False) as client,
        streamable_http_client(url, http_client=client) as (reading, writing, _),
        ClientSession(reading, writing, read_timeout_seconds=PATIENCE) as session,
    ):
        await session.initialize()
        yield session


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def content(result: CallToolResult) -> dict[str, Any]:
    """What a tool gave, which its text says as well."""
    assert not result.isError, result
    assert result.structuredContent is not None
    return result.structuredContent


def error(result: CallToolResult) -> str:
    """A tool's error in words."""
    assert result.isError, result
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text
