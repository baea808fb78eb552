"""RMoE: one GRU for all layers, a memory that matters, and no token that sees another."""

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.export import load, save  # noqa: E402
from weighup.moe.routers.rmoe import RecurrentRouter  # noqa: E402
from weighup.moe.routers.topk import TopK  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import tracing  # noqa: E402
from weighup.moe.types import Context  # noqa: E402

CONFIG = TinyConfig(
    width=16, layers=3, heads=2, n_experts=4, k=2, hidden=8, context=16, router="rmoe", options={"router_width": 6}
)


def router(seed: int = 0) -> RecurrentRouter:
    torch.manual_seed(seed)
    return RecurrentRouter(8, 4, 2, torch.nn.GRUCell(5, 5))


def model(seed: int = 0) -> TinyMoELM:
    torch.manual_seed(seed)
    return TinyMoELM(CONFIG).eval()


def test_logits_are_those_of_the_papers_recurrence():
    one = router()
    x, h = torch.randn(7, 8), torch.randn(7, 5)
    routing = one(x, Context(1, 7, memory=h, layer=1))
    gi, gh = one.project(x) @ one.gru.weight_ih.T + one.gru.bias_ih, h @ one.gru.weight_hh.T + one.gru.bias_hh
    (ri, zi, ni), (rh, zh, nh) = gi.chunk(3, -1), gh.chunk(3, -1)
    z = torch.sigmoid(zi + zh)
    state = (1 - z) * torch.tanh(ni + torch.sigmoid(ri + rh) * nh) + z * h
    torch.testing.assert_close(routing.memory, state)
    torch.testing.assert_close(routing.logits, state @ one.weight.T)


def test_the_gru_is_one_module_and_all_else_is_each_layers_own():
    routers = [block.moe.router for block in model().blocks]
    assert all(one.gru is routers[0].gru for one in routers)
    assert len({id(one.project.weight) for one in routers}) == len({id(one.weight) for one in routers}) == 3
    other = model().blocks[0].moe.router
    assert other.gru is not routers[0].gru  # another model has another


def test_the_gru_is_counted_and_trained_once():
    one = model()
    cell = one.blocks[0].moe.router.gru
    assert sum(any(p is q for q in cell.parameters()) for p in one.parameters()) == 4
    tokens = torch.randint(256, (2, 8))
    one(tokens, tokens).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in cell.parameters())


def test_memory_changes_the_choice():
    one, x = router(), torch.randn(64, 8)
    without = one(x, Context(1, 64))
    with_memory = one(x, Context(1, 64, memory=3 * torch.randn(64, 5), layer=1))
    assert (without.indices != with_memory.indices).any()
    zero = one(x, Context(1, 64, memory=torch.zeros(64, 5), layer=1))
    torch.testing.assert_close(zero.logits, without.logits)  # before the first layer the memory is 0


def test_the_first_layers_state_reaches_the_last_layers_router():
    one = model()
    tokens = torch.randint(256, (1, 8))
    # The experts give nothing, so that only the memory carries what the first router did.
    with torch.no_grad():
        for block in one.blocks:
            block.moe.experts.down_proj.zero_()
        before = one(tokens).routings[-1].logits
        one.blocks[0].moe.router.project.weight.neg_()
        after = one(tokens).routings[-1].logits
    assert (before - after).abs().max() > 1e-4


@settings(max_examples=10, deadline=None)
@given(at=st.integers(1, 11), byte=st.integers(0, 255))
def test_a_later_token_never_changes_an_earlier_output(at, byte):
    one = model()
    tokens = torch.randint(256, (2, 12), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, at] = byte
    with torch.no_grad():
        torch.testing.assert_close(one(tokens).logits[:, :at], one(changed).logits[:, :at], atol=1e-5, rtol=1e-5)


def test_it_is_kept_traced_and_not_taken_for_mixtral(tmp_path):
    one, tokens = model(), torch.randint(256, (2, 8))
    again = load(save(one, tmp_path))
    assert again.blocks[0].moe.router.gru is again.blocks[2].moe.router.gru
    with torch.no_grad():
        torch.testing.assert_close(again(tokens).logits, one(tokens).logits)
        with tracing(one) as recorder:
            out = one(tokens)
    assert (recorder.trace.indices[1] == out.routings[1].indices.numpy()).all()
    assert not isinstance(one.blocks[0].moe.router, TopK)  # what an export to Mixtral goes by


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (Context(1, 4, layer=2), "layer 2 needs the memory"),
        (Context(1, 4, memory=torch.zeros(4, 9), layer=1), r"memory of \[4, 5\] is needed, not \[4, 9\]"),
        (Context(1, 4, memory=torch.full((4, 5), float("nan")), layer=1), "NaN"),
    ],
)
def test_bad_memory_is_refused(context, message):
    with pytest.raises(InvalidInput, match=message):
        router()(torch.randn(4, 8), context)


def test_bad_sizes_are_refused():
    with pytest.raises(InvalidInput, match="not 0"):
        TinyMoELM(TinyConfig(width=16, heads=2, router="rmoe", options={"router_width": 0}))
    with pytest.raises(InvalidInput, match="not 5"):
        RecurrentRouter(8, 4, 5, torch.nn.GRUCell(5, 5))
    with pytest.raises(InvalidInput, match="3 to 5"):
        RecurrentRouter(8, 4, 2, torch.nn.GRUCell(3, 5))
    with pytest.raises(InvalidInput, match="no tokens"):
        router()(torch.empty(0, 8))
    with pytest.raises(InvalidInput, match=r"\[T, 8\]"):
        router()(torch.randn(3, 7))
