"""Rewiring: vectors on the routers' logits fitted to the context, and nothing else changed."""

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput, JobFailed  # noqa: E402
from weighup.moe.control.rewire import (  # noqa: E402
    Rewiring,
    Vectors,
    generate_with,
    logits_of,
    next_token_losses,
    rewire,
    surest,
)
from weighup.moe.generate import generate  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

TINY = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TinyMoELM(TINY).eval()


def tokens(rows=3, length=12, most=60, seed=1):
    return torch.randint(0, most, (rows, length), generator=torch.Generator().manual_seed(seed))


def test_the_fit_lowers_the_loss_of_the_context(model):
    found = rewire(model, tokens(), Rewiring(steps=8, rate=0.1))
    with torch.no_grad(), control(model, found):
        after = next_token_losses(logits_of(model, tokens()), tokens()).mean()
    assert after < found.losses[0]
    assert {layer: tuple(one.shape) for layer, one in found.by_layer.items()} == {0: (3, 4), 1: (3, 4)}


def test_the_model_is_bit_for_bit_as_it_was(model):
    model.blocks[0].moe.router.weight.requires_grad_(False)
    model.train()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    logits = logits_of(model, tokens())
    rewire(model, tokens(), Rewiring(steps=3))
    generate_with(model, tokens(), 5, steps=2, every=2)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert torch.equal(logits_of(model, tokens()), logits)
    assert all(one.grad is None for one in model.parameters())
    assert model.training
    assert not model.blocks[0].moe.router.weight.requires_grad
    assert model.head.weight.requires_grad


def test_no_steps_change_nothing(model):
    found = rewire(model, tokens(), Rewiring(steps=0))
    with control(model, found):
        assert torch.equal(logits_of(model, tokens()), logits_of(model, tokens()))
        within = logits_of(model, tokens())
    assert torch.equal(within, logits_of(model, tokens()))
    assert torch.equal(generate_with(model, tokens(), 7, steps=0, every=3), generate(model, tokens(), 7))


def test_vectors_are_those_of_policy_add(model):
    vectors = {0: torch.randn(1, 4), 1: torch.randn(1, 4)}
    with torch.no_grad():
        with control(model, Vectors(vectors)):
            ours = logits_of(model, tokens())
        with control(model, Policy(add={layer: one[0] for layer, one in vectors.items()})):
            theirs = logits_of(model, tokens())
    assert torch.equal(ours, theirs)


def test_each_sequence_is_fitted_by_itself(model):
    together = rewire(model, tokens(), Rewiring(steps=2, optimiser="sgd"))
    for row in range(3):
        alone = rewire(model, tokens()[row : row + 1], Rewiring(steps=2, optimiser="sgd"))
        for layer in (0, 1):
            assert torch.allclose(together.by_layer[layer][row], alone.by_layer[layer][0], atol=1e-5)


def test_shared_vectors_and_selected_layers(model):
    found = rewire(model, tokens(), Rewiring(steps=1, layers=(1,)), shared=True)
    assert {layer: tuple(one.shape) for layer, one in found.by_layer.items()} == {1: (1, 4)}
    assert surest(model, tokens(), 1.0) == (0, 1)
    (only,) = surest(model, tokens(), 0.5)
    assert tuple(rewire(model, tokens(), Rewiring(steps=1, share=0.5)).by_layer) == (only,)


def test_a_fit_goes_on_from_the_last(model):
    plan = Rewiring(steps=1, optimiser="sgd")
    twice = rewire(model, tokens(), plan, start=rewire(model, tokens(), plan))
    once = rewire(model, tokens(), Rewiring(steps=2, optimiser="sgd"))
    assert all(torch.allclose(twice.by_layer[layer], once.by_layer[layer], atol=1e-6) for layer in (0, 1))


def test_generation_ends(model):
    with torch.no_grad():
        model.head.weight.zero_()  # every token equally likely: greedy takes the first
    assert generate_with(model, tokens(), 6, steps=1, every=2, end=0).tolist() == [[0], [0], [0]]


def test_a_mixtral(mixtral):
    before = logits_of(mixtral, tokens())
    found = rewire(mixtral, tokens(), Rewiring(steps=4, rate=0.1))
    assert found.losses[-1] < found.losses[0]
    assert generate_with(mixtral, tokens(), 4, steps=1, every=2).shape == (3, 4)
    assert torch.equal(generate_with(mixtral, tokens(), 4, steps=0), generate(mixtral, tokens(), 4))
    assert torch.equal(logits_of(mixtral, tokens()), before)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": -1},
        {"rate": 0.0},
        {"every": 0},
        {"optimiser": "lbfgs"},
        {"share": 0.0},
        {"share": 1.1},
        {"layers": ()},
    ],
)
def test_options_that_cannot_be(options):
    with pytest.raises(InvalidInput, match="rewire"):
        Rewiring(**options)


def test_input_that_cannot_be(model):
    with pytest.raises(InvalidInput, match=r"2 or more.*\[3, 1\]"):
        rewire(model, tokens(length=1))
    with pytest.raises(InvalidInput, match=r"\[0, 5\]"):
        rewire(model, tokens(rows=0, length=5))
    with pytest.raises(InvalidInput, match="layer 2 does not route"):
        rewire(model, tokens(), Rewiring(layers=(2,)))
    with pytest.raises(InvalidInput, match="Linear"):
        rewire(torch.nn.Linear(2, 2), tokens())
    with pytest.raises(InvalidInput, match="vectors of 3 sequences"):
        rewire(model, tokens(), start=rewire(model, tokens(rows=2)))
    with pytest.raises(InvalidInput, match="length"):
        generate_with(model, tokens(), 0)
    with pytest.raises(InvalidInput, match="3 sequences"), control(model, rewire(model, tokens())):
        logits_of(model, tokens(rows=1, length=5))


def test_a_broken_model_is_said(model):
    with torch.no_grad():
        model.head.weight.fill_(float("nan"))
    with pytest.raises(JobFailed, match="loss is nan"):
        rewire(model, tokens())
    with torch.no_grad():
        model.embedding.weight.fill_(float("nan"))
    with pytest.raises(InvalidInput, match="NaN"):
        rewire(model, tokens())
