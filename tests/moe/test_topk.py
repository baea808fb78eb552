"""Top-k routing: the base router, choice and weights, load balance, z-loss, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.registry import make_layer  # noqa: E402
from weighup.moe.routers.topk import TopK, load_balance, z_loss  # noqa: E402
from weighup.moe.routers.topk_claim import evenness  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.types import Context, Router, Routing, checked_logits, checked_tokens, top_k  # noqa: E402


def _router(n: int = 4, k: int = 2, width: int = 6, **options: object) -> TopK:
    torch.manual_seed(0)
    return TopK(width, n, k, **options)


# the k largest


def test_top_k_takes_the_largest_in_order_and_makes_them_sum_to_one() -> None:
    indices, values = top_k(torch.tensor([[0.1, 0.4, 0.2, 0.3]]), 2)
    assert indices.tolist() == [[1, 3]]
    assert values.tolist()[0] == pytest.approx([4 / 7, 3 / 7])


def test_top_k_leaves_the_values_when_asked() -> None:
    _, values = top_k(torch.tensor([[0.1, 0.4, 0.2, 0.3]]), 2, renormalise=False)
    assert values.tolist()[0] == pytest.approx([0.4, 0.3])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 8), st.data())
def test_choice_is_the_k_best_of_the_softmax(tokens: int, n: int, data: st.DataObject) -> None:
    k, seed = data.draw(st.integers(1, n)), data.draw(st.integers(0, 10_000))
    logits = torch.randn(tokens, n, generator=torch.Generator().manual_seed(seed))
    found = _router(n, k).choose(logits, Context(1, tokens))
    order = logits.argsort(-1, descending=True)[:, :k]
    assert torch.equal(found.indices, order)
    assert torch.allclose(found.weights, torch.softmax(logits.gather(1, order), -1), atol=1e-6)
    assert found.mask is None
    assert found.active.tolist() == [k] * tokens


def test_k_of_all_experts_is_the_whole_softmax() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    found = _router(4, 4).choose(logits, Context(1, 5))
    assert torch.allclose(found.dense(), torch.softmax(logits, -1), atol=1e-6)


def test_k_can_be_given_in_place_of_the_routers_own() -> None:
    found = _router(4, 2).choose(torch.randn(3, 4), Context(1, 3), k=3)
    assert found.indices.shape == (3, 3)


def test_an_expert_masked_by_minus_infinity_is_not_chosen() -> None:
    logits = torch.tensor([[5.0, 1.0, 0.0, -1.0]])
    logits[0, 0] = -math.inf
    found = _router().choose(logits, Context(1, 1))
    assert found.indices.tolist() == [[1, 2]]
    assert found.dense()[0, 0] == 0
    assert torch.isfinite(found.aux_loss)


def test_the_base_router_has_no_loss_of_its_own_and_the_same_choice() -> None:
    torch.manual_seed(0)
    plain, x = Router(6, 4, 2), torch.randn(5, 6)
    other = _router()
    assert torch.equal(plain.weight, other.weight)
    assert plain(x).aux_loss.item() == 0
    assert torch.equal(plain(x).weights, other(x).weights)
    assert plain.describe() == {"router": "Router", "n_experts": 4, "k": 2}


def test_dense_weights_leave_out_masked_slots() -> None:
    routing = Routing(
        torch.tensor([[2, 0], [1, 1]]),
        torch.tensor([[0.7, 0.3], [0.6, 0.4]]),
        torch.zeros(2, 3),
        torch.zeros(2, 3),
        torch.zeros(()),
        mask=torch.tensor([[True, True], [True, False]]),
    )
    assert torch.allclose(routing.dense(), torch.tensor([[0.3, 0.0, 0.7], [0.0, 0.6, 0.0]]))
    assert routing.active.tolist() == [2, 1]


def test_half_precision_weights_keep_their_type() -> None:
    found = _router().choose(torch.randn(3, 4).to(torch.bfloat16), Context(1, 3))
    assert found.weights.dtype == torch.bfloat16
    assert found.probs.dtype == torch.float32


# losses


def test_load_balance_is_one_where_all_is_even() -> None:
    indices = torch.tensor([[0, 1], [2, 3]])
    assert load_balance(torch.full((2, 4), 0.25), indices).item() == pytest.approx(1.0)


def test_load_balance_is_n_where_one_expert_has_all() -> None:
    probs = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 3)
    assert load_balance(probs, torch.zeros(3, 1, dtype=torch.long)).item() == pytest.approx(4.0)


def test_load_balance_worked_by_hand() -> None:
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    # f = (2/4, 2/4, 0), P = (0.6, 0.3, 0.1): 3 (0.30 + 0.15)
    assert load_balance(probs, torch.tensor([[0, 1], [0, 1]])).item() == pytest.approx(1.35)


def test_load_balance_does_not_count_masked_slots() -> None:
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    mask = torch.tensor([[True, False], [True, False]])
    found = load_balance(probs, torch.tensor([[0, 1], [0, 1]]), mask)
    assert found.item() == pytest.approx(3 * 0.6)
    assert load_balance(probs, torch.tensor([[0, 1], [0, 1]]), torch.zeros_like(mask)).item() == 0


def test_load_balance_pushes_probability_away_from_the_busy_expert() -> None:
    logits = torch.zeros(6, 3, requires_grad=True)
    load_balance(torch.softmax(logits, -1), torch.zeros(6, 1, dtype=torch.long)).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 0] > 0).all()
    assert (logits.grad[:, 1:] < 0).all()


def test_z_loss_is_the_mean_squared_log_sum_exp() -> None:
    assert z_loss(torch.zeros(2, 4)).item() == pytest.approx(math.log(4) ** 2)
    assert z_loss(torch.log(torch.tensor([[0.5, 0.5], [1.0, 1.0]]))).item() == pytest.approx(math.log(2) ** 2 / 2)


def test_the_loss_is_the_weighted_sum_of_both() -> None:
    router, x = _router(balance=0.3, z=0.2), torch.randn(7, 6)
    found = router(x)
    wanted = 0.3 * load_balance(found.probs, found.indices) + 0.2 * z_loss(found.logits)
    assert found.aux_loss.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_training_by_the_balance_loss_alone_evens_the_load() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 6) + 1.0  # a mean that gives some experts most tokens
    router = _router(8, 1, balance=1.0, z=0.0)

    def load() -> float:
        return evenness(torch.bincount(router(x).indices.reshape(-1), minlength=8)[None].float()).item()

    before = load()
    for _ in range(60):
        (slope,) = torch.autograd.grad(router(x).aux_loss, router.weight)
        with torch.no_grad():
            router.weight -= 0.1 * slope
    assert load() > before + 0.05


def test_evenness_is_one_for_equal_counts_and_zero_for_one_expert() -> None:
    assert evenness(torch.tensor([[5.0, 5.0, 5.0], [9.0, 0.0, 0.0]])).tolist() == pytest.approx([1.0, 0.0])


# as a layer, in a model


def test_the_layers_output_is_the_weighted_sum_of_the_chosen() -> None:
    torch.manual_seed(0)
    layer, x = MoELayer(Experts(4, 6, 5), TopK(6, 4, 2)), torch.randn(3, 6)
    y, routing = layer(x)
    for token in range(3):
        wanted = sum(
            w * layer.experts.one(int(e), x[token : token + 1])[0]
            for e, w in zip(routing.indices[token], routing.weights[token], strict=True)
        )
        assert torch.allclose(y[token], wanted, atol=1e-5)


def test_the_model_adds_up_its_layers_losses() -> None:
    torch.manual_seed(0)
    model = TinyMoELM(TinyConfig(width=8, layers=3, heads=2, n_experts=4, k=2, hidden=8, context=8))
    out = model(torch.randint(0, 256, (2, 8)))
    assert out.aux_loss.item() == pytest.approx(sum(one.aux_loss.item() for one in out.routings), rel=1e-6)


def test_options_reach_the_router_and_unknown_ones_are_refused() -> None:
    config = TinyConfig(width=8, layers=1, heads=2, n_experts=4, hidden=8, options={"balance": 0.5, "z": 0.0})
    router = make_layer(config, 0, {}).router
    assert (router.balance, router.z) == (0.5, 0.0)
    with pytest.raises(InvalidInput, match="sharpness"):
        make_layer(TinyConfig(width=8, heads=2, options={"sharpness": 1}), 0, {})


# what is refused


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_outside_one_to_n_is_refused(k: int) -> None:
    with pytest.raises(InvalidInput, match=f"not {k}"):
        TopK(6, 4, k)
    with pytest.raises(InvalidInput, match=f"not {k}"):
        _router(4, 2).choose(torch.randn(3, 4), Context(1, 3), k=k)


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not 0"):
        TopK(0, 4, 2)


@pytest.mark.parametrize("shape", [(3, 5), (6,), (1, 3, 6)])
def test_tokens_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"\[T, 6\]"):
        _router()(torch.zeros(shape))


def test_no_tokens_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no tokens"):
        _router()(torch.zeros(0, 6))
    with pytest.raises(InvalidInput, match="no tokens"):
        checked_tokens(torch.zeros(0, 6), 6)


def test_nan_scores_are_refused_naming_the_token() -> None:
    x = torch.zeros(3, 6)
    x[1, 2] = math.nan
    with pytest.raises(InvalidInput, match="token 1"):
        _router()(x)


def test_infinities_of_both_signs_are_not_taken_for_nan() -> None:
    checked_logits(torch.tensor([[math.inf, -math.inf, 0.0]]))
