"""`weighup train all` and its steps: a file is enough, a stopped run goes on, what is half done is never read."""

from __future__ import annotations

import errno
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from weighup import Verifier, load_settings
from weighup.cli import train, train_ease, train_stance
from weighup.cli.main import app
from weighup.errors import InvalidInput, JobFailed
from weighup.train.ease import run

FILLER = "the dam council river mayor report water people city week plan road money house board".split()
PLACES = "Oldham Leeds York Derby Bath Hull Ely Truro Wells Ripon".split()


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Claims of which the fake ones mostly say "miracle"; some have a passage that says so too, or denies it."""
    chance = random.Random(0)
    path = tmp_path_factory.mktemp("rows") / "mine.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(300):
            fake = chance.random() < 0.5
            cue = "miracle" if fake == (chance.random() < 0.9) else "budget"
            place = f"{chance.choice(PLACES)} {i}"
            row: dict[str, Any] = {
                "text": f"{' '.join(chance.choices(FILLER, k=5))} {cue} in {place}.",
                "label": "fake" if fake else "real",
            }
            if i % 6 == 0:
                word = "never" if fake else "indeed"
                row["evidence"] = [{"text": f"The council of {place} {word} had a {cue}."}]
            file.write(json.dumps(row) + "\n")
    return path


def ask(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, arguments), "--quiet"])


def test_all_parts_are_trained_and_can_be_checked_with(
    rows_file: Path, tmp_path: Path, models_ready: Path, clean_environment: Path
) -> None:
    out = tmp_path / "weights"
    done = ask("all", "--data", rows_file, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    cards = json.loads(done.stdout)
    assert sorted(cards) == ["calibration", "content", "ease"]
    assert cards["ease"]["config"]["data"][str(rows_file)]
    assert cards["ease"]["sha256"]["content.npz"] == cards["content"]["sha256"]["content.npz"]
    assert cards["calibration"]["sha256"]["ease.npz"] == cards["ease"]["sha256"]["ease.npz"]
    settings = load_settings({"verify": {"weights": out}})
    with Verifier(settings, offline=True, search=False, brief=True) as verifier:
        fake, real = verifier.check(["The council plan is a miracle for the river.", "The council plan has a budget."])
    assert fake.model_versions["ease"] == cards["ease"]["version"]
    assert fake.model_versions["calibration"] == cards["calibration"]["version"]
    assert fake.probability_fake > real.probability_fake


def test_content_and_stance_learn_nothing_of_what_evaluators_are_fitted_on(
    rows_file: Path, tmp_path: Path, models_ready: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[str]] = {}

    def note(part: str, rows: list[Any], card: Any) -> Any:
        seen[part] = {row.claim.text for row in rows if part != "ease" or row.split == "valid"}
        return card

    done = SimpleNamespace(card={})
    monkeypatch.setattr(train, "content_trained", lambda rows, *_, **__: note("content", rows, done))
    monkeypatch.setattr(train_stance, "stance_trained", lambda rows, *_, **__: note("stance", rows, done))
    monkeypatch.setattr(train_ease, "_trained", lambda _, rows, *__: note("ease", rows, {}))
    monkeypatch.setattr(train_ease, "_told", lambda *_: None)
    asked = ask("all", "--data", rows_file, "--out", tmp_path / "weights", "--stance-minutes", 1, "--json")
    assert asked.exit_code == 0, asked.output
    assert len(seen["ease"]) > 50
    assert seen["content"] == seen["stance"]
    assert not seen["ease"] & seen["stance"]


def test_a_step_that_is_done_is_not_done_again(
    rows_file: Path, tmp_path: Path, models_ready: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--data", rows_file, "--out", tmp_path / "weights", "--limit", 150)
    first = ask("evaluators", *arguments)
    assert first.exit_code == 0, first.output
    assert "reasoning" in first.stdout
    assert not (tmp_path / "weights" / "ease.npz").exists()

    def weighed(*_: object) -> None:
        raise AssertionError("the claims were weighed already")

    monkeypatch.setattr(Verifier, "weigh", weighed)
    monkeypatch.setattr(run, "fit_evaluators", weighed)
    done = ask("experts", *arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "weights" / "ease.npz").exists()


def test_a_full_disk_leaves_nothing_half_written(
    rows_file: Path, tmp_path: Path, models_ready: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "weights"

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run.np, "savez_compressed", full)
    done = ask("experts", "--data", rows_file, "--out", out, "--limit", 100)
    assert isinstance(done.exception, JobFailed)
    assert "No space left on device" in str(done.exception)
    assert [path.name for path in out.iterdir()] == [".ease"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"text": f"Claim {i} of the town.", "label": "real"} for i in range(50)], "needs both real and fake"),
        ([{"text": "A claim.", "label": "perhaps"}], "unknown label 'perhaps'"),
        (
            [
                {"text": "The same claim.", "label": "real", "split": "train"},
                {"text": "The same claim.", "label": "real", "split": "valid"},
            ],
            "one text is in train",
        ),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_refused(
    rows: list[dict[str, str]], told: str, tmp_path: Path, clean_environment: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = ask("experts", "--data", path, "--out", tmp_path / "weights")
    assert isinstance(done.exception, InvalidInput)
    assert told in str(done.exception)
    assert not (tmp_path / "weights").exists()


def test_a_corpus_of_perspectives_is_made_once(
    rows_file: Path, tmp_path: Path, models_ready: Path, clean_environment: Path
) -> None:
    out = tmp_path / "p.jsonl.gz"
    first = ask("perspectives", "--data", rows_file, "--out", out, "--limit", 2)
    assert first.exit_code == 0, first.output
    assert "2 claims, by smollm2" in first.stdout
    before = out.read_bytes()
    assert ask("perspectives", "--data", rows_file, "--out", out, "--limit", 2).exit_code == 0
    assert out.read_bytes() == before
