"""Ablations: who decides when a part of the selection is taken away, and the file of fits without one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from weighup.errors import InvalidInput
from weighup.train.ablations import ABLATIONS, read_ablations, require_known
from weighup.train.rendering import ablation_table, markdown
from weighup.train.results import SYSTEMS
from weighup.verify.types import KINDS

EVIDENCE, REASONING, SENTIMENT = range(3)


def said(
    available: list[list[int]], chosen: list[int], experts: list[list[float]] | None = None, chance: float = 0.0
) -> SimpleNamespace:
    return SimpleNamespace(
        available=np.asarray(available, np.bool_),
        chosen=np.asarray(chosen, np.int64),
        experts=np.asarray(experts or [[0.5] * 3] * len(chosen), np.float64),
        chance=np.full(len(chosen), chance),
    )


def test_every_ablation_has_a_name_for_people() -> None:
    assert set(ABLATIONS) < set(SYSTEMS)
    assert list(SYSTEMS)[-len(ABLATIONS) :] == list(ABLATIONS)
    assert KINDS == ("evidence", "reasoning", "sentiment")


def test_without_evaluators_evidence_decides_where_there_is_any() -> None:
    one = said([[1, 1, 1], [0, 1, 1], [0, 0, 1]], [SENTIMENT] * 3)
    assert ABLATIONS["no-evaluators"](one).tolist() == [EVIDENCE, REASONING, SENTIMENT]


def test_without_the_fallback_reasoning_decides_where_it_could_be_had() -> None:
    one = said([[1, 1, 1], [1, 1, 1], [0, 1, 1], [0, 0, 1]], [EVIDENCE, REASONING, SENTIMENT, SENTIMENT])
    assert ABLATIONS["no-sentiment-fallback"](one).tolist() == [EVIDENCE, REASONING, REASONING, SENTIMENT]


def test_chance_takes_only_what_could_be_had_and_each_alike() -> None:
    available = [[0, 1, 1]] * 1000
    draws = SimpleNamespace(available=np.asarray(available, np.bool_), chance=np.random.default_rng(0).random(1000))
    counts = np.bincount(ABLATIONS["random-selection"](draws), minlength=3)  # type: ignore[arg-type]
    assert counts[EVIDENCE] == 0
    assert 430 < counts[REASONING] < 570
    edge = [ABLATIONS["random-selection"](said([[1, 0, 1]], [0], chance=c))[0] for c in (0.0, 0.49, 0.51, 0.9999999)]
    assert edge == [EVIDENCE, EVIDENCE, SENTIMENT, SENTIMENT]


def test_the_most_confident_is_farthest_from_one_half_and_could_be_had() -> None:
    experts = [[0.9, 0.2, 0.05], [0.9, 0.2, 0.3], [0.5, 0.5, 0.5]]
    one = said([[1, 1, 1], [0, 1, 1], [1, 1, 1]], [0, 0, 0], experts)
    assert ABLATIONS["most-confident"](one).tolist() == [SENTIMENT, REASONING, EVIDENCE]


def test_other_names_are_refused() -> None:
    require_known(list(ABLATIONS))
    with pytest.raises(InvalidInput, match="no-evaluators"):
        require_known(["nothing"])


ROW = {
    "what": "no auxiliary loss",
    "setting": "lambda=0",
    "set": "check_covid",
    "q": 0.25,
    "n": 123,
    "metrics": {"macro_f1": {"value": 0.7012, "low": 0.62, "high": 0.78}},
}


def write(path: Path, *rows: object) -> Path:
    path.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return path


def test_fits_without_a_part_are_shown_as_rows(tmp_path: Path) -> None:
    other = {**ROW, "what": "EASE", "setting": "", "q": None, "metrics": {"ece": {"value": 0.04}}}
    table = ablation_table(read_ablations(write(tmp_path / "a.json", ROW, other)))
    assert table.columns[-2:] == ("macro-F1", "ECE")
    told = markdown(table).splitlines()
    assert told[2] == "| no auxiliary loss | lambda=0 | check_covid | 0.25 | 123 | 0.701 (0.620 to 0.780) | – |"
    assert told[3] == "| EASE | – | check_covid | – | 123 | – | 0.040 |"


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ({**ROW, "q": 2}, "rows.0.q"),
        ({**ROW, "n": 0}, "rows.0.n"),
        ({**ROW, "metrics": {}}, "rows.0.metrics"),
        ({**ROW, "more": 1}, "rows.0.more"),
        ({k: v for k, v in ROW.items() if k != "set"}, "rows.0.set"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(tmp_path: Path, row: object, where: str) -> None:
    with pytest.raises(InvalidInput, match=where):
        read_ablations(write(tmp_path / "a.json", row))
