"""`weighup check --risk`: refused where it cannot be kept, told in the verdict, a condition of batches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.cli.check import Ask, contradiction
from weighup.cli.checking import read_settings
from weighup.files import sha256
from weighup.settings import load_settings
from weighup.verify import weights
from weighup.verify.conditions import conditions, digest, told

BARE = Ask(
    text="A claim.",
    file=None,
    url=None,
    input=None,
    output=None,
    format="text",
    out=None,
    date=None,
    source=None,
    lang=None,
    evidence=(),
    search=True,
    offline=False,
    brief=False,
    budget=None,
    model=None,
    sources=None,
    weights=None,
    config=None,
    overwrite=False,
    batch_size=None,
    explain=False,
    quiet=True,
)
CLAIM = "The Golden Gate Bridge opened in 1937."
FLAGS = ("--brief", "--no-search", "--offline", "--quiet")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped heads in a folder, with a calibration by which one call in ten is wrong from a confidence of 0.5 on
    and none from 0.9 on."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("ease.json", "ease.npz"):
        shutil.copy(weights.SHIPPED / name, folder / name)
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 5000).astype(np.float16)
    arrays: dict[str, Any] = {
        "confidence": sure,
        "wrong": ((rng.random(5000) < 0.2) & (sure < 0.9)).astype(np.uint8),
        "kind": np.zeros(5000, np.uint8),
    }
    arrays |= {f"map/{kind}/temperature": np.asarray(1.0) for kind in ("evidence", "reasoning", "sentiment")}
    np.savez(folder / "calibration.npz", **arrays)
    digests = {name: sha256(folder / name) for name in ("calibration.npz", "ease.npz")}
    card = {"format": 1, "version": "mine", "risk": 0.3, "sha256": digests}
    (folder / "calibration.json").write_text(json.dumps(card))
    return folder


def weighup(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHUP_")}
    if "WEIGHUP_CACHE_DIR" in os.environ:
        env["WEIGHUP_CACHE_DIR"] = os.environ["WEIGHUP_CACHE_DIR"]
    env["XDG_CONFIG_HOME"] = str(folder / "config")
    command = [sys.executable, "-c", "from weighup.cli.main import main; main()", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("risk", [0.0, 1.0, -0.1, 10.0, float("nan"), float("inf")])
def test_a_risk_that_is_no_share_is_refused(risk: float) -> None:
    problem = contradiction(replace(BARE, risk=risk), stdin_is_terminal=True)
    assert problem is not None
    assert problem.startswith(f"--risk {risk}: a share between 0 and 1 is needed")


def test_a_risk_goes_with_one_claim_and_with_a_batch() -> None:
    assert contradiction(replace(BARE, risk=0.1), stdin_is_terminal=True) is None
    batch = replace(BARE, text=None, input=Path("a.jsonl"), output=Path("b.jsonl"), format="jsonl", risk=0.1)
    assert contradiction(batch, stdin_is_terminal=True) is None


def test_the_flag_stands_above_the_settings_file(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHUP_CONFIG", "")
    config = clean_environment / "mine.toml"
    config.write_text("[verify]\nrisk = 0.2\n")
    assert read_settings(replace(BARE, config=config)).verify.risk == 0.2
    assert read_settings(replace(BARE, config=config, risk=0.1)).verify.risk == 0.1
    monkeypatch.delenv("WEIGHUP_CONFIG")
    assert read_settings(BARE).verify.risk is None


@pytest.mark.usefixtures("clean_environment")
def test_a_risk_makes_another_run_and_none_is_left_unsaid() -> None:
    def found(**verify: Any) -> dict[str, Any]:
        return conditions(load_settings({"verify": {"brief": True, **verify}}), offline=True, search=False)

    assert len({digest(found()), digest(found(risk=0.1)), digest(found(risk=0.2))}) == 3
    assert "risk=0.1" in told(found(risk=0.1))
    assert "risk" not in told(found())


def test_bad_flags_end_with_two_before_any_model_is_opened(tmp_path: Path, mine: Path) -> None:
    done = weighup(tmp_path, "check", CLAIM, "--offline", "--risk", "10")
    assert done.returncode == 2
    assert "--risk 10.0: a share between 0 and 1 is needed; write 0.1" in done.stderr
    assert weighup(tmp_path, "check", CLAIM, "--offline", "--risk", "little").returncode == 2
    plain = Path(shutil.copytree(mine, tmp_path / "plain"))
    for name in ("calibration.json", "calibration.npz"):
        (plain / name).unlink()
    done = weighup(tmp_path, "check", CLAIM, "--offline", "--risk", "0.1", "--weights", "plain")
    assert done.returncode == 2
    assert "plain have no calibration" in done.stderr
    assert "leave --risk out" in done.stderr


@pytest.mark.usefixtures("models_ready")
def test_the_verdict_says_what_was_kept_to(tmp_path: Path, mine: Path) -> None:
    def checked(*more: str) -> dict[str, Any]:
        done = weighup(tmp_path, "check", CLAIM, *FLAGS, "--weights", str(mine), "--format", "json", *more)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    usual, nothing = checked(), checked("--risk", "0.0001")
    assert usual["risk"] == 0.3
    assert usual["verdict"] in ("real", "fake")
    assert f"enough to call it {usual['verdict']} at a risk of 30%" in usual["why"]
    assert nothing["verdict"] == "unknown"
    assert nothing["risk"] == 0.0001
    assert sum("no confidence is known to keep a risk of 0.01%" in warning for warning in nothing["warnings"]) == 1


@pytest.mark.usefixtures("models_ready")
def test_a_batch_is_not_resumed_at_another_risk(tmp_path: Path, mine: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": 1, "text": CLAIM}) + "\n")
    batch = ("check", "--input", "rows.jsonl", "--output", "out.jsonl", "--weights", str(mine), *FLAGS)
    assert weighup(tmp_path, *batch, "--risk", "0.1").returncode == 0
    before = (tmp_path / "out.jsonl").read_text()
    assert json.loads(before)["risk"] == 0.1
    for other in (("--risk", "0.2"), ()):
        done = weighup(tmp_path, *batch, *other)
        assert done.returncode == 2
        assert "was written under other flags or settings" in done.stderr
    assert weighup(tmp_path, *batch, "--risk", "0.1").returncode == 0
    assert (tmp_path / "out.jsonl").read_text() == before
