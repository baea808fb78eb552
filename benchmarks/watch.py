"""How much `weighup watch --brief` takes in: 1,000 feeds of 50 entries from a server on loopback, then the same again.

    python benchmarks/watch.py [--feeds 1000] [--entries 50] [--seconds 300] [--only different,agency]

different: no two entries are alike, which no real set of feeds is. agency: each entry stands in ten feeds, word for
word, under ten addresses, as agency copy does (an assumption; how much is copied differs from set to set).

Stored is not checked: an entry is stored when its poll is, in one transaction, and then waits. So both are told: how
long until all were stored, and what share had its verdict (or was found to need none) when the time was over. Then all
feeds are polled once more, unchanged. Prints a table; writes docs/results/watch.json.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from sqlalchemy import func, select, update

from weighup.console import table
from weighup.serve.db import Database
from weighup.serve.db.tables import FeedItemRow, FeedRow, StoryRow, VerdictRow
from weighup.serve.feeds.client import FeedClient
from weighup.serve.watch.polling import Polling
from weighup.settings import RetrieveSettings

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data")) / "news"
WEIGHUP = str(Path(sys.executable).with_name("weighup"))
SETS = ("liar", "covid_fact", "healthver", "covid_constraint", "fool_me_twice", "climate_fever")
COPIES = 10
BAR = 300.0


@dataclass(frozen=True)
class Entry:
    """One entry of one feed."""

    link: str
    title: str
    text: str


def texts() -> list[str]:
    """Distinct claims of the shared sets, in English."""
    found: dict[str, None] = {}
    for name in SETS:
        for path in sorted((DATA / name).glob("*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                found |= dict.fromkeys(" ".join(json.loads(line)["text"].split()) for line in file)
    return [text for text in found if text]


def entries(feeds: int, each: int, copies: int) -> list[list[Entry]]:
    """Entries by feed: a claim as title, another as text. Each pair comes `copies` times, in different feeds."""
    chance = random.Random(1)
    pool = texts()
    total = feeds * each
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < -(-total // copies):
        pairs.add((chance.randrange(len(pool)), chance.randrange(len(pool))))
    told = [(pool[a], pool[b]) for a, b in sorted(pairs)]
    chance.shuffle(told)
    found: list[list[Entry]] = [[] for _ in range(feeds)]
    for place in range(total):
        feed, (title, text) = place % feeds, told[(place // copies) % len(told)]
        found[feed].append(Entry(f"https://n{feed}.example/{place}", title, text))
    return found


def body(name: int, rows: list[Entry]) -> bytes:
    """RSS 2.0, all published within the last day."""
    start = datetime.now(UTC) - timedelta(hours=20)
    items = "".join(
        f"<item><guid>{row.link}</guid><link>{row.link}</link><title>{escape(escape(row.title))}</title>"
        f"<description>{escape('<p>' + escape(row.text) + '</p>')}</description>"
        f"<pubDate>{format_datetime(start + timedelta(minutes=place))}</pubDate></item>"
        for place, row in enumerate(rows)
    )
    head = f"<title>News {name}</title><link>https://n{name}.example/</link>"
    return f'<?xml version="1.0"?><rss version="2.0"><channel>{head}{items}</channel></rss>'.encode()


def serve(bodies: list[bytes], port: object, sent: object) -> None:
    """The feed server: answers conditional requests, counts the bytes of bodies."""
    tags = [f'"{hashlib.sha256(one).hexdigest()[:16]}"' for one in bodies]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                place = int(self.path.strip("/"))
                data, tag = bodies[place], tags[place]
            except (ValueError, IndexError):  # robots.txt
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            same = self.headers.get("If-None-Match") == tag
            self.send_response(304 if same else 200)
            self.send_header("ETag", tag)
            if not same:
                self.send_header("Content-Type", "application/rss+xml")
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not same:
                self.wfile.write(data)
                with sent.get_lock():  # type: ignore[attr-defined]
                    sent.value += len(data)  # type: ignore[attr-defined]

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.value = server.server_port  # type: ignore[attr-defined]
    server.serve_forever()


@contextmanager
def feed_server(bodies: list[bytes]) -> Iterator[tuple[str, object]]:
    """A server in a process of its own; its address and the counter of bytes sent."""
    context = multiprocessing.get_context("spawn")
    port, sent = context.Value("i", 0), context.Value("q", 0)
    process = context.Process(target=serve, args=(bodies, port, sent), daemon=True)
    process.start()
    try:
        while not port.value:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port.value}", sent
    finally:
        process.terminate()
        process.join()


def states(database: Database) -> dict[str, int]:
    """Entries by what became of them; copies are counted apart from what else was skipped."""
    with database._sessions.reading() as session:
        query = select(FeedItemRow.state, FeedItemRow.copy_of.is_not(None), func.count()).group_by(
            FeedItemRow.state, FeedItemRow.copy_of.is_not(None)
        )
        found: dict[str, int] = {}
        for state, copied, count in session.execute(query):
            found["copies" if copied else state] = count
        found["stories"] = session.scalar(select(func.count()).select_from(StoryRow)) or 0
        found["verdicts"] = session.scalar(select(func.count()).select_from(VerdictRow)) or 0
    return found


def run(feeds: int, each: int, copies: int, seconds: float) -> dict[str, float]:
    """One run from an empty database, with the second poll after it."""
    total = feeds * each
    bodies = [body(name, rows) for name, rows in enumerate(entries(feeds, each, copies))]
    found: dict[str, float] = {"feeds": feeds, "entries": total, "megabytes of feeds": sum(map(len, bodies)) / 1e6}
    with tempfile.TemporaryDirectory() as folder, feed_server(bodies) as (url, sent):
        path = f"sqlite:///{folder}/serve.sqlite"
        with Database.open(path) as database:
            database.feeds.add("", [f"{url}/{place}" for place in range(feeds)], every=86_400)
            environment = {**os.environ, "WEIGHUP_RETRIEVE__ALLOW_LOOPBACK": "true", "WEIGHUP_DATABASE": path}
            command = [WEIGHUP, "watch", "--brief", "--offline", "--quiet"]
            started = time.perf_counter()
            with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
                watched, peak, cpu, stored_after = psutil.Process(process.pid), 0, 0.0, float("nan")
                now: dict[str, int] = {}
                while (taken := time.perf_counter() - started) < seconds:
                    if process.poll() is not None:
                        raise SystemExit(f"weighup watch ended by itself with {process.returncode}")
                    peak = max(peak, watched.memory_info().rss)
                    times = watched.cpu_times()
                    cpu = times.user + times.system
                    now = states(database)
                    kept = sum(now.get(state, 0) for state in ("new", "checked", "skipped", "failed", "copies"))
                    if kept >= total and stored_after != stored_after:
                        stored_after = taken
                    if kept >= total and not now.get("new"):
                        break
                    time.sleep(1)
                found |= {"seconds": time.perf_counter() - started, "all stored after s": stored_after}
                process.send_signal(signal.SIGINT)
            done = {state: now.get(state, 0) for state in ("checked", "copies", "skipped", "failed", "new")}
            found |= {f"entries: {name}": count for name, count in done.items()}
            found["share dealt with"] = 1 - done["new"] / total if found["all stored after s"] == stored_after else 0.0
            found |= {"stories": now.get("stories", 0), "verdicts": now.get("verdicts", 0)}
            found["checks/s"] = done["checked"] / found["seconds"]
            found |= {"processor seconds": cpu, "peak RSS MB": peak / 1e6}
            found |= second_poll(database, feeds, sent)
    return found


def second_poll(database: Database, feeds: int, sent: object) -> dict[str, float]:
    """Poll all feeds again, unchanged: how long it takes, what is transferred."""
    with database._sessions.writing() as session:
        session.execute(update(FeedRow).values(next_poll=datetime.now(UTC), lease_owner=None, lease_until=None))
    before, asked, items = sent.value, 0, 0  # type: ignore[attr-defined]
    started = time.perf_counter()
    with FeedClient(RetrieveSettings(allow_loopback=True)) as client:
        polling = Polling(database, client, name="second")
        while asked < feeds and (brought := polling.once()).feeds:
            asked, items = asked + brought.feeds, items + brought.items
    seconds = time.perf_counter() - started
    transferred = sent.value - before  # type: ignore[attr-defined]
    return {
        "second poll: feeds": asked,
        "second poll: s": seconds,
        "second poll: bytes of bodies": transferred,
        "second poll: new entries": items,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feeds", type=int, default=1000)
    parser.add_argument("--entries", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=BAR)
    parser.add_argument("--only", default="different,agency")
    args = parser.parse_args()
    path = ROOT / "docs" / "results" / "watch.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = {"cores": os.cpu_count(), "load before": round(os.getloadavg()[0], 2)}
    for name, copies in (("different", 1), ("agency", COPIES)):
        if name in args.only.split(","):
            measured = run(args.feeds, args.entries, copies, args.seconds)
            results[name] = {key: round(value, 3) for key, value in measured.items()}
            table(["measure", "value"], list(results[name].items()), title=f"{name} (bar: stored within {BAR:.0f} s)")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
