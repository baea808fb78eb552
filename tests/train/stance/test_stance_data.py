"""Pairs for the stance model: users' rows, edits and harder passages."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from weighup.errors import InvalidInput
from weighup.train.labelled import read_labelled
from weighup.train.stance.augment import KINDS, augmented
from weighup.train.stance.data import Pair, load, pairs_of
from weighup.train.stance.edits import edits, other_date, other_entity
from weighup.train.stance.passages import several, wrong_page


def labelled(tmp_path: Path, rows: list[dict[str, Any]]) -> Any:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_labelled([path])


def row(i: int, label: str, *evidence: tuple[str, str | None], **more: Any) -> dict[str, Any]:
    passages = [{"text": text} | ({} if stance is None else {"stance": stance}) for text, stance in evidence]
    return {"text": f"Claim number {i}.", "label": label, "evidence": passages, **more}


def test_an_item_without_a_stance_takes_its_claims(tmp_path: Path) -> None:
    rows = [
        row(1, "real", ("plain", None), ("  told ", "refutes"), split="train"),
        row(2, "fake", ("other", None), ("neither", "Neutral"), split="train"),
        row(3, "unknown", ("third", None), ("fourth", "SUPPORTS"), split="valid"),
    ]
    train, valid, test = pairs_of(labelled(tmp_path, rows), 0)
    assert [(p.passage, p.label) for p in train] == [
        ("plain", 0),
        ("told", 1),
        ("other", 1),
        ("neither", 2),
    ]
    assert [p.label for p in valid] == [2, 0]
    assert test == []


def test_groups_are_drawn_whole_and_what_is_in_valid_is_not_in_train(tmp_path: Path) -> None:
    rows = [row(i, "real" if i % 2 else "fake", (f"text {i}", None), group=f"g{i // 4}") for i in range(200)]
    train, valid, _ = pairs_of(labelled(tmp_path, rows), 0)
    assert len(train) + len(valid) == 200
    assert 15 <= len(valid) <= 70
    assert {p.group for p in train}.isdisjoint(p.group for p in valid)
    assert pairs_of(labelled(tmp_path, rows), 0)[1] == valid
    leaking = [*rows, row(1, "real", ("again", None), split="test")]
    train, valid, test = pairs_of(labelled(tmp_path, leaking), 0)
    assert [p.claim for p in test] == ["Claim number 1."]
    assert "Claim number 1." not in {p.claim for p in [*train, *valid]}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"text": "Nothing beside it.", "label": "real"}], "none of the 1 rows has evidence"),
        ([row(1, "real", ("a", None), split="train")], "all 1 pairs of train are supports"),
        ([row(1, "real", ("a", "maybe"))], "line 1 of .*stance 'maybe' is not one of"),
        (
            [row(1, "real", ("a", None), split="train"), row(2, "fake", ("b", None), split="train")],
            "too little to choose on: valid has 0 pairs",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path: Path, rows: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        pairs_of(labelled(tmp_path, rows), 0)


def test_no_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="there are no labelled rows"):
        pairs_of([], 0)


def test_dates_are_swapped_for_dates() -> None:
    rng = random.Random(0)
    for claim, kept in [
        ("The bridge opened on Monday.", "day."),
        ("It rained in March.", "It rained in "),
        ("It opened in 1932.", "It opened in 19"),
        ("The 1990s were warm.", "0s were warm."),
    ]:
        found = other_date(claim, rng)
        assert found is not None
        assert found != claim
        assert kept in found
    assert other_date("It may rain. May it stop.", rng) is None
    assert other_date("It cost 1,932 dollars and weighs 1932.5 kg.", rng) is None
    assert other_date("It ended in May.", rng) not in (None, "It ended in May.")


def test_a_name_is_swapped_for_another_of_the_passage() -> None:
    passage = "It was built by Mary Jones, and opened by Peter Smith."
    assert other_entity("It was built by Mary Jones.", passage, random.Random(0)) == "It was built by Peter Smith."
    assert other_entity("It was built by Mary Jones.", "Built by Mary Jones.", random.Random(0)) is None


def test_kinds_of_edit_can_be_left_out() -> None:
    claim = "The dam is 30 metres high and opened in May 1990."
    found = {kind: list(edits(claim, [], {}, random.Random(0), kinds=(kind,))) for kind in ("number", "date", "word")}
    assert [len(made) for made in found.values()] == [1, 1, 0]
    assert all(text != claim for made in found.values() for text, _ in made)


PAIRS = [
    Pair(f"The {river} river floods in spring.", f"Every spring the {river} floods its banks.", 0, "news", river)
    for river in ("Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Heath")
]


def test_a_wrong_page_is_of_another_group_and_shares_a_word() -> None:
    made = wrong_page([*PAIRS, *(Pair(p.claim, f"{p.group} report on fish.", 2, "news", p.group) for p in PAIRS)],
                      random.Random(0))  # fmt: skip
    assert made
    own = {p.claim: p.group for p in PAIRS}
    for p in made:
        assert p.label == 2
        assert own[p.claim] not in p.passage
        assert set(p.passage.lower().split()) & {"spring", "floods"}


def test_several_keep_the_right_sentence_and_its_stance() -> None:
    made = several(PAIRS, random.Random(0), limit=200)
    right = {p.claim: p.passage for p in PAIRS}
    assert made
    for p in made:
        assert right[p.claim] in p.passage
        assert len(p.passage) > len(right[p.claim])
        assert len(p.passage) <= 200 + 4
        assert p.label == 0


def test_each_kind_can_be_switched() -> None:
    assert augmented(PAIRS, {}, random.Random(0), []) == []
    only = {kind: {p.source for p in augmented(PAIRS, {}, random.Random(0), [kind])} for kind in KINDS}
    assert only["several"] == {"several"}
    assert only["wrong_page"] <= {"wrong_page"}
    assert only["edits"] <= {"edited", "own_sentence"}


def test_no_claim_of_dev_or_test_is_in_the_shipped_training_pairs(tests_data: Path) -> None:
    train, dev, files = load(tests_data)
    assert len(dev) == 2671
    assert {p.claim for p in train}.isdisjoint(p.claim for p in dev)
    assert not [f for f in files if "test" in f.name]
