"""How `weighup serve` bears up: 64 clients, then four times as many without a pause, then, 10 s later, 64 again.

    python benchmarks/load.py [--seconds 120] [--clients 64] [--out docs/results/load.json]

The server is `weighup serve --brief --offline` in a process of its own, with the embedded models, on SQLite with
5,000 stored verdicts; nothing leaves loopback. A client asks, waits (a second on average, exponentially), and asks
again: nineteen times in twenty it reads (a verdict with its timeline, a list of 20, a search, a job), else it has a
new claim checked. In the second part clients do not wait, half of what they ask are checks, a quarter of them use a
key with the default pace, and they take no notice of Retry-After. Times are the client's, from sending to the last
byte.

Bars: in the first part no 5xx, p99 of reads at most 100 ms, memory flat (the median of the last quarter at most 5 %
above that of the second); in the second part all that is refused is 429 or 503 with Retry-After, and something is; in
the third part no 5xx and a median of reads at most half as long again as in the first (its p99, of a quarter as many
reads, is told). Ends with 1 if one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from weighup.console import table
from weighup.retrieve.pack import pack_documents
from weighup.serve.db import Database
from weighup.serve.db.records import Check
from weighup.settings import load_settings
from weighup.verify.contract import Verdict
from weighup.verify.verifier import Verifier

STORED = 5_000
READS = ("verdict", "list", "search", "job")
P99 = 0.100  # seconds
GROWTH = 1.05
SLOWER = 1.5
SETTLE = 10.0  # seconds between the overload and the third part: what waits then is still answered


@dataclass
class Told:
    """What came of the requests of one part. `answers` are (what was asked, status, seconds)."""

    answers: list[tuple[str, int, float]] = field(default_factory=list)
    unanswered: int = 0
    without_retry: int = 0
    health: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def statuses(self) -> Counter[int]:
        return Counter(status for _, status, _ in self.answers)

    def times(self, *kinds: str) -> list[float]:
        """Seconds of the answers of these kinds that were not refused, sorted."""
        return sorted(seconds for kind, status, seconds in self.answers if kind in kinds and status < 400)

    def broken(self) -> int:
        """Answers of the server's own failing: 5xx but for a 503 that says when to come again, and none at all."""
        return self.unanswered + sum(n for status, n in self.statuses().items() if status >= 500 and status != 503)


