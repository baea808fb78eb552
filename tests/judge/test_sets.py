"""Recorded judging sets: what is in them, that verdicts are in the item's numbering, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.errors import InvalidInput
from weighup.judge.orders import both_orders, conflict_rate
from weighup.judge.sets import SETS, JudgingSet, load

LLMBAR: dict[str, Any] = {
    "id": "a",
    "input": "question",
    "output_1": "one",
    "output_2": "two",
    "label": "2",
    "subset": "Natural",
    "recorded": {
        "J/Plain": {"winner": "1", "winner_swapped": "2"},
        "J/Rating": {"winner": "2", "winner_swapped": "2", "ratings": ["3", "7"]},
    },
}
PERSONAL: dict[str, Any] = {
    "id": "p",
    "person": "x",
    "user_info": "Likes short answers.",
    "question": "q",
    "asst_A": "one",
    "asst_B": "two",
    "recorded": {"J/all_features": {"answer": "A", "certainty": "81", "gold": "A"}},
}


def written(folder: Path, file: str, *rows: Mapping[str, Any] | str) -> Path:
    path = folder / "judging" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return folder


def llmbar(folder: Path, **changes: Any) -> JudgingSet:
    return load("llmbar_recorded", written(folder, "llmbar_recorded.jsonl.gz", {**LLMBAR, **changes}))


def prism(folder: Path, *rows: Mapping[str, Any]) -> JudgingSet:
    return load("personal_judge/prism", written(folder, "personal_judge/prism.jsonl.gz", *rows))


def test_both_orders_are_in_the_items_own_numbering(tmp_path: Path) -> None:
    read = llmbar(tmp_path)
    ((given, swapped),) = both_orders(read.judge("J/Plain"), read.items)
    assert (given.winner, given.order, swapped.winner, swapped.order) == ("1", "given", "2", "swapped")
    assert read.gold == {"a": "2"}
    assert read.judge("J/Rating").judge(read.items)[0].scores == (3.0, 7.0)


def test_protocols_become_samples(tmp_path: Path) -> None:
    read = llmbar(tmp_path)
    assert read.protocols("J") == ("J/Plain", "J/Rating")
    samples = read.samples("J")
    said = samples.judge([read.items[0].drawn(n) for n in range(3)])
    assert [one.winner for one in said] == ["1", "2", None]
    assert [one.status for one in said] == ["ok", "ok", "invalid"]


@pytest.mark.parametrize("winner", [None, "neither", "", 1, "TIE"])
def test_an_unusable_verdict_is_invalid_and_no_tie(tmp_path: Path, winner: object) -> None:
    read = llmbar(tmp_path, recorded={"J/Plain": {"winner": winner, "winner_swapped": "tie"}})
    given, swapped = both_orders(read.judge("J/Plain"), read.items)[0]
    assert (given.status, given.winner) == ("invalid", None)
    assert (swapped.status, swapped.winner) == ("ok", "tie")


def test_a_winner_without_a_readable_rating_is_unusable(tmp_path: Path) -> None:
    read = llmbar(tmp_path, recorded={"J/Rating": {"winner": "2", "winner_swapped": "1", "ratings": ["", "3"]}})
    assert not any(one.usable for one in read.recorded["J/Rating"])


def test_the_same_pair_exchanged_is_one_item_swapped(tmp_path: Path) -> None:
    exchanged = {**PERSONAL, "id": "q", "asst_A": "two", "asst_B": "one"}
    exchanged["recorded"] = {"J/all_features": {"answer": "A", "certainty": "60", "gold": "B"}}
    read = prism(tmp_path, PERSONAL, exchanged)
    assert [item.id for item in read.items] == ["p"]
    assert read.gold == {"p": "1"}
    said = read.recorded["J/all_features"]
    assert [(one.order, one.winner, one.certainty) for one in said] == [("given", "1", 0.81), ("swapped", "2", 0.6)]


def test_asked_twice_is_two_samples_and_gold_that_disagrees_is_none(tmp_path: Path) -> None:
    asked = [{"answer": "A", "certainty": "81", "gold": "A"}, {"answer": "B", "certainty": "81", "gold": "B"}]
    read = prism(tmp_path, {**PERSONAL, "recorded": {"J/all_features": asked}})
    assert [(one.sample, one.winner) for one in read.recorded["J/all_features"]] == [(0, "1"), (1, "2")]
    assert read.gold == {}


@pytest.mark.parametrize(
    ("judge", "answer", "certainty", "status", "winner", "sure"),
    [
        ("J/all_features", "B", "NA", "ok", "2", None),
        ("J/all_features", "B", "101", "ok", "2", None),
        ("J/all_features", "B", "0", "ok", "2", None),
        ("J/all_features", "B", None, "ok", "2", None),
        ("J/all_features", "C", "50", "invalid", None, None),
        ("J/all_features", None, "50", "invalid", None, None),
        ("J/all_features", "[", "50", "invalid", None, None),
        ("J/all_features+tie", "C", "NA", "ok", "tie", None),
        ("J/no_persona", "A", "4", "ok", "1", None),
    ],
)
def test_answers_and_certainties_of_persons_judges(
    tmp_path: Path, judge: str, answer: object, certainty: object, status: str, winner: str | None, sure: float | None
) -> None:
    told = {judge: {"answer": answer, "certainty": certainty, "gold": "A"}}
    (one,) = prism(tmp_path, {**PERSONAL, "recorded": told}).recorded[judge]
    assert (one.status, one.winner, one.certainty) == (status, winner, sure)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**LLMBAR, "label": "3"}, "label"),
        ({key: value for key, value in LLMBAR.items() if key != "output_2"}, "output_2"),
        ({**LLMBAR, "recorded": {"J/Plain": {"winner": "1"}}}, "recorded.J/Plain.winner_swapped"),
        ("{", "the line"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_field(
    tmp_path: Path, row: Mapping[str, Any] | str, field: str
) -> None:
    written(tmp_path, "llmbar_recorded.jsonl.gz", LLMBAR, row)
    with pytest.raises(InvalidInput, match=rf"llmbar_recorded\.jsonl\.gz: line 2: {field}"):
        load("llmbar_recorded", tmp_path)


def test_a_file_that_is_absent_cut_short_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load("hhh", tmp_path)
    path = written(tmp_path, "hhh/pairs.jsonl.gz") / "judging" / "hhh" / "pairs.jsonl.gz"
    with pytest.raises(InvalidInput, match="no rows"):
        load("hhh", tmp_path)
    path.write_bytes(gzip.compress(b"{}" * 1000)[:-12])
    with pytest.raises(InvalidInput, match="cannot be read"):
        load("hhh", tmp_path)


def test_unknown_names_are_refused_naming_the_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="judgebench"):
        load("llmbar", tmp_path)
    read = llmbar(tmp_path)
    for ask in (read.judge, read.samples, read.asked, read.protocols):
        with pytest.raises(InvalidInput, match="J/Plain"):
            ask("GPT-5")


def test_every_set_can_be_read_and_has_no_gold_in_its_items(tests_data: Path) -> None:
    for name in SETS:
        if not (tests_data / "judging" / SETS[name][0]).is_file():
            pytest.skip(f"no {SETS[name][0]} in {tests_data / 'judging'}")
        if name in ("llmbar_recorded", "personal_judge/prism"):  # the two that take longest have tests of their own
            continue
        read = load(name, tests_data)
        ids = {item.id for item in read.items}
        assert len(ids) == len(read.items) > 0
        assert set(read.gold) <= ids
        assert all(one.item_id in ids for some in read.recorded.values() for one in some)
        assert not any("gold" in item.meta or "label" in item.meta for item in read.items)


def test_llmbar_is_as_its_notes_say(tests_data: Path) -> None:
    if not (tests_data / "judging" / "llmbar_recorded.jsonl.gz").is_file():
        pytest.skip("no llmbar_recorded")
    read = load("llmbar_recorded", tests_data)
    assert len(read.items) == 708
    pairs = both_orders(read.judge("GPT-4/Vanilla_NoRules"), read.asked("GPT-4/Vanilla_NoRules"))
    assert conflict_rate(pairs).value == pytest.approx(0.123, abs=0.0015)
    for place, measured in ((0, 0.772), (1, 0.773)):
        right = np.mean([pair[place].winner == read.gold[pair[place].item_id] for pair in pairs])
        assert right == pytest.approx(measured, abs=0.0015)


def test_judgebench_and_cobbler_are_as_their_notes_say(tests_data: Path) -> None:
    if not (tests_data / "judging" / "judgebench").is_dir() or not (tests_data / "judging" / "cobbler").is_dir():
        pytest.skip("no judgebench or cobbler")
    bench = load("judgebench", tests_data)
    name = "arena_hard/o1-mini-2024-09-12"
    items = bench.asked(name)
    pairs = both_orders(bench.judge(name), items)
    right = [[one.winner == bench.gold[one.item_id] for one in pair] for pair in pairs]
    assert len(items) == 282
    assert np.mean([one[0] for one in right]) == pytest.approx(0.691, abs=0.001)
    assert np.mean([all(one) for one in right]) == pytest.approx(0.585, abs=0.001)
    cobbler = load("cobbler", tests_data)
    assert len(cobbler.places) == 40
    assert sum(one.usable for one in cobbler.recorded["dolly"]) == 1
