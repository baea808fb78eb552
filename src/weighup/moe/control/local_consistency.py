"""Local routing consistency: do neighbouring tokens use the same experts, and how much does a small cache hold?

"Not All Models Suit Expert Offloading: On Local Routing Consistency of Mixture-of-Expert Models" (Liang et al. 2025,
arXiv 2505.16056). A segment is m tokens in a row of one sequence. SRP, segment routing best performance: how much of
a segment's routing one fixed set of ρ·k experts a layer covers, for the best set. SCH, segment cache best hit rate: the
hit rate of a cache that holds the best experts for each segment, up to a limit, filled between segments.

Faithful: what the two measure, and that both are optima over all sets. † Our reading, since neither the paper's text
nor its code could be checked: segments do not overlap (a rest shorter than m is left out); SRP is the share covered, of
activations or of routing weight, with one size for all segments; loading at a segment's start is free, because the
coming segment is known (`moe.control.offload` counts what loading costs). So SCH by layer with a limit of ρ·k is SRP of
activations; with `scope="model"` the layers share one cache, and a segment gives it to the layers that gain the most.

Both are exact: a set's worth is the sum of its experts' counts, so the best set is the largest counts. Brute force over
all sets gives the same (tests). Cost: one pass over the trace and a sort of [S, L, N] counts for S segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.moe.trace import RoutingTrace
from weighup.registry import Method

METHOD = Method(
    name="local_consistency",
    room="moe",
    paper="Not All Models Suit Expert Offloading: On Local Routing Consistency of Mixture-of-Expert Models "
    "(Liang et al. 2025)",
    arxiv="2505.16056",
    command="weighup moe report TRACE",
    claim_check="weighup.moe.control.local_consistency_claim:check",
)

By = Literal["activations", "weight"]
Scope = Literal["layer", "model"]
Floats = NDArray[np.float64]
SEGMENTS = (4, 16, 64)
"""Segment lengths that `report` shows."""


@dataclass(frozen=True)
class Consistency:
    """`value` in [0, 1] over all layers and segments; `by_layer` the same of each layer; `segments` how many."""

    value: float
    by_layer: tuple[float, ...]
    segments: int


def segment_counts(trace: RoutingTrace, m: int, *, by: By = "activations") -> Floats:
    """[S, L, N]: how often (or with what summed weight) each segment of m tokens used each expert of each layer.

    Raises InvalidInput for m below 1, no sequence of m tokens, or weights that are NaN.
    """
    if m < 1:
        raise InvalidInput(f"segment: a length m of 1 or more is needed, not {m}")
    if by not in ("activations", "weight"):
        raise InvalidInput(f"by: activations or weight, not {by!r}")
    segment, count = _segments(trace.sequences, m)
    if not count:
        raise InvalidInput(f"segment: no sequence of the trace has m={m} tokens; there are {len(trace)} in all")
    n, inside = trace.n_experts, segment >= 0
    found = np.empty((count, trace.layers, n))
    for layer in range(trace.layers):
        indices = trace.indices[layer][inside].astype(np.int64)
        used = indices >= 0
        places = (segment[inside, None] * n + indices)[used]
        weights = None if by == "activations" else trace.weights[layer][inside][used].astype(float)
        if weights is not None and np.isnan(weights).any():
            raise InvalidInput(f"trace: the weights of layer {layer} hold NaN")
        found[:, layer] = np.bincount(places, weights, minlength=count * n).reshape(count, n)
    return found


def srp(trace: RoutingTrace, m: int, rho: float = 1.0, *, by: By = "activations") -> Consistency:
    """Segment routing best performance: the share of routing that the best ρ·k experts of each segment and layer cover.

    k is the number of slots of the trace. Raises InvalidInput as `segment_counts`, and unless ρ·k is a whole number
    from 1 to N.
    """
    size = _whole(rho, trace)
    counts = segment_counts(trace, m, by=by)
    return _consistency(_best(counts, size), counts)


def sch(trace: RoutingTrace, m: int, limit: int, *, scope: Scope = "layer") -> Consistency:
    """Segment cache best hit rate with `limit` experts a layer on average.

    `scope="layer"`: each layer's cache holds `limit`; "model": all L layers share L·limit, spread anew each segment.
    Raises InvalidInput as `segment_counts`, and unless 1 <= limit <= N.
    """
    if not 1 <= limit <= trace.n_experts:
        raise InvalidInput(f"limit: between 1 and the {trace.n_experts} experts is needed, not {limit}")
    if scope not in ("layer", "model"):
        raise InvalidInput(f"scope: layer or model, not {scope!r}")
    counts = segment_counts(trace, m)
    if scope == "layer":
        return _consistency(_best(counts, limit), counts)
    flat = counts.reshape(len(counts), -1)
    order = np.argsort(-flat, axis=1, kind="stable")[:, : limit * trace.layers]
    hits = np.zeros_like(flat)
    np.put_along_axis(hits, order, np.take_along_axis(flat, order, 1), 1)
    return _consistency(hits.reshape(counts.shape).sum(-1), counts)


def sch_curve(trace: RoutingTrace, m: int) -> Floats:
    """[N]: SCH by layer with caches of 1 to N experts, in one pass."""
    counts = segment_counts(trace, m)
    sums: Floats = np.sort(counts, axis=-1)[..., ::-1].cumsum(-1).sum((0, 1))
    curve: Floats = sums / sums[-1]
    return curve


def knee_heights(curve: Floats) -> Floats:
    """[N]: how far each point of a hit-rate curve (of sizes 1 to N) lies above the line from nothing to its last point.

    The knee is where that is greatest (Satopää et al. 2011, Kneedle, for a concave curve without smoothing).
    """
    sizes = np.arange(1, len(curve) + 1) / len(curve)
    heights: Floats = curve - sizes * curve[-1]
    return heights


def specialisation(trace: RoutingTrace, labels: NDArray[np.integer]) -> Floats:
    """[L]: mutual information, in bits, of a token's label (its domain; or its byte) and the expert that one of its
    activations goes to: 0 where experts do not care. labels [T], 0 or more.

    Raises InvalidInput for labels of another length or below 0, or for no token.
    """
    if len(labels) != len(trace) or not len(labels) or int(labels.min()) < 0:
        raise InvalidInput(f"labels: {len(trace)} numbers of 0 or more are needed, one a token, not {len(labels)}")
    found = []
    kinds = int(labels.max()) + 1
    for layer in range(trace.layers):
        used = trace.indices[layer] >= 0
        places = labels.astype(np.int64)[:, None] * trace.n_experts + trace.indices[layer]
        joint = np.bincount(places[used], minlength=kinds * trace.n_experts).reshape(kinds, -1).astype(float)
        joint /= joint.sum()
        apart = np.outer(joint.sum(1), joint.sum(0))
        there = joint > 0
        found.append(float((joint[there] * np.log2(joint[there] / apart[there])).sum()))
    return np.array(found)


def report(trace: RoutingTrace, *, segments: Sequence[int] = SEGMENTS) -> list[dict[str, float]]:
    """A row for each segment length: SRP of activations and of weight at ρ=1, and SCH of caches of k, 2k and 4k experts
    (as far as there are as many). Lengths that no sequence has are left out; raises InvalidInput if all are."""
    longest = int(np.max(np.diff(_ends(trace.sequences), prepend=0), initial=0))
    some = [m for m in segments if m <= longest]
    if not some:
        raise InvalidInput(f"segment: no sequence of the trace has m={min(segments)} tokens; the longest has {longest}")
    rows = []
    k = trace.indices.shape[2]
    for m in some:
        curve = sch_curve(trace, m)
        row = {"m": float(m), "SRP": srp(trace, m).value, "SRP by weight": srp(trace, m, by="weight").value}
        row |= {f"SCH {times}k": float(curve[times * k - 1]) for times in (1, 2, 4) if times * k <= trace.n_experts}
        rows.append(row)
    return rows


def _ends(sequences: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where each run of one sequence ends."""
    if not len(sequences):
        return np.zeros(0, np.int64)
    return np.append(np.flatnonzero(np.diff(sequences)) + 1, len(sequences)).astype(np.int64)


