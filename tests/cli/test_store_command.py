"""`weighup store`: what it prints, and what it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = [
    {"text": "The dam above the village broke.", "title": "Dam breaks", "date": "2024-05-03", "source": "News"},
    {"text": "The dam was mended within a year.", "date": "2025-05-03"},
    {"text": "A dam with no date."},
]


@pytest.fixture
def weighup(clean_environment: Path):  # type: ignore[no-untyped-def]
    """Run the command in an empty folder, the default store inside it."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "WEIGHUP_RETRIEVE__STORE": str(clean_environment / "mine" / "s.sqlite")}
        return subprocess.run(
            [sys.executable, "-m", "weighup.cli.main", "store", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=clean_environment,
            timeout=120,
            check=False,
        )

    (clean_environment / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return run


def test_add_search_stats_export(weighup, clean_environment: Path) -> None:  # type: ignore[no-untyped-def]
    added = weighup("add", "rows.jsonl", "--no-vectors", "--source", "Archive")
    assert added.returncode == 0, added.stderr
    assert "added 3 documents (3 passages, 0 vectors)" in added.stdout
    assert "1 added without a date" in added.stdout

    found = weighup("search", "dam", "--json")
    assert found.returncode == 0, found.stderr
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert {row["text"] for row in rows} == {row["text"] for row in ROWS}
    assert {row["source"] for row in rows} == {"News", "Archive"}

    early = weighup("search", "dam", "--before", "2024-06-01", "--json")
    assert [json.loads(line)["date"] for line in early.stdout.splitlines()] == ["2024-05-03"]
    assert "The dam above the village broke." in weighup("search", "dam").stdout
    none = weighup("search", "dam", "--before", "2020-01-01")
    assert (none.returncode, none.stdout) == (0, "")
    assert "nothing found from before 2020-01-01" in none.stderr

    counted = json.loads(weighup("stats", "--json").stdout)
    assert (counted["documents"], counted["undated"], counted["passages"]) == (3, 1, 3)
    assert "documents" in weighup("stats").stdout

    assert "wrote 3 documents" in weighup("export", "out.jsonl").stdout
    assert len((clean_environment / "out.jsonl").read_text().splitlines()) == 3
    again = weighup("export", "out.jsonl")
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert "3 already there" in weighup("add", "out.jsonl", "--no-vectors").stdout


def test_broken_lines_are_named_and_the_rest_is_kept(weighup, clean_environment: Path) -> None:  # type: ignore[no-untyped-def]
    with (clean_environment / "rows.jsonl").open("a") as file:
        file.write("{broken\n" * 30)
    added = weighup("add", "rows.jsonl", "--no-vectors")
    assert added.returncode == 1
    assert "added 3 documents" in added.stdout
    assert "rows.jsonl:4: is not JSON" in added.stderr
    assert "and 10 more" in added.stderr
    assert "Traceback" not in added.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "none.jsonl", "--no-vectors"), "no such file"),
        (("add", "rows.jsonl", "--no-vectors", "--date", "soon"), "--date"),
        (("add",), "Missing argument"),
        (("search", "dam", "--before", "yesterday"), "--before"),
        (("search", "dam", "--limit", "0"), "--limit"),
        (("export", "out.jsonl", "--store", "rows.jsonl"), "not an evidence store"),
        (("stats",), "there is no evidence store"),
    ],
)
def test_bad_usage_is_said_in_one_line(weighup, arguments: tuple[str, ...], message: str) -> None:  # type: ignore[no-untyped-def]
    ended = weighup(*arguments)
    assert ended.returncode in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_store_of_its_own_and_help_with_examples(weighup, clean_environment: Path) -> None:  # type: ignore[no-untyped-def]
    assert weighup("add", "rows.jsonl", "--no-vectors", "--store", "other.sqlite").returncode == 0
    assert (clean_environment / "other.sqlite").is_file()
    for command in ("add", "search", "stats", "export"):
        assert "Example: weighup store" in weighup(command, "--help").stdout


def test_a_missing_model_names_the_way_out(weighup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path / "empty-cache"))
    ended = weighup("add", "rows.jsonl")
    assert ended.returncode == 2
    assert "weighup models pull" in ended.stderr
    assert "--no-vectors" in ended.stderr
