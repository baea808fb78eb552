"""`weighup models list|test|pull`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weighup.cli.models import app
from weighup.errors import InvalidInput, ModelMissing

RUN = CliRunner()


def test_list_says_what_there_is_and_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clean_environment: Path
) -> None:
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path / "cache"))
    listed = json.loads(RUN.invoke(app, ["list", "--json"]).stdout)
    assert listed["in_use"] == {"language": "embedded", "encoder": "embedded"}
    assert [m["name"] for m in listed["models"]] == ["smollm2", "minilm", "minilm-train"]
    assert all(len(m["sha256"]) == 64 and not m["present"] for m in listed["models"])
    assert listed["models"][0]["path"].startswith(str(tmp_path / "cache"))
    shown = RUN.invoke(app, ["list"]).stdout
    assert "98 MB" in shown
    assert "Apache-2.0" in shown


def test_pull_of_what_is_there_is_no_work(models_ready: Path) -> None:
    done = RUN.invoke(app, ["pull"])
    assert done.exit_code == 0
    assert done.stdout.count("already at") == 2


def test_pull_of_an_unknown_name() -> None:
    assert isinstance(RUN.invoke(app, ["pull", "gpt"]).exception, InvalidInput)


def test_test_tries_both_models(models_ready: Path, clean_environment: Path) -> None:
    language, encoder = json.loads(RUN.invoke(app, ["test", "--json"]).stdout)
    assert language["model"] == "smollm2"
    assert language["per_second"] > 0
    assert encoder["result"] == "384 dimensions"


def test_test_of_what_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clean_environment: Path) -> None:
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("smollm2", "minilm", "minilm-train"):
        error = RUN.invoke(app, ["test", name]).exception
        assert isinstance(error, ModelMissing)
        assert f"weighup models pull {name}" in str(error)
