"""Batches: order kept, good rows done, and a run stopped anywhere goes on with nothing lost or doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from examples import verdict

from weighup.errors import InvalidInput, ModelMissing
from weighup.verify.batch import read_output, run_batch
from weighup.verify.contract import FailedRow, Verdict
from weighup.verify.row_files import read_rows
from weighup.verify.types import Claim


class Echo:
    """The smallest checker: says fake of everything, raises when a claim asks for it, and counts what it was given."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        self.batches.append(len(items))
        texts = [item if isinstance(item, str) else item.text for item in items]
        if any(text.startswith("Interrupt") for text in texts):
            raise KeyboardInterrupt
        if any(text.startswith("Missing") for text in texts):
            raise ModelMissing("run `weighup models pull`")
        if any(text.startswith("Raise") for text in texts):
            raise RuntimeError("a row that breaks the engine")
        return [verdict(id=None, claim=text) for text in texts]


def rows_file(folder: Path, rows: Sequence[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def many(count: int) -> list[dict[str, Any]]:
    return [{"id": i, "text": f"Claim number {i}."} for i in range(count)]


def ids(output: Path) -> list[Any]:
    return [json.loads(line)["id"] for line in output.read_bytes().splitlines()]


def test_order_and_ids_are_kept_and_failed_rows_stand_in_their_place(tmp_path: Path) -> None:
    rows = rows_file(
        tmp_path, [{"id": "x", "text": "One."}, "{broken", {"id": 3, "text": ""}, {"id": 4, "text": "Two."}]
    )
    told: list[tuple[int, int]] = []
    outcome = run_batch(
        Echo(),
        read_rows(rows),
        tmp_path / "out.jsonl",
        batch_size=2,
        report=lambda done, failed: told.append((done, failed)),
    )
    assert (outcome.kept, outcome.added, outcome.failed) == (0, 4, 2)
    assert told == [(2, 1), (4, 2)]
    answers = list(read_output(tmp_path / "out.jsonl"))
    assert [a.id for a in answers] == ["x", None, 3, 4]
    assert [type(a) for a in answers] == [Verdict, FailedRow, FailedRow, Verdict]
    assert isinstance(answers[1], FailedRow)
    assert answers[1].line == 2
    assert answers[1].error.startswith("line 2: is not JSON")


def test_a_row_that_breaks_the_engine_costs_only_itself(tmp_path: Path) -> None:
    rows = many(5)
    rows[3]["text"] = "Raise hell."
    outcome = run_batch(Echo(), read_rows(rows_file(tmp_path, rows)), tmp_path / "out.jsonl")
    assert outcome.failed == 1
    answers = list(read_output(tmp_path / "out.jsonl"))
    assert isinstance(answers[3], FailedRow)
    assert answers[3].error == "line 4: unexpected RuntimeError: a row that breaks the engine"
    assert sum(isinstance(a, Verdict) for a in answers) == 4


def test_what_would_befall_every_row_ends_the_job(tmp_path: Path) -> None:
    rows = rows_file(tmp_path, [{"text": "Missing model."}])
    with pytest.raises(ModelMissing):
        run_batch(Echo(), read_rows(rows), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    rows = many(10)
    rows[7]["text"] = "Interrupt me."
    source, output = rows_file(tmp_path, rows), tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run_batch(Echo(), read_rows(source), output, batch_size=3)
    assert ids(output) == [0, 1, 2, 3, 4, 5]
    rows[7]["text"] = "Claim number 7."
    checker = Echo()
    outcome = run_batch(checker, read_rows(rows_file(tmp_path, rows)), output, batch_size=3)
    assert (outcome.kept, outcome.added) == (6, 4)
    assert checker.batches == [3, 1]
    assert ids(output) == list(range(10))


@pytest.mark.parametrize("cut", [1, 5, 700, 1500])
def test_a_half_written_line_is_done_again(tmp_path: Path, cut: int) -> None:
    source, output = rows_file(tmp_path, many(6)), tmp_path / "out.jsonl"
    run_batch(Echo(), read_rows(source), output)
    whole = output.read_bytes()
    output.write_bytes(whole[:-cut])
    outcome = run_batch(Echo(), read_rows(source), output)
    assert outcome.kept == 5
    assert output.read_bytes() == whole


def test_a_finished_output_is_left_alone_and_failures_in_it_still_count(tmp_path: Path) -> None:
    source, output = rows_file(tmp_path, [*many(2), "{broken"]), tmp_path / "out.jsonl"
    run_batch(Echo(), read_rows(source), output)
    before = output.read_bytes()
    checker = Echo()
    outcome = run_batch(checker, read_rows(source), output)
    assert (outcome.kept, outcome.added, outcome.failed) == (3, 0, 1)
    assert checker.batches == []
    assert output.read_bytes() == before


@pytest.mark.parametrize("change", ["edit", "remove", "swap"])
def test_answers_to_other_rows_are_never_mixed_in(tmp_path: Path, change: str) -> None:
    rows, output = many(4), tmp_path / "out.jsonl"
    run_batch(Echo(), read_rows(rows_file(tmp_path, rows)), output)
    before = output.read_bytes()
    if change == "edit":
        rows[2]["text"] = "Something else."
    elif change == "remove":
        del rows[3]
    else:
        rows[0], rows[1] = rows[1], rows[0]
    with pytest.raises(InvalidInput, match=r"does not belong to this input.*--overwrite"):
        run_batch(Echo(), read_rows(rows_file(tmp_path, rows)), output)
    assert output.read_bytes() == before
    run_batch(Echo(), read_rows(rows_file(tmp_path, rows)), output, overwrite=True)
    assert ids(output) == [row["id"] for row in rows]


@pytest.mark.parametrize("content", ["my notes\n", '{"a": 1}\n', "[]\n"])
def test_a_file_that_no_batch_wrote_is_not_touched(tmp_path: Path, content: str) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text(content)
    with pytest.raises(InvalidInput, match="it was not written by a batch"):
        run_batch(Echo(), read_rows(rows_file(tmp_path, many(1))), output)
    assert output.read_text() == content


def test_two_runs_cannot_write_to_one_output(tmp_path: Path) -> None:
    source, output = rows_file(tmp_path, many(1)), tmp_path / "out.jsonl"

    class Nested(Echo):
        def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
            with pytest.raises(InvalidInput, match="another run is writing"):
                run_batch(Echo(), read_rows(source), output, overwrite=True)
            return super().check(items)

    run_batch(Nested(), read_rows(source), output)
    assert ids(output) == [0]


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent/out\.jsonl: cannot be written"):
        run_batch(Echo(), iter(()), tmp_path / "absent" / "out.jsonl")


_RUN = """
import sys, time
from pathlib import Path
from test_batch import Echo
from weighup.verify.batch import run_batch
from weighup.verify.row_files import read_rows

class Slow(Echo):
    def check(self, items):
        time.sleep(0.003)
        return super().check(items)

run_batch(Slow(), read_rows(Path(sys.argv[1])), Path(sys.argv[2]), batch_size=7)
"""


def test_killed_again_and_again_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    rows: list[Any] = many(2_000)
    rows[100] = "{broken"
    source, output = rows_file(tmp_path, rows), tmp_path / "out.jsonl"
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-c", _RUN, str(source), str(output)]
    chance = random.Random(7)
    kills = 0
    while True:
        done = output.stat().st_size if output.exists() else 0
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(here)})
        deadline = time.monotonic() + 60
        target = done + chance.randint(100_000, 1_500_000)
        while process.poll() is None and time.monotonic() < deadline:
            if kills < 4 and output.exists() and output.stat().st_size > target:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        if process.wait(timeout=60) == 0:
            break
        assert process.returncode == -signal.SIGKILL
    assert kills >= 2
    assert ids(output) == [None if isinstance(row, str) else row["id"] for row in rows]
    whole = tmp_path / "whole.jsonl"
    run_batch(Echo(), read_rows(source), whole)
    assert output.read_bytes() == whole.read_bytes()


def test_a_run_is_not_taken_up_under_other_conditions(tmp_path: Path) -> None:
    source, output = rows_file(tmp_path, [*many(3), "{broken"]), tmp_path / "out.jsonl"
    brief = {"brief": True, "offline": True}
    run_batch(Echo(), read_rows(source), output, conditions=brief)
    whole = output.read_bytes()
    output.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    before = output.read_bytes()
    for other in ({"brief": False, "offline": True}, {"brief": True}):
        with pytest.raises(InvalidInput, match=r"line 1 was written under other flags.*brief=.*--overwrite"):
            run_batch(Echo(), read_rows(source), output, conditions=other)
        assert output.read_bytes() == before
    assert run_batch(Echo(), read_rows(source), output, conditions=brief).kept == 2
    assert output.read_bytes() == whole
    assert len({answer.run_digest for answer in read_output(output)} - {None}) == 1
    run_batch(Echo(), read_rows(source), output, conditions={"brief": False}, overwrite=True)


def test_an_output_that_cannot_be_read_back_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    for name in ("pipe.jsonl", "full.jsonl"):
        with pytest.raises(InvalidInput, match="is not a plain file"):
            run_batch(Echo(), iter(()), tmp_path / name)


_FULL = """
import resource, sys
from pathlib import Path
from test_batch import Echo
from weighup.errors import JobFailed
from weighup.verify.batch import run_batch
from weighup.verify.row_files import read_rows

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    run_batch(Echo(), read_rows(Path(sys.argv[1])), Path(sys.argv[2]), batch_size=1)
except JobFailed as error:
    print(error)
"""


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    source, output = rows_file(tmp_path, many(20)), tmp_path / "out.jsonl"
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(source), str(output)],
        env={**os.environ, "PYTHONPATH": str(here)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be written: File too large; run again to go on" in done.stdout
    assert run_batch(Echo(), read_rows(source), output).kept > 0
    assert ids(output) == list(range(20))
