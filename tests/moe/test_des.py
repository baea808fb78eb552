"""Dynamic experts search: k constant in a trajectory, inherited, chosen by a verifier."""

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.control.des import Trajectories, beam, best_of_n, generate_with, likelihood, pass_at  # noqa: E402
from weighup.moe.control.rewire import next_token_losses  # noqa: E402
from weighup.moe.generate import generate  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.running import logits_of  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

TINY = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)
COLD = 1e-4  # sampling that is greedy


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = TinyMoELM(TINY).eval()
    for one in made.parameters():
        if one.dim() > 1:
            torch.nn.init.normal_(one, std=0.4)
    return made


def prompts(rows=2, length=7):
    return torch.randint(0, 60, (rows, length), generator=torch.Generator().manual_seed(1))


def small(prompt, continuation):
    """A verifier that likes low tokens."""
    return -continuation.float().mean(1)


def check_each_is_greedy_under_its_k(model, found, length):
    for row, prompt in enumerate(prompts()):
        for made, k in zip(found.tokens[row], found.ks[row], strict=True):
            with control(model, Policy(k=int(k))):
                assert torch.equal(made, generate(model, prompt[None], length)[0])


def test_every_trajectory_keeps_its_k(model):
    found = best_of_n(model, prompts(), 5, ks=(1, 2, 4), n=4, temperature=COLD)
    assert found.ks.sort(1).values.tolist() == [[1, 1, 2, 4]] * 2  # the first k gets what is over
    check_each_is_greedy_under_its_k(model, found, 5)
    assert len({tuple(one.tolist()) for one in found.tokens[0]}) > 1


def test_descendants_inherit_k(model):
    found = beam(model, prompts(), 6, ks=(1, 2, 3, 4), n=4, keep=2, stride=2, verifier=small, temperature=COLD)
    assert found.tokens.shape == (2, 4, 6)
    check_each_is_greedy_under_its_k(model, found, 6)
    for row in range(2):  # two were kept, each went on as two
        assert all(count % 2 == 0 for count in torch.bincount(found.ks[row]).tolist())


def test_the_best_comes_first(model):
    for found in (
        best_of_n(model, prompts(), 5, n=8, verifier=small, seed=3),
        beam(model, prompts(), 5, n=8, verifier=small, stride=2, seed=3),
    ):
        assert torch.equal(found.scores, found.scores.sort(1, descending=True).values)
        rows = found.tokens.flatten(0, 1)
        assert torch.allclose(small(None, rows).view(2, 8), found.scores)
        assert torch.equal(found.best, found.tokens[:, 0])


def test_a_beam_of_one_stride_is_best_of_n(model):
    one = beam(model, prompts(), 4, n=8, stride=4, verifier=small, seed=5)
    other = best_of_n(model, prompts(), 4, n=8, verifier=small, seed=5)
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(one.ks, other.ks)


def test_the_seed_decides(model):
    first, again, other = (best_of_n(model, prompts(), 6, seed=seed).tokens for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_beam_goes_where_the_verifier_points(model):
    def wants(prompt, continuation):
        return torch.where(continuation[:, 0] == favourite, 1.0, 0.0)

    favourite = int(best_of_n(model, prompts(), 1, ks=(3,), n=1, temperature=COLD).tokens[0, 0, 0])
    found = beam(model, prompts(), 6, ks=(3, 4), n=4, keep=1, stride=1, verifier=wants)
    if found.scores[0].max() == 1:
        assert (found.tokens[0, :, 0] == favourite).all()


def test_likelihood_and_pass_at(model):
    text = prompts(2, 9)
    losses = next_token_losses(logits_of(model, text), text)
    assert torch.allclose(likelihood(model)(text[:, :6], text[:, 6:]), -losses[:, 5:].mean(1), atol=1e-5)
    assert pass_at(torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.5, 0.9]])) == 0.5


def test_the_model_is_bit_for_bit_as_it_was(model):
    before = logits_of(model, prompts())
    made = generate_with(model, prompts(), 4, n=4)
    assert made.shape == (2, 4)
    assert generate_with(model, prompts(), 4, search="beam", n=4, stride=2).shape == (2, 4)
    assert torch.equal(logits_of(model, prompts()), before)


def test_ended_trajectories_stay_ended(model):
    first = int(best_of_n(model, prompts(1), 1, ks=(2,), n=1, temperature=COLD).tokens[0, 0, 0])
    found = beam(model, prompts(1), 6, ks=(2,), n=2, keep=1, stride=2, temperature=COLD, end=first)
    assert (found.tokens == first).all()
    assert found.tokens.shape[2] == 2


def test_a_mixtral(mixtral):
    before = logits_of(mixtral, prompts())
    check_each_is_greedy_under_its_k(mixtral, best_of_n(mixtral, prompts(), 4, n=4, temperature=COLD), 4)
    found = beam(mixtral, prompts(), 4, n=4, keep=2, stride=2, temperature=COLD)
    check_each_is_greedy_under_its_k(mixtral, found, 4)
    assert generate_with(mixtral, prompts(), 3, n=4).shape == (2, 3)
    assert torch.equal(logits_of(mixtral, prompts()), before)


def test_input_that_cannot_be(model):
    with pytest.raises(InvalidInput, match="the 4 experts is needed, not 5"):
        best_of_n(model, prompts(), 3, ks=(2, 5))
    with pytest.raises(InvalidInput, match="fewer than the 4"):
        best_of_n(model, prompts(), 3, n=3)
    with pytest.raises(InvalidInput, match="different numbers"):
        best_of_n(model, prompts(), 3, ks=())
    with pytest.raises(InvalidInput, match=r"\[0, 7\]"):
        best_of_n(model, prompts(0), 3)
    with pytest.raises(InvalidInput, match="temperature"):
        best_of_n(model, prompts(), 3, temperature=0.0)
    with pytest.raises(InvalidInput, match="length"):
        best_of_n(model, prompts(), 0)
    with pytest.raises(InvalidInput, match="multiple of the 3"):
        beam(model, prompts(), 3, n=8, keep=3)
    with pytest.raises(InvalidInput, match="stride"):
        beam(model, prompts(), 3, stride=0)
    with pytest.raises(InvalidInput, match="search"):
        generate_with(model, prompts(), 3, search="dfs")
    with pytest.raises(InvalidInput, match="verifier"):
        best_of_n(model, prompts(), 3, verifier=lambda prompt, made: made.float())
    with pytest.raises(InvalidInput, match="Linear"):
        best_of_n(torch.nn.Linear(2, 2), prompts(), 3)


def test_trajectories_name_their_best():
    found = Trajectories(torch.arange(6).view(1, 3, 2), torch.ones(1, 3), torch.zeros(1, 3))
    assert found.best.tolist() == [[0, 1]]
