"""Nothing stands on two sides of a split: what leaks is told, and what has no split is given one by whole groups."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.train.labelled import Labelled, read_labelled, text_key
from weighup.train.splits import check_leakage, contradictions, split_groups, without_leaks
from weighup.verify.types import Claim

START = datetime(2024, 1, 1, tzinfo=UTC)


def row(
    text: str,
    split: str | None = None,
    *,
    label: int = 0,
    group: str | None = None,
    line: int = 1,
    day: int | None = None,
) -> Labelled:
    date = None if day is None else START + timedelta(days=day, hours=day % 24)
    return Labelled(Claim(text=text, date=date), label, group or text_key(text), split, line)


def many(count: int, *, per_group: int = 1, first: int = 0) -> list[Labelled]:
    """Rows of both classes alike."""
    return [
        row(f"Claim number {i}.", label=i % 2, group=f"g{i // per_group}", line=i + 1)
        for i in range(first, first + count)
    ]


def sides(rows: Iterable[Labelled]) -> dict[str, str | None]:
    return {r.claim.text: r.split for r in rows}


def leak(rows: list[Labelled]) -> str:
    with pytest.raises(InvalidInput) as caught:
        check_leakage(rows)
    return str(caught.value)


MIXED = st.lists(
    st.builds(
        row,
        text=st.sampled_from(["one", "two", "three", "four", "five"]),
        split=st.sampled_from(["train", "valid", "test", None]),
        group=st.sampled_from(["a", "b", "c", None]),
        label=st.sampled_from([0, 1]),
    ),
    max_size=12,
)


def test_a_group_on_two_sides_is_told_with_its_lines() -> None:
    rows = [row("One.", "train", group="x", line=3), row("Two.", "test", group="x", line=90)]
    assert leak(rows) == (
        "group 'x' is in train (line 3) and test (line 90): 'One.'; "
        "repair the split, or pass --drop-leaks to leave such rows out of training"
    )


def test_a_text_on_two_sides_is_told_whatever_its_punctuation_and_groups() -> None:
    rows = [row("It is closed!", "valid", group="a", line=1), row("it “is” closed", "test", group="b", line=2)]
    assert leak(rows).startswith("one text is in valid (line 1) and test (line 2): 'It is closed!'; repair")


def test_the_first_leaks_are_told_and_the_rest_counted() -> None:
    rows = [row(f"Claim {i}", split, line=i) for split in ("train", "test") for i in range(10)]
    told = leak(rows)
    assert told.count("one text is in") == 3
    assert "and 7 more; repair" in told


def test_a_leak_of_group_and_text_is_told_once() -> None:
    rows = [row("Same.", "train", group="x"), row("Same.", "test", group="x")]
    assert leak(rows).count(" is in ") == 1


def test_copies_inside_a_split_and_rows_without_one_leak_nothing() -> None:
    check_leakage([row("Same.", "train"), row("Same.", "train"), row("Same."), row("Other.", "test")])
    check_leakage([])


def test_leaks_leave_training_and_never_the_test() -> None:
    rows = [
        row("One.", "train"),
        row("one", "test"),
        row("Two.", "train", group="g"),
        row("Three.", "valid", group="g"),
        row("Four.", "valid"),
        row("Four!", "test"),
        row("Five.", "train"),
        row("Six."),
    ]
    kept, dropped = without_leaks(rows)
    assert dropped == 3
    assert [r.claim.text for r in kept] == ["one", "Three.", "Four!", "Five.", "Six."]
    check_leakage(kept)


@given(MIXED)
def test_what_is_left_never_leaks_and_no_test_row_is_lost(rows: list[Labelled]) -> None:
    kept, dropped = without_leaks(rows)
    check_leakage(kept)
    assert len(kept) + dropped == len(rows)
    assert [r for r in kept if r.split in ("test", None)] == [r for r in rows if r.split in ("test", None)]


def test_contradicting_labels_in_train_are_warned_of() -> None:
    rows = [
        row("It is so.", "train", label=0, line=3),
        row("it is so", "train", label=1, line=9),
        row("it is so", "test", label=2, line=10),
        row("Fine.", "train", line=11),
        row("Fine.", "train", line=12),
    ]
    assert contradictions(rows) == (
        "1 text stands in train with labels that contradict each other: 'It is so.' is real (line 3) and fake (line 9)"
    )
    assert contradictions(rows[1:]) is None
    more = [row(f"Claim {i}", "train", label=label) for i in range(5) for label in (0, 2)]
    told = contradictions(more)
    assert told is not None
    assert told.startswith("5 texts stand")
    assert told.endswith("; and 2 more")


def test_whole_groups_are_split_in_the_shares_asked_for() -> None:
    done = split_groups(many(3_000, per_group=3), 7)
    check_leakage(done)
    counts = Counter(r.split for r in done)
    assert counts["train"] / 3_000 == pytest.approx(0.8, abs=0.03)
    assert counts["valid"] / 3_000 == pytest.approx(0.1, abs=0.03)
    assert [replace(r, split=None) for r in done] == many(3_000, per_group=3)


def test_the_same_seed_splits_the_same_and_added_rows_move_none() -> None:
    few, more = many(500), many(900)
    random.Random(1).shuffle(more)
    first = sides(split_groups(few, 3))
    assert first == sides(split_groups(few, 3))
    assert first.items() <= sides(split_groups(more, 3)).items()
    assert first != sides(split_groups(few, 4))


def test_another_text_in_a_group_moves_none() -> None:
    grown = [*many(500, per_group=2), *(row(f"aaa {i}", group=f"g{i}") for i in range(250))]
    assert sides(split_groups(many(500, per_group=2), 3)).items() <= sides(split_groups(grown, 3)).items()


def test_groups_that_share_a_text_stay_together() -> None:
    tied = [row("Shared.", group=f"g{i}", line=1_000 + i) for i in range(40)]
    done = split_groups([*many(400), *tied], 0)
    check_leakage(done)
    assert len({r.split for r in done if r.group in {t.group for t in tied}}) == 1


def test_rows_that_name_a_split_keep_it_and_take_their_group_along() -> None:
    rows = [*many(300), row("Known.", "test", group="g0"), row("Also.", "train", group="g1")]
    done = sides(split_groups(rows, 0))
    assert (done["Known."], done["Claim number 0."]) == ("test", "test")
    assert (done["Also."], done["Claim number 1."]) == ("train", "train")


@given(MIXED)
def test_a_split_adds_no_leak(rows: list[Labelled]) -> None:
    free = [replace(r, split=None) for r in rows]
    fixed = [
        row(f"fixed {split} {label}", split, label=label) for split in ("train", "valid", "test") for label in (0, 1)
    ]
    check_leakage(split_groups([*free, *fixed], 0))


def test_a_split_without_both_classes_is_refused() -> None:
    with pytest.raises(InvalidInput, match="too little data for a split: "):
        split_groups(many(4), 0)
    with pytest.raises(InvalidInput, match="train has 0 rows and none is real or fake"):
        split_groups([], 0)
    named = [row("A.", "train"), row("B.", "train", label=1), row("C.", "test"), row("D.", "test", label=1)]
    with pytest.raises(InvalidInput, match="valid has 0 rows"):
        split_groups(named, 0)
    assert split_groups(named, 0, (0.9, 0, 0.1)) == named


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.3, -0.1), (0.5, 0.1, 0.1), (float("nan"), 0.1, 0.1)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInput, match="shares: "):
        split_groups(many(100), 0, shares)


def test_no_row_falls_where_the_share_is_nothing() -> None:
    assert {r.split for r in split_groups(many(1_000), 0, (0.9, 0.1, 0.0))} == {"train", "valid"}


def test_by_time_the_earliest_are_train_and_the_last_test() -> None:
    rows = [row(f"Claim {i}", label=i % 2, day=i // 2) for i in range(200)]
    random.Random(0).shuffle(rows)
    done = split_groups(rows, 0, by_time=True)
    assert Counter(r.split for r in done) == {"train": 160, "valid": 20, "test": 20}
    days = {
        split: [r.claim.date for r in done if r.split == split and r.claim.date] for split in ("train", "valid", "test")
    }
    assert max(days["train"]) < min(days["valid"])
    assert max(days["valid"]) < min(days["test"])


def test_by_time_a_day_stays_whole() -> None:
    days = [0] * 70 + [1] * 16 + [2] * 6 + [3] * 8
    done = split_groups([row(f"Claim {i}", label=i % 2, day=day) for i, day in enumerate(days)], 0, by_time=True)
    assert [{r.split for r, day in zip(done, days, strict=True) if day == d} for d in range(4)] == [
        {"train"},
        {"train"},
        {"valid"},
        {"test"},
    ]


def test_by_time_a_group_goes_with_its_last_row() -> None:
    rows = [row(f"Claim {i}", label=i % 2, day=i // 2) for i in range(200)]
    rows += [row("Early.", group="x", day=1), row("Late.", group="x", day=99)]
    done = split_groups(rows, 0, by_time=True)
    check_leakage(done)
    assert sides(done)["Early."] == "test"


def test_by_time_needs_dates_and_rows_without_a_split() -> None:
    rows = [row(f"Claim {i}", label=i % 2, day=i, line=i + 1) for i in range(100)]
    with pytest.raises(InvalidInput, match="needs a `date` in every row; 1 of 101 have none, first line 7"):
        split_groups([*rows, row("Undated.", line=7)], 0, by_time=True)
    with pytest.raises(InvalidInput, match="1 of 101 do, first line 9"):
        split_groups([*rows, row("Fixed.", "test", day=3, line=9)], 0, by_time=True)


@pytest.mark.parametrize("name", ["ced_weibo", "covid_constraint", "covid_fact", "liar", "climate_fever"])
def test_the_leaks_of_the_shared_sets_are_found_and_mended(tests_data: Path, name: str) -> None:
    rows = read_labelled(sorted((tests_data / "news" / name).glob("*.jsonl.gz")))
    assert "repair the split" in leak(rows)
    kept, dropped = without_leaks(rows)
    check_leakage(kept)
    assert 0 < dropped < len(rows) / 50
    check_leakage(split_groups([replace(r, split=None) for r in rows], 0))


def test_the_weibo_set_is_split_by_time(tests_data: Path) -> None:
    rows = read_labelled(sorted((tests_data / "news" / "ced_weibo").glob("*.jsonl.gz")))
    done = split_groups([replace(r, split=None) for r in rows], 0, by_time=True)
    check_leakage(done)
    train = [r.claim.date for r in done if r.split == "train" and r.claim.date]
    later = [r.claim.date for r in done if r.split != "train" and r.claim.date]
    assert len(train) / len(rows) == pytest.approx(0.8, abs=0.01)
    assert sum(date > max(train) for date in later) > 0.98 * len(later)
