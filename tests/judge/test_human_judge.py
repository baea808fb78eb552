"""People as a judge: a queue in a file, one vote a person and item, nothing said before it is answered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from weighup.errors import InvalidInput
from weighup.judge.human import HumanJudge
from weighup.judge.types import Item, Judge, Response

ITEMS = [Item.pair(str(n), f"question {n}", "x", "y", meta={"n": n}) for n in range(3)]


def test_waiting_until_answered(tmp_path: Path) -> None:
    judge = HumanJudge(tmp_path / "queue.db")
    assert isinstance(judge, Judge)
    assert {one.status for one in judge.judge(ITEMS)} == {"waiting"}
    assert judge.pending() == ITEMS
    assert judge.pending(limit=1) == ITEMS[:1]
    judge.answer("1", "2", "ann", note="clearer")
    other = HumanJudge(tmp_path / "queue.db")  # another process, say
    said = other.judge(ITEMS)
    assert [(one.status, one.winner) for one in said] == [("waiting", None), ("ok", "2"), ("waiting", None)]
    assert said[1].rationale == "ann: clearer"
    assert [item.id for item in other.pending()] == ["0", "2"]


def test_asking_again_puts_nothing_in_twice(tmp_path: Path) -> None:
    judge = HumanJudge(tmp_path / "queue.db")
    judge.judge(ITEMS)
    judge.judge(ITEMS)
    assert judge.pending() == ITEMS


def test_one_vote_a_person_and_item(tmp_path: Path) -> None:
    judge = HumanJudge(tmp_path / "queue.db", votes=3)
    judge.judge(ITEMS)
    judge.answer("0", "1", "ann")
    with pytest.raises(InvalidInput, match="item 0: ann has already voted"):
        judge.answer("0", "2", "ann")
    assert [item.id for item in judge.pending("ann")] == ["1", "2"]
    assert [item.id for item in judge.pending("bob")] == ["0", "1", "2"]
    judge.answer("0", "2", "bob")
    assert judge.judge(ITEMS)[0].status == "waiting"
    judge.answer("0", "1", "cy")
    one = judge.judge(ITEMS)[0]
    assert (one.winner, one.certainty, one.judge) == ("1", pytest.approx(2 / 3), "human")


def test_equal_votes_tie(tmp_path: Path) -> None:
    judge = HumanJudge(tmp_path / "queue.db", votes=2)
    judge.judge(ITEMS[:1])
    judge.answer("0", "1", "ann")
    judge.answer("0", "2", "bob")
    assert judge.judge(ITEMS[:1])[0].winner == "tie"


def test_votes_are_in_the_numbering_of_the_item(tmp_path: Path) -> None:
    judge = HumanJudge(tmp_path / "queue.db")
    swapped = ITEMS[0].swapped()
    judge.judge([ITEMS[0], swapped])
    judge.answer("0", "1", "ann", order="swapped")
    first, second = judge.judge([ITEMS[0], swapped])
    assert (first.status, second.winner, second.order) == ("waiting", "1", "swapped")


def test_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    HumanJudge(path).judge(ITEMS)
    judge = HumanJudge(path, votes=20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: judge.answer("0", "1", f"person {n}"), range(20)))
    assert judge.judge(ITEMS)[0].winner == "1"


def test_bad_input(tmp_path: Path) -> None:
    judge = HumanJudge(tmp_path / "queue.db")
    judge.judge(ITEMS)
    with pytest.raises(InvalidInput, match="item 9: is not in the queue"):
        judge.answer("9", "1", "ann")
    with pytest.raises(InvalidInput, match="a vote is 1, 2 or tie, not '3'"):
        judge.answer("0", "3", "ann")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="needs the name"):
        judge.answer("0", "1", " ")
    with pytest.raises(InvalidInput, match=r"item 0: stands in the queue .* with other texts"):
        judge.judge([Item.pair("0", "another question", "x", "y")])
    with pytest.raises(InvalidInput, match="item o: has 1 responses"):
        judge.judge([Item(id="o", prompt="q", responses=(Response(text="x"),))])
    with pytest.raises(InvalidInput, match="votes"):
        HumanJudge(tmp_path / "queue.db", votes=0)
    (tmp_path / "text.db").write_text("no queue at all, but long enough to be taken for one " * 20)
    with pytest.raises(InvalidInput, match="cannot be used as a queue"):
        HumanJudge(tmp_path / "text.db")