def _segments(sequences: NDArray[np.int32], m: int) -> tuple[NDArray[np.int64], int]:
    """The segment of each token, -1 in a rest shorter than m; and how many there are."""
    ends = _ends(sequences)
    lengths = np.diff(ends, prepend=0)
    whole = lengths // m
    before = np.concatenate(([0], whole.cumsum()))
    run = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(sequences)) - (ends - lengths)[run]
    segment = np.where(place < whole[run] * m, before[run] + place // m, -1)
    return segment, int(before[-1])


def _whole(rho: float, trace: RoutingTrace) -> int:
    k = int(trace.indices.shape[2])
    size = round(rho * k)
    if abs(size - rho * k) > 1e-9 or not 1 <= size <= trace.n_experts:
        raise InvalidInput(
            f"rho: ρ·k must be a whole number from 1 to the {trace.n_experts} experts; {rho:g} · {k} is not"
        )
    return size


def _best(counts: Floats, size: int) -> Floats:
    """[S, L]: the sum of the `size` largest."""
    n = counts.shape[-1]
    best: Floats = np.partition(counts, n - size, axis=-1)[..., n - size :].sum(-1)
    return best


def _consistency(hits: Floats, counts: Floats) -> Consistency:
    layers = hits.sum(0) / np.maximum(counts.sum((0, 2)), 1e-12)
    total = float(hits.sum() / max(counts.sum(), 1e-12))
    return Consistency(total, tuple(float(one) for one in layers), len(counts))
