"""`weighup train content`: a CSV is enough, a stopped run goes on, and what cannot be learned from is refused."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from weighup import Verifier, load_settings
from weighup.cli.main import app
from weighup.errors import InvalidInput
from weighup.train import own

FILLER = "the dam council river mayor report water people city week plan road money house board".split()


def rows_file(folder: Path, n: int = 400, labels: tuple[str, str] = ("real", "fake")) -> Path:
    """Claims of which the fake ones mostly say "miracle"."""
    chance = random.Random(0)
    path = folder / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        for i in range(n):
            fake = chance.random() < 0.5
            cue = "miracle" if fake == (chance.random() < 0.95) else "budget"
            out.writerow([f"{' '.join(chance.choices(FILLER, k=7))} {cue} {i}", labels[fake]])
    return path


def test_a_csv_is_enough_and_its_weights_can_be_checked_with(
    tmp_path: Path, models_ready: Path, clean_environment: Path
) -> None:
    data, out = rows_file(tmp_path), tmp_path / "weights"
    done = CliRunner().invoke(app, ["train", "content", "--data", str(data), "--out", str(out), "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)
    assert card["metrics"]["test"]["en"]["auroc"] > 0.85
    assert card["config"]["data"][str(data)]
    assert [note for note in card["notes"] if note.startswith("zh")]
    assert sorted(path.name for path in out.iterdir()) == ["content.json", "content.npz"]
    settings = load_settings({"verify": {"weights": out}})
    with Verifier(settings, offline=True, search=False, brief=True) as verifier:
        fake, real = verifier.check(["The council plan is a miracle for the river.", "The council plan has a budget."])
    assert fake.model_versions["content"] == card["version"]
    assert fake.perspectives["reasoning"].text != real.perspectives["reasoning"].text


def test_a_stopped_run_embeds_nothing_twice(
    tmp_path: Path, models_ready: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = rows_file(tmp_path, 120), tmp_path / "weights"
    arguments = ["train", "content", "--data", str(data), "--out", str(out), "--quiet"]

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(own, "fit_english", stopped)
        CliRunner().invoke(app, arguments)
    assert [path.name for path in out.iterdir()] == [".vectors.npz"]
    with np.load(out / ".vectors.npz") as kept:
        assert len(kept["names"]) == 120

    from weighup.models.onnx_encoder import OnnxEncoder

    monkeypatch.setattr(OnnxEncoder, "encode", stopped)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (out / "content.json").is_file()


@pytest.mark.parametrize(
    ("labels", "extra", "said"),
    [
        (("real", "real"), [], "needs both real and fake"),
        (("good", "bad"), [], "unknown label"),
        (("good", "bad"), ["--labels", "real=good"], "unknown label 'bad'"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, clean_environment: Path, labels: tuple[str, str], extra: list[str], said: str
) -> None:
    data = rows_file(tmp_path, 100, labels)
    done = CliRunner().invoke(app, ["train", "content", "--data", str(data), "--out", str(tmp_path / "w"), *extra])
    assert isinstance(done.exception, InvalidInput)
    assert said in str(done.exception)
    assert not (tmp_path / "w").exists()


def test_a_leak_between_splits_is_refused_unless_it_may_be_left_out(
    tmp_path: Path, models_ready: Path, clean_environment: Path
) -> None:
    chance = random.Random(1)
    lines = []
    for i in range(160):
        fake = i % 2 == 1
        text = f"{' '.join(chance.choices(FILLER, k=7))} {'miracle' if fake else 'budget'} {i}"
        split = "train" if i < 100 else "valid" if i < 130 else "test"
        lines.append({"text": text, "label": "fake" if fake else "real", "split": split})
    lines.append({**lines[0], "split": "test"})
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    arguments = ["train", "content", "--data", str(data), "--out", str(tmp_path / "w"), "--quiet"]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, InvalidInput)
    assert "line 1" in str(refused.exception)
    assert "line 161" in str(refused.exception)
    done = CliRunner().invoke(app, [*arguments, "--drop-leaks"])
    assert done.exit_code == 0, done.output
    assert "1 rows that stand in two splits" in done.stderr
