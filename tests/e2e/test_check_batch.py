"""`weighup check --input` end to end: stopped by signals, resumed, broken rows, reports."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import Run

pytestmark = pytest.mark.usefixtures("models_ready")
FLAGS = ("--brief", "--no-search", "--offline")


def rows(folder: Path, count: int) -> list[dict[str, Any]]:
    made = [
        {
            "id": i,
            "text": f"The bridge number {i} over the river Aare was closed for {i % 9 + 2} weeks in 2019.",
            "date": "2020-01-01",
            "evidence": [{"text": f"Bridge {i} stayed closed for {i % 9 + 2} weeks.", "date": "2019-11-02"}],
        }
        for i in range(count)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    return made


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_good_rows_finish_bad_ones_say_why_and_a_report_is_made(weighup: Run, tmp_path: Path) -> None:
    made = rows(tmp_path, 4)
    lines = [json.dumps(row) for row in made]
    lines[1:1] = ["{broken", '{"id": "f", "text": "A bridge fell.", "date": "2999-01-01"}', '{"id": "e", "text": " "}']
    lines.append(json.dumps({"id": "late", "text": made[0]["text"], "date": "2020-01-01", "evidence": [
        {"text": "Tomorrow's news.", "date": "2020-01-02"}]}))  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    done = weighup("check", "-i", "rows.jsonl", "-o", "out.jsonl", *FLAGS, "--format", "html")
    assert done.returncode == 1
    assert "3 of 8 rows failed" in done.stderr
    answers = written(tmp_path)
    assert [answer["id"] for answer in answers] == [0, None, "f", "e", 1, 2, 3, "late"]
    errors = {answer["line"]: answer["error"] for answer in answers if "error" in answer}
    assert errors[2].startswith("line 2: is not JSON")
    assert "in the future" in errors[3]
    assert "is empty" in errors[4]
    assert answers[-1]["evidence"] == []
    assert any("after the claim" in warning for warning in answers[-1]["warnings"])
    report = (tmp_path / "out.html").read_text()
    assert "3</b> could not be checked" in report
    again = weighup("check", "-i", "rows.jsonl", "-o", "out.jsonl", *FLAGS)
    assert "8 rows (8 were there already)" in again.stderr
    assert written(tmp_path) == answers


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=lambda v: str(v)
)
def test_a_stopped_run_is_taken_up_where_it_stopped(
    weighup: Run, command: str, environment: dict[str, str], tmp_path: Path, number: int, code: int
) -> None:
    made = rows(tmp_path, 200)
    arguments = ["check", "-i", "rows.jsonl", "-o", "out.jsonl", *FLAGS, "--batch-size", "4"]
    process = subprocess.Popen(
        [command, *arguments], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 90
    output = tmp_path / "out.jsonl"
    while process.poll() is None and time.monotonic() < deadline:
        if output.exists() and output.stat().st_size > 20_000:
            process.send_signal(number)
            break
        time.sleep(0.01)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    if number != signal.SIGKILL:
        assert "Run the same command again" in said
    before = output.read_bytes()
    finished = before.count(b"\n")
    assert 0 < finished < 200
    done = weighup(*arguments)
    assert done.returncode == 0, done.stderr
    assert f"200 rows ({finished} were there already)" in done.stderr
    assert [answer["id"] for answer in written(tmp_path)] == [row["id"] for row in made]
    assert output.read_bytes().startswith(before[: before.rfind(b"\n") + 1])


def test_another_input_is_not_mixed_in(weighup: Run, tmp_path: Path) -> None:
    rows(tmp_path, 2)
    assert weighup("check", "-i", "rows.jsonl", "-o", "out.jsonl", *FLAGS).returncode == 0
    before = written(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"id": 0, "text": "The tower in Pisa fell over in 2021."}\n')
    done = weighup("check", "-i", "rows.jsonl", "-o", "out.jsonl", *FLAGS)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert written(tmp_path) == before
    assert weighup("check", "-i", "rows.jsonl", "-o", "out.jsonl", *FLAGS, "--overwrite").returncode == 0
    assert len(written(tmp_path)) == 1


def test_other_flags_do_not_go_on_with_a_run(weighup: Run, tmp_path: Path) -> None:
    rows(tmp_path, 2)
    assert weighup("check", "-i", "rows.jsonl", "-o", "out.jsonl", *FLAGS).returncode == 0
    before = written(tmp_path)
    done = weighup("check", "-i", "rows.jsonl", "-o", "out.jsonl", "--no-search", "--offline")
    assert done.returncode == 2
    assert "other flags or settings than this run's (brief=no, offline=yes, search=no" in done.stderr
    assert written(tmp_path) == before


def test_csv_in_and_a_markdown_report(weighup: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        'id,text,date,evidence\n7,"The bridge, once closed, reopened in 2019.",2020-01-01,"[{""text"": ""It did.""}]"\n'
    )
    done = weighup("check", "-i", "rows.csv", "-o", "out.jsonl", *FLAGS, "--format", "markdown", "--out", "r.md")
    assert done.returncode == 0, done.stderr
    assert written(tmp_path)[0]["id"] == "7"
    assert (tmp_path / "r.md").read_text().startswith("# weighup report\n")
