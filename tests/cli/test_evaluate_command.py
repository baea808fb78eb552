"""`weighup evaluate`: what it prints and writes, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weighup.cli import evaluate as command
from weighup.cli.main import app
from weighup.errors import InvalidInput
from weighup.train.results import Evaluation


def rows(path: Path, n: int = 8, **more: object) -> Path:
    made = [{"text": f"In 19{i}0 the tower was closed.", "label": ("real", "fake")[i % 2], **more} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


@pytest.mark.usefixtures("models_ready")
def test_it_prints_tables_and_writes_the_numbers(clean_environment: Path) -> None:
    data = rows(clean_environment / "mine.jsonl", evidence=[{"text": "The tower was closed for a year."}])
    out = clean_environment / "result.json"
    done = CliRunner().invoke(app, ["evaluate", "-d", str(data), "--resamples", "5", "--out", str(out), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "mine: 8 claims" in done.stdout
    assert "learned gate was left out" in done.stdout
    found = Evaluation.model_validate_json(out.read_bytes())
    assert found.sets[0].name == "mine"
    assert [path.name for path in clean_environment.iterdir() if path.name.endswith(".part")] == []

    printed = CliRunner().invoke(app, ["evaluate", "-d", str(data), "--resamples", "5", "--json", "--quiet"])
    assert Evaluation.model_validate_json(printed.stdout).cells == found.cells


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "none.jsonl"], "no such file"),
        (["-d", "mine.jsonl", "--protocol", "other"], "protocols are plain"),
        (["-d", "mine.jsonl", "--split", "other"], "splits are test"),
        (["-d", "mine.jsonl", "--seeds", "a"], "--seeds"),
        (["-d", "mine.jsonl", "--seeds", "1.5"], "--seeds"),
        (["-d", "mine.jsonl", "--protocol", "scarcity"], "no row has evidence"),
        (["-d", "mine.jsonl", "--protocol", "time"], "have no `date`"),
        (["-d", "mine.jsonl", "--q", ","], "--q: is empty"),
        (["-d", "mine.jsonl", "--out", "nowhere/result.json"], "--out"),
        (["-d", "mine.jsonl", "--labels", "rubbish"], "labels"),
        (["-d", "mine.jsonl", "--weights", "nowhere"], "is not a folder"),
    ],
)
def test_bad_usage_is_said_before_any_work(clean_environment: Path, arguments: list[str], message: str) -> None:
    from weighup.errors import WeighupError

    rows(clean_environment / "mine.jsonl")
    done = CliRunner().invoke(app, ["evaluate", *arguments, "--quiet"])
    assert isinstance(done.exception, WeighupError)
    assert done.exception.exit_code == 2
    assert message in str(done.exception)


def test_shares_outside_the_range_are_refused(clean_environment: Path) -> None:
    data = rows(clean_environment / "mine.jsonl", evidence=[{"text": "It was closed."}])
    done = CliRunner().invoke(app, ["evaluate", "-d", str(data), "--protocol", "scarcity", "--q", "2", "--quiet"])
    assert isinstance(done.exception, InvalidInput)
    assert "--q" in str(done.exception)


def test_a_stop_leaves_no_file(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import weighup.train.evaluate

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(weighup.train.evaluate, "measuring", stopped)
    data = rows(clean_environment / "mine.jsonl")
    done = CliRunner().invoke(app, ["evaluate", "-d", str(data), "--out", "result.json", "--quiet"])
    assert done.exit_code == 130
    assert "nothing was written" in done.stderr
    assert not (clean_environment / "result.json").exists()


def test_numbers_of_a_flag_are_told_once() -> None:
    assert command._numbers("--q", "1, 0.5,0.5,0") == (1.0, 0.5, 0.0)
