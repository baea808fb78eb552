"""Top-p routing: how many experts, their weights and masks, losses, the report, and what is refused."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.registry import make_layer  # noqa: E402
from weighup.moe.routers.topk import TopK, load_balance  # noqa: E402
from weighup.moe.routers.topp import TopP, experts_per_token, mean_entropy  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import RoutingTrace, tracing  # noqa: E402
from weighup.moe.types import Context  # noqa: E402

TINY = TinyConfig(width=8, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=8, router="topp")


def _choose(probs: list[list[float]], p: float, **options: object):
    router = TopP(6, len(probs[0]), p, **options)
    return router.choose(torch.log(torch.tensor(probs)), Context(1, len(probs)))


# how many


def test_the_fewest_experts_that_reach_p_are_used() -> None:
    found = _choose([[0.1, 0.5, 0.15, 0.25], [0.85, 0.05, 0.05, 0.05], [0.24, 0.26, 0.25, 0.25]], 0.6)
    assert found.active.tolist() == [2, 1, 3]
    assert found.indices.shape == (3, 3)
    assert found.indices[0, :2].tolist() == [1, 3]
    assert found.mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]


def test_weights_are_the_probabilities_and_zero_where_masked() -> None:
    found = _choose([[0.1, 0.5, 0.15, 0.25], [0.85, 0.05, 0.05, 0.05]], 0.6)
    assert torch.allclose(found.weights, torch.tensor([[0.5, 0.25], [0.85, 0.0]]))
    assert torch.allclose(found.dense(), torch.tensor([[0.0, 0.5, 0.0, 0.25], [0.85, 0.0, 0.0, 0.0]]))


def test_renormalised_weights_sum_to_one() -> None:
    found = _choose([[0.1, 0.5, 0.15, 0.25], [0.85, 0.05, 0.05, 0.05]], 0.6, renormalise=True)
    assert torch.allclose(found.weights, torch.tensor([[2 / 3, 1 / 3], [1.0, 0.0]]))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10), st.integers(1, 8), st.floats(0.01, 0.99), st.integers(0, 10_000))
def test_the_set_reaches_p_and_none_smaller_does(tokens: int, n: int, p: float, seed: int) -> None:
    logits = 2 * torch.randn(tokens, n, generator=torch.Generator().manual_seed(seed))
    found = TopP(6, n, p).choose(logits, Context(1, tokens))
    probs = torch.softmax(logits, -1)
    kept = found.weights.sum(-1)
    last = found.weights.gather(1, found.active[:, None] - 1)[:, 0]
    assert (kept >= p - 1e-5).all()
    assert (kept - last < p + 1e-5).all()
    # What is used is what is largest.
    least, left = last, probs.masked_fill(found.dense() > 0, 0).amax(-1)
    assert (least >= left - 1e-6).all()
    assert int(found.active.max()) == found.indices.shape[1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_larger_p_never_uses_fewer(seed: int) -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))
    counts = [TopP(6, 5, p).choose(logits, Context(1, 6)).active for p in (0.1, 0.4, 0.7, 0.95, 1.0)]
    assert all((b >= a).all() for a, b in pairwise(counts))


def test_a_small_p_is_top_1() -> None:
    torch.manual_seed(0)
    experts, small, one = Experts(5, 6, 4), TopP(6, 5, 1e-6), TopK(6, 5, 1, renormalise=False)
    one.load_state_dict(small.state_dict())
    x = torch.randn(7, 6)
    y, found = MoELayer(experts, small)(x)
    wanted, top = MoELayer(experts, one)(x)
    assert torch.equal(found.indices, top.indices)
    assert torch.equal(found.weights, top.weights)
    assert torch.equal(y, wanted)


@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_p_of_one_uses_all(scale: float) -> None:
    torch.manual_seed(0)
    logits = scale * torch.randn(6, 5)  # at 200, all but one probability is 0 in floating point
    found = TopP(6, 5, 1.0).choose(logits, Context(1, 6))
    assert found.active.tolist() == [5] * 6
    assert torch.allclose(found.dense(), torch.softmax(logits, -1), atol=1e-7)


def test_equal_probabilities_and_an_exact_p_need_no_expert_more() -> None:
    assert _choose([[0.25, 0.25, 0.25, 0.25]], 0.5).active.tolist() == [2]


def test_most_is_a_bound_on_every_token() -> None:
    assert _choose([[0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01]], 0.9, most=2).active.tolist() == [2, 1]


def test_masked_experts_are_not_used_even_by_p_of_one() -> None:
    found = TopP(6, 4, 1.0).choose(torch.tensor([[0.0, -math.inf, 1.0, -math.inf]]), Context(1, 1))
    assert found.active.tolist() == [2]
    assert sorted(found.indices[0].tolist()) == [0, 2]


# as a layer


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 1.0), st.integers(0, 1_000))
def test_both_strategies_give_the_sum_over_the_used_experts(p: float, seed: int) -> None:
    torch.manual_seed(seed)
    layer, x = MoELayer(Experts(4, 6, 5), TopP(6, 4, p)), torch.randn(9, 6)
    routing = layer.router(x)
    wanted = torch.einsum("tn,ntd->td", routing.dense(), layer.experts.all(x))
    for strategy in ("dense", "sorted"):
        assert torch.allclose(layer.experts(x, routing, strategy), wanted, atol=1e-5)


def test_masked_slots_get_no_gradient() -> None:
    torch.manual_seed(0)
    layer = MoELayer(Experts(4, 6, 5), TopP(6, 4, 1e-6), strategy="sorted")
    y, routing = layer(torch.randn(3, 6))
    y.square().sum().backward()
    unused = sorted(set(range(4)) - set(routing.indices[routing.mask].tolist()))
    assert unused
    assert layer.experts.down_proj.grad[unused].abs().sum() == 0


def test_the_model_trains_and_its_own_options_reach_it() -> None:
    torch.manual_seed(0)
    model = TinyMoELM(TinyConfig(**{**TINY.dump(), "options": {"p": 0.7, "entropy": 0.1}}))
    tokens = torch.randint(0, 256, (2, 8))
    out = model(tokens, tokens)
    out.total.backward()
    router = model.blocks[0].moe.router
    assert (router.p, router.entropy) == (0.7, 0.1)
    assert torch.isfinite(router.weight.grad).all()
    assert router.weight.grad.abs().sum() > 0
    assert router.describe()["p"] == 0.7


def test_control_masks_experts_and_bounds_their_number() -> None:
    torch.manual_seed(0)
    model = TinyMoELM(TINY)
    tokens = torch.randint(0, 256, (2, 8))
    before = model(tokens).logits
    with control(model, Policy(k=1)):
        assert (model(tokens).routings[0].dense() > 0).sum(-1).tolist() == [1] * 16
    with control(model, Policy(k=2, allowed=torch.tensor([True, False, True, False]))):
        assert model(tokens).routings[0].dense()[:, [1, 3]].abs().sum() == 0
    assert torch.equal(model(tokens).logits, before)


# losses


def test_entropy_is_log_n_at_even_and_zero_at_certain_scores() -> None:
    assert mean_entropy(torch.zeros(3, 4)).item() == pytest.approx(math.log(4))
    assert mean_entropy(torch.tensor([[500.0, 0.0]])).item() == pytest.approx(0.0, abs=1e-6)


def test_entropy_and_its_gradient_are_finite_with_masked_experts() -> None:
    logits = torch.tensor([[0.0, 0.0, -math.inf]], requires_grad=True)
    found = mean_entropy(logits)
    found.backward()
    assert found.item() == pytest.approx(math.log(2), rel=1e-5)
    assert torch.isfinite(logits.grad).all()


def test_the_loss_is_balance_of_the_used_and_entropy() -> None:
    torch.manual_seed(0)
    found = TopP(6, 4, 0.5, balance=0.3, entropy=0.2)(torch.randn(9, 6))
    wanted = 0.3 * load_balance(found.probs, found.indices, found.mask) + 0.2 * mean_entropy(found.logits)
    assert found.aux_loss.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_the_entropy_loss_makes_tokens_use_fewer_experts() -> None:
    torch.manual_seed(0)
    router, x = TopP(6, 8, 0.4, balance=0.0, entropy=1.0), torch.randn(64, 6)
    before = router(x).active.float().mean()
    for _ in range(20):
        (slope,) = torch.autograd.grad(router(x).aux_loss, router.weight)
        with torch.no_grad():
            router.weight -= 0.5 * slope
    assert router(x).active.float().mean() < before


# the report


def test_experts_per_token_by_layer_and_domain() -> None:
    indices = np.array([[[0, 1], [2, -1], [3, -1]], [[1, -1], [0, 2], [0, 1]]], np.int16)
    trace = RoutingTrace(
        indices,
        np.zeros((2, 3, 2), np.float16),
        None,
        4,
        np.zeros(3, np.int32),
        np.array([0, 1, 1], np.int16),
        ("maths", "medicine", "politics"),
    )
    found = experts_per_token(trace)
    assert found.by_layer.tolist() == pytest.approx([4 / 3, 5 / 3])
    assert found.mean == pytest.approx(1.5)
    assert {name: each.tolist() for name, each in found.by_domain.items()} == {"maths": [2, 1], "medicine": [1, 2]}


def test_the_report_of_a_traced_model_agrees_with_its_routings() -> None:
    torch.manual_seed(0)
    model = TinyMoELM(TINY)
    with torch.no_grad(), tracing(model, logits=False) as recorder:
        out = model(torch.randint(0, 256, (2, 8)))
    found = experts_per_token(recorder.trace)
    assert found.by_layer.tolist() == pytest.approx([one.active.float().mean().item() for one in out.routings])
    assert not found.by_domain


def test_a_report_of_no_tokens_is_refused() -> None:
    empty = RoutingTrace(np.zeros((1, 0, 2), np.int16), np.zeros((1, 0, 2), np.float16), None, 4, np.zeros(0, np.int32))
    with pytest.raises(InvalidInput, match="no tokens"):
        experts_per_token(empty)


# what is refused


@pytest.mark.parametrize("p", [0.0, -0.1, 1.01, math.nan, math.inf])
def test_p_outside_zero_to_one_is_refused(p: float) -> None:
    with pytest.raises(InvalidInput, match=f"not {p}"):
        TopP(6, 4, p)


@pytest.mark.parametrize("most", [0, 5])
def test_most_outside_one_to_n_is_refused(most: int) -> None:
    with pytest.raises(InvalidInput, match=f"not {most}"):
        TopP(6, 4, most=most)
    with pytest.raises(InvalidInput, match=f"not {most}"):
        TopP(6, 4).choose(torch.zeros(1, 4), Context(1, 1), k=most)


def test_a_token_without_any_expert_is_refused() -> None:
    logits = torch.zeros(3, 4)
    logits[1] = -math.inf
    with pytest.raises(InvalidInput, match="token 1"):
        TopP(6, 4).choose(logits, Context(1, 3))


def test_nan_no_tokens_and_another_width_are_refused() -> None:
    router = TopP(6, 4)
    for x, told in (
        (torch.full((2, 6), math.nan), "NaN"),
        (torch.zeros(0, 6), "no tokens"),
        (torch.zeros(2, 5), "T, 6"),
    ):
        with pytest.raises(InvalidInput, match=told):
            router(x)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(InvalidInput, match="threshold"):
        make_layer(TinyConfig(**{**TINY.dump(), "options": {"threshold": 0.4}}), 0, {})


def test_a_policy_may_leave_a_variable_router_fewer_experts_than_its_most() -> None:
    from weighup.moe.policy import Policy, control
    from weighup.moe.tiny import TinyConfig, TinyMoELM
    from weighup.moe.trace import tracing

    model = TinyMoELM(TinyConfig(width=16, layers=1, heads=2, n_experts=4, hidden=8, context=8, router="topp")).eval()
    allowed = torch.tensor([False, True, False, False])
    with torch.no_grad(), control(model, Policy(allowed=allowed)), tracing(model) as recorder:
        model(torch.randint(0, 256, (1, 8)))
    assert set(recorder.trace.indices[recorder.trace.indices >= 0].tolist()) == {1}
