"""Union of Experts: the cut is exact, routing has two levels and does not look ahead, and what is refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.routers.uoe import (  # noqa: E402
    AttentionExperts,
    SelectiveAttention,
    UnionRouter,
    decompose,
    decompose_attention,
    patch_means,
    union_model,
)
from weighup.moe.tiny import Cache, TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.types import Context  # noqa: E402

TINY = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16, router="uoe")


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 6), st.integers(1, 100), st.integers(0, 9))
def test_all_experts_on_equal_the_dense_mlp(n: int, hidden: int, tokens: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    total, d = n * hidden, 6
    gate, up = torch.randn(2, total, d, generator=chance) * d**-0.5
    down = torch.randn(d, total, generator=chance) * total**-0.5
    x = torch.randn(tokens, d, generator=chance)
    layer = MoELayer(decompose(gate, up, down, n), UnionRouter(d, n, n))
    dense = F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)
    torch.testing.assert_close(layer(x)[0], dense, atol=1e-5, rtol=0)


def test_all_attention_experts_equal_the_dense_attention_with_and_without_a_router() -> None:
    dense = TinyMoELM(TINY).blocks[0].attention
    q, k, v, o = (one.weight for one in (dense.q_proj, dense.k_proj, dense.v_proj, dense.o_proj))
    cut = decompose_attention(q, k, v, o, 2, 2)
    x, angles = torch.randn(3, 9, 16), (torch.randn(9, 4), torch.randn(9, 4))
    wanted, _ = dense(x, angles, None, 0, False)
    torch.testing.assert_close(cut(x, angles=angles), wanted, atol=1e-5, rtol=0)
    routed, _ = SelectiveAttention(cut, UnionRouter(16, 2, 2))(x, angles, None, 0, False)
    torch.testing.assert_close(routed, wanted, atol=1e-5, rtol=0)


def test_active_experts_count_in_full_and_the_router_still_learns() -> None:
    router = UnionRouter(6, 8, 3)
    routing = router(torch.randn(20, 6))
    assert torch.equal(routing.weights, torch.ones(20, 3))
    (routing.weights * torch.randn(20, 3)).sum().backward()
    assert float(router.weight.grad.abs().sum()) > 0
    assert float(router.patch_weight.grad.abs().sum()) > 0


def test_patch_means_run_over_the_patch_so_far() -> None:
    x = torch.arange(10.0)[:, None]
    found = patch_means(x, Context(2, 5), 3).flatten()
    assert found.tolist() == [0.0, 0.5, 1.0, 3.0, 3.5, 5.0, 5.5, 6.0, 8.0, 8.5]


def test_a_token_chooses_among_its_patchs_candidates() -> None:
    router = UnionRouter(6, 8, 2, patch=4, candidates=3)
    x = torch.randn(24, 6)
    routing = router(x, Context(2, 12))
    assert torch.equal((~torch.isneginf(routing.logits)).sum(-1), torch.full((24,), 3))
    best = torch.topk(patch_means(x, Context(2, 12), 4) @ router.patch_weight.T, 3, -1)[1]
    assert bool((routing.indices[:, :, None] == best[:, None]).any(-1).all())


def test_more_than_the_candidates_masks_the_rest() -> None:
    router = UnionRouter(6, 8, 2, candidates=3)
    context = Context(1, 5)
    logits, _ = router.score(torch.randn(5, 6), context)
    routing = router.choose(logits, context, k=8)
    assert routing.active.tolist() == [3] * 5
    assert torch.equal(routing.dense().sum(-1), torch.full((5,), 3.0))


@pytest.mark.parametrize("attention", [False, True])
def test_later_tokens_change_nothing_before(attention: bool) -> None:
    model = (union_model(TINY, 1) if attention else TinyMoELM(TINY)).eval()
    tokens = torch.randint(0, 256, (2, 16))
    changed = tokens.clone()
    changed[:, 11:] = (changed[:, 11:] + 7) % 256
    a, b = model(tokens), model(changed)
    torch.testing.assert_close(a.logits[:, :11], b.logits[:, :11], atol=1e-5, rtol=0)


def test_selective_attention_goes_on_from_a_cache() -> None:
    # With patches of one token nothing depends on where a patch begins.
    config = TinyConfig(
        width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16, router="uoe", options={"patch": 1}
    )
    model = union_model(config, 1, patch=1).eval()
    tokens = torch.randint(0, 256, (2, 10))
    cache = Cache()
    first = model(tokens[:, :4], cache=cache).logits
    second = model(tokens[:, 4:], cache=cache).logits
    torch.testing.assert_close(torch.cat((first, second), 1), model(tokens).logits, atol=1e-4, rtol=0)


def test_every_weight_of_a_union_model_gets_a_gradient() -> None:
    model = union_model(TINY, 1)
    tokens = torch.randint(0, 256, (2, 16))
    model(tokens, tokens).total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_refuses() -> None:
    g, d = torch.randn(6, 4), torch.randn(4, 6)
    square = torch.randn(4, 4)
    router = UnionRouter(4, 4, 2)
    for call in (
        lambda: decompose(g, g, d, 4),
        lambda: decompose(g, g, d, 0),
        lambda: decompose(g, g, d.T, 2),
        lambda: decompose_attention(square, square, square, g, 2, 2),
        lambda: decompose_attention(square, square, square, square, 2, 3),
        lambda: AttentionExperts(2, 5, 2),
        lambda: SelectiveAttention(AttentionExperts(2, 4, 2), router),
        lambda: SelectiveAttention(AttentionExperts(4, 4, 4), router)(torch.randn(1, 2, 4), (g, g), None, 0, True),
        lambda: UnionRouter(4, 4, 5),
        lambda: UnionRouter(4, 4, 2, candidates=1),
        lambda: UnionRouter(4, 4, 2, candidates=5),
        lambda: UnionRouter(4, 4, 2, patch=0),
        lambda: router(torch.zeros(0, 4)),
        lambda: router(torch.zeros(3, 5)),
        lambda: router(torch.full((3, 4), float("nan"))),
        lambda: router(torch.zeros(3, 4), Context(2, 2)),
        lambda: union_model(TinyConfig(), 1),
        lambda: union_model(TINY, 3),
    ):
        with pytest.raises(InvalidInput):
            call()
