"""Kills what watches, works and serves, at random points, for ten minutes, and looks whether anything came of it.

    python benchmarks/soak.py [--seconds 600] [--seed 1] [--only sqlite,postgresql]

Half of the time on SQLite, half on PostgreSQL. `weighup watch` polls feeds that grow, a worker takes the items of jobs,
`weighup serve` takes in jobs over HTTP (under idempotency keys, sent until they are accepted) and works on them too.
Each is killed (SIGKILL) again and again, in the middle of whatever it does, and started again at once. Then all are
left in peace until nothing waits, told to stop, and everything is counted: every entry of every feed has exactly one
verdict with exactly one check, so has every row of every job that was accepted, every alert that was due was raised
once and arrived (at least once, as webhooks are delivered), and the database is sound. Ends with 1 if not, or after
fewer than 100 kills in ten minutes. Writes docs/results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from soak_parts import World, checked_by_amcheck, claim, postgres
from sqlalchemy import func, select, text

from weighup.console import table
from weighup.serve.db import Database
from weighup.serve.db.tables import AlertRow, FeedItemRow, JobItemRow, JobResultRow, JobRow, TimelineRow, VerdictRow

ROOT = Path(__file__).resolve().parent.parent
WEIGHUP = str(Path(sys.executable).with_name("weighup"))
FEEDS, ENTRIES = 12, 12
ROWS = 4  # of a job
JOB_EVERY = 6.0  # seconds
LIVES = {"watch": (0.5, 10.0), "work": (0.5, 10.0), "serve": (0.5, 20.0)}  # seconds until a process is killed
CHAOS = 0.62  # share of the time in which processes are killed; the rest is for what was left to be done
BAR = 100


@dataclass
class Soak:
    """One database's share: what was started, killed, sent, and what went wrong."""

    url: str
    world: World
    chance: random.Random
    seconds: float
    port: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def commands(self) -> dict[str, list[str]]:
        """What is run, by name."""
        work = f"import soak_parts; soak_parts.work({self.url!r})"
        found = {
            "watch": [WEIGHUP, "watch", "--brief", "--offline", "--no-search"],
            "work": [sys.executable, "-c", work],
        }
        if _has_serve():
            serve = [WEIGHUP, "serve", "--brief", "--offline", "--no-watch", "--port", str(self.port)]
            found["serve"] = serve
        return found

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """One process, in a session of its own. Its log goes to a file that is looked into if it ends by itself."""
        environment = {
            **os.environ,
            "WEIGHUP_DATABASE": self.url,
            "WEIGHUP_RETRIEVE__ALLOW_LOOPBACK": "true",
            "WEIGHUP_RETRIEVE__STARTER_PACK": "false",
            "WEIGHUP_WATCH__WEBHOOK": f"{self.world.url}/hook",
            "WEIGHUP_WATCH__CONSOLE": "false",
            "WATCH_WEBHOOK_SECRET": "a secret for the soak only",
            "WEIGHUP_SERVE__PER_MINUTE": "100000",
            "WEIGHUP_LOG": "error",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }
        log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        process = subprocess.Popen(self.commands()[name], env=environment, stdout=log, stderr=log)
        process.log = log  # type: ignore[attr-defined]
        return process

    def torment(self, name: str) -> None:
        """Start, kill, start again, until the time of killing is over."""
        chance = random.Random(self.chance.random())
        while not self.over.is_set():
            process = self.start(name)
            self.over.wait(chance.uniform(*LIVES[name]))
            if process.poll() is not None:
                self.wrong.append(f"{name} ended by itself with {process.returncode}: {_said(process)}")
                return
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.log.close()  # type: ignore[attr-defined]
            self.kills[name] = self.kills.get(name, 0) + 1

    def hand_in(self, database: Database, *, served: bool) -> None:
        """Jobs under keys, one after another: over HTTP, sent again until accepted, or straight into the database."""
        number = 2_000_000 if served else 1_000_000
        while not self.over.is_set():
            key = f"job-{number}"
            rows = [{"text": claim(number + i)} for i in range(ROWS)]
            while not self.over.is_set():
                accepted = self._posted(rows, key) if served else str(database.jobs.submit("", rows, key=key).id)
                if accepted is not None:
                    self.jobs.append(accepted)
                    break
                time.sleep(0.5)
            number += ROWS
            self.over.wait(JOB_EVERY)

    def _posted(self, rows: list[dict[str, str]], key: str) -> str | None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/checks",
            data=json.dumps({"rows": rows, "options": {"brief": True}}).encode(),
            headers={"Content-Type": "application/json", "Idempotency-Key": key},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return str(json.load(reply)["id"])
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (409, 429):
                self.wrong.append(f"a job was refused with {error.code}: {error.read()[:300]!r}")
                self.over.set()
            return None
        except (OSError, ValueError):
            return None  # killed in the middle: sent again under the same key

    def run(self) -> dict[str, float]:
        """All of it; what was counted."""
        self.port = _free_port()
        with Database.open(self.url) as database:
            feeds = [f"{self.world.url}/feed/{i}" for i in range(FEEDS)]
            database.feeds.add("", feeds, every=2)
            threads = [threading.Thread(target=self.torment, args=(name,)) for name in self.commands()]
            for served in {False, "serve" in self.commands()}:
                threads.append(threading.Thread(target=self.hand_in, args=(database,), kwargs={"served": served}))
            for thread in threads:
                thread.start()
            self.over.wait(self.seconds * CHAOS)
            self.over.set()
            for thread in threads:
                thread.join()
            if not self.wrong:
                self._let_finish(database)
            return self._count(database)

    def _let_finish(self, database: Database) -> None:
        running = {name: self.start(name) for name in self.commands()}
        end = time.monotonic() + max(120.0, self.seconds * (1 - CHAOS))
        while time.monotonic() < end and not self._finished(database):
            time.sleep(0.5)
        for name, process in running.items():
            if process.poll() is not None:
                self.wrong.append(f"{name} ended by itself with {process.returncode}: {_said(process)}")
            process.send_signal(signal.SIGTERM)
        for name, process in running.items():
            # uvicorn ends in good order and then raises the signal again.
            if process.wait(timeout=60) not in (0, -signal.SIGTERM):
                self.wrong.append(f"{name} was told to stop and ended with {process.returncode}: {_said(process)}")

    def _finished(self, database: Database) -> bool:
        with database._sessions.reading() as session:
            left = [
                session.scalar(select(func.count()).select_from(FeedItemRow)) == FEEDS * ENTRIES,
                not session.scalar(select(func.count()).where(FeedItemRow.state == "new")),
                not session.scalar(select(func.count()).where(JobRow.finished_at.is_(None))),
                not session.scalar(select(func.count()).where(AlertRow.state == "queued")),
            ]
        return all(left)

    def _count(self, database: Database) -> dict[str, float]:
        with database._sessions.reading() as session:

            def count(*where: object) -> int:
                return session.scalar(select(func.count()).where(*where)) or 0  # type: ignore[arg-type]

            entries, rows = FEEDS * ENTRIES, len(set(self.jobs)) * ROWS
            known = {str(number) for number in session.scalars(select(JobRow.id))}
            expected = entries + count(JobItemRow.id.is_not(None))
            first_fakes = count(TimelineRow.reason == "first", TimelineRow.label == "fake")
            alerts = list(session.scalars(select(AlertRow)))
            doubled = (
                select(func.count())
                .select_from(TimelineRow)
                .group_by(TimelineRow.verdict_id)
                .having(func.count() > 1)
                .subquery()
            )
            bars = {
                "entries without a verdict": entries - count(FeedItemRow.state == "checked"),
                "entries kept twice": count(FeedItemRow.id.is_not(None)) - entries,
                "accepted jobs that are not there": len(set(self.jobs) - known),
                "rows of jobs without a result": count(JobItemRow.id.is_not(None)) - count(JobItemRow.state == "done"),
                "rows of jobs with no or two results": count(JobItemRow.id.is_not(None))
                - count(JobResultRow.item_id.is_not(None)),
                "jobs that are not ended": count(JobRow.finished_at.is_(None)),
                "verdicts too few or too many": count(VerdictRow.id.is_not(None)) - expected,
                "verdicts checked twice": session.scalar(select(func.count()).select_from(doubled)) or 0,
                "alerts too few or too many": len(alerts) - first_fakes,
                "alerts that have not left": sum(one.state != "sent" for one in alerts),
                "alerts that have not arrived": sum(str(one.id) not in self.world.hooked for one in alerts),
                "leases left": count(FeedItemRow.lease_owner.is_not(None)) + count(JobItemRow.lease_owner.is_not(None)),
            }
            found = {"kills": sum(self.kills.values()), **{f"kills: {k}": n for k, n in self.kills.items()}}
            found |= {"entries": entries, "rows of jobs": rows, "verdicts": count(VerdictRow.id.is_not(None))}
            found |= {"alerts": len(alerts), "alerts that came twice": sum(n > 1 for n in self.world.hooked.values())}
        self.wrong += [f"{what}: {number}" for what, number in bars.items() if number]
        self.wrong += [f"the database is not sound: {why}" for why in [_unsound(database, self.url)] if why]
        return {**found, **bars}


