"""Reciprocal rank fusion against values worked out by hand."""

from __future__ import annotations

import pytest

from weighup.retrieve.fusion import fuse


def test_scores_follow_the_paper() -> None:
    found = dict(fuse([["a", "b", "c"], ["b", "d"]]))
    best = 2 / 61
    assert found["b"] == pytest.approx((1 / 62 + 1 / 61) / best)
    assert found["a"] == pytest.approx((1 / 61) / best)
    assert found["d"] == pytest.approx((1 / 62) / best)


def test_order_is_best_first_and_ties_keep_the_first_seen() -> None:
    assert [key for key, _ in fuse([["a", "b", "c"], ["b", "d"]])] == ["b", "a", "d", "c"]
    assert [key for key, _ in fuse([["x"], ["y"]])] == ["x", "y"]


def test_the_best_attainable_is_one_and_empty_lists_count() -> None:
    assert fuse([["a"], ["a"]])[0] == ("a", 1.0)
    assert fuse([["a"], []])[0][1] == pytest.approx(0.5)
    assert fuse([]) == []
