"""The mixture of content experts: votes of near claims, shares of the gate, and arrays that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.errors import WeightsError
from weighup.verify import weights
from weighup.verify.content_mixture import Expert, Gate, Memory, Mixture, read
from weighup.verify.grams import EXPERT, Grams, count

D, T = 4, 2  # numbers of an embedding and of tone
TEXTS = ["the dam broke", "#dam safe !", "nothing known"]


def made() -> Mixture:
    """Two domains: claims with "#dam" are of the second, which alone has a model of its own."""
    keys = np.sort(count("#dam", "token", 1)[0])
    one = np.ones(1, np.float32)
    dense = np.zeros((2, D + T), np.float32)
    gate = Gate(keys, one, np.array([[-9.0], [9.0]], np.float32), dense, np.array([2.0, 0.0], np.float32))
    memory = Memory(
        np.eye(D, dtype=np.float32),
        (np.eye(D, dtype=np.float32), np.eye(D, dtype=np.float32)[:2]),
        (np.array([1, -1, 0, 0], np.float32), np.array([-1, 1], np.float32)),
        20.0,
    )
    own = Expert(Grams(EXPERT, keys, one, np.ones((2, 1), np.float32), 0.5), np.zeros(D + T, np.float32))
    mix = np.array([[1, 0, 2, 0.5], [0, 1, 1, 0]], np.float32)
    return Mixture(gate, mix, {1: own}, memory)


def arrays_of(mixture: Mixture, **changed: Any) -> weights.Arrays:
    found = mixture.arrays() | {name.replace("__", "/"): array for name, array in changed.items()}
    return weights.Arrays(Path("content.npz"), {name: array for name, array in found.items() if array is not None})


def test_the_nearest_claim_votes_loudest() -> None:
    votes = made().memory(0, np.eye(D, dtype=np.float32) * 3)
    np.testing.assert_allclose(votes, [1, -1, 0, 0], atol=1e-6)
    assert made().memory(0, np.ones((1, D), np.float32)) == pytest.approx([0])


def test_probabilities_of_the_experts_are_averaged_by_the_gate() -> None:
    mixture = made()
    union, vectors = np.array([1.0, 1.0, -1.0], np.float32), np.eye(D, dtype=np.float32)[:3]
    dense = np.zeros((3, D + T), np.float32)
    shares = mixture.shares(TEXTS, dense)
    assert shares.sum(1) == pytest.approx(np.ones(3))
    assert shares[1].tolist() == [0, 1]  # what is below 2 % is not asked
    assert shares[0, 1] == pytest.approx(1 / (1 + np.exp(2)))
    z = mixture.logits(TEXTS, union, vectors, dense)
    assert z[1] == pytest.approx(0.5 + 1 + 1, abs=1e-4)  # bias of its own model, its one gram, a vote of 1
    first, second = 1 / (1 + np.exp(-(1 + 2 + 0.5))), 1 / (1 + np.exp(-(0.5 - 1)))
    assert 1 / (1 + np.exp(-z[0])) == pytest.approx(shares[0] @ [first, second], abs=1e-4)


def test_what_is_written_is_read_back() -> None:
    mixture, again = made(), read(arrays_of(made()), D, T)
    assert again is not None
    vectors, dense = np.eye(D, dtype=np.float32)[:3], np.zeros((3, D + T), np.float32)
    told = [one.logits(TEXTS, np.zeros(3, np.float32), vectors, dense) for one in (mixture, again)]
    np.testing.assert_allclose(told[0], told[1], atol=0.02)


def test_weights_without_a_mixture_have_none() -> None:
    assert read(weights.Arrays(Path("content.npz"), {}), D, T) is None


def test_far_from_everything_it_stays_finite() -> None:
    mixture = made()
    z = mixture.logits(["x"], np.array([1e6], np.float32), np.zeros((1, D), np.float32), np.zeros((1, D + T)))
    assert np.isfinite(z).all()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"mix": np.zeros((2, 3))}, "mix is [2, 3], expected [any, 4]"),
        ({"mix": np.zeros((3, 4))}, "gate/table is [2, 1], expected [3, 1]"),
        ({"gate__keys": None}, "has no numbers named gate/keys"),
        ({"gate__idf": np.zeros(1)}, "gate/idf holds 0.0"),
        ({"gate__dense": np.zeros((2, 9))}, "gate/dense is [2, 9], expected [2, 6]"),
        ({"memory__axes": np.zeros((9, 4))}, "memory/axes is [9, 4], expected [4, any]"),
        ({"memory__points": np.zeros((6, 3))}, "memory/points is [6, 3], expected [any, 4]"),
        ({"memory__votes": np.zeros(5)}, "memory/votes is [5], expected [6]"),
        ({"memory__sizes": np.array([3, 2])}, "memory/sizes add up to 5, expected 6"),
        ({"memory__sharpness": np.array([-1.0])}, "memory/sharpness holds -1.0"),
        ({"own1__table": np.zeros((1, 1))}, "own1/table is [1, 1], expected [2, 1]"),
        ({"own1__dense": np.full(6, np.nan)}, "own1/dense holds what is not a number"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:30],
)
def test_arrays_that_do_not_fit_are_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(WeightsError) as caught:
        read(arrays_of(made(), **changed), D, T)
    assert says in str(caught.value)
