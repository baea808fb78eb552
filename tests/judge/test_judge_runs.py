"""Runs: complete or gone on with, never twice, never lost, also after SIGKILL; and scored again without a model."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from weighup.errors import InvalidInput, JobFailed, ModelUnavailable
from weighup.judge.balanced import Calibrated
from weighup.judge.human import HumanJudge
from weighup.judge.orders import conflict_rate
from weighup.judge.panel import Panel
from weighup.judge.prompt_files import prompt, prompts_from
from weighup.judge.runs import Log, run
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Item, Judgement, Rubric, Spent, answered

ITEMS = [Item.pair(str(n), f"q{n}", "x", "y", meta={"quality": [n % 7, 3]}) for n in range(50)]


class Counting:
    """Counts how often each item was asked. Fails at the item `bad`; leaves those of `later` waiting."""

    name = "counting"

    def __init__(
        self, *, bad: str | None = None, later: Sequence[str] = (), prompts: dict[str, str] | None = None
    ) -> None:
        self.asked: dict[str, int] = {}
        self.bad, self.later = bad, list(later)
        self.prompts = prompts or {}
        self.lock = threading.Lock()

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        with self.lock:
            for item in items:
                self.asked[item.id] = self.asked.get(item.id, 0) + 1
            if self.bad in {item.id for item in items}:
                raise ModelUnavailable("the server is away")
            return [self._one(item) for item in items]

    def _one(self, item: Item) -> Judgement:
        if item.id in self.later:
            self.later.remove(item.id)
            return answered(item, self.name, status="waiting")
        usage = Spent(calls=1, seconds=time.monotonic())
        return answered(item, self.name, winner="1", usage=usage, prompts=self.prompts)


def test_a_run_is_complete_and_in_order(tmp_path: Path) -> None:
    judge, told = Counting(), []
    result = run(judge, ITEMS, tmp_path / "log.db", batch=7, advance=told.append)
    assert (result.items, result.judged, result.status, result.complete) == (50, 50, {"ok": 50}, True)
    assert result.usage.calls == 50
    assert sum(told) == 50
    log = Log(tmp_path / "log.db")
    assert [one.item_id for one in log.judgements()] == [item.id for item in ITEMS]
    assert list(log.items()) == ITEMS
    again = run(judge, ITEMS, tmp_path / "log.db", advance=told.append)
    assert (again.judged, again.status, sum(told)) == (0, {"ok": 50}, 100)
    assert set(judge.asked.values()) == {1}


def test_scored_again_without_the_judge(tmp_path: Path) -> None:
    judge = SimulatedJudge(Faults(order_bias=2.0), seed=1)
    both = [one for item in ITEMS for one in (item, item.swapped())]
    run(judge, both, tmp_path / "log.db", rubric=Rubric.of("right"))
    log = Log(tmp_path / "log.db")
    assert log.rubric() == Rubric.of("right")
    replayed = log.judge().judge(both)
    assert replayed == judge.judge(both)
    pairs = list(zip(replayed[::2], replayed[1::2], strict=True))
    assert conflict_rate(pairs).value > 0


def test_a_failure_keeps_what_was_judged_and_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with pytest.raises(ModelUnavailable, match="away"):
        run(Counting(bad="30"), ITEMS, path, batch=5, overlap=1)
    assert Log(path).result().status == {"ok": 30, "waiting": 20}
    judge = Counting()
    assert run(judge, ITEMS, path, batch=5).complete
    assert sorted(map(int, judge.asked)) == list(range(30, 50))


def test_what_waits_is_asked_again_and_not_written(tmp_path: Path) -> None:
    judge = Counting(later=["3", "3", "4"])
    result = run(judge, ITEMS, tmp_path / "log.db", batch=10)
    assert result.complete
    assert (judge.asked["3"], judge.asked["4"], judge.asked["5"]) == (3, 2, 1)


def test_people_are_waited_for_by_the_next_run(tmp_path: Path) -> None:
    human, path = HumanJudge(tmp_path / "queue.db"), tmp_path / "log.db"
    first = run(human, ITEMS[:3], path)
    assert (first.status, first.complete, first.judged) == ({"waiting": 3}, False, 0)
    human.answer("1", "2", "ann")
    second = run(human, ITEMS[:3], path)
    assert (second.status, second.judged) == ({"ok": 1, "waiting": 2}, 1)
    assert [one.winner for one in Log(path).judgements()] == ["2"]


@pytest.mark.parametrize(("at_once", "largest"), [(1, 4), (3, 12), (64, 50), (None, 50)])
def test_batches_are_as_large_as_the_model_can_use(tmp_path: Path, at_once: int | None, largest: int) -> None:
    class Sized(Counting):
        concurrency = at_once
        sizes: list[int] = []  # noqa: RUF012

        def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
            self.sizes.append(len(items))
            return super().judge(items, rubric)

    judge = Panel([Calibrated(Sized())])
    assert run(judge, ITEMS, tmp_path / "log.db").complete
    assert max(Sized.sizes) == 2 * largest


def test_batches_that_begin_together_end_one_after_the_other(tmp_path: Path) -> None:
    class Sized(Counting):
        sizes: list[int] = []  # noqa: RUF012

        def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
            with self.lock:
                self.sizes.append(len(items))
            return super().judge(items, rubric)

    judge = Sized()
    assert run(judge, ITEMS, tmp_path / "log.db", batch=8, overlap=4).complete
    assert sorted(Sized.sizes) == [2, 4, 6, 6, 8, 8, 8, 8]
    assert set(judge.asked.values()) == {1}


def test_equal_runs_write_equal_files(tmp_path: Path) -> None:
    for name, overlap in (("a", 1), ("b", 4)):
        run(Counting(), ITEMS, tmp_path / f"{name}.db", batch=3, overlap=overlap)
        assert Log(tmp_path / f"{name}.db").write(tmp_path / f"{name}.jsonl") == 50
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    Log(tmp_path / "a.db").write(tmp_path / "c.jsonl", usage=True)
    assert json.loads((tmp_path / "c.jsonl").read_text().splitlines()[0])["usage"]["calls"] == 1


def test_a_log_goes_on_only_with_what_it_was_begun_with(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    judge = SimulatedJudge(seed=1)
    run(judge, ITEMS, path, made_with={"pipeline": "abc"}, rubric=Rubric.of("right"))
    good = {"made_with": {"pipeline": "abc"}, "rubric": Rubric.of("right")}
    assert run(judge, ITEMS, path, **good).judged == 0  # type: ignore[arg-type]
    other = [*ITEMS[:-1], ITEMS[-1].model_copy(update={"prompt": "another"})]
    for items, which, more, message in (
        (other, judge, good, "the items differ"),
        (ITEMS[:-1], judge, good, "the items differ"),
        (ITEMS, judge, {**good, "made_with": {"pipeline": "xyz"}}, "pipeline was abc, is xyz"),
        (ITEMS, judge, {**good, "rubric": None}, "rubric was .*, is nothing"),
        (ITEMS, SimulatedJudge(seed=1, name="other"), good, "the judge's name was simulated, is other"),
    ):
        with pytest.raises(InvalidInput, match=f"begun with something else: {message}"):
            run(which, items, path, **more)  # type: ignore[arg-type]


def test_a_prompt_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with pytest.raises(ModelUnavailable):
        run(Counting(bad="49", prompts={"pair": "old"}), ITEMS, path, batch=10, overlap=1)
    with pytest.raises(InvalidInput, match=r"prompt pair: has changed since this run was begun \(old, now new\)"):
        run(Counting(prompts={"pair": "new"}), ITEMS, path)
    assert Log(path).result().status == {"ok": 40, "waiting": 10}


def test_prompts_are_read_from_the_folder_of_who_runs(tmp_path: Path) -> None:
    (tmp_path / "pair.toml").write_text('version = "1"\nuser = "mine"')
    seen: set[str] = set()

    class Reads(Counting):
        def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
            seen.add(prompt("pair").user)
            return super().judge(items, rubric)

    with prompts_from(tmp_path):
        run(Reads(), ITEMS, tmp_path / "log.db", batch=5)
    assert seen == {"mine"}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    class Nested(Counting):
        def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
            with pytest.raises(JobFailed, match="another process is at work"):
                run(Counting(), ITEMS, path)
            return super().judge(items, rubric)

    assert run(Nested(), ITEMS, path).complete


def test_a_judge_that_mixes_up_items_is_caught(tmp_path: Path) -> None:
    class Mixed(Counting):
        def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
            return super().judge(items, rubric)[::-1]

    class Short(Counting):
        def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
            return super().judge(items, rubric)[1:]

    with pytest.raises(JobFailed, match="gave a judgement of item 49 where 0 was asked"):
        run(Mixed(), ITEMS, tmp_path / "a.db")
    with pytest.raises(JobFailed, match="gave 49 judgements of 50 items"):
        run(Short(), ITEMS, tmp_path / "b.db")


def test_bad_input(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("this is no database, though it is long enough to be taken for one " * 20)
    with pytest.raises(InvalidInput, match="cannot be used as the log"):
        run(Counting(), ITEMS, text)
    with pytest.raises(InvalidInput, match="is not the log of a run"):
        Log(text)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(InvalidInput, match="is not the log of a run"):
        Log(tmp_path / "other.db")
    with pytest.raises(InvalidInput, match="is a database of something else"):
        run(Counting(), ITEMS, tmp_path / "other.db")
    with pytest.raises(InvalidInput, match="there is no log"):
        Log(tmp_path / "none.db")
    with pytest.raises(InvalidInput, match="there is no folder"):
        run(Counting(), ITEMS, tmp_path / "none" / "log.db")
    with pytest.raises(InvalidInput, match="item 0: stands there twice"):
        run(Counting(), [ITEMS[0], ITEMS[0]], tmp_path / "log.db")
    with pytest.raises(InvalidInput, match="batch and overlap"):
        run(Counting(), ITEMS, tmp_path / "log.db", batch=0)


SLOW = """
    import sys, time
    from pathlib import Path
    from weighup.judge.runs import run
    from weighup.judge.simulated import SimulatedJudge
    from weighup.judge.types import Item

    folder, pause = Path(sys.argv[1]), float(sys.argv[2])

    class Slow(SimulatedJudge):
        def judge(self, items, rubric=None):
            with (folder / "asked.txt").open("a") as file:
                file.write("".join(f"{item.id}\\n" for item in items))
            time.sleep(pause)
            return super().judge(items, rubric)

    items = [Item.pair(str(n), f"q{n}", "x", "y", meta={"quality": [n % 7, 3]}) for n in range(400)]
    run(Slow(seed=1), items, folder / "log.db", batch=10, overlap=2)
"""


def test_killed_it_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(textwrap.dedent(SLOW))
    command = [sys.executable, str(script), str(tmp_path)]
    process = subprocess.Popen([*command, "0.02"])
    path = tmp_path / "log.db"
    deadline = time.monotonic() + 30
    while _count(path) < 60 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    kept = [one.item_id for one in Log(path).judgements()]
    assert 60 <= len(kept) < 400
    (tmp_path / "asked.txt").unlink()
    subprocess.run([*command, "0"], check=True, timeout=60)
    asked = (tmp_path / "asked.txt").read_text().split()
    assert sorted([*kept, *asked], key=int) == [str(n) for n in range(400)]
    Log(path).write(tmp_path / "killed.jsonl")
    unbroken = SimulatedJudge(seed=1).judge(list(Log(path).items()))
    assert (tmp_path / "killed.jsonl").read_text().splitlines() == [one.line() for one in unbroken]


def _count(path: Path) -> int:
    if not path.is_file():
        return 0
    base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(base.execute("SELECT count(*) FROM judgements").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0
    finally:
        base.close()
