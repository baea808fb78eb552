"""`weighup check --engine ray` as people run it: killed, stopped, taken up, and finished as one process would have."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from scale_samples import BATCH, answers

from weighup.cli.check import Ask, contradiction
from weighup.cli.main import main

HERE = ("--brief", "--offline", "--no-search", "--batch-size", str(BATCH))
FLAGS = (*HERE, "--engine", "ray", "--workers", "2")
LONGEST = 120.0
"""Seconds after which a test of a process that does nothing is given up."""


def begin(source: Path, output: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "weighup.cli.main", "check", "--input", str(source), "--output", str(output)]
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder), "WEIGHUP_MODELS__THREADS": "1"}
    return subprocess.Popen(
        [*command, *FLAGS],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(what: Callable[[], bool], run: subprocess.Popen[str] | None = None) -> None:
    """Returns when it is so, or `run` has ended; fails after LONGEST."""
    until = time.monotonic() + LONGEST
    while not what() and (run is None or run.poll() is None):
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def lines(output: Path) -> int:
    return output.read_bytes().count(b"\n") if output.exists() else 0


@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs pip install 'weighup[ray]'")
def test_killed_then_stopped_then_finished_it_has_written_what_one_process_writes(
    alone: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, expected = alone
    output = tmp_path / "out" / "rows.jsonl"

    run = begin(source, tmp_path / "out", tmp_path)
    wait_for(lambda: lines(output) >= BATCH, run)
    # Not Ray's agents, which take a minute to notice that it was killed.
    family = [p for p in psutil.Process(run.pid).children(recursive=True) if "Agent" not in p.name()]
    raylet = next(process for process in family if "raylet" in process.name())
    left = re.search(r"/tmp/weighup-ray-\w+", " ".join(raylet.cmdline()))
    assert left is not None
    run.kill()
    run.communicate()
    first = lines(output)
    assert BATCH <= first < 60

    run = begin(source, tmp_path / "out", tmp_path)
    wait_for(lambda: lines(output) >= first + BATCH, run)
    family += psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)  # Ctrl-C reaches the workers too
    said = run.communicate()
    second = lines(output)
    assert run.returncode == 130, said
    assert said[0] == ""
    assert f"stopped after {second} rows" in said[1]
    assert first < second

    # The engines write the same, so that either takes up what the other has begun.
    monkeypatch.setattr(sys, "argv", ["weighup", "check", "--input", str(source), "--output", str(output), *HERE])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1  # one of the rows is broken
    assert f"60 rows ({second} were there already)" in capsys.readouterr().err
    assert answers(output) == answers(expected)
    wait_for(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])
    shutil.rmtree(left[0])  # nobody was left to do so


def test_a_finished_output_is_found_finished_without_starting_ray(
    alone: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = alone
    output = tmp_path / "o.jsonl"
    check = ["weighup", "check", "--input", str(source), "--output", str(output), *FLAGS]
    monkeypatch.setattr(sys, "argv", check[: -len(FLAGS) + len(HERE)])
    with pytest.raises(SystemExit):
        main()
    monkeypatch.setattr("weighup.serve.scale.checker.Cluster", None)
    monkeypatch.setattr("weighup.serve.scale.checker.require", lambda: None)
    monkeypatch.setattr(sys, "argv", check)
    with pytest.raises(SystemExit):
        main()
    assert "60 rows (60 were there already)" in capsys.readouterr().err


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "A claim."}\n', encoding="utf-8")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(
        sys,
        "argv",
        ["weighup", "check", "--input", str(tmp_path / "rows.jsonl"), "--output", str(tmp_path / "o.jsonl"), *FLAGS],
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "run pip install 'weighup[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine": "dask"}, "--engine 'dask' is not known; engines are local, ray"),
        ({"workers": 2}, "--workers only goes with --engine ray"),
        ({"address": "10.0.0.1:6379"}, "--address only goes with --engine ray"),
        ({"engine": "ray", "input": None, "output": None, "text": "A claim.", "format": "text"}, "--engine ray only"),
        ({"engine": "ray", "workers": 2}, None),
    ],
)
def test_flags_that_contradict_each_other(given: dict[str, object], said: str | None) -> None:
    empty: dict[str, object] = dict.fromkeys(Ask.__dataclass_fields__)
    rows: dict[str, object] = {"input": Path("rows.jsonl"), "output": Path("o.jsonl"), "format": "jsonl"}
    off: dict[str, object] = dict.fromkeys(("offline", "brief", "overwrite", "explain", "quiet"), False)
    ask = Ask(**{**empty, **off, "evidence": (), "search": True, "engine": "local", **rows, **given})  # type: ignore[arg-type]
    found = contradiction(ask, stdin_is_terminal=True)
    assert found is None if said is None else found is not None and found.startswith(said)
