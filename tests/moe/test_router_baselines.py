"""Hash routing and DSelect-k: fixed and balanced, binary codes, at most k, and what is refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.routers.baselines import DSelectK, Hash  # noqa: E402
from weighup.moe.routers.comet import smooth_step  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402


def test_hash_gives_k_different_experts_of_equal_weight_and_learns_nothing() -> None:
    router = Hash(6, 8, 3)
    routing = router(torch.randn(50, 6))
    assert all(len(set(row)) == 3 for row in routing.indices.tolist())
    torch.testing.assert_close(routing.weights, torch.full((50, 3), 1 / 3))
    assert not list(router.parameters())


def test_hash_depends_on_direction_and_seed_alone() -> None:
    x = torch.randn(50, 6)
    assert torch.equal(Hash(6, 8)(x).indices, Hash(6, 8)(3 * x).indices)
    assert not torch.equal(Hash(6, 8)(x).indices, Hash(6, 8, seed=1)(x).indices)


def test_hash_of_ids_is_fixed_and_spreads() -> None:
    ids = torch.arange(4000)
    routing = Hash(6, 8, 1).by_id(ids)
    assert torch.equal(routing.indices, Hash(6, 8, 1).by_id(ids).indices)
    share = torch.bincount(routing.indices[:, 0], minlength=8) / 4000
    assert 0.06 < float(share.min()) <= float(share.max()) < 0.2


def test_hash_masks_experts_that_are_not_allowed() -> None:
    router = Hash(6, 4, 3)
    logits = torch.tensor([[1.0, float("-inf"), 0.0, float("-inf")]])
    routing = router.choose(logits, None)  # type: ignore[arg-type]
    assert routing.dense().tolist() == [[0.5, 0.0, 0.5, 0.0]]


def test_dselect_k_by_hand() -> None:
    router = DSelectK(1, 4, 1).train()
    with torch.no_grad():
        router.codes.copy_(torch.tensor([[[0.25], [-0.25]]]))
    a, b = smooth_step(torch.tensor([0.25, -0.25])).tolist()
    wanted = torch.tensor([a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)])
    torch.testing.assert_close(router(torch.ones(1, 1)).dense()[0], wanted)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_dselect_k_sums_to_one_and_uses_at_most_k_outside_training(k: int) -> None:
    router = DSelectK(6, 8, k)
    x = torch.randn(30, 6)
    for training in (True, False):
        routing = router.train(training)(x)
        torch.testing.assert_close(routing.dense().sum(-1), torch.ones(30))
    assert int(routing.active.max()) <= k


@pytest.mark.parametrize("name", ["hash", "dselect_k"])
def test_in_a_model(name: str) -> None:
    model = TinyMoELM(TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=8, router=name))
    tokens = torch.randint(0, 256, (2, 8))
    out = model.train()(tokens, tokens)
    out.total.backward()
    assert bool(torch.isfinite(out.total))
    assert len(out.routings) == 2


def test_refuses() -> None:
    nan = torch.full((3, 4), float("nan"))
    for call in (
        lambda: Hash(4, 4, 5),
        lambda: Hash(4, 4, bits=0),
        lambda: Hash(4, 4)(torch.zeros(0, 4)),
        lambda: Hash(4, 4)(torch.zeros(3, 5)),
        lambda: Hash(4, 4)(nan),
        lambda: Hash(4, 4).by_id(torch.tensor([-1])),
        lambda: Hash(4, 4).by_id(torch.tensor([0.5])),
        lambda: Hash(4, 4).by_id(torch.zeros(0, dtype=torch.long)),
        lambda: DSelectK(4, 6),
        lambda: DSelectK(4, 4, 5),
        lambda: DSelectK(4, 4, gamma=-1.0),
        lambda: DSelectK(4, 4)(nan),
        lambda: DSelectK(4, 4).eval()(nan),
    ):
        with pytest.raises(InvalidInput):
            call()
