"""The measures that this room's claim checks rest on."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import JobFailed
from weighup.verify.claim_checks import _claim, _draw, ease, macro_f1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_macro_f1_agrees_with_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, called = zip(*pairs, strict=True)
    expected = metrics.f1_score(truth, called, average="macro", labels=[False, True], zero_division=0)
    assert macro_f1(truth, called) == pytest.approx(expected)


@pytest.mark.parametrize(("kept", "left"), [(1.0, ["a", "b"]), (0.0, [])])
def test_evidence_is_kept_by_chance_and_once(kept: float, left: list[str]) -> None:
    row = {"text": "x", "evidence": [{"text": "a"}, {"text": "b"}, {"text": "a"}]}
    claim = _claim(row, kept, random.Random(0))
    assert claim.evidence is not None
    assert [passage.text for passage in claim.evidence] == left


def test_rows_are_drawn_by_seed_from_decided_claims_with_evidence(tmp_path: Path) -> None:
    folder = tmp_path / "news" / "toy"
    folder.mkdir(parents=True)
    rows = [{"id": i, "label3": ("real", "fake", "unknown")[i % 3], "evidence": [{"text": "e"}]} for i in range(300)]
    with gzip.open(folder / "test.jsonl.gz", "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in [*rows, {"id": -1, "label3": "real", "evidence": []}])
    first, again, other = (_draw(tmp_path, "toy", random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert {row["label3"] for row in first} == {"real", "fake"}
    assert -1 not in {row["id"] for row in first}


def test_absent_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="--data"):
        _draw(tmp_path, "toy", random.Random(0))


@pytest.mark.claim
@pytest.mark.usefixtures("models_ready")
def test_ease_is_measured_against_three_baselines(tests_data: Path) -> None:
    results = ease(tests_data, (0, 1))
    assert [result.baseline for result in results] == ["best single", "average", "evidence always"]
    assert all(0.3 < result.value < 1 for result in results)
