"""TREC files: what is written is read back, in trec_eval's order; malformed lines are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from weighup.errors import InvalidInput
from weighup.metrics.trec import ranked, read_qrels, read_run, write_qrels, write_run

RUN = {"q1": {"d1": 0.1, "d2": 3.0, "d10": 3.0}, "q2": {"d1": -1e-300}}
QRELS = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}


def test_a_round_trip_keeps_every_value(tmp_path: Path) -> None:
    write_run(tmp_path / "run", RUN, tag="bm25")
    write_qrels(tmp_path / "qrels", QRELS)
    assert read_run(tmp_path / "run") == RUN
    assert read_qrels(tmp_path / "qrels") == QRELS
    assert (tmp_path / "run").read_text().splitlines()[0] == "q1 Q0 d2 1 3.0 bm25"


def test_ties_go_by_id_falling_as_in_trec_eval() -> None:
    import ir_measures

    assert ranked({"a": 1.0, "b": 1.0, "c": 2.0}) == ["c", "b", "a"]
    found = ir_measures.calc_aggregate(
        [ir_measures.parse_measure("P@1")], {"q": {"a": 0, "b": 1}}, {"q": {"a": 1.0, "b": 1.0}}
    )
    assert list(found.values()) == [1.0]


def test_blank_lines_and_tabs_are_read(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("\nq1\tQ0\td1\t1\t2.5\tx\n\n")
    assert read_run(tmp_path / "run") == {"q1": {"d1": 2.5}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 Q0 d1 1 2.5\n", "line 1: 5 fields, not 6"),
        ("q1 Q0 d1 1 2.5 x\nq1 Q0 d2 2 high x\n", "line 2: score 'high'"),
        ("q1 Q0 d1 1 nan x\n", "line 1: score 'nan'"),
        ("q1 Q0 d1 1 2 x\nq1 Q0 d1 2 1 x\n", "line 2: topic q1 has document d1 already"),
    ],
)
def test_a_malformed_run_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 0 d1\n", "3 fields, not 4"),
        ("q1 0 d1 1.5\n", "grade '1.5'"),
        ("q1 0 d1 1\nq1 0 d1 1\n", "line 2: topic q1 has document d1 already"),
    ],
)
def test_malformed_judgements_are_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_qrels(tmp_path / "qrels")


def test_files_that_are_no_text_or_missing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"\xff\xfe\x00")
    for name in ("run", "absent"):
        with pytest.raises(InvalidInput, match=name):
            read_run(tmp_path / name)


def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path) -> None:
    for run in ({"q 1": {"d": 1.0}}, {"q": {"": 1.0}}, {"q": {"d": float("nan")}}):
        with pytest.raises(InvalidInput):
            write_run(tmp_path / "run", run)
    with pytest.raises(InvalidInput, match="tag"):
        write_run(tmp_path / "run", RUN, tag="two words")
    with pytest.raises(InvalidInput, match="document"):
        write_qrels(tmp_path / "qrels", {"q": {"d 1": 1}})
