"""Heads compute what their arrays say, and survive being written and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weighup.verify.heads import Head


def _head(hidden: bool) -> Head:
    rng = np.random.default_rng(0)

    def f32(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    if hidden:
        return Head(f32(4), np.abs(f32(4)) + 0.5, f32(3, 4, 5), f32(3, 5), f32(3, 5, 2), f32(3, 2), 1.5)
    return Head(f32(4), np.abs(f32(4)) + 0.5, None, None, f32(3, 4, 2), f32(3, 2))


@pytest.mark.parametrize("hidden", [True, False])
def test_members_match_a_plain_computation(hidden: bool) -> None:
    head = _head(hidden)
    x = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    expected = np.zeros((3, 7, 2))
    for m in range(3):
        z = np.clip((x - head.mean) / head.scale, -6, 6)
        if head.w1 is not None and head.b1 is not None:
            z = np.maximum(z @ head.w1[m] + head.b1[m], 0)
        e = np.exp((z @ head.w2[m] + head.b2[m]) / head.temperature)
        expected[m] = e / e.sum(1, keepdims=True)
    np.testing.assert_allclose(head.members(x), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head(x), expected.mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("hidden", [True, False])
def test_written_and_read_it_is_the_same(hidden: bool, tmp_path: Path) -> None:
    head = _head(hidden)
    np.savez(tmp_path / "h.npz", **head.arrays("a/b"))
    with np.load(tmp_path / "h.npz", allow_pickle=False) as arrays:
        again = Head.from_arrays(arrays, "a/b")
        with pytest.raises(KeyError):
            Head.from_arrays(arrays, "other")
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(again(x), head(x), rtol=1e-6)


def test_extreme_inputs_stay_probabilities() -> None:
    p = _head(True)(np.full((2, 4), 1e30, np.float32))
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)


def test_no_rows_give_no_rows() -> None:
    assert _head(True)(np.zeros((0, 4), np.float32)).shape == (0, 2)
