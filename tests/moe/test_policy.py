"""Policies that do not fit a model are refused before anything runs; what the usual ones do to a decision."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.policy import Policy, Rows, control, mixed  # noqa: E402
from weighup.moe.sites import Decision, sites  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)
BAD = {
    "k of 0": (Policy(k=0), "not 0"),
    "k above N": (Policy(k=5), "4 experts is needed, not 5"),
    "k above N in one layer": (Policy(k={1: 9}), "not 9"),
    "a layer that does not route": (Policy(k={2: 1}), "k: layer 2 does not route; there are 2"),
    "a mask of another size": (
        Policy(allowed=torch.ones(3, dtype=torch.bool)),
        "allowed: layer 0 has 4 experts, not 3",
    ),
    "logits of another size": (Policy(add={1: torch.zeros(5)}), "add: layer 1 has 4 experts, not 5"),
    "logits that are NaN": (Policy(add=torch.tensor([0.0, float("nan"), 0, 0])), "add: holds NaN for layer 0"),
    "weights that are NaN": (Policy(mix=torch.full((4,), float("nan"))), "mix: holds NaN for layer 0"),
    "too few allowed": (Policy(allowed=torch.tensor([True, False, False, False])), "leaves 1 experts"),
    "too few for k": (Policy(k=3, allowed=torch.tensor([True, True, False, False])), "leaves 2 experts"),
    "no rank": (Policy(ranks=()), "ranks: different places from 1 to 4"),
    "a rank of 0": (Policy(ranks=(0, 1)), r"not \(0, 1\)"),
    "a rank above N": (Policy(ranks=(5,)), r"not \(5,\)"),
    "a rank twice": (Policy(ranks=(2, 2)), r"not \(2, 2\)"),
    "sent to nobody": (Policy(to=torch.tensor([0, 1, 2, 4])), "experts 0 to 3, not 0 to 4"),
    "sent below nobody": (Policy(to=torch.tensor([0, 1, 2, -1])), "not -1 to 2"),
    "one of several": (Rows((None, Policy(k=7))), "not 7"),
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TinyMoELM(CONFIG).eval()


@pytest.fixture(scope="module")
def ids():
    return torch.randint(0, 256, (2, 8), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", BAD)
def test_bad_policies_are_named_and_nothing_is_left_behind(model, name):
    policy, told = BAD[name]
    with pytest.raises(InvalidInput, match=told), control(model, policy):
        pass
    assert not any(site.router._forward_hooks for site in sites(model))


def test_no_policy_hooks_nothing(model):
    for nothing in (None, Policy()):
        with control(model, nothing) as found:
            assert len(found) == 2
            assert not any(site.router._forward_hooks for site in found)


def test_mixing_weights_keep_their_sign_and_skip_what_is_zero():
    decision = Decision(torch.zeros(3, 4), torch.zeros(3, 2, dtype=torch.long), torch.zeros(3, 2))
    weights = torch.tensor([[0.0, 0.5, -0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    found = mixed(decision, weights)
    rebuilt = torch.zeros(3, 4).scatter_add(1, found.indices, found.weights * found.mask)
    torch.testing.assert_close(rebuilt, weights)
    assert found.indices.shape == (3, 2)
    assert found.mask.sum(-1).tolist() == [2, 1, 0]


def test_layers_may_differ(model, ids):
    with torch.no_grad(), control(model, Policy(k={0: 1, 1: 3})):
        routings = model(ids).routings
    assert [one.indices.shape[1] for one in routings] == [1, 3]


def test_logits_a_token_reach_their_token(model, ids):
    add = torch.zeros(16, 4)
    add[torch.arange(16), torch.arange(16) % 4] = 50.0
    with torch.no_grad(), control(model, Policy(k=1, add=add)):
        routings = model(ids).routings
    assert all(one.indices[:, 0].tolist() == [n % 4 for n in range(16)] for one in routings)


def test_gradients_reach_what_is_added(model, ids):
    add = torch.zeros(4, requires_grad=True)
    with control(model, Policy(add=add)):
        model(ids, ids).loss.backward()
    assert add.grad.abs().sum() > 0
    model.zero_grad(set_to_none=True)


def test_parts_with_fewer_experts_are_filled_up_with_nothing(model, ids):
    with torch.no_grad(), control(model, Rows((Policy(k=1), Policy(k=4)))):
        routing = model(ids).routings[0]
    assert routing.active.tolist() == [1] * 8 + [4] * 8
    torch.testing.assert_close(routing.dense().sum(-1), torch.ones(16))


def test_controls_nest_and_the_inner_one_acts_last(model, ids):
    with torch.no_grad(), control(model, Policy(k=3)), control(model, Policy(k=1)):
        assert model(ids).routings[0].indices.shape[1] == 1
