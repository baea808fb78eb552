"""The command body of `weighup train stance`, on its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from weighup.cli.train_stance import stance
from weighup.errors import InvalidInput, JobFailed
from weighup.train.stance import own

APP = typer.Typer()
APP.command()(stance)


def run(*words: str) -> BaseException | None:
    return CliRunner().invoke(APP, [*words, "--quiet"]).exception


def rows_file(folder: Path, evidence: bool = True) -> Path:
    path = folder / "mine.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(40):
            row = {"text": f"Claim {i} is so.", "label": "real" if i % 2 else "fake"}
            if evidence:
                row["evidence"] = [{"text": f"Passage {i}."}]  # type: ignore[assignment]
            file.write(json.dumps(row) + "\n")
    return path


def test_help_shows_examples_and_every_option() -> None:
    shown = CliRunner().invoke(APP, ["--help"], env={"COLUMNS": "200"}).output
    assert "weighup train stance --data mine.jsonl --out weights" in shown
    for option in ("--data", "--out", "--labels", "--start", "--minutes", "--steps", "--seed", "--threads", "--json"):
        assert option in shown


def test_rows_without_evidence_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    error = run("--data", str(rows_file(tmp_path, evidence=False)), "--out", str(tmp_path / "out"))
    assert isinstance(error, InvalidInput)
    assert "none of the 40 rows has evidence" in str(error)
    assert not (tmp_path / "out").exists()


def test_without_torch_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_NEEDS", ("torch_that_is_not_there",))
    error = run("--data", str(rows_file(tmp_path)), "--out", str(tmp_path / "out"))
    assert isinstance(error, JobFailed)
    assert "pip install 'weighup[train]'" in str(error)


def test_an_unknown_start_is_refused(tmp_path: Path) -> None:
    error = run("--data", str(rows_file(tmp_path)), "--out", str(tmp_path / "out"), "--start", "moon")
    assert isinstance(error, InvalidInput)
    assert "start: 'moon'" in str(error)