def _unsound(database: Database, url: str) -> str:
    """What the database's own check finds; "" if nothing."""
    if database.kind == "postgresql":
        return checked_by_amcheck(url)
    with database._sessions.reading() as session:
        said = session.scalar(text("PRAGMA integrity_check"))
        loose = session.execute(text("PRAGMA foreign_key_check")).all()
    return "" if said == "ok" and not loose else f"{said}; {len(loose)} rows refer to nothing"


def _said(process: subprocess.Popen[bytes]) -> str:
    log = process.log  # type: ignore[attr-defined]
    log.seek(0)
    return str(log.read()[-600:].decode("utf-8", "replace"))


def _has_serve() -> bool:
    return _SERVE()


def _once(ask: Callable[[], bool]) -> Callable[[], bool]:
    known: list[bool] = []

    def answer() -> bool:
        if not known:
            known.append(ask())
        return known[0]

    return answer


_SERVE = _once(lambda: subprocess.run([WEIGHUP, "serve", "--help"], capture_output=True, check=False).returncode == 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="sqlite,postgresql")
    args = parser.parse_args()
    kinds = args.only.split(",")
    results: dict[str, dict[str, float]] = {}
    wrong: list[str] = []
    for kind in kinds:
        share = args.seconds / len(kinds)
        with ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory())
            url: str | None = f"sqlite:///{folder}/soak.sqlite"
            if kind == "postgresql":
                url = opened.enter_context(postgres())
            if url is None:
                wrong.append("PostgreSQL is not installed (Debian: apt-get install postgresql)")
                continue
            world = opened.enter_context(World(FEEDS, ENTRIES, share * CHAOS).open())
            soak = Soak(url, world, random.Random(f"{args.seed}{kind}"), share)
            results[kind] = soak.run()
            wrong += [f"{kind}: {why}" for why in soak.wrong]
        table(["measure", "value"], list(results[kind].items()), title=f"soak, {kind}, seed {args.seed}")
    kills = sum(found["kills"] for found in results.values())
    if kills < BAR * args.seconds / 600:
        wrong.append(f"only {kills} kills; the bar is {BAR} in ten minutes")
    for why in wrong:
        print(f"WRONG: {why}", file=sys.stderr)
    path = ROOT / "docs" / "results" / "soak.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"seconds": args.seconds, "seed": args.seed, "kills": kills, **results, "wrong": wrong}
    path.write_text(json.dumps(told, indent=1) + "\n")
    print(f"{kills:.0f} kills, {len(wrong)} things wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
