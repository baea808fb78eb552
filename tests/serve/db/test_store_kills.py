"""Several processes on one database, some killed in the middle: nothing lost, nothing doubled, the file sound."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from db_samples import check
from sqlalchemy import func, select, text

from weighup.serve.db import Database
from weighup.serve.db.records import ItemOutcome, Job
from weighup.serve.db.tables import AlertRow, JobItemRow, JobResultRow, TimelineRow

WORKER = Path(__file__).with_name("db_worker.py")


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parent)}
    return subprocess.Popen(
        [sys.executable, str(WORKER), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_many_processes_open_a_new_database_at_once(empty_url: str) -> None:
    opening = [start("open", empty_url) for _ in range(3)]
    for process in opening:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    with Database.open(empty_url) as db:
        assert db.jobs.submit("", [{}]).state == "queued"


def test_killed_workers_lose_nothing_and_double_nothing(url: str) -> None:
    count, chance = 240, random.Random(5)
    with Database.open(url) as db:
        steady, *victims = (start("work", url, name) for name in ("steady", "victim0", "victim1", "victim2"))
        for process in (steady, *victims):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        job = db.jobs.submit("t", [{"claim": f"Claim {i % 100}"} for i in range(count)])
        for turn, victim in enumerate(victims):
            wait_for(db, f"victim{turn}")
            time.sleep(chance.random() * 0.03)
            os.kill(victim.pid, signal.SIGKILL)
            victim.communicate()
            assert victim.returncode == -signal.SIGKILL
        done = wait_until_done(db, job)
        steady.terminate()
        assert steady.communicate()[1] == ""
        assert (done.state, dict(done.counts)) == ("done", {"done": count})
        assert [line.position for line in db.jobs.lines("t", job.id)] == list(range(count))
        assert sum(db.verdicts.count("t").values()) == 100
        with db._sessions.reading() as session:
            for table in (JobResultRow, TimelineRow, AlertRow):
                assert session.scalar(select(func.count()).select_from(table)) == count
            by = Counter(str(name)[:6] for name in session.scalars(select(JobResultRow.worker)))
            assert by["steady"] > 0
            if db.kind == "sqlite":
                assert session.scalar(text("PRAGMA integrity_check")) == "ok"
                assert session.execute(text("PRAGMA foreign_key_check")).all() == []


def wait_until_done(db: Database, job: Job) -> Job:
    """The job, once nothing is left of it to do."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        (now,) = db.jobs.get(job.tenant, [job.id])
        if now is not None and now.finished_at is not None:
            return now
        time.sleep(0.05)
    raise AssertionError("the job was not finished")


def wait_for(db: Database, worker: str) -> None:
    """Until `worker` holds something."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with db._sessions.reading() as session:
            if session.scalars(select(JobItemRow.id).where(JobItemRow.lease_owner == worker)).first() is not None:
                return
        time.sleep(0.005)
    raise AssertionError(f"{worker} never took anything")


def test_threads_that_take_and_finish_side_by_side_share_the_work(db: Database) -> None:
    job = db.jobs.submit("", [{"claim": f"Claim {i % 7}"} for i in range(120)])
    taken: list[int] = []
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            while items := db.jobs.take(name, limit=5):
                taken.extend(item.id for item in items)
                checks = [check(str(item.input["claim"]), key=item.check_key) for item in items]
                outcomes = [ItemOutcome(i.id, {}, check=c) for i, c in zip(items, checks, strict=True)]
                assert all(db.jobs.finish(name, outcomes))
        except BaseException as error:  # noqa: BLE001 (told below, in the test's own thread)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(taken) == len(set(taken)) == 120
    (done,) = db.jobs.get("", [job.id])
    assert done is not None
    assert done.state == "done"
    assert sum(len(t) for t in db.verdicts.timelines("", [v.id for v in db.verdicts.page("").verdicts])) == 120


def test_the_same_claims_recorded_side_by_side_are_one_verdict_each(db: Database) -> None:
    key, _ = db.api_keys.create("desk")
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            order = list(range(12))
            random.Random(name).shuffle(order)
            for turn in range(4):
                db.verdicts.record([check(f"Claim {i}", key=f"{name}{turn}") for i in order])
                db.api_keys.spend(key.id)
                db.idempotency.begin("", f"k{turn}", b"")
        except BaseException as error:  # noqa: BLE001 (told below, in the test's own thread)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert db.verdicts.count("") == {"fake": 12}
    ids = [v.id for v in db.verdicts.page("").verdicts]
    assert [len(t) for t in db.verdicts.timelines("", ids)] == [16] * 12
    assert [sum(e.reason == "first" for e in t) for t in db.verdicts.timelines("", ids)] == [1] * 12
    assert db.api_keys.spend(key.id) == 17
