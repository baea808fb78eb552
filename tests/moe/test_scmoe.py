"""Self-contrast: strong against weak activation in one batch."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.control.scmoe import SelfContrast, contrasted, generate_with, strong_and_weak  # noqa: E402
from weighup.moe.generate import generate  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.running import logits_of  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

TINY = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = TinyMoELM(TINY).eval()
    for one in made.parameters():  # logits that differ enough for greedy choices to differ
        if one.dim() > 1:
            torch.nn.init.normal_(one, std=0.4)
    return made


def tokens(rows=3, length=9):
    return torch.randint(0, 60, (rows, length), generator=torch.Generator().manual_seed(1))


def test_known_scores():
    strong = torch.tensor([[4.0, 3.9, 3.0, 0.0]])
    weak = torch.tensor([[4.0, 1.0, 0.0, -9.0]])
    found = contrasted(strong, weak, alpha=0.1, beta=0.5)
    # log 0.1 = -2.30: the last is out, or else it would win.
    assert torch.allclose(found, torch.tensor([[4.0, 5.35, 4.5, -math.inf]]))
    assert found.argmax() == 1
    assert contrasted(strong, weak, alpha=1.0).argmax() == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), alpha=st.floats(0.01, 1.0), beta=st.floats(0.0, 2.0))
def test_the_choice_is_in_the_head_and_greedy_without_beta(seed, alpha, beta):
    chance = torch.Generator().manual_seed(seed)
    strong, weak = torch.randn(2, 5, 11, generator=chance).unbind()
    head = strong >= strong.amax(-1, keepdim=True) + math.log(alpha)
    chosen = contrasted(strong, weak, alpha=alpha, beta=beta).argmax(-1)
    assert head.gather(1, chosen[:, None]).all()
    assert torch.equal(contrasted(strong, weak, alpha=alpha, beta=0.0).argmax(-1), strong.argmax(-1))


def test_without_beta_it_is_greedy(model):
    assert torch.equal(generate_with(model, tokens(), 8, beta=0.0), generate(model, tokens(), 8))


def test_halves_are_the_two_activations(model):
    with torch.no_grad():
        strong, weak = strong_and_weak(model, tokens(), SelfContrast(weak=(2,)))
        assert torch.allclose(strong, logits_of(model, tokens()), atol=1e-5)
        with control(model, Policy(ranks=(2,))):
            assert torch.allclose(weak, logits_of(model, tokens()), atol=1e-5)
        strong, weak = strong_and_weak(model, tokens(), SelfContrast(strong=3, weak=(3, 4)))
        with control(model, Policy(k=3)):
            assert torch.allclose(strong, logits_of(model, tokens()), atol=1e-5)


def test_a_step_at_a_time_is_the_whole_text_at_once(model):
    contrast = SelfContrast(alpha=0.1, beta=1.0)
    made = generate_with(model, tokens(), 6, alpha=0.1, beta=1.0)
    text = torch.cat((tokens(), made), 1)
    scores = contrasted(*strong_and_weak(model, text, contrast), alpha=0.1, beta=1.0)
    assert torch.equal(scores[:, tokens().shape[1] - 1 : -1].argmax(-1), made)
    assert not torch.equal(made, generate(model, tokens(), 6))


def test_the_model_is_bit_for_bit_as_it_was(model):
    before = logits_of(model, tokens())
    generate_with(model, tokens(), 4)
    assert torch.equal(logits_of(model, tokens()), before)


def test_generation_ends(model):
    first = int(generate_with(model, tokens(1), 1)[0, 0])
    assert generate_with(model, tokens(1), 5, end=first).tolist() == [[first]]


def test_a_mixtral(mixtral):
    before = logits_of(mixtral, tokens())
    assert torch.equal(generate_with(mixtral, tokens(), 6, beta=0.0), generate(mixtral, tokens(), 6))
    assert generate_with(mixtral, tokens(), 6).shape == (3, 6)
    assert torch.equal(logits_of(mixtral, tokens()), before)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.5), (1.5, 0.5), (0.1, -1.0), (0.1, math.inf)])
def test_strengths_that_cannot_be(alpha, beta):
    with pytest.raises(InvalidInput, match="scmoe"):
        SelfContrast(alpha, beta)


def test_input_that_cannot_be(model):
    with pytest.raises(InvalidInput, match="shapes"):
        contrasted(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(InvalidInput, match="NaN"):
        contrasted(torch.tensor([[float("nan"), 0.0]]), torch.zeros(1, 2))
    with pytest.raises(InvalidInput, match="ranks"):
        generate_with(model, tokens(), 2, weak=(5,))
    with pytest.raises(InvalidInput, match="the 4 experts is needed, not 5"):
        generate_with(model, tokens(), 2, strong=5)
    with pytest.raises(InvalidInput, match="length"):
        generate_with(model, tokens(), 0)
    with pytest.raises(InvalidInput, match=r"\[0, 9\]"):
        generate_with(model, tokens(0), 2)
    with pytest.raises(InvalidInput, match="Linear"):
        generate_with(torch.nn.Linear(2, 2), tokens(), 2)
