"""What a trace tells of a model's routing: load, entropy, specialisation, co-activation, fluctuation.

Load and entropy as usual for mixtures of experts; specialisation as the mutual information of domain and expert;
fluctuation as in StableMoE (Dai et al. 2022, arXiv 2204.08396): the share of tokens whose experts differ between two
checkpoints. numpy only: a trace's file can be looked at without the model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.moe.trace import RoutingTrace

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Report:
    """Of L layers, N experts, D domains (0 where the trace has none).

    `load` [L, N] shares of assignments, rows sum to 1; `evenness` [L] the load's entropy over log N (1: all alike);
    `sharpness` [L] mean entropy of a token's own weights in nats; `active` [L] experts a token; `domains` [L, D, N]
    each domain's load; `specialisation` [L] mutual information of domain and expert in bits; `together` [L, N, N] share
    of tokens that use both (diagonal: that use it); `persistence` [L] share of tokens whose first expert is that of the
    token before in the same sequence, over what chance would give (1: no more than that).
    """

    tokens: int
    names: tuple[str, ...]
    load: Floats
    evenness: Floats
    sharpness: Floats
    active: Floats
    domains: Floats
    specialisation: Floats
    together: Floats
    persistence: Floats

    def rows(self) -> list[dict[str, Any]]:
        """A row a layer, for tables."""
        return [
            {
                "layer": layer,
                "experts a token": round(float(self.active[layer]), 3),
                "most loaded": f"{int(self.load[layer].argmax())} ({self.load[layer].max():.1%})",
                "least loaded": f"{int(self.load[layer].argmin())} ({self.load[layer].min():.1%})",
                "evenness": round(float(self.evenness[layer]), 3),
                "entropy of weights": round(float(self.sharpness[layer]), 3),
                "specialisation (bits)": round(float(self.specialisation[layer]), 4),
                "persistence": round(float(self.persistence[layer]), 2),
            }
            for layer in range(len(self.load))
        ]


def report(trace: RoutingTrace | Iterable[RoutingTrace]) -> Report:
    """Of a trace, or of its pieces one after the other (`trace.pieces`): only sums are kept. Raises InvalidInput for
    no token."""
    sums: _Sums | None = None
    for part in [trace] if isinstance(trace, RoutingTrace) else trace:
        if sums is None:
            sums = _Sums(part)
        sums.add(part)
    if sums is None or not sums.tokens:
        raise InvalidInput("report: the trace holds no token")
    return sums.told()


def fluctuation(before: RoutingTrace, after: RoutingTrace) -> Floats:
    """[L] the share of tokens whose set of experts differs between two traces of the same tokens. Raises InvalidInput
    where they are not of the same tokens."""
    if before.indices.shape[:2] != after.indices.shape[:2]:
        raise InvalidInput(
            f"fluctuation: traces of {before.indices.shape[:2]} and {after.indices.shape[:2]} layers and tokens"
        )
    if before.tokens is not None and after.tokens is not None and not np.array_equal(before.tokens, after.tokens):
        raise InvalidInput("fluctuation: the two traces are not of the same tokens")
    both = zip(_sets(before), _sets(after), strict=True)
    return np.array([float((one != other).any(axis=1).mean()) for one, other in both])


def _sets(trace: RoutingTrace) -> list[NDArray[np.bool_]]:
    return [trace.chosen(layer) > 0 for layer in range(trace.layers)]


class _Sums:
    """What adds up over pieces."""

    def __init__(self, first: RoutingTrace) -> None:
        layers, n, d = first.layers, first.n_experts, len(first.names)
        self.names, self.tokens = first.names, 0
        self.assigned, self.entropy, self.used = np.zeros((layers, n)), np.zeros(layers), np.zeros(layers)
        self.domains, self.together = np.zeros((layers, d, n)), np.zeros((layers, n, n))
        self.stays, self.pairs, self.first = np.zeros(layers), np.zeros(layers), np.zeros((layers, n))

    def add(self, trace: RoutingTrace) -> None:
        if trace.layers != len(self.assigned) or trace.n_experts != self.assigned.shape[1]:
            raise InvalidInput("report: the pieces are of different models")
        self.tokens += len(trace)
        follows = trace.sequences[1:] == trace.sequences[:-1]
        for layer in range(trace.layers):
            chosen = trace.chosen(layer)
            count = chosen.sum(0)
            self.assigned[layer] += count
            self.used[layer] += float(count.sum())
            self.together[layer] += (chosen.T @ chosen).astype(np.float64)
            weights = trace.weights[layer].astype(np.float64)
            weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)
            self.entropy[layer] += float(-(weights * np.log(np.maximum(weights, 1e-12))).sum())
            if trace.labels is not None:
                for place in range(len(self.names)):
                    self.domains[layer, place] += chosen[trace.labels == place].sum(0)
            top = trace.indices[layer, :, 0].astype(np.int64)
            valid = top >= 0
            self.first[layer] += np.bincount(top[valid], minlength=trace.n_experts)
            near = follows & valid[1:] & valid[:-1]
            self.pairs[layer] += int(near.sum())
            self.stays[layer] += int((top[1:] == top[:-1])[near].sum())

    def told(self) -> Report:
        load = self.assigned / np.maximum(self.assigned.sum(1, keepdims=True), 1)
        n = load.shape[1]
        by_chance = np.square(self.first / np.maximum(self.first.sum(1, keepdims=True), 1)).sum(1)
        persistence = self.stays / np.maximum(self.pairs, 1) / np.maximum(by_chance, 1e-12)
        return Report(
            self.tokens,
            self.names,
            load,
            _entropy(load) / np.log(n) if n > 1 else np.ones(len(load)),
            self.entropy / self.tokens,
            self.used / self.tokens,
            self.domains / np.maximum(self.domains.sum(2, keepdims=True), 1),
            np.array([information(one) for one in self.domains]),
            self.together / self.tokens,
            persistence,
        )


def information(counts: Floats) -> float:
    """Mutual information in bits of the rows and columns of a table of counts; rows are weighed alike, so that a domain
    with more tokens counts no more. 0 for fewer than two rows."""
    rows = counts[counts.sum(1) > 0]
    if len(rows) < 2:
        return 0.0
    given = rows / rows.sum(1, keepdims=True)
    return float((_entropy(given.mean(0)[None])[0] - _entropy(given).mean()) / np.log(2))


def _entropy(p: Floats) -> Floats:
    found: Floats = -(p * np.log(np.maximum(p, 1e-12))).sum(1)
    return found
