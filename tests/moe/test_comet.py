"""COMET: the smooth step, trees of any number of experts, at most k of them, permutations, and what is refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.routers.comet import (  # noqa: E402
    Comet,
    leaf_probabilities,
    logged,
    nearest_permutation,
    sinkhorn,
    smooth_step,
)
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.types import Context  # noqa: E402


def test_smooth_step_known_values() -> None:
    x = torch.tensor([-9.0, -0.5, -0.25, 0.0, 0.25, 0.5, 9.0])
    assert smooth_step(x).tolist() == [0.0, 0.0, 0.15625, 0.5, 0.84375, 1.0, 1.0]
    assert smooth_step(4 * x, 4.0).tolist() == smooth_step(x).tolist()


def test_smooth_step_has_the_slope_of_its_formula() -> None:
    x = torch.tensor([-0.6, -0.5, 0.0, 0.25, 0.6], requires_grad=True)
    smooth_step(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 0.0, 1.5, 1.125, 0.0]))


def test_leaf_probabilities_by_hand() -> None:
    left = torch.tensor([0.3, 0.2, 0.9])
    torch.testing.assert_close(leaf_probabilities(left), torch.tensor([0.06, 0.24, 0.63, 0.07]))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 11), st.data(), st.booleans(), st.sampled_from([0.0, 0.2, 1.0]), st.integers(0, 99))
def test_gates_sum_to_one_and_hard_gates_choose_at_most_k(
    n: int, data: st.DataObject, training: bool, search: float, seed: int
) -> None:
    torch.manual_seed(seed)
    k = data.draw(st.integers(1, n))
    router = Comet(5, n, k, search=search).train(training)
    routing = router(torch.randn(17, 5), Context(1, 17, progress=0.1))
    torch.testing.assert_close(routing.dense().sum(-1), torch.ones(17))
    torch.testing.assert_close(routing.dense(), routing.probs)
    assert int(routing.indices.max()) < n
    if not training:
        assert 1 <= int(routing.active.min()) <= int(routing.active.max()) <= k


def test_saturated_gates_are_hard_in_training_too() -> None:
    router = Comet(5, 8, 3, search=0.0).train()
    with torch.no_grad():
        router.splits.mul_(1e4)
    x = torch.randn(40, 5)
    routing = router(x)
    assert int(routing.active.max()) <= 3
    assert routing.extra["soft"] == 0
    assert routing.aux_loss.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(routing.dense(), router.eval()(x).dense())


def test_one_tree_by_hand_and_duplicates_are_summed() -> None:
    router = Comet(1, 2, 2, search=0.0, gamma=1.0).train()
    with torch.no_grad():
        router.splits.copy_(torch.tensor([[[0.25]], [[-9.0]]]))
        router.leaves.copy_(torch.tensor([[[0.0], [1.0]], [[5.0], [2.0]]]))
    # Tree 1: 0.84375 · e^0 and 0.15625 · e^1. Tree 2 reaches its second leaf alone: e^2, and never e^5.
    parts = torch.tensor([0.84375, 0.15625 * torch.e + torch.e**2])
    torch.testing.assert_close(router(torch.ones(1, 1)).dense()[0], parts / parts.sum())


def test_gradients_are_numbers_whatever_is_reached() -> None:
    router = Comet(5, 6, 2).train()
    with torch.no_grad():
        router.splits.mul_(6)
        router.leaves.mul_(300)
    routing = router(torch.randn(64, 5), Context(1, 64, progress=0.0))
    ((routing.weights * torch.randn_like(routing.weights)).sum() + routing.aux_loss).backward()
    for parameter in router.parameters():
        assert bool(torch.isfinite(parameter.grad).all())


def test_sinkhorn_is_doubly_stochastic_and_cold_it_is_the_best_assignment() -> None:
    scores = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    found = sinkhorn(scores)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 5))
    torch.testing.assert_close(found.sum(-2), torch.ones(2, 5), atol=1e-3, rtol=0)
    order = nearest_permutation(scores)
    assert [sorted(row) for row in order.tolist()] == [list(range(5))] * 2
    torch.testing.assert_close(sinkhorn(scores / 0.01, 500).argmax(-1), order)


def test_the_search_settles_after_its_share_and_is_kept_in_the_state() -> None:
    router = Comet(4, 5, 2, search=0.5).train()
    x = torch.randn(3, 4)
    router(x, Context(1, 3, progress=0.4))
    assert not bool(router.settled)
    soft = router.permutations(0.4)
    assert 0 < soft.max().item() < 1
    router(x, Context(1, 3, progress=0.5))
    assert bool(router.settled)
    hard = router.permutations(0.0)
    assert torch.equal(hard.sum(-1), torch.ones(2, 5))
    assert torch.equal(hard.sum(-2), torch.ones(2, 5))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    other = Comet(4, 5, 2, search=0.5).eval()
    other.load_state_dict(router.state_dict())
    torch.testing.assert_close(other(x).dense(), router.eval()(x).dense())


def test_log_gates_come_back() -> None:
    gates = torch.tensor([[0.25, 0.0, 0.75]])
    assert torch.softmax(logged(gates), -1)[0].tolist() == pytest.approx([0.25, 0.0, 0.75])


def test_in_a_model_it_trains_and_is_controlled() -> None:
    model = TinyMoELM(TinyConfig(width=16, layers=1, heads=2, n_experts=6, k=3, hidden=8, context=8, router="comet"))
    tokens = torch.randint(0, 256, (2, 8))
    model.train()
    model(tokens, tokens, progress=0.1).total.backward()
    assert float(model.blocks[0].moe.router.splits.grad.abs().sum()) > 0
    model.eval()
    with control(model, Policy(k=1)):
        assert model(tokens).routings[0].indices.shape == (16, 1)
    only = torch.zeros(6, dtype=torch.bool)
    only[:3] = True
    router = model.blocks[0].moe.router
    with torch.no_grad():
        router.placing.copy_(10 * torch.eye(6).flip(1))  # leaf 0 holds the last expert
        router.splits.zero_()  # and half a way left is rounded to the left: every tree reaches leaf 0
    with control(model, Policy(allowed=only)), pytest.raises(InvalidInput, match="no expert left"):
        model(tokens)


def test_refuses() -> None:
    for call in (
        lambda: Comet(4, 4, 5),
        lambda: Comet(4, 4, 0),
        lambda: Comet(4, 4, 2, gamma=0.0),
        lambda: Comet(4, 4, 2, entropy=-1.0),
        lambda: Comet(4, 4, 2, search=1.5),
        lambda: Comet(4, 4)(torch.zeros(0, 4)),
        lambda: Comet(4, 4)(torch.zeros(3, 5)),
        lambda: Comet(4, 4)(torch.full((3, 4), float("nan"))),
        lambda: Comet(4, 4).eval()(torch.full((3, 4), float("nan"))),
    ):
        with pytest.raises(InvalidInput):
            call()
