"""`weighup judge`: runs that are kept and go on, exams that weigh a panel, and how good a judge is."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from weighup.cli.main import app
from weighup.errors import InvalidInput, JobFailed

RIGHT = {"a": "1", "b": "2", "c": "1", "d": "2", "e": "1", "f": "2"}


def weighup(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def items(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for id, winner in RIGHT.items():
        quality = [8, 3] if winner == "1" else [3, 8]
        texts = [{"text": "short", "system": "x"}, {"text": "a good deal longer", "system": "y"}]
        meta = {"quality": quality, "gold": winner}
        rows.append(
            {"id": id, "prompt": "Why?", "responses": texts, "category": "even" if id in "bdf" else "odd", "meta": meta}
        )
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def pipeline(folder: Path, text: str, name: str = "judge.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_is_kept_shown_and_not_made_twice(items: Path, tmp_path: Path) -> None:
    judge = pipeline(tmp_path, "kind: simulated\nseed: 1\nname: good\n")
    log, said = tmp_path / "run.sqlite", tmp_path / "said.jsonl"
    done = weighup("judge", "run", items, "--judge", judge, "--log", log, "--judgements", said, "--format", "json")
    shares = {row["outcome"]: row for row in json.loads(done.stdout)}
    assert shares["1"]["share"] == shares["2"]["share"] == 0.5
    assert shares["1"]["low"] < 0.5 < shares["1"]["high"]
    told = [json.loads(line) for line in said.read_text(encoding="utf-8").splitlines()]
    assert {one["item_id"]: one["winner"] for one in told} == RIGHT
    before = log.read_bytes()
    weighup("judge", "run", items, "--judge", judge, "--log", log)
    assert log.read_bytes() == before


def test_a_run_does_not_go_on_with_another_judge(items: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.sqlite"
    weighup("judge", "run", items, "--judge", pipeline(tmp_path, "kind: simulated\nseed: 1\n"), "--log", log)
    with pytest.raises(InvalidInput, match=r"run\.sqlite"):
        weighup("judge", "run", items, "--judge", pipeline(tmp_path, "kind: simulated\nseed: 2\n"), "--log", log)


def test_what_waits_for_people_ends_with_1(items: Path, tmp_path: Path) -> None:
    judge = pipeline(tmp_path, f"kind: human\npath: {tmp_path / 'queue.sqlite'}\n")
    with pytest.raises(JobFailed, match="6 items still wait"):
        weighup("judge", "run", items, "--judge", judge, "--log", tmp_path / "run.sqlite")


def test_an_exam_weighs_the_panel_and_turns_away_who_fails(items: Path, tmp_path: Path) -> None:
    judges = (
        "kind: panel\njudges:\n  - {kind: simulated, seed: 1, name: good}\n"
        "  - {kind: simulated, seed: 1, name: first, order_bias: 20}\n"
    )
    weighted = tmp_path / "weighted.yaml"
    panel = pipeline(tmp_path, judges)
    done = weighup("judge", "calibrate", items, "--judge", panel, "--write", weighted, "--format", "csv")
    rows = {row["judge"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert (rows["good"]["admitted"], rows["first"]["admitted"]) == ("yes", "no")
    assert float(rows["good"]["accuracy"]) == 1.0
    assert float(rows["first"]["accuracy"]) == 0.5
    weighup("judge", "run", items, "--judge", weighted, "--log", tmp_path / "run.sqlite")
    with pytest.raises(InvalidInput, match="panel"):
        weighup("judge", "calibrate", items, "--judge", pipeline(tmp_path, "kind: simulated\nseed: 1\n", "one.yaml"))


def test_meta_tells_accuracy_and_bias_by_subset_and_draws(items: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in items.read_text(encoding="utf-8").splitlines()]
    both = tmp_path / "both.jsonl"
    both.write_text(
        "".join(json.dumps(row) + "\n" + json.dumps({**row, "order": "swapped"}) + "\n" for row in rows),
        encoding="utf-8",
    )
    judge = pipeline(tmp_path, "kind: simulated\nseed: 1\nname: first\norder_bias: 20\n")
    log = tmp_path / "run.sqlite"
    weighup("judge", "run", both, "--judge", judge, "--log", log)
    done = weighup("judge", "meta", log, "--items", items, "--format", "json")
    found = {(row["subset"], row["measure"]): row for row in json.loads(done.stdout)}
    assert found["all", "accuracy"]["value"] == 0.5
    assert found["all", "conflict rate"]["value"] == 1.0
    assert found["all", "first place wins conflicts"]["value"] == 1.0
    assert found["all", "consistent accuracy"]["value"] == 0.0
    assert found["all", "length bias"]["value"] == pytest.approx(0.0)
    assert ("category=even", "accuracy") in found
    picture = tmp_path / "meta.svg"
    weighup("judge", "meta", log, "--items", items, "--out", picture)
    assert picture.read_text(encoding="utf-8").startswith("<svg")


def test_gold_from_a_file_and_what_is_wrong_with_it(items: Path, tmp_path: Path) -> None:
    judge = pipeline(tmp_path, "kind: simulated\nseed: 1\n")
    said = tmp_path / "said.jsonl"
    weighup("judge", "run", items, "--judge", judge, "--log", tmp_path / "run.sqlite", "--judgements", said)
    gold = tmp_path / "gold.csv"
    gold.write_text("id,winner\na,1\nb,1\n", encoding="utf-8")
    done = weighup("judge", "meta", said, "--items", items, "--gold", gold, "--format", "json")
    (row,) = (r for r in json.loads(done.stdout) if (r["subset"], r["measure"]) == ("all", "accuracy"))
    assert (row["value"], row["n"]) == (0.5, 2)
    gold.write_text("id,winner\na,first\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="gold of item a: is 'first'"):
        weighup("judge", "meta", said, "--items", items, "--gold", gold)


def test_a_rubric_that_is_none(items: Path, tmp_path: Path) -> None:
    rubric = pipeline(tmp_path, "- {id: c, text: x}\n- {id: c, text: y}\n", "rubric.yaml")
    judge = pipeline(tmp_path, "kind: simulated\nseed: 1\n")
    with pytest.raises(InvalidInput, match="criterion ids must differ"):
        weighup("judge", "run", items, "--judge", judge, "--log", tmp_path / "r.sqlite", "--rubric", rubric)


def test_contextual_tells_what_is_right_in_both_orders(items: Path, tmp_path: Path) -> None:
    judge = pipeline(tmp_path, "kind: simulated\nseed: 1\nname: first\norder_bias: 20\n")
    done = weighup("judge", "contextual", items, "--judge", judge, "--as-is", "--format", "json")
    found = {row["measure"]: row["value"] for row in json.loads(done.stdout)}
    assert found["right as given"] == found["right swapped"] == 0.5
    assert found["right in both orders"] == 0.0
    assert found["judged otherwise when swapped"] == found["of these, first place"] == 1.0
