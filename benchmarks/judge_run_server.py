"""What `judge_run.py` needs around it: a model server on loopback that fails by plan, and a bare client beside it.

The server runs as `python judge_run_server.py LATENCY` and prints its port. It knows an item by the words
"item N" in what is asked, and says the same of it whenever it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FAULTS = ("429", "500", "no answer", "junk")
EVERY = 40  # requests, of which each of the faults befalls one on average: one in ten in all
RETRIES = 4
RE_ASKED = 2
BACKOFF = 0.5  # seconds; as the client's own
_ITEM = re.compile(rb"item (\d+)\b")


def fault(request: int) -> str:
    """What befalls the request of this number: one of FAULTS, or nothing."""
    drawn = int.from_bytes(hashlib.sha256(f"request {request}".encode()).digest()[:4], "big") % EVERY
    return FAULTS[drawn] if drawn < len(FAULTS) else ""


def verdict(item: int) -> dict[str, str]:
    """What the server says of an item."""
    drawn = hashlib.sha256(f"verdict {item}".encode()).digest()[0]
    return {
        "reasons": f"The responses to item {item} differ in what they leave out. " * (1 + drawn % 5),
        "verdict": ("1", "2", "tie")[drawn % 3],
    }


@dataclass
class Server:
    """Counts what it gave; `answered` is how often each item got a verdict."""

    latency: float
    given: Counter[str] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)
    junk: Counter[int] = field(default_factory=Counter)
    requests: int = 0
    at_once: int = 0
    most_at_once: int = 0

    def told(self) -> dict[str, Any]:
        """What has happened since this was last asked."""
        found = {
            "requests": self.requests,
            "given": dict(self.given),
            "most at once": self.most_at_once,
            "answered": len(self.answered),
            "answered again": self.answered.total() - len(self.answered),
        }
        self.given, self.answered, self.junk = Counter(), Counter(), Counter()
        self.requests = self.most_at_once = 0
        return found

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the client ends it."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = re.search(rb"content-length: (\d+)", head)
                body = await reader.readexactly(int(length.group(1)) if length else 0)
                if head.startswith(b"get"):
                    _send(writer, 200, self.told())
                    continue
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    await self._answer(reader, writer, body)
                finally:
                    self.at_once -= 1
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        found = _ITEM.search(body)
        item = int(found.group(1)) if found else -1
        said = fault(self.requests)
        if said == "junk" and self.junk[item] >= RE_ASKED:
            said = ""
        self.requests += 1
        self.given[said or "verdict"] += 1
        if said == "429":
            _send(writer, 429, {"error": {"message": "too many requests", "type": "rate_limit"}})
            return
        if said == "no answer":
            await reader.read()  # until whoever asked gives up
            raise ConnectionResetError
        await asyncio.sleep(self.latency)
        if said == "500":
            _send(writer, 500, {"error": {"message": "the server had an error", "type": "server_error"}})
            return
        self.junk[item] += said == "junk"
        self.answered[item] += said != "junk"
        content = '{"reasons": "The first' if said == "junk" else json.dumps(verdict(item))
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(content) // 4}
        _send(writer, 200, {"object": "chat.completion", "choices": [message], "usage": usage})


def _send(writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)


@dataclass
class Bare:
    """As many places as the judge's client has, each with a connection of its own; an item that waits to be tried again
    takes none. `run` gives how many items got a verdict."""

    port: int
    bodies: Sequence[bytes]
    timeout: float
    seed: int = 0
    done: int = 0
    _next: int = 0
    _under_way: int = 0
    _later: list[tuple[float, int, int, int]] = field(default_factory=list)
    """When, item, failures, junk answers."""

    async def run(self, at_once: int) -> int:
        self._chance = random.Random(self.seed)
        await asyncio.gather(*(self._place() for _ in range(at_once)))
        return self.done

    async def _place(self) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while (task := self._task()) is not None:
            if not isinstance(task, tuple):
                await asyncio.sleep(task)
                continue
            item, failures, junk = task
            self._under_way += 1
            try:
                async with asyncio.timeout(self.timeout):
                    if connection is None:
                        connection = await asyncio.open_connection("127.0.0.1", self.port)
                    status, data = await _post(*connection, self.bodies[item])
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                if connection is not None:
                    connection[1].close()
                connection, status, data = None, 0, b""
            self._under_way -= 1
            if status == 200 and _usable(data):
                self.done += 1
            elif status == 200 and junk < RE_ASKED:
                heapq.heappush(self._later, (0.0, item, failures, junk + 1))
            elif status != 200 and failures < RETRIES:
                pause = self._chance.uniform(0, BACKOFF * 2**failures)
                heapq.heappush(self._later, (time.monotonic() + pause, item, failures + 1, junk))
        if connection is not None:
            connection[1].close()

    def _task(self) -> tuple[int, int, int] | float | None:
        """What to ask next, or how long to wait before looking again, or None: all is done."""
        if self._later and self._later[0][0] <= time.monotonic():
            return heapq.heappop(self._later)[1:]
        if self._next < len(self.bodies):
            self._next += 1
            return self._next - 1, 0, 0
        if not self._later and not self._under_way:
            return None
        return 0.005


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> tuple[int, bytes]:
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    top = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", top.lower())
    return int(top.split()[1]), await reader.readexactly(int(length.group(1)) if length else 0)


def _usable(data: bytes) -> bool:
    try:
        said = json.loads(json.loads(data)["choices"][0]["message"]["content"])
        return said["verdict"] in ("1", "2", "tie")
    except (ValueError, KeyError, TypeError):
        return False


async def main(latency: float) -> None:
    server = await asyncio.start_server(Server(latency).serve, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
