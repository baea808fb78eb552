"""The worker: items of jobs to results, each once; bad rows told; what it cannot do given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from watch_samples import Clock, WordChecker

from weighup.errors import ModelMissing, StoreError
from weighup.serve.alerts.policy import outbox
from weighup.serve.db import Database
from weighup.serve.db.records import Job, JobLine
from weighup.serve.desk import Desk
from weighup.serve.work.leases import held
from weighup.serve.work.worker import Worker
from weighup.settings import load_settings

DAM, INFLATION = "The northern dam broke on Friday.", "Inflation fell to three per cent in April."


def worker(db: Database, checker: WordChecker | None = None, name: str = "w", **more: Any) -> Worker:
    settings = load_settings({"watch": {"console": True}})
    desk = Desk(checker or WordChecker(), db, alerts=outbox(settings), settings=settings.watch, clock=Clock())
    return Worker(desk, name, **more)


def submit(db: Database, rows: Sequence[Mapping[str, Any]], **more: Any) -> Job:
    return db.jobs.submit("t", rows, **more)


def lines(db: Database, job: Job) -> list[JobLine]:
    return db.jobs.lines("t", job.id)


def test_a_job_is_worked_off_with_verdicts_errors_and_alerts(db: Database) -> None:
    rows = [{"id": 7, "text": DAM, "date": "2026-05-01"}, {"text": ""}, {"text": "It breaks."}, {"text": INFLATION}]
    job, made = submit(db, rows), worker(db)
    assert made.work_once() == 4
    assert made.work_once() == 0
    found = lines(db, job)
    assert [line.state for line in found] == ["done", "failed", "failed", "done"]
    assert found[0].result is not None
    assert (found[0].result["id"], found[0].result["claim"], found[0].result["date"]) == (
        7,
        DAM,
        "2026-05-01T00:00:00Z",
    )
    assert str(found[1].error).startswith("line 2: ")
    assert found[2].error == "line 3: unexpected ValueError: it broke"
    assert {line.verdict_id for line in found} == {None, *(one.id for one in db.verdicts.page("t").verdicts)}
    assert (made.done, made.failed) == (2, 2)
    assert len(db.alerts.take("a")) == 2
    (done,) = db.jobs.get("t", [job.id])
    assert done is not None
    assert done.state == "done"


def test_the_same_claim_in_many_rows_is_one_verdict_with_a_check_for_each(db: Database) -> None:
    submit(db, [{"text": DAM}] * 3)
    worker(db).work_once()
    (stored,) = db.verdicts.page("t").verdicts
    assert [len(entries) for entries in db.verdicts.timelines("t", [stored.id])] == [3]


@pytest.mark.parametrize(("options", "settled"), [({}, False), ({"follow": False}, True), ({"follow": "no"}, False)])
def test_options_say_whether_a_claim_is_followed(db: Database, options: dict[str, Any], settled: bool) -> None:
    submit(db, [{"text": DAM}], options=options)
    worker(db).work_once()
    assert db.verdicts.page("t").verdicts[0].settled is settled


def test_a_job_of_another_kind_fails_in_words(db: Database) -> None:
    job = submit(db, [{"text": DAM}], kind="bake")
    worker(db).work_once()
    assert "kind 'bake' is not known" in str(lines(db, job)[0].error)


def test_without_a_model_items_are_given_back_and_no_attempt_is_used_up(db: Database) -> None:
    job, checker = submit(db, [{"text": DAM}]), WordChecker()
    made, checker.missing = worker(db, checker), True
    for _ in range(8):
        with pytest.raises(ModelMissing):
            made.work_once()
    checker.missing = False
    assert made.work_once() == 1
    assert lines(db, job)[0].state == "done"


def test_it_waits_for_what_is_missing_and_says_what(db: Database) -> None:
    job, checker, stop = submit(db, [{"text": DAM}]), WordChecker(), threading.Event()
    made, checker.missing = worker(db, checker), True
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    until(lambda: made.trouble is not None)
    assert made.trouble == "no model here"
    checker.missing = False
    until(lambda: lines(db, job)[0].state == "done")
    until(lambda: made.trouble is None)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_told_to_stop_it_gives_back_what_it_has_only_taken(db: Database) -> None:
    job, stop = submit(db, [{"text": DAM}]), threading.Event()
    stop.set()
    assert worker(db).work_once(stop) == 0
    (item,) = db.jobs.take("other")
    assert item.attempts == 1
    assert lines(db, job)[0].state == "running"


def test_what_was_cancelled_meanwhile_is_not_kept(db: Database) -> None:
    job = submit(db, [{"text": DAM}])
    checker = WordChecker(lambda claim: 0.9 if db.jobs.cancel("t", job.id) else 0.1)
    made = worker(db, checker)
    assert made.work_once() == 1
    assert (made.done, made.failed, db.verdicts.count("t")) == (0, 0, {})


def test_workers_side_by_side_share_a_job(db: Database) -> None:
    job, stop = submit(db, [{"text": f"Town {i} closed its bridge in May."} for i in range(60)]), threading.Event()
    workers = [worker(db, WordChecker(pause=0.002), f"w{i}", batch=4) for i in range(3)]
    threads = [threading.Thread(target=one.run, args=(stop,)) for one in workers]
    for thread in threads:
        thread.start()
    until(lambda: all(line.state == "done" for line in lines(db, job)))
    stop.set()
    for thread in threads:
        thread.join(30)
    assert sum(one.done for one in workers) == 60
    assert sum(db.verdicts.count("t").values()) == 60


def test_a_lease_is_held_on_to_while_the_work_lasts(db: Database) -> None:
    submit(db, [{"text": DAM}])
    stolen: list[int] = []

    def slowly(claim: object) -> float:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            stolen.extend(item.id for item in db.jobs.take("thief"))
            time.sleep(0.05)
        return 0.9

    made = worker(db, WordChecker(slowly), lease=1.0)
    made.work_once()
    assert (stolen, made.done) == ([], 1)


def test_a_lease_that_could_not_be_extended_is_tried_again() -> None:
    calls: list[int] = []
    enough = threading.Event()

    def extend() -> None:
        calls.append(1)
        if len(calls) >= 3:
            enough.set()
        raise StoreError("away")

    with held(extend, every=0.01):
        assert enough.wait(30)
    count = len(calls)
    time.sleep(0.05)
    assert len(calls) == count


def until(done: Any) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)
