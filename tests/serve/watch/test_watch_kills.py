"""Watchers and workers killed in the middle: nothing lost, nothing doubled, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from feed_bodies import rss
from sqlalchemy import func, select, text
from webserver import LoopbackServer, Response

from weighup.serve.db import Database
from weighup.serve.db.tables import AlertRow, FeedItemRow, JobItemRow, JobResultRow, TimelineRow

WORKER = Path(__file__).with_name("watch_worker.py")
ROOMS = [str(WORKER.parent), str(WORKER.parents[1] / "db")]
FEEDS, ENTRIES = 6, 20


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as opened:
        for feed in range(FEEDS):
            rows = [
                {
                    "guid": f"https://n{feed}.example/{i}",
                    "link": f"https://n{feed}.example/{i}",
                    "title": f"Town {feed * ENTRIES + i} closed its bridge number {i} for {feed + 2} months",
                    "pubDate": "Sun, 10 May 2026 08:00:00 GMT",
                }
                for i in range(ENTRIES)
            ]
            opened.routes[f"/{feed}"] = Response(rss(rows), type="application/rss+xml")
        yield opened


def start(what: str, url: str, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(WORKER), what, url, name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(ROOMS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, f"never {what}"
        time.sleep(0.02)


def sound(db: Database) -> None:
    with db._sessions.reading() as session:
        if db.kind == "sqlite":
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
            assert session.execute(text("PRAGMA foreign_key_check")).all() == []


def test_killed_watchers_lose_no_entry_and_double_none(url: str, server: LoopbackServer) -> None:
    chance = random.Random(3)
    with Database.open(url) as db:
        db.feeds.add("", [f"{server.url}/{feed}" for feed in range(FEEDS)], every=1)

        def count(*where: object) -> int:
            with db._sessions.reading() as session:
                return session.scalar(select(func.count()).select_from(FeedItemRow).where(*where)) or 0  # type: ignore

        for turn in range(4):
            before = count(FeedItemRow.state != "new")
            victim = start("watch", url, f"victim{turn}")
            # In the middle of a batch: after it has taken something, and finished nothing, or some of it.
            held = FeedItemRow.lease_owner == f"victim{turn}"
            until(lambda: count(held) > 0 or count(FeedItemRow.state != "new") > before, "taken")  # noqa: B023
            time.sleep(chance.random() * 0.15)
            kill(victim)
        assert count(FeedItemRow.state == "new") > 0
        last = start("watch", url, "last")
        until(lambda: count(FeedItemRow.state == "checked") == FEEDS * ENTRIES, "finished")
        last.terminate()
        assert last.communicate()[1] == ""
        assert count() == FEEDS * ENTRIES
        assert sum(db.verdicts.count("").values()) == FEEDS * ENTRIES
        with db._sessions.reading() as session:
            for table in (TimelineRow, AlertRow):
                assert session.scalar(select(func.count()).select_from(table)) == FEEDS * ENTRIES
            assert session.scalar(select(func.count(FeedItemRow.verdict_id.distinct()))) == FEEDS * ENTRIES
        sound(db)


def test_killed_workers_lose_no_item_of_a_job_and_double_none(url: str) -> None:
    chance, size = random.Random(4), 150
    with Database.open(url) as db:
        job = db.jobs.submit("t", [{"text": f"Town {i} closed its bridge for {i % 9 + 2} months"} for i in range(size)])

        def held(name: str) -> bool:
            with db._sessions.reading() as session:
                query = select(JobItemRow.id).where(JobItemRow.lease_owner == name)
                return session.scalars(query).first() is not None

        def finished() -> bool:
            (now,) = db.jobs.get("t", [job.id])
            return now is not None and now.finished_at is not None

        for turn in range(4):
            victim = start("work", url, f"victim{turn}")
            until(lambda: held(f"victim{turn}"), "taken")  # noqa: B023
            time.sleep(chance.random() * 0.08)
            kill(victim)
        assert not finished()
        last = start("work", url, "last")
        until(finished, "finished")
        last.terminate()
        assert last.communicate()[1] == ""
        (done,) = db.jobs.get("t", [job.id])
        assert done is not None
        assert (done.state, dict(done.counts)) == ("done", {"done": size})
        with db._sessions.reading() as session:
            for table in (JobResultRow, TimelineRow, AlertRow):
                assert session.scalar(select(func.count()).select_from(table)) == size
        sound(db)


def test_a_watcher_that_is_told_to_stop_gives_back_what_it_holds(url: str, server: LoopbackServer) -> None:
    with Database.open(url) as db:
        db.feeds.add("", [f"{server.url}/{feed}" for feed in range(FEEDS)], every=900)
        process = start("watch", url, "w")
        until(lambda: sum(db.verdicts.count("").values()) > 0, "begun")
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
        with db._sessions.reading() as session:
            assert session.scalar(select(func.count()).where(FeedItemRow.lease_owner.is_not(None))) == 0
            states = dict(session.execute(select(FeedItemRow.state, func.count()).group_by(FeedItemRow.state)).all())
        assert states["checked"] == sum(db.verdicts.count("").values())
