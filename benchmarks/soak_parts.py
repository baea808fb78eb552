"""What `soak.py` needs around it: feeds that grow, a receiver of alerts, a PostgreSQL of its own, a worker on jobs."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WHAT = ("bridge", "school", "harbour", "library", "tunnel", "hospital", "market", "railway", "reservoir", "stadium")


def claim(number: int) -> str:
    """A claim like no other. Every other one is called fake by its content and tone, so that alerts are raised."""
    if number % 2:
        return f"Hot water with lemon number {number} kills the coronavirus within {number % 23 + 2} days."
    place = f"The town of Ostby{number} closed its {WHAT[number % 10]}"
    return f"{place} for {number % 23 + 2} weeks after inspection {number}."


@dataclass
class World:
    """A server on loopback: `/feed/N` shows entries that grow in number with time; `/hook` takes alerts."""

    feeds: int
    entries: int
    seconds: float  # until all entries are shown
    started: float = field(default_factory=time.monotonic)
    hooked: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def shown(self) -> int:
        """Entries that each feed shows by now."""
        return min(self.entries, 1 + int((time.monotonic() - self.started) / self.seconds * self.entries))

    def body(self, feed: int, count: int) -> bytes:
        """RSS 2.0, newest first."""
        rows = "".join(
            f"<item><guid>https://f{feed}.example/{i}</guid><link>https://f{feed}.example/{i}</link>"
            f"<title>{claim(feed * self.entries + i)}</title><pubDate>{self._date}</pubDate></item>"
            for i in reversed(range(count))
        )
        return f'<?xml version="1.0"?><rss version="2.0"><channel><title>F{feed}</title>{rows}</channel></rss>'.encode()

    @contextmanager
    def open(self) -> Iterator[World]:
        """Serve until the block ends."""
        self._date = format_datetime(datetime.now(UTC).replace(microsecond=0))
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if not self.path.startswith("/feed/"):
                    self.answer(404, b"", {})
                    return
                count = world.shown()
                tag = f'"{count}"'
                if self.headers.get("If-None-Match") == tag:
                    self.answer(304, b"", {"ETag": tag})
                    return
                body = world.body(int(self.path.rsplit("/", 1)[1]), count)
                self.answer(200, body, {"ETag": tag, "Content-Type": "application/rss+xml"})

            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
                world.hooked[str(sent.get("id"))] += 1
                self.answer(204, b"", {})

            def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    if status != 304 or name != "Content-Length":
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return  # whoever asked has been killed

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


@contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of an empty database in a PostgreSQL started for it; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    where = _programs(Path(found).resolve().parent if found else None)
    if where is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="wu-soak-"))
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": str(folder)}
        shutil.chown(folder, "postgres", "postgres")

    def call(program: str, *arguments: str) -> None:
        with (folder / "log").open("ab") as log:
            subprocess.run([where / program, *arguments], check=True, stdout=log, stderr=log, **as_user)  # type: ignore

    data = str(folder / "data")
    call("initdb", "-D", data, "-U", "soak", "-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c max_connections=100"
    try:
        call("pg_ctl", "-D", data, "-w", "-l", str(folder / "server.log"), "-o", options, "start")
        call("createdb", "-h", str(folder), "-U", "soak", "soak")
        yield f"postgresql://soak@/soak?host={folder}"
    finally:
        call("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def checked_by_amcheck(url: str) -> str:
    """What pg_amcheck says of all tables and indexes; "" if they are sound, or why it could not be asked."""
    folder, where = url.rpartition("host=")[2], _programs(None)
    if where is None or not (where / "pg_amcheck").is_file():
        return "pg_amcheck is not installed (Debian: postgresql-contrib), so that nobody could look"
    command = [str(where / "pg_amcheck"), "--install-missing", "--heapallindexed", "-h", folder, "-U", "soak", "soak"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def _programs(first: Path | None) -> Path | None:
    """The folder of PostgreSQL's programs, of the newest version there is."""
    versions = sorted(map(Path, glob.glob("/usr/lib/postgresql/*/bin")), reverse=True)
    return next((one for one in [first, *versions] if one is not None and (one / "pg_ctl").is_file()), None)


def work(url: str) -> None:
    """Work on jobs as `weighup serve` does beside its requests, until SIGTERM."""
    from weighup.serve.alerts.policy import outbox
    from weighup.serve.db import Database
    from weighup.serve.desk import Desk
    from weighup.serve.work.worker import Worker
    from weighup.settings import load_settings
    from weighup.verify.verifier import Verifier

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = load_settings({"verify": {"brief": True}})
    with Database.open(url) as database, Verifier(settings, offline=True, search=False) as verifier:
        desk = Desk(verifier, database, alerts=outbox(settings), settings=settings.watch)
        Worker(desk, f"soak:{os.getpid()}:{time.monotonic_ns()}").run(stop)
