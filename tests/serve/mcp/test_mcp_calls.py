"""Calls that take long, are cancelled, are too many or fail: progress, limits and what the caller is told."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession
from mcp.shared.exceptions import McpError
from mcp.shared.memory import create_connected_server_and_client_session as connected
from mcp.types import CancelledNotification, CancelledNotificationParams, ClientNotification
from mcp_held import Held
from mcp_helpers import content, environment, error, over_stdio

from weighup.serve.mcp.running import Busy, Runner, TooLong
from weighup.serve.mcp.server import THREADS, make
from weighup.settings import Settings

HELD = (sys.executable, str(Path(__file__).with_name("mcp_held.py")))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def cancel(session: ClientSession, request: int) -> None:
    """What a client sends when its user presses stop."""
    told = CancelledNotificationParams(requestId=request, reason="the user stopped it")
    await session.send_notification(
        ClientNotification(CancelledNotification(method="notifications/cancelled", params=told))
    )


def test_a_call_is_cancelled_and_others_go_on(tmp_path: Path) -> None:
    """In a real process, over standard input and output."""

    async def use() -> None:
        env = environment(tmp_path / "s.sqlite")
        async with over_stdio(env, str(tmp_path), command=HELD, log=tmp_path / "log") as session:
            stages: list[str | None] = []

            async def follow(done: float, total: float | None, doing: str | None) -> None:
                stages.append(doing)

            number = session._request_id
            call = asyncio.create_task(session.call_tool("check_claim", {"text": "one"}, progress_callback=follow))
            await until(lambda: "holding one" in stages)
            await cancel(session, number)
            with pytest.raises(McpError, match="cancelled"):
                await call
            assert content(await session.call_tool("list_methods", {}))["methods"]
            (tmp_path / "one").touch()
            (tmp_path / "two").touch()
            assert "whoever runs it" in error(await session.call_tool("check_claim", {"text": "two"}))

    asyncio.run(use())
    assert (tmp_path / "begun").read_text().split() == ["one", "two"]


def held(folder: Path, **serve: Any) -> tuple[Held, Any]:
    service = Held(folder, Settings(serve=serve))
    return service, make(service)


def test_what_waits_and_is_cancelled_is_never_begun(tmp_path: Path) -> None:
    service, server = held(tmp_path, waiting=5)

    async def use() -> None:
        async with connected(server) as session:
            running = [asyncio.create_task(session.call_tool("check_claim", {"text": f"r{i}"})) for i in range(THREADS)]
            await until(lambda: len(service.begun()) == THREADS)
            number = session._request_id
            waiting = asyncio.create_task(session.call_tool("check_claim", {"text": "late"}))
            await until(lambda: session._request_id > number)
            await cancel(session, number)
            with pytest.raises(McpError, match="cancelled"):
                await waiting
            service.stop.set()
            await asyncio.gather(*running)
            assert "whoever runs it" in error(await session.call_tool("check_claim", {"text": "after"}))

    asyncio.run(use())
    server.runner.close()
    assert "late" not in service.begun()
    assert "after" in service.begun()


def test_more_than_may_wait_are_told_to_come_again(tmp_path: Path) -> None:
    service, server = held(tmp_path, waiting=1)

    async def use() -> None:
        async with connected(server) as session:
            calls = [
                asyncio.create_task(session.call_tool("check_claim", {"text": f"c{i}"})) for i in range(THREADS + 4)
            ]
            await until(lambda: sum(call.done() for call in calls) == 3)
            refused = [error(call.result()) for call in calls if call.done()]
            assert refused == ["as many checks as may wait are waiting; try again in a few seconds"] * 3
            service.stop.set()
            rest = [error(await call) for call in calls]
            assert sum("whoever runs it" in told for told in rest) == THREADS + 1

    asyncio.run(use())
    server.runner.close()


def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    service, server = held(tmp_path, request_seconds=0.3)

    async def use() -> None:
        async with connected(server) as session:
            told = error(await session.call_tool("check_claim", {"text": "slow"}))
            assert told == "not done after 0.3 s; ask for less, or try again later"
            service.stop.set()

    asyncio.run(use())
    server.runner.close()


def test_what_fails_inside_is_logged_and_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service, server = held(tmp_path)
    service.stop.set()

    async def use() -> str:
        async with connected(server) as session:
            return error(await session.call_tool("check_claim", {"text": "one"}))

    with caplog.at_level(logging.ERROR, "weighup"):
        told = asyncio.run(use())
    server.runner.close()
    reference = told.partition("(reference ")[2].removesuffix(")")
    assert len(reference) == 8
    assert str(tmp_path) not in told
    [line] = [record.getMessage() for record in caplog.records if reference in record.getMessage()]
    assert "StoreError" in line
    assert str(tmp_path) in line


def test_the_runner_gives_a_place_back_whatever_came_of_it() -> None:
    async def use() -> None:
        runner = Runner(threads=1, waiting=0, seconds=30)
        told: list[tuple[float, str]] = []

        async def report(seconds: float, doing: str) -> None:
            told.append((seconds, doing))

        def fails(_tell: object) -> None:
            raise ValueError("no")

        def works(tell: Callable[[str], None]) -> int:
            tell("working")
            return 7

        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await runner.run(fails, report)
            await until(lambda: not runner._pool._work_queue.qsize())
            for _ in range(200):  # the place is given back just after the result
                try:
                    assert await runner.run(works, report) == 7
                    break
                except Busy:
                    await asyncio.sleep(0.01)
            else:
                pytest.fail("the place was not given back")
        assert told
        runner.close()
        short = Runner(threads=1, waiting=0, seconds=0.05)
        go = threading.Event()
        with pytest.raises(TooLong):
            await short.run(lambda _tell: go.wait(30), report)
        with pytest.raises(Busy):  # it still runs, and holds its place
            await short.run(works, report)
        go.set()
        short.close()

    asyncio.run(use())
