"""The offloading simulator: toys by hand, Belady's optimum by brute force, and predictions of a model of ours."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.control.local_consistency import sch  # noqa: E402
from weighup.moe.control.offload import POLICIES, Hardware, recall, replay  # noqa: E402
from weighup.moe.control.speculate import hardware_of, speculate  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import RoutingTrace  # noqa: E402

TINY = TinyConfig(width=16, layers=3, heads=2, n_experts=6, k=2, hidden=8, context=16)


def trace_of(indices: object, n: int, logits: object = None) -> RoutingTrace:
    at = np.asarray(indices, np.int16)
    told = None if logits is None else np.asarray(logits, np.float16)
    return RoutingTrace(at, np.ones(at.shape, np.float16), told, n, np.zeros(at.shape[1], np.int32))


def one_layer(*experts: int, n: int = 4) -> RoutingTrace:
    return trace_of([[[e] for e in experts]], n)


@st.composite
def traces(draw: st.DrawFn) -> RoutingTrace:
    n, layers, count = draw(st.integers(2, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 30))
    k = draw(st.integers(1, min(3, n)))
    chance = np.random.default_rng(draw(st.integers(0, 2**16)))
    logits = (chance.normal(size=(layers, count, n)) + 2 * chance.normal(size=(layers, 1, n))).astype(np.float16)
    indices = (-logits).argsort(-1)[..., :k]
    if draw(st.booleans()):
        indices[chance.random(indices.shape) < 0.1] = -1
        indices[:, 0, 0] = 0
    return trace_of(indices, n, logits)


def test_policies_on_a_toy_counted_by_hand() -> None:
    trace = one_layer(0, 0, 1, 2, 0, 1, 0)
    # LRU: 0 miss, 0 hit, 1 miss, 2 evicts 0, 0 evicts 1, 1 evicts 2, 0 hit.
    assert replay(trace, "lru", 2).hits == 2
    # LFU: 2 evicts 1 (one use against two), 0 hit, 1 evicts 2, 0 hit.
    assert replay(trace, "lfu", 2).hits == 3
    # The future: 2 evicts 1 (needed after 0), 0 hit, 1 evicts 2 (never again), 0 hit.
    assert replay(trace, "belady", 2).hits == 3
    assert replay(trace, "lru", 4).hits == 4  # the first use of each is always a miss


def test_the_score_policy_evicts_what_the_router_thinks_least_of() -> None:
    # Expert 0 is older than 1, but the router goes on thinking well of it.
    logits = [[[4, 0, 0], [3, 4, 0], [3, 0, 4], [4, 0, 0]]]
    trace = trace_of([[[0], [1], [2], [0]]], 3, logits)
    assert replay(trace, "score", 2).hits == 1
    assert replay(trace, "lru", 2).hits == 0


def test_a_token_keeps_all_its_experts_while_they_are_loaded() -> None:
    trace = trace_of([[[0, 1], [2, 0], [1, 2]]], 3)
    found = replay(trace, "lru", 2)
    assert (found.hits, found.loads, found.requests) == (2, 4, 6)  # 0 stays for the second, 2 for the third


def test_one_cache_for_all_layers_lends_room_where_it_is_needed() -> None:
    trace = trace_of([[[0]] * 6, [[0], [1], [0], [1], [0], [1]]], 2)
    assert replay(trace, "lru", 1).by_layer == pytest.approx((5 / 6, 0.0))
    assert replay(trace, "belady", 3, scope="model").by_layer == pytest.approx((5 / 6, 4 / 6))
    # With two, each hit of layer 1 would cost one of layer 0.
    assert replay(trace, "belady", 2, scope="model").hits == 5
    assert replay(trace, "lru", 2, scope="model").hits == 5


def test_time_and_bytes_of_a_replay() -> None:
    hardware = Hardware(expert_bytes=100, bandwidth=1000, compute=0.05)  # a load takes 0.1 s
    found = replay(one_layer(0, 0, 1, 0), "lru", 2)
    assert found.bytes_moved(hardware) == 200
    assert found.tokens_per_second(hardware) == pytest.approx(4 / (2 * 0.1 + 4 * 0.05))
    assert found.row(hardware)["hit rate"] == 0.5


def test_right_predictions_turn_misses_into_hits_and_hide_behind_compute() -> None:
    trace = trace_of([[[0]] * 3, [[0], [1], [2]]], 3)
    ahead = np.full((2, 3, 1), -1)
    ahead[1] = [[0], [1], [2]]
    plain, found = replay(trace, "lru", 1), replay(trace, "lru", 1, predictions=ahead)
    assert (plain.hits, found.hits) == (2, 5)
    assert (found.loads, found.prefetched, found.useful) == (1, 3, 3)
    slow, fast = Hardware(100, 1000, 0.05), Hardware(100, 1000, 0.1)
    assert found.bytes_moved(slow) == plain.bytes_moved(slow) == 400
    assert found.tokens_per_second(fast) == pytest.approx(3 / (0.1 + 6 * 0.1))
    assert found.tokens_per_second(slow) == pytest.approx(3 / (0.1 + 3 * 0.05 + 6 * 0.05))


def test_wrong_predictions_move_bytes_for_nothing() -> None:
    trace = trace_of([[[0]] * 3, [[0]] * 3], 3)
    ahead = np.full((2, 3, 2), -1)
    ahead[1] = [[1, 2]] * 3
    found = replay(trace, "lru", 2, predictions=ahead)
    assert found.hits == 2
    assert (found.useful, recall(trace, ahead)) == (0, (0.0, 0.0))
    assert found.prefetched == 2 + 1 + 1  # both, then the one that expert 0 has pushed out


@settings(max_examples=50, deadline=None)
@given(traces(), st.integers(0, 3), st.sampled_from(["layer", "model"]))
def test_no_policy_beats_belady_and_more_room_does_not_hurt_it(trace: RoutingTrace, more: int, scope: str) -> None:
    capacity = trace.indices.shape[2] + more
    best = replay(trace, "belady", capacity, scope=scope)  # type: ignore[arg-type]
    for policy in POLICIES:
        found = replay(trace, policy, capacity, scope=scope)  # type: ignore[arg-type]
        assert best.hits >= found.hits
        assert found.hits + found.loads == found.requests == int((trace.indices >= 0).sum())
    assert replay(trace, "belady", capacity + 1, scope=scope).hits >= best.hits  # type: ignore[arg-type]
    if scope == "layer":
        # A cache that is filled for nothing before each token can only be better than one that loads on demand.
        assert sch(trace, 1, min(capacity, trace.n_experts)).value >= best.hit_rate - 1e-12


@settings(max_examples=30, deadline=None)
@given(traces(), st.integers(0, 1))
def test_belady_loads_as_little_as_any_way_of_keeping_experts(trace: RoutingTrace, more: int) -> None:
    capacity = min(trace.indices.shape[2] + more, trace.n_experts)
    loads = 0
    for layer in trace.indices:
        # The least loads by what is in the cache after each token, over all contents that hold its experts.
        states: dict[frozenset[int], int] = {frozenset(): 0}
        for row in layer:
            group = frozenset(int(e) for e in row if e >= 0)
            then: dict[frozenset[int], int] = {}
            for held, cost in states.items():
                paid = cost + len(group - held)
                rest = sorted(held - group)
                room = min(capacity - len(group), len(rest))
                for kept in combinations(rest, room):
                    key = group | frozenset(kept)
                    then[key] = min(paid, then.get(key, paid))
            states = then
        loads += min(states.values())
    assert replay(trace, "belady", capacity).loads == loads


@settings(max_examples=30, deadline=None)
@given(traces(), st.integers(0, 2), st.sampled_from(POLICIES), st.sampled_from(["layer", "model"]))
def test_predicting_the_truth_leaves_no_miss(trace: RoutingTrace, more: int, policy: str, scope: str) -> None:
    capacity = 2 * trace.indices.shape[2] + more
    found = replay(trace, policy, capacity, scope=scope, predictions=trace.indices)  # type: ignore[arg-type]
    assert found.hits == found.requests
    assert found.useful == found.prefetched
    assert recall(trace, trace.indices) == pytest.approx([1.0] * trace.layers)


def test_predictions_are_of_the_next_router_on_this_layers_input() -> None:
    torch.manual_seed(0)
    model = TinyMoELM(TINY)
    ids = torch.randint(0, 256, (2, 9))
    trace, predictions = speculate(model, [ids, ids], 6)
    assert predictions.shape == (3, 32, 6)
    assert trace.tokens is not None
    assert trace.tokens[:8].tolist() == ids[0, :8].tolist()
    assert (predictions[0] == -1).all()
    assert recall(trace, predictions) == (0.0, 1.0, 1.0)  # all six hold those that are used
    seen: list[torch.Tensor] = []
    handle = model.blocks[0].moe.router.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(ids[:, :-1])
    handle.remove()
    wanted = (seen[0] @ model.blocks[1].moe.router.weight.T).topk(2, -1)[1]
    assert np.array_equal(speculate(model, [ids], 2)[1][1], wanted.numpy())
    assert replay(trace, "lru", 4, predictions=predictions[..., :2]).useful > 0
    assert model.training


def test_hardware_of_a_model() -> None:
    hardware = hardware_of(TinyMoELM(TINY), bandwidth=1e6, flops=1e9)
    assert hardware.load == pytest.approx(3 * 16 * 8 * 2 / 1e6)
    with pytest.raises(InvalidInput, match="positive"):
        hardware_of(TinyMoELM(TINY), bandwidth=0, flops=1e9)


TOY = one_layer(0, 1, 2)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: replay(TOY, "fifo", 2), "fifo"),
        (lambda: replay(TOY, "lru", 0), "capacity: 1 experts"),
        (lambda: replay(TOY, "lru", 2, scope="disk"), "disk"),
        (lambda: replay(TOY, "score", 2), "no logits"),
        (lambda: replay(trace_of([[[0]]], 2, [[[np.nan, 0]]]), "score", 1), "NaN"),
        (lambda: replay(trace_of(np.zeros((1, 0, 1)), 2), "lru", 1), "no token"),
        (lambda: replay(TOY, "lru", 2, predictions=np.zeros((1, 2, 1), int)), r"predictions: shape \(1, 3\)"),
        (lambda: replay(TOY, "lru", 2, predictions=np.full((1, 3, 1), 9)), "not 9"),
        (lambda: replay(TOY, "lru", 1, scope="model", predictions=np.zeros((1, 3, 1), int)), "2 experts must"),
        (lambda: recall(TOY, np.zeros((2, 3, 1), int)), "predictions"),
        (lambda: Hardware(1, 0, 1), "positive"),
        (lambda: speculate(torch.nn.Linear(2, 2), [], 1), "Linear"),
        (lambda: speculate(TinyMoELM(TINY), [torch.zeros(1, 4, dtype=torch.long)], 7), "not 7"),
        (lambda: speculate(TinyMoELM(TINY), [], 1), "nothing was recorded"),
    ],
)
def test_bad_input_is_refused_by_name(call: object, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        call()  # type: ignore[operator]
