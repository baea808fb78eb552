"""Chain-of-Experts: one iteration is top-k, two are what the formula says, and all choices are told."""

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.routers.coe import CoELayer, IterationRouter, chained  # noqa: E402
from weighup.moe.routers.topk import TopK  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import tracing  # noqa: E402
from weighup.moe.types import Context, Router  # noqa: E402


def config(k: int = 4, iterations: int = 2, **more) -> TinyConfig:
    options = {"iterations": iterations, **more}
    return TinyConfig(
        width=16, layers=2, heads=2, n_experts=6, k=k, hidden=8, context=16, router="coe", options=options
    )


def model(**options) -> TinyMoELM:
    torch.manual_seed(0)
    return TinyMoELM(config(**options)).eval()


@settings(max_examples=20, deadline=None)
@given(tokens=st.integers(1, 60), n=st.integers(1, 6), seed=st.integers(0, 1000), data=st.data())
def test_one_iteration_is_exactly_top_k(tokens, n, seed, data):
    k = data.draw(st.integers(1, n))
    torch.manual_seed(seed)
    experts, x = Experts(n, 8, 4), torch.randn(tokens, 8)
    plain, router = TopK(8, n, k), IterationRouter(8, n, k)
    router.load_state_dict(plain.state_dict())
    y, routing = CoELayer(experts, router)(x)
    wanted, expected = MoELayer(experts, plain)(x)
    assert torch.equal(y, wanted)
    for name in ("indices", "weights", "probs", "logits", "aux_loss"):
        assert torch.equal(getattr(routing, name), getattr(expected, name))


@pytest.mark.parametrize("k", [1, 2])
def test_a_model_of_one_iteration_is_the_top_k_model(k):
    ours = model(k=k, iterations=1)
    plain = TinyMoELM(TinyConfig(**{**config(k=k).dump(), "router": "topk", "options": {}}))
    plain.load_state_dict(ours.state_dict())
    tokens = torch.randint(256, (2, 9))
    with torch.no_grad():
        mine, theirs = ours(tokens, tokens), plain(tokens, tokens)
    assert torch.equal(mine.logits, theirs.logits)
    assert torch.equal(mine.total, theirs.total)


def test_two_iterations_are_the_formula():
    torch.manual_seed(0)
    experts, first, second = Experts(5, 8, 4), IterationRouter(8, 5, 2), IterationRouter(8, 5, 2)
    x0 = torch.randn(11, 8)
    y, routing = CoELayer(experts, first, [second])(x0)

    def added(x, router):
        indices = router(x).indices
        gates = torch.softmax((x @ router.weight.T).gather(1, indices), -1)  # renormalised over the chosen
        each = torch.stack([torch.stack([experts.one(int(e), x[t]) for e in row]) for t, row in enumerate(indices)])
        return (gates[..., None] * each).sum(1)

    x1 = x0 + added(x0, first)
    x2 = x1 + added(x1, second)
    torch.testing.assert_close(y, x2 - x0, atol=1e-5, rtol=1e-5)
    assert torch.equal(routing.indices, torch.cat((first(x0).indices, second(x1).indices), 1))
    torch.testing.assert_close(routing.aux_loss, first(x0).aux_loss + second(x1).aux_loss)


def test_one_routing_tells_of_every_iteration():
    one = model()
    out = one(torch.randint(256, (2, 7)))
    routing = out.routings[0]
    assert routing.indices.shape == routing.weights.shape == (14, 4)
    assert routing.probs.shape == routing.logits.shape == (14, 6)
    assert routing.active.tolist() == [4] * 14
    torch.testing.assert_close(routing.probs.sum(-1), torch.ones(14))
    torch.testing.assert_close(routing.dense().sum(-1), torch.full((14,), 2.0))  # 1 an iteration
    assert out.aux_loss.dim() == 0


def test_a_single_expert_an_iteration_keeps_its_probability_so_that_its_router_learns():
    torch.manual_seed(0)
    one = TinyMoELM(config(k=2, balance=0.0, z=0.0))
    tokens = torch.randint(256, (2, 8))
    out = one(tokens, tokens)
    assert (out.routings[0].weights < 1).all()
    out.total.backward()
    layer = one.blocks[0].moe
    assert layer.router.weight.grad.abs().sum() > 0
    assert layer.later[0].weight.grad.abs().sum() > 0


def test_experts_are_shared_between_iterations_and_routers_are_not():
    one, plain = model(iterations=2), model(iterations=1)
    extra = sum(p.numel() for p in one.parameters()) - sum(p.numel() for p in plain.parameters())
    assert extra == 2 * 6 * 16  # a router a layer


def test_experts_that_are_always_on_see_the_input_once():
    torch.manual_seed(0)
    experts, routers, shared = Experts(4, 8, 4), [IterationRouter(8, 4, 2) for _ in range(2)], torch.nn.Linear(8, 8)
    x = torch.randn(2, 3, 8)
    without, _ = CoELayer(experts, routers[0], routers[1:])(x)
    with_shared, _ = CoELayer(experts, routers[0], routers[1:], shared)(x)
    torch.testing.assert_close(with_shared, without + shared(x))


def test_tracing_and_control_act_on_the_first_iteration():
    one, tokens = model(), torch.randint(256, (2, 7))
    with torch.no_grad(), tracing(one) as recorder:
        out = one(tokens)
    assert (recorder.trace.indices[0] == out.routings[0].indices[:, :2].numpy()).all()
    with torch.no_grad(), control(one, Policy(k=1)):
        routing = one(tokens).routings[0]
    assert routing.indices.shape == (14, 3)
    assert torch.equal(routing.indices[:, 0], out.routings[0].indices[:, 0])


def test_masks_are_put_side_by_side():
    x, router = torch.randn(3, 8), Router(8, 4, 2)
    plain = router(x)
    half = plain.with_(mask=torch.tensor([[True, False]] * 3))
    assert chained([plain, half]).active.tolist() == [3, 3, 3]
    assert chained([plain, plain]).mask is None


@settings(max_examples=10, deadline=None)
@given(at=st.integers(1, 11), byte=st.integers(0, 255))
def test_a_later_token_never_changes_an_earlier_output(at, byte):
    one = model()
    tokens = torch.randint(256, (2, 12), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, at] = byte
    with torch.no_grad():
        torch.testing.assert_close(one(tokens).logits[:, :at], one(changed).logits[:, :at], atol=1e-5, rtol=1e-5)


def test_what_cannot_be_is_refused():
    with pytest.raises(InvalidInput, match="k = 3 experts do not split evenly over 2"):
        TinyMoELM(config(k=3))
    with pytest.raises(InvalidInput, match="0 iterations"):
        TinyMoELM(config(iterations=0))
    with pytest.raises(InvalidInput, match="later router chooses among 3 experts of width 8"):
        CoELayer(Experts(4, 8, 4), IterationRouter(8, 4, 1), [IterationRouter(8, 3, 1)])
    with pytest.raises(InvalidInput, match="between 1 and the 4"):
        IterationRouter(8, 4, 5)
    layer = CoELayer(Experts(4, 8, 4), IterationRouter(8, 4, 1), [IterationRouter(8, 4, 1)])
    with pytest.raises(InvalidInput, match="no tokens"):
        layer(torch.empty(0, 8))
    with pytest.raises(InvalidInput, match="NaN"):
        layer(torch.full((2, 8), float("nan")), Context(1, 2))
    assert not isinstance(model().blocks[0].moe.router, TopK)  # what an export to Mixtral goes by
