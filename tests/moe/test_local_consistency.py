"""SRP and SCH: toys counted by hand, and the best over all sets by brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.control.local_consistency import (  # noqa: E402
    knee_heights,
    report,
    sch,
    sch_curve,
    segment_counts,
    specialisation,
    srp,
)
from weighup.moe.trace import RoutingTrace  # noqa: E402


def trace_of(indices: object, n: int, sequences: object = None, weights: object = None) -> RoutingTrace:
    at = np.asarray(indices, np.int16)
    w = np.where(at >= 0, 1 / at.shape[2], 0) if weights is None else np.asarray(weights)
    seq = np.zeros(at.shape[1]) if sequences is None else np.asarray(sequences)
    return RoutingTrace(at, w.astype(np.float16), None, n, seq.astype(np.int32))


# One layer, k=1: the first segment of four uses 0 0 1 0, the second 2 3 2 3.
TOY = trace_of([[[0], [0], [1], [0], [2], [3], [2], [3]]], 4)


@st.composite
def traces(draw: st.DrawFn) -> RoutingTrace:
    n, layers, count = draw(st.integers(2, 4)), draw(st.integers(1, 2)), draw(st.integers(4, 12))
    k = draw(st.integers(1, min(2, n)))
    chance = np.random.default_rng(draw(st.integers(0, 2**16)))
    indices = chance.random((layers, count, n)).argsort(-1)[..., :k].astype(np.int16)
    indices[chance.random(indices.shape) < 0.1] = -1
    weights = np.where(indices >= 0, chance.integers(1, 9, indices.shape) / 8, 0)
    first = draw(st.integers(0, count))
    return trace_of(indices, n, np.arange(count) >= first, weights)


def test_srp_of_a_toy_counted_by_hand() -> None:
    assert srp(TOY, 4).value == (3 + 2) / 8
    assert srp(TOY, 4, 2.0).value == 1.0
    assert srp(TOY, 2).value == (2 + 1 + 1 + 1) / 8
    assert srp(TOY, 8).value == 3 / 8
    assert srp(TOY, 1).value == 1.0


def test_srp_by_weight_takes_the_set_with_the_most_weight() -> None:
    toy = trace_of([[[0, 1], [0, 2], [0, 1]]], 3, weights=[[[0.25, 0.75], [0.25, 0.75], [0.125, 0.875]]])
    assert srp(toy, 3, 0.5).value == 0.5  # expert 0, three of six
    assert srp(toy, 3, 0.5, by="weight").value == pytest.approx(1.625 / 3)  # expert 1


def test_sch_gives_a_shared_cache_to_the_layer_that_gains_most() -> None:
    # Layer 0 always uses expert 0; layer 1 all four in turn.
    toy = trace_of([[[0]] * 4, [[0], [1], [2], [3]]], 4)
    assert sch(toy, 4, 1).value == (4 + 1) / 8
    assert sch(toy, 4, 2).value == (4 + 2) / 8
    assert sch(toy, 4, 2, scope="model").value == (4 + 3) / 8
    assert sch(toy, 4, 2).by_layer == (1.0, 0.5)
    assert sch_curve(toy, 4) == pytest.approx([5 / 8, 6 / 8, 7 / 8, 1])


def test_a_rest_and_the_border_of_sequences_are_in_no_segment() -> None:
    toy = trace_of([[[0], [0], [1], [2], [2], [2], [2]]], 3, [0, 0, 0, 1, 1, 1, 1])
    assert segment_counts(toy, 2)[:, 0].tolist() == [[2, 0, 0], [0, 0, 2], [0, 0, 2]]
    assert srp(toy, 2).segments == 3


@settings(max_examples=60, deadline=None)
@given(traces(), st.integers(1, 4), st.sampled_from(["activations", "weight"]))
def test_both_equal_the_best_over_all_sets(trace: RoutingTrace, m: int, by: str) -> None:
    runs = [np.flatnonzero(trace.sequences == one) for one in np.unique(trace.sequences)]
    segments = [run[at : at + m] for run in runs for at in range(0, len(run) - m + 1, m)]
    if not segments:
        with pytest.raises(InvalidInput, match="no sequence"):
            srp(trace, m)
        return
    n, k = trace.n_experts, trace.indices.shape[2]

    def worth(segment: np.ndarray, kept: set[tuple[int, int]], weight: bool) -> float:
        used = [(i, t, s) for i in range(trace.layers) for t in segment for s in range(k)]
        return sum(
            float(trace.weights[i, t, s]) if weight else 1.0
            for i, t, s in used
            if trace.indices[i, t, s] >= 0 and (i, int(trace.indices[i, t, s])) in kept
        )

    def best(segment: np.ndarray, keys: list[tuple[int, int]], size: int, weight: bool) -> float:
        return max(worth(segment, set(some), weight) for some in combinations(keys, size))

    layers = [[(i, e) for e in range(n)] for i in range(trace.layers)]
    every = [key for keys in layers for key in keys]
    for weight in {by == "weight", False}:
        total = sum(worth(s, set(every), weight) for s in segments)
        covered = sum(best(s, keys, k, weight) for s in segments for keys in layers)
        found = srp(trace, m, by="weight" if weight else "activations").value
        assert found == pytest.approx(covered / total if total else 0)
        if not weight:
            assert sch(trace, m, k).value == pytest.approx(found)
            shared = sum(best(s, every, k * trace.layers, False) for s in segments)
            assert sch(trace, m, k, scope="model").value == pytest.approx(shared / total if total else 0)


def test_the_knee_is_where_the_curve_is_farthest_above_its_chord() -> None:
    assert int(knee_heights(np.array([0.4, 0.8, 0.9, 1.0])).argmax()) + 1 == 2
    assert knee_heights(np.array([0.25, 0.5, 0.75, 1.0])) == pytest.approx(np.zeros(4))


def test_specialisation_is_the_bits_that_a_label_tells_of_the_expert() -> None:
    assert specialisation(TOY, np.array([0, 0, 0, 0, 1, 1, 1, 1])) == pytest.approx([1.0])
    same = trace_of([[[0], [1], [0], [1]]], 2)
    assert specialisation(same, np.array([0, 0, 1, 1])) == pytest.approx([0.0])


def test_a_report_has_a_row_for_each_length_that_fits() -> None:
    rows = report(TOY, segments=(4, 64))
    assert [row["m"] for row in rows] == [4.0]
    assert rows[0]["SRP"] == rows[0]["SCH 1k"] == 5 / 8
    assert rows[0]["SCH 4k"] == 1.0
    with pytest.raises(InvalidInput, match="longest has 8"):
        report(TOY, segments=(9,))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: srp(TOY, 0), "not 0"),
        (lambda: srp(TOY, 9), "no sequence of the trace has m=9"),
        (lambda: srp(TOY, 4, 1.5), r"1.5 · 1"),
        (lambda: srp(TOY, 4, 5), r"5 · 1"),
        (lambda: srp(TOY, 4, by="logits"), "logits"),
        (lambda: sch(TOY, 4, 0), "not 0"),
        (lambda: sch(TOY, 4, 5), "4 experts is needed, not 5"),
        (lambda: sch(TOY, 4, 2, scope="all"), "all"),
        (lambda: specialisation(TOY, np.zeros(3, int)), "8 numbers"),
        (lambda: segment_counts(trace_of(np.zeros((1, 0, 1)), 2), 1), "no sequence"),
        (lambda: srp(trace_of([[[0]]], 2, weights=[[[np.nan]]]), 1, by="weight"), "NaN"),
    ],
)
def test_bad_input_is_refused_by_name(call: object, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        call()  # type: ignore[operator]
