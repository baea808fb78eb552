"""`weighup check` end to end on the embedded models: every way in, every format out, every bad claim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from conftest import Done, Run
from weighup.verify.contract import Verdict

pytestmark = pytest.mark.usefixtures("models_ready")

CLAIM = "The Golden Gate Bridge in San Francisco was opened to traffic in May 1937."
BRIEF = ("--offline", "--brief", "--no-search", "--quiet")


def verdict(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(document, Verdict.model_json_schema())
    return document


def test_a_claim_from_every_place(weighup: Run, tmp_path: Path) -> None:
    (tmp_path / "claim.txt").write_bytes(b"\xef\xbb\xbf" + CLAIM.encode())
    as_json = (*BRIEF, "--format", "json")
    ways = [
        weighup("check", CLAIM, *as_json),
        weighup("check", "--file", "claim.txt", *as_json),
        weighup("check", "-", *as_json, stdin=CLAIM),
    ]
    documents = [verdict(done) for done in ways]
    for document in documents:
        document.pop("usage")
    assert documents[0]["claim"] == CLAIM
    assert all(document == documents[0] for document in documents)


def test_evidence_of_ones_own_reaches_the_verdict(weighup: Run) -> None:
    passage = "The Golden Gate Bridge opened to pedestrians on May 27, 1937, and to vehicles a day later."
    told = verdict(weighup("check", CLAIM, *BRIEF, "--evidence", passage, "--date", "2020-01-01", "--format", "jsonl"))
    assert [(e["text"], e["origin"], e["stance"]) for e in told["evidence"]] == [(passage, "row", "supports")]
    assert told["perspectives"]["evidence"]["available"]
    assert told["date"] == "2020-01-01T00:00:00Z"


def test_every_format_and_an_output_file(weighup: Run, tmp_path: Path) -> None:
    text = weighup("check", CLAIM, *BRIEF)
    assert "fake (90 % interval" in text.stdout
    assert text.stderr == ""
    assert weighup("check", CLAIM, *BRIEF, "--format", "markdown").stdout.startswith("# weighup report\n")
    done = weighup("check", CLAIM, *BRIEF, "--format", "html", "--out", "report.html")
    assert (done.stdout, done.returncode) == ("", 0)
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    weighup("check", CLAIM, *BRIEF, "--explain", "--out", "report.txt")
    report = (tmp_path / "report.txt").read_text()
    assert "Versions" in report
    assert "\x1b" not in report


def test_progress_is_told_on_standard_error_only(weighup: Run) -> None:
    done = weighup("check", CLAIM, "--offline", "--brief", "--no-search", "--format", "json")
    assert done.stderr.startswith("weighup: checking")
    verdict(done)


@pytest.mark.parametrize(
    "text",
    ["I think the new park is the most beautiful in the city.", "Will the mayor lower taxes next year?"],
    ids=["opinion", "question"],
)
def test_what_is_no_claim_is_said_to_be_none(weighup: Run, text: str) -> None:
    told = verdict(weighup("check", text, *BRIEF, "--format", "json"))
    assert told["verdict"] == "not_checkable"
    assert told["expert"] is None


def test_a_megabyte_of_text_is_checked_in_part_and_says_so(weighup: Run) -> None:
    text = "The dam on the river broke on Monday and 300 people left their homes. " * 15_000
    told = verdict(weighup("check", *BRIEF, "--format", "json", stdin=text))
    assert any("characters; the first" in warning for warning in told["warnings"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Мост через реку закрыли в понедельник после наводнения.", "language is not supported"),
        (
            "The mayor of 北京市 said 新的地铁线路将于明年开通 on Monday in 上海市 at a press conference.",
            "mixes languages",
        ),
    ],
    ids=["unsupported", "mixed"],
)
def test_other_languages_are_said_and_what_works_is_used(weighup: Run, text: str, says: str) -> None:
    told = verdict(weighup("check", text, *BRIEF, "--format", "json"))
    assert any(says in warning for warning in told["warnings"]), told["warnings"]


def test_chinese_is_checked(weighup: Run) -> None:
    told = verdict(weighup("check", "北京市政府周一宣布新的地铁线路将于2025年开通。", *BRIEF, "--format", "json"))
    assert told["verdict"] in ("real", "fake", "unknown")


def test_hostile_text_does_not_reach_the_terminal(weighup: Run) -> None:
    done = weighup("check", "\x1b]0;owned\x07The bridge \x1b[31mwas closed\u202e on Monday in Lyon.", *BRIEF)
    assert done.returncode == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout)


def test_without_a_budget_nothing_is_written_and_the_others_decide(weighup: Run) -> None:
    told = verdict(
        weighup("check", CLAIM, "--offline", "--no-search", "-q", "--budget", "tokens=1", "--format", "json")
    )
    assert told["usage"]["tokens_out"] == 0
    assert any("budget" in warning for warning in told["warnings"])


def test_written_perspectives_name_their_writer(weighup: Run) -> None:
    told = verdict(weighup("check", CLAIM, "--offline", "--no-search", "-q", "--format", "json"))
    assert told["perspectives"]["reasoning"]["written_by"]
    assert 1 <= told["usage"]["calls"] <= 3
