"""Expert offloading simulator: a routing trace replayed through a cache of experts.

Caches and prefetch as surveyed in "A Survey on Inference Optimization Techniques for Mixture of Experts Models" (Liu
et al. 2024, arXiv 2412.14219, system level: expert offloading). Policies: `lru`, `lfu` (counts since the start, then
the least recent), `score` (the least running mean of the router's probability, decay 0.9), and `belady`, which knows
the future and evicts what is needed last (Belady 1966). Speculative prefetch by the next layer's router on this layer's
input: Eliseev and Mazur 2023 (arXiv 2312.17238).

What we simulate: at layer l a token needs its k experts at once; those that are not there are loaded (a miss), and what
is evicted is none of them. With loading on demand `belady` is optimal: each stay between two uses of an expert saves
one load, and dropping the stay that ends last, whenever there are too many, keeps the most. A prefetched expert is
loaded while the layer before computes, and counts as a hit if it is there when it is needed. The cache starts cold.

Speed: plain loops over integers; all that a policy knows is computed before as arrays. On a busy core, with 4 layers of
8 experts, k=2 and caches of 4, one million tokens took 13 s of CPU with `lru` and 15 s with `lfu`; a hundred thousand
1.4 s with `belady` and 2.7 s with `score`. Time grows with tokens times layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.moe.trace import RoutingTrace
from weighup.registry import Method

METHOD = Method(
    name="offload",
    room="moe",
    paper="A Survey on Inference Optimization Techniques for Mixture of Experts Models (Liu et al. 2024)",
    arxiv="2412.14219",
    command="weighup moe offload-sim TRACE --policy lru",
    claim_check="weighup.moe.control.offload_claim:check",
)

PolicyName = Literal["lru", "lfu", "score", "belady"]
POLICIES: tuple[PolicyName, ...] = ("lru", "lfu", "score", "belady")
Scope = Literal["layer", "model"]
DECAY = 0.9
"""Of the running mean of router probabilities."""
_PIECE = 65_536  # requests that are Python lists at a time
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Hardware:
    """`expert_bytes` of one expert; `bandwidth` bytes a second from where experts are kept; `compute` seconds that one
    layer of one token takes when its experts are there."""

    expert_bytes: float
    bandwidth: float
    compute: float

    def __post_init__(self) -> None:
        if not (self.expert_bytes > 0 and self.bandwidth > 0 and self.compute >= 0):
            raise InvalidInput(f"hardware: positive bytes and bandwidth, and compute of 0 or more, not {self}")

    @property
    def load(self) -> float:
        """Seconds to load one expert."""
        return self.expert_bytes / self.bandwidth


@dataclass(frozen=True)
class Replay:
    """What a cache did. `capacity` experts (of a layer, or in all for scope model); `requests`, `hits`, and `loads` on
    demand; `prefetched` loads ahead, of which `useful` were needed next; `by_layer` hit rates; `bursts[j]`: how often j
    experts were loaded ahead together."""

    policy: str
    scope: str
    capacity: int
    tokens: int
    requests: int
    hits: int
    loads: int
    prefetched: int
    useful: int
    by_layer: tuple[float, ...]
    bursts: tuple[int, ...]

    @property
    def hit_rate(self) -> float:
        """Share of requests whose expert was there."""
        return self.hits / self.requests

    def bytes_moved(self, hardware: Hardware) -> float:
        """Of all loads, on demand and ahead."""
        return (self.loads + self.prefetched) * hardware.expert_bytes

    def tokens_per_second(self, hardware: Hardware) -> float:
        """Loads on demand stop everything; loads ahead cost what they take beyond the compute of one layer."""
        waited = self.loads * hardware.load
        waited += sum(n * max(0.0, j * hardware.load - hardware.compute) for j, n in enumerate(self.bursts))
        seconds = waited + self.tokens * len(self.by_layer) * hardware.compute
        return self.tokens / seconds if seconds else float("inf")

    def row(self, hardware: Hardware) -> dict[str, float]:
        """For tables."""
        return {
            "hit rate": self.hit_rate,
            "bytes moved": self.bytes_moved(hardware),
            "tokens/s": self.tokens_per_second(hardware),
        }


def replay(
    trace: RoutingTrace,
    policy: PolicyName,
    capacity: int,
    *,
    scope: Scope = "layer",
    predictions: NDArray[np.integer[Any]] | None = None,
) -> Replay:
    """Run a trace through a cache.

    `capacity`: experts that each layer's cache holds, or, with `scope="model"`, the one cache of all layers.
    `predictions` [L, T, p], -1 for none: experts of layer l to load before a token gets there (`speculate`).
    Raises InvalidInput for an empty trace, a policy that is not known, `score` without logits or with NaN in them, a
    capacity that does not hold the experts of one token and its predictions, or predictions of another shape.
    """
    _check(trace, policy, capacity, scope, predictions)
    layers, n = trace.layers, trace.n_experts
    scores = _scores(trace) if policy == "score" else None
    if scope == "layer":
        totals = [
            _run(
                trace.indices[layer].astype(np.int64),
                None if predictions is None else predictions[layer].astype(np.int64),
                policy,
                capacity,
                None if scores is None else _Rows(scores[:, layer : layer + 1]),
                1,
                n,
            )
            for layer in range(layers)
        ]
    else:
        keys, ahead = (_interleaved(one, n) for one in (trace.indices, predictions))
        assert keys is not None
        totals = [_run(keys, ahead, policy, capacity, None if scores is None else _Rows(scores), layers, layers * n)]
    misses = np.concatenate([one.misses for one in totals])
    requests = (trace.indices >= 0).sum((1, 2))
    width = max(len(one.bursts) for one in totals)
    bursts = np.sum([np.pad(one.bursts, (0, width - len(one.bursts))) for one in totals], axis=0)
    return Replay(
        policy,
        scope,
        capacity,
        len(trace),
        int(requests.sum()),
        int(requests.sum() - misses.sum()),
        int(misses.sum()),
        int(bursts @ np.arange(width)),
        sum(one.useful for one in totals),
        tuple(float(1 - miss / max(1, total)) for miss, total in zip(misses, requests, strict=True)),
        tuple(int(one) for one in bursts),
    )


def recall(trace: RoutingTrace, predictions: NDArray[np.integer[Any]]) -> tuple[float, ...]:
    """Of each layer: the share of the experts used that were predicted (0 where nothing was)."""
    if predictions.shape[:2] != trace.indices.shape[:2]:
        raise InvalidInput(f"predictions: shape {trace.indices.shape[:2]} + [p] is needed, not {predictions.shape}")
    used = trace.indices >= 0
    found = (trace.indices[..., None] == predictions[:, :, None, :]).any(-1) & used
    return tuple(float(one) for one in found.sum((1, 2)) / np.maximum(1, used.sum((1, 2))))


@dataclass(frozen=True, eq=False)
class _Totals:
    misses: Ints  # by layer
    useful: int
    bursts: Ints


class _Rows:
    """The running score of every key when a request comes; scores [T, L, N]."""

    def __init__(self, scores: NDArray[np.float16]) -> None:
        self.scores = scores

    def at(self, request: int) -> list[float]:
        """Layers up to this one know this token, the others the one before."""
        token, layer = divmod(request, self.scores.shape[1])
        now, before = self.scores[token, : layer + 1], self.scores[max(0, token - 1), layer + 1 :]
        return [*now.ravel().tolist(), *before.ravel().tolist()]


def _run(
    keys: Ints,
    ahead: Ints | None,
    policy: PolicyName,
    capacity: int,
    rows: _Rows | None,
    layers: int,
    size: int,
) -> _Totals:
    """One cache. keys [R, k] (-1: none) in the order of requests; ahead [R, p], loaded before the request.

    Every policy but `score` evicts the resident with the least `value`; what a request sets it to is known before.
    """
    value = [0] * size
    cache: set[int] = set()
    misses, useful = [0] * layers, 0
    bursts = [0] * (1 if ahead is None else ahead.shape[1] + 1)
    before: Sequence[int] = ()
    ranks: Sequence[float]
    for at, group, given, early, early_given in _requests(keys, ahead, policy, size):
        if early:
            # What the layer before is computing with stays, as does what is fetched together.
            pinned, fetched = {*early, *(before if layers > 1 else ())}, 0
            for key, one in zip(early, early_given, strict=True):
                if key in cache:
                    continue
                if len(cache) >= capacity:
                    ranks = value if rows is None else rows.at(max(0, at - 1))
                    cache.remove(min(cache - pinned, key=ranks.__getitem__))
                cache.add(key)
                value[key] = one
                fetched += 1
                useful += key in group
            bursts[fetched] += 1
        for key in () if cache.issuperset(group) else group:
            if key not in cache:
                misses[at % layers] += 1
                if len(cache) >= capacity:
                    ranks = value if rows is None else rows.at(at)
                    cache.remove(min(cache.difference(group), key=ranks.__getitem__))
                cache.add(key)
        for key, one in zip(group, given, strict=True):
            value[key] = one
        before = group
    return _Totals(np.array(misses), useful, np.array(bursts))


def _requests(
    keys: Ints, ahead: Ints | None, policy: PolicyName, size: int
) -> Iterator[tuple[int, Sequence[int], Sequence[int], Sequence[int], Sequence[int]]]:
    """(place, keys, their values from then on, keys to load ahead, their values), unused slots left out."""
    known = _Known(keys, policy, size)
    ragged = bool((keys < 0).any())
    for start in range(0, len(keys), _PIECE):
        piece = slice(start, start + _PIECE)
        at = np.arange(start, min(len(keys), start + _PIECE))[:, None]
        groups, given = keys[piece].tolist(), known.after(keys[piece], at).tolist()
        early: list[Any] = [()] * len(groups)
        early_given = early
        if ahead is not None:
            early, early_given = ahead[piece].tolist(), known.before(ahead[piece], at).tolist()
            early, early_given = _filled(early, early_given)
        if ragged:
            groups, given = _filled(groups, given)
        yield from zip(range(start, start + len(groups)), groups, given, early, early_given, strict=True)


def _filled(keys: list[Any], values: list[Any]) -> tuple[list[Any], list[Any]]:
    """Rows without the unused slots."""
    kept = [[n for n, key in enumerate(row) if key >= 0] for row in keys]
    return tuple([[row[n] for n in some] for row, some in zip(rows, kept, strict=True)] for rows in (keys, values))  # type: ignore[return-value]


class _Known:
    """What a policy thinks of a key after its use at a place, or before one: the least is evicted first."""

    def __init__(self, keys: Ints, policy: PolicyName, size: int) -> None:
        self.policy, self.count = policy, len(keys)
        if policy in ("lfu", "belady"):
            places = np.broadcast_to(np.arange(self.count)[:, None], keys.shape)
            used = keys >= 0
            # Uses of each key in order: one sorted array of key · R + place.
            self.uses = np.sort(keys[used] * self.count + places[used])
            self.starts = np.searchsorted(self.uses, np.arange(size + 1) * self.count)

    def after(self, keys: Ints, at: Ints) -> Ints:
        """keys [R', k] used at places at [R', 1]."""
        return self._value(keys, at, "right")

    def before(self, keys: Ints, at: Ints) -> Ints:
        """The same of keys that were loaded at a place, but not yet used."""
        return self._value(keys, at, "left")

    def _value(self, keys: Ints, at: Ints, side: Literal["left", "right"]) -> Ints:
        if self.policy not in ("lfu", "belady"):
            return np.broadcast_to(at, keys.shape)
        place = np.searchsorted(self.uses, keys * self.count + at, side=side)
        if self.policy == "lfu":
            counts: Ints = (place - self.starts[keys]) * self.count + at
            return counts
        there = place < self.starts[keys + 1]
        following = self.uses[np.minimum(place, len(self.uses) - 1)] - keys * self.count
        negated: Ints = -np.where(there, following, 2 * self.count)
        return negated


def _interleaved(per_layer: NDArray[np.integer[Any]] | None, n: int) -> Ints | None:
    """[L, T, k] experts -> [T·L, k] keys layer · N + expert, token by token."""
    if per_layer is None:
        return None
    wide = per_layer.astype(np.int64)
    keys = np.where(wide >= 0, wide + n * np.arange(len(wide))[:, None, None], -1)
    return keys.transpose(1, 0, 2).reshape(-1, wide.shape[2])


def _scores(trace: RoutingTrace) -> NDArray[np.float16]:
    """[T, L, N]: running means of the softmax of the router's logits."""
    from scipy.signal import lfilter
    from scipy.special import softmax

    assert trace.logits is not None
    found = np.empty((len(trace), trace.layers, trace.n_experts), np.float16)
    state = np.zeros((1, trace.layers, trace.n_experts), np.float32)
    for start in range(0, len(trace), _PIECE):
        probs = softmax(trace.logits[:, start : start + _PIECE].astype(np.float32), axis=-1).transpose(1, 0, 2)
        smooth, state = lfilter([1 - DECAY], [1, -DECAY], probs, axis=0, zi=state)
        found[start : start + _PIECE] = smooth
    return found