class Connection:
    """One connection, kept open; as much HTTP as the server speaks here."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self.host, self.port = host, port
        self.head = f"Host: {host}\r\nAuthorization: Bearer {key}\r\n"
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], bytes]:
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        assert self.reader is not None
        content = b"" if body is None else json.dumps(body).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if content else ""
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{self.head}{kind}\r\n".encode() + content)
        top = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in top[1:] if line)}
        answer = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(top[0].split()[1]), headers, answer

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


@dataclass
class Plan:
    """What there is to ask for."""

    verdicts: list[str]
    job: str
    claims: Iterator[str]
    words: list[str]

    def next(self, chance: random.Random, checks: float) -> tuple[str, str, str, Any]:
        """Kind, method, path, body."""
        if chance.random() < checks:
            return "check", "POST", "/v1/checks", {"text": next(self.claims)}
        kind = chance.choices(READS, (6, 2, 1, 1))[0]
        paths = {
            "verdict": f"/v1/verdicts/{chance.choice(self.verdicts)}",
            "list": "/v1/verdicts?limit=20",
            "search": f"/v1/verdicts?limit=20&q={chance.choice(self.words)}",
            "job": f"/v1/jobs/{self.job}",
        }
        return kind, "GET", paths[kind], None


async def client(
    connection: Connection, plan: Plan, told: Told, ends: float, seed: int, *, pause: float, checks: float
) -> None:
    chance = random.Random(seed)
    await asyncio.sleep(chance.random() * max(pause, 0.2))
    while time.monotonic() < ends:
        kind, method, path, body = plan.next(chance, checks)
        begun = time.monotonic()
        try:
            status, headers, _ = await asyncio.wait_for(connection.ask(method, path, body), 90)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            told.unanswered += 1
            connection.close()
            continue
        told.answers.append((kind, status, time.monotonic() - begun))
        if status in (429, 503):
            told.without_retry += not headers.get("retry-after", "").isdigit()
            await asyncio.sleep(0.05)
        if pause:
            await asyncio.sleep(chance.expovariate(1 / pause))
    connection.close()


async def look(connection: Connection, process: psutil.Process, told: Told, ends: float) -> None:
    """Once a second: does it live, and how much memory has it."""
    while time.monotonic() < ends:
        begun = time.monotonic()
        status, _, _ = await connection.ask("GET", "/healthz")
        assert status == 200
        told.health.append(time.monotonic() - begun)
        told.memory.append(process.memory_info().rss)
        await asyncio.sleep(1)
    connection.close()


async def part(
    server: Server, plan: Plan, seconds: float, clients: int, *, pause: float, checks: float, hasty: float = 0.0
) -> Told:
    told, ends = Told(), time.monotonic() + seconds
    keys = [server.hasty if number < hasty * clients else server.key for number in range(clients)]
    await asyncio.gather(
        look(Connection(server.host, server.port, server.key), server.process, told, ends),
        *(
            client(Connection(server.host, server.port, key), plan, told, ends, n, pause=pause, checks=checks)
            for n, key in enumerate(keys)
        ),
    )
    return told


@dataclass
class Server:
    host: str
    port: int
    process: psutil.Process
    key: str
    hasty: str


@contextlib.contextmanager
def serving(folder: Path, key: str, hasty: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "weighup.cli.main", "serve", "--port", "0", "--brief", "--offline", "--no-watch"]
    environment = {**os.environ, "WEIGHUP_DATABASE": str(folder / "load.sqlite"), "WEIGHUP_WATCH__CONSOLE": "false"}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        line = running.stderr.readline()
        while line and "listening on" not in line:
            line = running.stderr.readline()
        host, _, port = line.strip().rpartition("//")[2].rpartition(":")
        yield Server(host, int(port), psutil.Process(running.pid), key, hasty)
    finally:
        running.terminate()
        running.wait(60)


def prepared(folder: Path, texts: list[str]) -> tuple[str, str, Plan]:
    """A database with verdicts, a finished job and two keys; what there is to ask for."""
    with Verifier(load_settings({"verify": {"brief": True}}), offline=True) as verifier:
        real = verifier.check(texts[:50])
    with Database.open(folder / "load.sqlite") as database:
        checks = [Check(made(real[n % 50], f"{texts[n % len(texts)]} ({n})"), "load", "load") for n in range(STORED)]
        ids: list[str] = []
        for start in range(0, STORED, 500):
            ids += [str(one.id) for one in database.verdicts.record(checks[start : start + 500])]
        job = database.jobs.submit("load", [{"text": text} for text in texts[:20]])
        scopes = ("read", "check")
        key = database.api_keys.create("load", tenant="load", scopes=scopes, per_minute=1_000_000)[1]
        hasty = database.api_keys.create("hasty", tenant="load", scopes=scopes)[1]
    every = {word for text in texts[:300] for word in text.lower().split()}
    words = sorted(word for word in every if word.isalpha() and word.isascii() and len(word) > 5)
    return key, hasty, Plan(ids, str(job.id), claims(texts), words)


def claims(texts: list[str]) -> Iterator[str]:
    """New ones, without end."""
    number = 0
    while True:
        yield f"{texts[number % len(texts)]} (report {number})"
        number += 1


def made(verdict: Verdict, claim: str) -> Verdict:
    return verdict.model_copy(update={"claim": claim})


def quantile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


def growth(memory: list[int]) -> float:
    """Median of the last quarter over that of the second."""
    quarter = max(1, len(memory) // 4)
    return statistics.median(memory[-quarter:]) / statistics.median(memory[quarter : 2 * quarter] or memory)


def summed(told: Told, seconds: float) -> dict[str, Any]:
    reads, checks = told.times(*READS), told.times("check")
    return {
        "requests": len(told.answers),
        "per_second": round(len(told.answers) / seconds, 1),
        "statuses": {str(status): n for status, n in sorted(told.statuses().items())},
        "unanswered": told.unanswered,
        "refused_without_retry_after": told.without_retry,
        "reads_p50_ms": round(1000 * quantile(reads, 0.5), 1),
        "reads_p99_ms": round(1000 * quantile(reads, 0.99), 1),
        "checks_p50_ms": round(1000 * quantile(checks, 0.5), 1),
        "checks_p99_ms": round(1000 * quantile(checks, 0.99), 1),
        "health_worst_ms": round(1000 * max(told.health), 1),
        "memory_mb": round(statistics.median(told.memory) / 1e6, 1),
        "memory_growth": round(growth(told.memory), 4),
    }


def bars(steady: Told, over: Told, after: Told) -> dict[str, bool]:
    def quiet(told: Told) -> bool:
        return told.broken() == 0 and told.statuses()[503] == 0

    def reads(told: Told, share: float) -> float:
        return quantile(told.times(*READS), share)

    shed = over.statuses()[429] + over.statuses()[503]
    return {
        "no 5xx": quiet(steady),
        "p99 of reads ≤ 100 ms": reads(steady, 0.99) <= P99,
        "memory flat": growth(steady.memory) <= GROWTH,
        "overload: refused with 429 or 503": shed > 0 and over.broken() == 0,
        "overload: always with Retry-After": over.without_retry == 0,
        "recovers: no 5xx": quiet(after),
        "recovers: median of reads ≤ 1.5 times": reads(after, 0.5) <= SLOWER * reads(steady, 0.5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="of the first part; the others take a quarter")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("docs/results/load.json"))
    wanted = parser.parse_args()
    sentences = (document.text.split(". ")[0] for document in pack_documents())
    texts = list(itertools.islice((one for one in sentences if 40 < len(one) < 200), 2_000))
    with tempfile.TemporaryDirectory() as name:
        key, hasty, plan = prepared(Path(name), texts)
        with serving(Path(name), key, hasty) as server:
            asyncio.run(part(server, plan, 5, 4, pause=0.1, checks=0.5))  # the models are loaded by then
            short = max(10.0, wanted.seconds / 4)
            steady = asyncio.run(part(server, plan, wanted.seconds, wanted.clients, pause=1.0, checks=0.05))
            over = asyncio.run(part(server, plan, short, 4 * wanted.clients, pause=0.0, checks=0.5, hasty=0.25))
            time.sleep(SETTLE)
            after = asyncio.run(part(server, plan, short, wanted.clients, pause=1.0, checks=0.05))
    met = bars(steady, over, after)
    parts = {
        "steady": summed(steady, wanted.seconds),
        "overload": summed(over, short),
        "after": summed(after, short),
    }
    table(("", *parts), [(row, *(str(told[row]) for told in parts.values())) for row in parts["steady"]])
    table(("bar", "met"), [(bar, "yes" if good else "NO") for bar, good in met.items()])
    result = {
        "clients": wanted.clients,
        "seconds": wanted.seconds,
        "stored_verdicts": STORED,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "python": platform.python_version(),
        "parts": parts,
        "bars": met,
    }
    wanted.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {wanted.out}")
    sys.exit(0 if all(met.values()) else 1)


if __name__ == "__main__":
    main()
