"""SMoE-Dropout: the schedule of k, a router that stays, the dense mixture at k = N, and what is refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.routers.smoe_dropout import SMoEDropout, scheduled_k  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.types import Context  # noqa: E402

TINY = TinyConfig(width=16, layers=1, heads=2, n_experts=4, k=2, hidden=8, context=8, router="smoe_dropout")


@pytest.mark.parametrize(("progress", "k"), [(0.0, 2), (0.08, 2), (0.09, 3), (0.5, 5), (0.91, 7), (0.92, 8), (1.0, 8)])
def test_k_grows_linearly_from_least_to_all(progress: float, k: int) -> None:
    assert scheduled_k(progress, 2, 8) == k


@given(st.integers(1, 16), st.floats(0, 1), st.floats(0, 1))
def test_the_schedule_never_falls_and_ends_at_all(n: int, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 1 <= scheduled_k(low, 1, n) <= scheduled_k(high, 1, n) <= n == scheduled_k(1.0, 1, n)


def test_training_follows_progress_and_inference_its_own_k() -> None:
    router = SMoEDropout(6, 8, 3)
    x = torch.randn(5, 6)
    router.train()
    assert [router(x, Context(1, 5, progress=p)).indices.shape[1] for p in (0.0, 0.5, 1.0)] == [2, 5, 8]
    router.eval()
    assert router(x, Context(1, 5, progress=0.0)).indices.shape[1] == 3
    router.k = 7
    assert router(x).indices.shape[1] == 7


def test_all_experts_are_the_dense_mixture() -> None:
    layer = MoELayer(Experts(6, 8, 5), SMoEDropout(8, 6, 6)).eval()
    x = torch.randn(300, 8)
    weights = torch.softmax(x @ layer.router.weight.T, -1)
    dense = torch.einsum("tn,ntd->td", weights, layer.experts.all(x))
    torch.testing.assert_close(layer(x)[0], dense, atol=1e-5, rtol=0)


def test_the_router_is_drawn_by_its_seed_and_never_trained() -> None:
    assert torch.equal(SMoEDropout(6, 4, seed=3).weight, SMoEDropout(6, 4, seed=3).weight)
    model = TinyMoELM(TINY).train()
    before = model.blocks[0].moe.router.weight.clone()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    tokens = torch.randint(0, 256, (2, 8))
    model(tokens, tokens, progress=0.3).total.backward()
    optimiser.step()
    assert torch.equal(before, model.blocks[0].moe.router.weight)
    assert model.blocks[0].moe.router.weight.grad is None


def test_any_k_through_a_policy() -> None:
    model = TinyMoELM(TINY).eval()
    tokens = torch.randint(0, 256, (1, 8))
    for k in range(1, 5):
        with control(model, Policy(k=k)):
            assert model(tokens).routings[0].indices.shape == (8, k)


def test_layers_of_a_seeded_model_draw_their_own_routers() -> None:
    model = TinyMoELM(
        TinyConfig(width=16, layers=2, heads=2, n_experts=4, hidden=8, router="smoe_dropout", options={"seed": 1})
    )
    first, second = (block.moe.router.weight for block in model.blocks)
    assert not torch.equal(first, second)


def test_refuses() -> None:
    for call in (
        lambda: SMoEDropout(6, 4, 5),
        lambda: SMoEDropout(6, 4, 2, least=5),
        lambda: SMoEDropout(6, 4, 2, least=0),
        lambda: SMoEDropout(6, 4)(torch.zeros(0, 6)),
        lambda: SMoEDropout(6, 4)(torch.zeros(3, 5)),
        lambda: SMoEDropout(6, 4)(torch.full((3, 6), float("nan"))),
        lambda: scheduled_k(1.5, 2, 8),
        lambda: scheduled_k(float("nan"), 2, 8),
        lambda: TinyMoELM(TinyConfig(router="smoe_dropout", options={"most": 3})),
    ):
        with pytest.raises(InvalidInput):
            call()