def _check(
    trace: RoutingTrace, policy: str, capacity: int, scope: str, predictions: NDArray[np.integer[Any]] | None
) -> None:
    if policy not in POLICIES:
        raise InvalidInput(f"policy: one of {', '.join(POLICIES)}, not {policy!r}")
    if scope not in ("layer", "model"):
        raise InvalidInput(f"scope: layer or model, not {scope!r}")
    if not len(trace) or not (trace.indices >= 0).any():
        raise InvalidInput("trace: holds no token that uses an expert")
    if policy == "score":
        if trace.logits is None:
            raise InvalidInput("policy score: the trace has no logits; record it with logits=True")
        if np.isnan(trace.logits).any():
            raise InvalidInput("policy score: the trace's logits hold NaN")
    k, p = trace.indices.shape[2], 0
    if predictions is not None:
        if predictions.ndim != 3 or predictions.shape[:2] != trace.indices.shape[:2]:
            raise InvalidInput(f"predictions: shape {trace.indices.shape[:2]} + [p] is needed, not {predictions.shape}")
        p = predictions.shape[2]
        if p and not -1 <= int(predictions.min()) <= int(predictions.max()) < trace.n_experts:
            raise InvalidInput(f"predictions: experts 0 to {trace.n_experts - 1} or -1, not {int(predictions.max())}")
    least = max(k, p) if scope == "layer" else k + p
    if capacity < least:
        raise InvalidInput(f"capacity: {least} experts must be there at once, {capacity} do not hold them")
