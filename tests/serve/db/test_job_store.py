"""Jobs: from queued to done, failed or cancelled, with leases that run out and results that are kept once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from db_samples import NOON, check, later

from weighup.errors import InvalidInput
from weighup.serve.db import Database
from weighup.serve.db.jobs import ATTEMPTS
from weighup.serve.db.records import ItemOutcome, Job


def inputs(count: int) -> list[dict[str, object]]:
    return [{"claim": f"Claim {i}"} for i in range(count)]


def now_is(db: Database, job: Job) -> Job:
    (found,) = db.jobs.get(job.tenant, [job.id])
    assert found is not None
    return found


def test_a_job_goes_from_queued_to_done_and_keeps_order(db: Database) -> None:
    job = db.jobs.submit("t", inputs(3), options={"brief": True}, now=NOON)
    assert (job.state, dict(job.counts)) == ("queued", {"queued": 3})
    items = db.jobs.take("w", limit=2)
    assert [(i.position, i.input["claim"], i.tenant, i.options["brief"]) for i in items] == [
        (0, "Claim 0", "t", True),
        (1, "Claim 1", "t", True),
    ]
    assert now_is(db, job).state == "running"
    assert db.jobs.finish("w", [ItemOutcome(i.id, {"n": i.position}) for i in items]) == [True, True]
    assert now_is(db, job).state == "running"
    (last,) = db.jobs.take("w", limit=2)
    db.jobs.finish("w", [ItemOutcome(last.id, error="model down")], now=later(hours=1))
    done = now_is(db, job)
    assert (done.state, dict(done.counts), done.finished_at) == ("done", {"done": 2, "failed": 1}, later(hours=1))
    assert [(r.position, r.state, r.result, r.error) for r in db.jobs.lines("t", job.id)] == [
        (0, "done", {"n": 0}, None),
        (1, "done", {"n": 1}, None),
        (2, "failed", None, "model down"),
    ]
    assert [r.position for r in db.jobs.lines("t", job.id, after=0, limit=1)] == [1]
    assert db.jobs.take("w") == []


def test_a_job_of_failures_has_failed(db: Database) -> None:
    job = db.jobs.submit("", inputs(1))
    db.jobs.finish("w", [ItemOutcome(i.id, error="no") for i in db.jobs.take("w")])
    assert now_is(db, job).state == "failed"


def test_a_job_without_items_is_refused_and_leaves_nothing(db: Database) -> None:
    with pytest.raises(InvalidInput, match="no items"):
        db.jobs.submit("", [], key="k")
    assert db.jobs.submit("", inputs(1), key="k").counts == {"queued": 1}


def test_handing_in_twice_under_a_key_is_one_job(db: Database) -> None:
    one = db.jobs.submit("t", inputs(2), key="k")
    assert db.jobs.submit("t", inputs(2), key="k") == one
    assert db.jobs.submit("other", inputs(2), key="k").id != one.id
    assert db.jobs.get("other", [one.id]) == [None]
    assert db.jobs.lines("other", one.id) == []
    assert db.jobs.cancel("other", one.id) is None


def test_urgent_items_go_first(db: Database) -> None:
    db.jobs.submit("", inputs(2))
    db.jobs.submit("", [{"claim": "now"}], priority=5)
    assert [i.input["claim"] for i in db.jobs.take("w", limit=2)] == ["now", "Claim 0"]


def test_nobody_takes_what_another_holds_until_the_lease_runs_out(db: Database) -> None:
    db.jobs.submit("", inputs(2))
    mine = db.jobs.take("one", limit=2, seconds=60, now=NOON)
    assert db.jobs.take("two", now=NOON + timedelta(seconds=59)) == []
    assert db.jobs.extend("one", [mine[0].id], seconds=3_600, now=NOON) == [mine[0].id]
    assert db.jobs.extend("two", [mine[0].id]) == []
    again = db.jobs.take("two", now=NOON + timedelta(seconds=61))
    assert [(i.id, i.attempts) for i in again] == [(mine[1].id, 2)]


def test_the_first_result_is_kept_whoever_brings_it(db: Database) -> None:
    job = db.jobs.submit("", inputs(1))
    (item,) = db.jobs.take("slow", seconds=1, now=NOON)
    db.jobs.take("quick", now=later(hours=1))
    assert db.jobs.finish("slow", [ItemOutcome(item.id, {"by": "slow"})]) == [True]
    assert db.jobs.finish("quick", [ItemOutcome(item.id, {"by": "quick"})]) == [False]
    assert [line.result for line in db.jobs.lines("", job.id)] == [{"by": "slow"}]


def test_a_result_its_verdict_and_its_timeline_come_together(db: Database) -> None:
    job = db.jobs.submit("", inputs(1))
    (item,) = db.jobs.take("w")
    done = ItemOutcome(item.id, {"ok": 1}, check=check("Claim 0", key=item.check_key))
    assert db.jobs.finish("w", [done, done]) == [True, False]
    (line,) = db.jobs.lines("", job.id)
    assert line.verdict_id is not None
    assert [len(t) for t in db.verdicts.timelines("", [line.verdict_id])] == [1]


def test_what_kills_its_workers_is_given_up(db: Database) -> None:
    job = db.jobs.submit("", inputs(1))
    for attempt in range(ATTEMPTS):
        assert len(db.jobs.take("w", seconds=60, now=later(hours=attempt))) == 1
        assert db.jobs.give_up(now=later(hours=attempt)) == 0
    assert db.jobs.take("w", now=later(hours=9)) == []
    assert db.jobs.give_up(now=later(hours=9)) == 1
    assert db.jobs.give_up(now=later(hours=9)) == 0
    (line,) = db.jobs.lines("", job.id)
    assert (line.state, line.error) == (
        "failed",
        f"given up: whoever worked on it ended {ATTEMPTS} times without a result",
    )
    assert now_is(db, job).state == "failed"


def test_shutting_down_gives_items_back_at_no_cost(db: Database) -> None:
    db.jobs.submit("", inputs(2))
    items = db.jobs.take("one", limit=2)
    assert db.jobs.release("two", [i.id for i in items]) == 0
    assert db.jobs.release("one", [i.id for i in items]) == 2
    assert [i.attempts for i in db.jobs.take("two", limit=2)] == [1, 1]


def test_cancelling_ends_a_job_and_refuses_what_arrives_later(db: Database) -> None:
    job = db.jobs.submit("", inputs(3))
    first, second = db.jobs.take("w", limit=2)
    db.jobs.finish("w", [ItemOutcome(first.id, {})])
    gone = db.jobs.cancel("", job.id)
    assert gone is not None
    assert (gone.state, dict(gone.counts)) == ("cancelled", {"done": 1, "cancelled": 2})
    assert db.jobs.finish("w", [ItemOutcome(second.id, {}), ItemOutcome(10**9, {})]) == [False, False]
    assert db.jobs.extend("w", [second.id]) == []
    assert db.jobs.take("w") == []
    assert now_is(db, job).state == "cancelled"
    assert db.jobs.cancel("", job.id) == now_is(db, job)


def test_many_items_are_handed_in_at_once(db: Database) -> None:
    job = db.jobs.submit("", inputs(2_500))
    assert job.counts == {"queued": 2_500}
    assert [i.position for i in db.jobs.take("w", limit=3)] == [0, 1, 2]
