"""Thinning and swapping evidence: what is promised for every row, share and seed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.retrieve.types import Evidence
from weighup.train.labelled import Labelled
from weighup.train.protocol import (
    STRANGERS,
    RememberedEncoder,
    RememberedStances,
    Variant,
    periods,
    strangers,
    thinned,
    variants,
)
from weighup.verify.types import Claim


def row(line: int, group: str, passages: Sequence[str], file: str = "a.jsonl") -> Labelled:
    evidence = tuple(Evidence(text=text, origin="row") for text in passages)
    return Labelled(Claim(text=f"Claim {line}", evidence=evidence), line % 2, group, "test", line, file)


ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5)), min_size=1, max_size=8).map(
    lambda made: (
        [row(100, "z", ["of z"]), row(101, "y", ["of y"])]
        + [row(i, group, [f"{group} {i} {k}" for k in range(count)]) for i, (group, count) in enumerate(made, start=1)]
    )
)
SHARES = st.sampled_from((0.0, 0.25, 0.5, 0.75, 1.0))


def texts(claim: Claim) -> list[str]:
    return [passage.text for passage in claim.evidence or ()]


@given(ROWS, st.integers(0, 5))
def test_all_kept_and_none_swapped_gives_the_evidence_back(rows: list[Labelled], seed: int) -> None:
    for one, others in zip(rows, strangers(rows), strict=True):
        assert thinned(one, others, Variant(1.0, 0.0, seed)) == one.claim


@given(ROWS, SHARES, st.integers(0, 5))
def test_nothing_kept_leaves_nothing(rows: list[Labelled], r: float, seed: int) -> None:
    for one, others in zip(rows, strangers(rows), strict=True):
        assert texts(thinned(one, others, Variant(0.0, r, seed))) == []


@given(ROWS, SHARES, SHARES, st.integers(0, 5))
def test_what_is_left_is_ones_own_or_of_another_group(rows: list[Labelled], q: float, r: float, seed: int) -> None:
    holders = {passage.text: one.group for one in rows for passage in one.claim.evidence or ()}
    for one, others in zip(rows, strangers(rows), strict=True):
        left = texts(thinned(one, others, Variant(q, r, seed)))
        assert len(left) == len(set(left)) <= len(texts(one.claim))
        for text in left:
            assert text in texts(one.claim) or holders[text] != one.group
        if r == 1 and q == 1:
            assert not set(left) & set(texts(one.claim))
        assert left == texts(thinned(one, others, Variant(q, r, seed)))


def test_draws_are_of_the_row_and_the_seed_alone() -> None:
    rows = [row(i, f"g{i}", [f"{i} {k}" for k in range(8)]) for i in range(20)]
    half = [Variant(0.5, 0.0, seed) for seed in range(2)]
    here = [texts(thinned(one, (), half[0])) for one in rows]
    assert here == [texts(thinned(one, (), half[0])) for one in reversed(rows)][::-1]
    assert here != [texts(thinned(one, (), half[1])) for one in rows]
    assert 0.35 < sum(map(len, here)) / (20 * 8) < 0.65
    swapped = [
        text.split()[0] != str(one.line)
        for one, others in zip(rows, strangers(rows), strict=True)
        for text in texts(thinned(one, others, Variant(1.0, 0.3, 0)))
    ]
    assert 0.15 < np.mean(swapped) < 0.4


def test_strangers_are_of_the_same_file_and_few() -> None:
    rows = [row(i, f"g{i}", [f"{file} {i}"], file) for file in ("a", "b") for i in range(10)]
    for one, others in zip(rows, strangers(rows), strict=True):
        assert len(others) == STRANGERS
        assert all(other.text.split()[0] == one.file and other.text != f"{one.file} {one.line}" for other in others)


def test_a_text_that_the_own_group_has_too_is_no_stranger() -> None:
    rows = [row(1, "a", ["shared"]), row(2, "b", ["shared", "own"]), row(3, "c", ["other"])]
    assert [other.text for other in strangers(rows)[1]] == ["other"]


def test_swapping_needs_another_group() -> None:
    with pytest.raises(InvalidInput, match="one claim group"):
        strangers([row(1, "a", ["x"]), row(2, "a", ["y"])])


def test_variants_and_those_that_come_to_the_same() -> None:
    made = variants((1.0, 0.5, 0.0), (0.0, 0.3), (0, 1, 1))
    assert len(made) == 12
    assert len({v.settled for v in made}) == 1 + 2 + 4 + 1
    for q, r, seeds in (((2.0,), (0.0,), (0,)), ((1.0,), (-0.1,), (0,)), ((), (0.0,), (0,)), ((1.0,), (0.0,), ())):
        with pytest.raises(InvalidInput):
            variants(q, r, seeds)


class Counting:
    """A stance model and encoder that counts what it reads."""

    name = version = "counting"
    dimension = 3

    def __init__(self) -> None:
        self.seen: list[object] = []

    def score(self, pairs: Sequence[tuple[str, str]], *, batch_size: int = 32) -> np.ndarray:
        self.seen += pairs
        return np.asarray([[len(a), len(b), 0.1] for a, b in pairs], np.float32).reshape(-1, 3)

    def encode(self, given: Sequence[str], *, batch_size: int = 32) -> np.ndarray:
        self.seen += given
        return np.asarray([[len(text), 0.1, 0] for text in given], np.float32).reshape(-1, 3)


@pytest.mark.parametrize("most", [1, 2, 100])
def test_a_pair_is_read_once_and_given_back_to_the_bit(most: int) -> None:
    model = Counting()
    memo = RememberedStances(model, most)
    pairs = [("a", "bb"), ("ccc", "d"), ("a", "bb")]
    for _ in range(3):
        np.testing.assert_array_equal(memo.score(pairs), Counting().score(pairs))
    assert len(memo._known) <= most
    if most > 1:
        assert model.seen == pairs[:2]
    assert memo.score([]).shape == (0, 3)


@pytest.mark.parametrize("most", [1, 100])
def test_a_text_is_embedded_once(most: int) -> None:
    encoder = Counting()
    memo = RememberedEncoder(encoder, most)  # type: ignore[arg-type]
    for _ in range(3):
        np.testing.assert_array_equal(memo.encode(["a", "bb", "a"]), Counting().encode(["a", "bb", "a"]))
    assert len(memo._known) <= most
    if most > 1:
        assert encoder.seen == ["a", "bb"]
    assert memo.encode([]).shape == (0, 3)


def test_periods_are_quarters_or_four_runs() -> None:
    quarters = [datetime(2013, month, 1, tzinfo=UTC) for month in (1, 3, 4, 7, 12)]
    found = periods(quarters)
    assert [name for name, _ in found] == ["2013 Q1", "2013 Q2", "2013 Q3", "2013 Q4"]
    assert found[0][1].tolist() == [True, True, False, False, False]
    days = [datetime(2013, 1, day, tzinfo=UTC) for day in (8, 1, 2, 3, 4, 5, 6, 7)]
    runs = periods(days)
    assert [int(where.sum()) for _, where in runs] == [2, 2, 2, 2]
    assert runs[-1][0] == "2013-01-07 to 2013-01-08"
    assert runs[-1][1].tolist() == [True, *[False] * 6, True]
