"""DeepSeekMoE: equal parameters, shared experts, equality with top-k, balance losses, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.cost import cost  # noqa: E402
from weighup.moe.policy import control  # noqa: E402
from weighup.moe.registry import make_layer  # noqa: E402
from weighup.moe.routers.deepseek import DeepSeekMoE, SharedExperts, device_load_balance  # noqa: E402
from weighup.moe.routers.deepseek_claim import next_best  # noqa: E402
from weighup.moe.routers.topk import load_balance, z_loss  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

TOPK = TinyConfig(width=8, layers=2, heads=2, n_experts=4, k=2, hidden=12, context=8)


def _config(**options: object) -> TinyConfig:
    return replace(TOPK, router="deepseek", options=options)


def _model(config: TinyConfig) -> TinyMoELM:
    torch.manual_seed(0)
    return TinyMoELM(config)


# against top-k


@pytest.mark.parametrize("renormalise", [True, False])
def test_one_part_and_nothing_shared_is_exactly_top_k(renormalise: bool) -> None:
    plain = _model(replace(TOPK, options={"renormalise": renormalise}))
    ours = _model(_config(m=1, shared_experts=0, renormalise=renormalise))
    assert plain.state_dict().keys() == ours.state_dict().keys()
    assert all(torch.equal(one, ours.state_dict()[name]) for name, one in plain.state_dict().items())
    tokens = torch.randint(0, 256, (2, 8))
    a, b = plain(tokens, tokens), ours(tokens, tokens)
    assert torch.equal(a.logits, b.logits)
    assert torch.equal(a.total, b.total)
    for one, other in zip(a.routings, b.routings, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.weights, other.weights)
    a.total.backward()
    b.total.backward()
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 2, 3, 4, 6]), st.data())
def test_total_and_active_expert_parameters_are_those_of_top_k(m: int, data: st.DataObject) -> None:
    shared = data.draw(st.integers(0, 2 * m - 1))
    plain, ours = make_layer(TOPK, 0, {}), make_layer(_config(m=m, shared_experts=shared), 0, {})

    def count(module: torch.nn.Module | None) -> int:
        return 0 if module is None else sum(one.numel() for one in module.parameters())

    assert count(ours.experts) + count(ours.shared) == count(plain.experts)
    each = count(ours.experts) // ours.experts.n
    assert ours.router.k * each + count(ours.shared) == TOPK.k * count(plain.experts) // TOPK.n_experts
    assert ours.experts.n == m * TOPK.n_experts - shared
    assert ours.router.k == m * TOPK.k - shared
    assert (ours.shared is None) == (shared == 0)


def test_the_cost_model_agrees_but_for_the_routers_rows() -> None:
    plain, ours = cost(_model(TOPK)), cost(_model(_config(m=2, shared_experts=1)))
    rows = (2 * TOPK.n_experts - 1 - TOPK.n_experts) * TOPK.width * TOPK.layers
    assert ours.total == plain.total + rows
    assert ours.active == pytest.approx(plain.active + rows)


# shared experts


def test_shared_experts_are_added_for_every_token() -> None:
    torch.manual_seed(0)
    layer, x = make_layer(_config(m=3, shared_experts=2), 0, {}), torch.randn(5, 8)
    y, routing = layer(x)
    always = layer.shared.experts
    wanted = layer.experts(x, routing) + always.one(0, x) + always.one(1, x)
    assert torch.allclose(y, wanted, atol=1e-5)


def test_shared_experts_are_one_wide_network() -> None:
    torch.manual_seed(0)
    shared, x = SharedExperts(3, 8, 4), torch.randn(5, 8)
    gate, up = shared.experts.gate_up_proj.chunk(2, dim=1)
    inner = torch.nn.functional.silu(x @ gate.reshape(12, 8).T) * (x @ up.reshape(12, 8).T)
    wanted = inner @ shared.experts.down_proj.permute(0, 2, 1).reshape(12, 8)
    assert torch.allclose(shared(x), wanted, atol=1e-5)


def test_weights_are_the_chosen_probabilities_and_sum_to_one_unless_told() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 8)
    assert torch.allclose(DeepSeekMoE(8, 7, 3)(x).weights.sum(-1), torch.ones(6))
    raw = DeepSeekMoE(8, 7, 3, renormalise=False)(x)
    assert torch.equal(raw.weights, raw.probs.gather(1, raw.indices))
    assert raw.mask is None


def test_it_trains() -> None:
    model = _model(_config(m=2, shared_experts=1, devices=3))
    tokens = torch.randint(0, 256, (4, 8))
    values = []
    for _ in range(6):
        model.zero_grad()
        out = model(tokens, tokens)
        out.total.backward()
        values.append(out.loss.item())
        with torch.no_grad():
            for one in model.parameters():
                one -= 0.1 * one.grad
    assert values[-1] < values[0]


# losses


def test_device_balance_worked_by_hand() -> None:
    probs = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.4, 0.1, 0.4, 0.1]])
    # Loads 4 · (1/2, 1/4, 1/4, 0); devices {0, 1}, {2, 3}: f' = (1.5, 0.5), P' = (0.6, 0.4).
    found = device_load_balance(probs, torch.tensor([[0, 1], [0, 2]]), 2)
    assert found.item() == pytest.approx(1.5 * 0.6 + 0.5 * 0.4)


def test_device_balance_of_devices_that_differ_in_size() -> None:
    probs = torch.full((3, 3), 1 / 3)
    assert device_load_balance(probs, torch.tensor([[0], [1], [2]]), 2).item() == pytest.approx(1.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(0, 1_000))
def test_a_device_an_expert_is_expert_balance_and_one_device_is_one(n: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    probs = torch.softmax(torch.randn(6, n, generator=chance), -1)
    indices = torch.randint(0, n, (6, 2), generator=chance)
    assert device_load_balance(probs, indices, n).item() == pytest.approx(load_balance(probs, indices).item(), rel=1e-5)
    assert device_load_balance(probs, indices, 1).item() == pytest.approx(1.0, rel=1e-5)


def test_uneven_experts_on_even_devices_cost_nothing_at_device_level() -> None:
    probs = torch.tensor([[0.5, 0.0, 0.5, 0.0]])
    indices = torch.tensor([[0, 2]])
    assert device_load_balance(probs, indices, 2).item() == pytest.approx(1.0)
    assert load_balance(probs, indices).item() == pytest.approx(2.0)


def test_the_loss_is_the_weighted_sum() -> None:
    torch.manual_seed(0)
    found = DeepSeekMoE(8, 6, 2, devices=3, balance=0.3, device_balance=0.7, z=0.2)(torch.randn(9, 8))
    wanted = (
        0.3 * load_balance(found.probs, found.indices)
        + 0.7 * device_load_balance(found.probs, found.indices, 3)
        + 0.2 * z_loss(found.logits)
    )
    assert found.aux_loss.item() == pytest.approx(wanted.item(), rel=1e-6)


# masking the best, as the claim check does


def test_masking_the_best_takes_the_next_as_many() -> None:
    model = _model(_config(m=2, shared_experts=1))
    tokens = torch.randint(0, 256, (2, 8))
    before = model(tokens)
    with control(model, next_best(model, 2)):
        routing = model(tokens).routings[0]
    order = before.routings[0].logits.argsort(-1, descending=True)
    assert torch.equal(routing.indices, order[:, 2:5])
    assert torch.equal(model(tokens).logits, before.logits)


# what is refused


@pytest.mark.parametrize("m", [0, -2, 5])
def test_an_m_that_does_not_divide_the_width_is_refused(m: int) -> None:
    with pytest.raises(InvalidInput, match=f"m={m}"):
        make_layer(_config(m=m, shared_experts=0), 0, {})


@pytest.mark.parametrize("shared", [-1, 4, 9])
def test_shared_experts_that_leave_none_to_choose_are_refused(shared: int) -> None:
    with pytest.raises(InvalidInput, match=f"not {shared}"):
        make_layer(_config(m=2, shared_experts=shared), 0, {})


@pytest.mark.parametrize("devices", [0, 8])
def test_devices_outside_one_to_n_are_refused(devices: int) -> None:
    with pytest.raises(InvalidInput, match=f"not {devices}"):
        make_layer(_config(m=2, shared_experts=1, devices=devices), 0, {})
    with pytest.raises(InvalidInput, match=f"not {devices}"):
        device_load_balance(torch.full((1, 7), 1 / 7), torch.zeros(1, 1, dtype=torch.long), devices)


def test_k_above_n_no_tokens_and_nan_are_refused() -> None:
    with pytest.raises(InvalidInput, match="not 5"):
        make_layer(replace(_config(), k=5), 0, {})
    router = DeepSeekMoE(8, 7, 3)
    for x, told in (
        (torch.full((2, 8), math.nan), "NaN"),
        (torch.zeros(0, 8), "no tokens"),
        (torch.zeros(2, 5), "T, 8"),
    ):
        with pytest.raises(InvalidInput, match=told):
            router(x)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(InvalidInput, match="groups"):
        make_layer(_config(groups=2), 0, {})
