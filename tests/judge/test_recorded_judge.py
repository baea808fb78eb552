"""Recorded judgements are replayed as they were made, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from weighup.errors import InvalidInput
from weighup.judge.recorded import RecordedJudge
from weighup.judge.simulated import Faults, SimulatedJudge
from weighup.judge.types import Item, Judgement

ITEMS = [Item.pair(str(n), "q", "x", "y", meta={"quality": [1, 2]}) for n in range(5)]


def test_what_was_said_is_said_again(tmp_path: Path) -> None:
    first = SimulatedJudge(Faults(order_bias=3.0), seed=0)
    asked = [one for item in ITEMS for one in (item, item.swapped(), item.drawn(1))]
    made = first.judge(asked)
    path = tmp_path / "said.jsonl"
    path.write_text("\n".join(one.line() for one in made) + "\n\n")
    judge = RecordedJudge.read(path)
    assert (judge.name, len(judge)) == ("simulated", 15)
    assert judge.judge(asked[::-1]) == made[::-1]


def test_what_was_not_recorded_is_invalid() -> None:
    judge = RecordedJudge([Judgement(item_id="0", judge="j", winner="1")])
    one, swapped, other = judge.judge([ITEMS[0], ITEMS[0].swapped(), ITEMS[1]])
    assert (one.winner, swapped.status, other.status) == ("1", "invalid", "invalid")
    assert (swapped.order, other.winner) == ("swapped", None)


def test_a_later_recording_replaces_an_earlier_one() -> None:
    said = [Judgement.model_validate({"item_id": "0", "judge": "j", "winner": w}) for w in ("1", "2")]
    assert RecordedJudge(said).judge(ITEMS[:1])[0].winner == "2"


def test_one_of_several_judges(tmp_path: Path) -> None:
    said = [Judgement.model_validate({"item_id": "0", "judge": j, "winner": w}) for j, w in (("a", "1"), ("b", "2"))]
    path = tmp_path / "said.jsonl"
    path.write_text("\n".join(one.line() for one in said))
    assert RecordedJudge.read(path, "b").judge(ITEMS[:1])[0].winner == "2"
    one = RecordedJudge(said[:1], name="renamed").judge(ITEMS[:1])[0]
    assert (one.judge, one.winner) == ("renamed", "1")


def test_recordings_that_cannot_be_used(tmp_path: Path) -> None:
    said = [Judgement(item_id=str(n), judge=f"j{n}", winner="1") for n in range(2)]
    with pytest.raises(InvalidInput, match=r"recordings of one judge are needed, these are of \['j0', 'j1'\]"):
        RecordedJudge(said)
    with pytest.raises(InvalidInput, match="give a name"):
        RecordedJudge([])
    path = tmp_path / "said.jsonl"
    path.write_text(f'{said[0].line()}\n{{"item_id": "1", "judge": "j0", "winner": "3"}}\n')
    with pytest.raises(InvalidInput, match=r"said.jsonl: line 2: winner: "):
        RecordedJudge.read(path)
    path.write_text("{")
    with pytest.raises(InvalidInput, match=r"line 1: the line: "):
        RecordedJudge.read(path)
    with pytest.raises(InvalidInput, match=r"none.jsonl: cannot be read"):
        RecordedJudge.read(tmp_path / "none.jsonl")
