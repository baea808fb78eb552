"""The examples run as they are, offline, and say what their README says they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {**os.environ, "PATH": path, "WEIGHUP_RETRIEVE__SOURCES": "[]"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_bundled_claims_are_rows_with_provenance() -> None:
    rows = [json.loads(line) for line in (EXAMPLES / "claims.jsonl").read_text(encoding="utf-8").splitlines()]
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        family = row["id"].rpartition("-")[0] or row["id"]
        assert family in told, f"say where {row['id']} comes from"
        for passage in row.get("evidence", []):
            assert passage["date"] < row["date"], f"{row['id']}: evidence must be older than the claim"


def test_every_example_is_listed() -> None:
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.name})" in told for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh", ".jsonl"))


@pytest.mark.usefixtures("models_ready")
def test_quickstart_prints_a_verdict(clean_environment: Path) -> None:
    printed = run([sys.executable, str(EXAMPLES / "quickstart.py")], clean_environment)
    assert "P(fake)" in printed
    assert "decided by:" in printed


@pytest.mark.usefixtures("models_ready")
def test_own_evidence_drops_what_came_later(clean_environment: Path) -> None:
    printed = run([sys.executable, str(EXAMPLES / "own_evidence.py")], clean_environment)
    assert "2024-05-06" in printed
    assert "used: ['2024-05-10" not in printed
    assert "2024-05-10" in printed.partition("warnings:")[2]


@pytest.mark.usefixtures("models_ready")
def test_batch_then_table(clean_environment: Path) -> None:
    run(["bash", str(EXAMPLES / "batch.sh"), "verdicts.jsonl"], clean_environment)
    rows = [json.loads(line) for line in (clean_environment / "verdicts.jsonl").read_text("utf-8").splitlines()]
    asked = [json.loads(line) for line in (EXAMPLES / "claims.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in asked]
    by_id = {row["id"]: row for row in rows}
    assert by_id["opinion"]["verdict"] == by_id["question"]["verdict"] == "not_checkable"
    printed = run([sys.executable, str(EXAMPLES / "table.py"), "verdicts.jsonl"], clean_environment)
    assert all(row["verdict"].replace("_", " ") in printed for row in rows)
