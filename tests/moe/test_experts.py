"""Experts: two ways of dispatch that must agree, in output and in every gradient."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from torch.nn import functional as F  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.experts import Experts, activated  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.types import Context, Router, Routing, top_k  # noqa: E402


def routing_of(indices, weights, n, mask=None):
    count = len(indices)
    return Routing(indices, weights, torch.zeros(count, n), torch.zeros(count, n), torch.zeros(()), mask)


def drawn(tokens, n, k, seed, masked):
    chance = torch.Generator().manual_seed(seed)
    indices = torch.rand(tokens, n, generator=chance).argsort(-1)[:, :k]
    weights = torch.rand(tokens, k, generator=chance)
    mask = torch.rand(tokens, k, generator=chance) < 0.6 if masked else None
    return indices, weights, mask


def run(experts, x, indices, weights, mask, strategy):
    x, weights = x.clone().requires_grad_(), weights.clone().requires_grad_()
    y = experts(x, routing_of(indices, weights, experts.n, mask), strategy)
    probe = torch.linspace(-1, 1, y.numel()).view_as(y)
    wanted = (x, weights, experts.gate_up_proj, experts.down_proj)
    return y.detach(), torch.autograd.grad((y * probe).sum(), wanted)


@settings(max_examples=30)
@given(
    tokens=st.integers(1, 24),
    n=st.integers(1, 9),
    k=st.integers(1, 9),
    activation=st.sampled_from(["swiglu", "gelu"]),
    masked=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_dense_and_sorted_dispatch_agree_in_output_and_gradients(tokens, n, k, activation, masked, seed):
    torch.manual_seed(seed)
    experts = Experts(n, 6, 5, activation)
    x = torch.randn(tokens, 6)
    indices, weights, mask = drawn(tokens, n, min(k, n), seed, masked)
    dense, dense_grads = run(experts, x, indices, weights, mask, "dense")
    grouped, grouped_grads = run(experts, x, indices, weights, mask, "sorted")
    torch.testing.assert_close(grouped, dense, atol=1e-5, rtol=1e-4)
    for name, one, other in zip(("x", "weights", "first", "last"), grouped_grads, dense_grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4, msg=lambda told, name=name: f"{name}: {told}")


@settings(max_examples=12)
@given(tokens=st.integers(1, 12), n=st.integers(1, 6), seed=st.integers(0, 2**20))
def test_all_experts_on_are_the_dense_mixture(tokens, n, seed):
    torch.manual_seed(seed)
    experts, router, x = Experts(n, 6, 5), Router(6, n, n), torch.randn(tokens, 6)
    routing = router(x)
    wanted = torch.einsum("tn,ntd->td", routing.probs, experts.all(x))
    for strategy in ("dense", "sorted"):
        torch.testing.assert_close(experts(x, routing, strategy), wanted, atol=1e-5, rtol=1e-4)


@settings(max_examples=12)
@given(n=st.integers(2, 8), k=st.integers(1, 3), seed=st.integers(0, 2**20))
def test_the_order_of_the_experts_does_not_matter(n, k, seed):
    torch.manual_seed(seed)
    layer = MoELayer(Experts(n, 6, 5), Router(6, n, min(k, n)))
    x = torch.randn(2, 7, 6)
    before, _ = layer(x)
    order = torch.randperm(n)
    with torch.no_grad():
        for one in (layer.experts.gate_up_proj, layer.experts.down_proj, layer.router.weight):
            one.copy_(one[order].clone())
    torch.testing.assert_close(layer(x)[0], before, atol=1e-5, rtol=1e-4)


def test_swiglu_and_gelu_are_what_their_names_say():
    for activation in ("swiglu", "gelu"):
        experts = Experts(3, 4, 5, activation)
        x = torch.randn(6, 4)
        first = x @ experts.gate_up_proj[1].T
        inner = F.silu(first[:, :5]) * first[:, 5:] if activation == "swiglu" else F.gelu(first)
        torch.testing.assert_close(experts.one(1, x), inner @ experts.down_proj[1].T)
        torch.testing.assert_close(experts.all(x)[1], experts.one(1, x), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(experts.inner_all(x)[1], experts.inner(1, x), atol=1e-6, rtol=1e-5)
    assert activated(torch.zeros(2, 4), "swiglu").shape == (2, 2)
    assert experts.describe() == {"n": 3, "width": 4, "hidden": 5, "activation": "gelu"}


def test_slots_that_the_mask_switches_off_add_nothing():
    experts, x = Experts(4, 6, 5), torch.randn(5, 6)
    indices, weights, _ = drawn(5, 4, 2, 0, False)
    off = torch.zeros(5, 2, dtype=torch.bool)
    for strategy in ("dense", "sorted"):
        assert not experts(x, routing_of(indices, weights, 4, off), strategy).any()


def test_few_tokens_go_dense_and_many_sorted_to_the_same_end():
    experts, router = Experts(8, 6, 5), Router(6, 8, 2)
    x = torch.randn(100, 6)  # 800 rows: sorted; 10 tokens: dense
    routing = router(x)
    few = routing_of(routing.indices[:10], routing.weights[:10], 8)
    torch.testing.assert_close(experts(x, routing)[:10], experts(x[:10], few), atol=1e-5, rtol=1e-4)


def test_a_layer_takes_sequences_and_adds_what_is_always_on():
    torch.manual_seed(0)
    plain = MoELayer(Experts(4, 6, 5), Router(6, 4, 2))
    both = MoELayer(plain.experts, plain.router, torch.nn.Linear(6, 6))
    x = torch.randn(2, 3, 6)
    y, routing = plain(x)
    assert y.shape == x.shape
    assert routing.indices.shape == (6, 2)
    torch.testing.assert_close(both(x)[0], y + both.shared(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("n", "width", "hidden"), [(0, 4, 4), (2, 0, 4), (2, 4, 0), (-1, 4, 4)])
def test_sizes_below_one_are_refused(n, width, hidden):
    with pytest.raises(InvalidInput, match=f"n={n}, width={width}, hidden={hidden}"):
        Experts(n, width, hidden)


def test_bad_input_is_named():
    with pytest.raises(InvalidInput, match="'relu'"):
        Experts(2, 4, 4, "relu")
    with pytest.raises(InvalidInput, match="4 experts of width 6, there are 3"):
        MoELayer(Experts(3, 6, 5), Router(6, 4, 2))
    for k in (0, 5, -1):
        with pytest.raises(InvalidInput, match=f"not {k}"):
            Router(6, 4, k)
    with pytest.raises(InvalidInput, match="not 0"):
        Router(0, 4, 2)
    router = Router(6, 4, 2)
    with pytest.raises(InvalidInput, match="no tokens"):
        router(torch.zeros(0, 6))
    with pytest.raises(InvalidInput, match=r"\[3, 5\]"):
        router(torch.zeros(3, 5))
    x = torch.zeros(3, 6)
    x[1] = float("nan")
    with pytest.raises(InvalidInput, match="token 1"):
        router(x)
    with pytest.raises(InvalidInput, match="not 5"):
        router.choose(torch.zeros(3, 4), Context(1, 3), k=5)


def test_top_k_sums_to_one_only_where_it_is_renormalised():
    probs = torch.tensor([[0.5, 0.2, 0.3]])
    indices, weights = top_k(probs, 2)
    assert indices.tolist() == [[0, 2]]
    torch.testing.assert_close(weights, torch.tensor([[0.625, 0.375]]))
    torch.testing.assert_close(top_k(probs, 2, renormalise=False)[1], torch.tensor([[0.5, 0.3]]))
    routing = routing_of(indices, weights, 3, torch.tensor([[True, False]]))
    assert routing.active.tolist() == [1]
    torch.testing.assert_close(routing.dense(), torch.tensor([[0.625, 0.0, 0.0]]))
