"""C3PO: a sample's experts mixed again towards those of solved neighbours."""

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.control.c3po import (  # noqa: E402
    LastToken,
    Remixing,
    critical,
    generate_with,
    logits_with,
    neighbours,
    oracle,
    read,
    reference,
    remix,
)
from weighup.moe.generate import generate  # noqa: E402
from weighup.moe.policy import control  # noqa: E402
from weighup.moe.running import logits_of  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

TINY = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)
WAYS = ("mode", "kernel", "gradient")


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = TinyMoELM(TINY).eval()
    for one in made.parameters():
        if one.dim() > 1:
            torch.nn.init.normal_(one, std=0.4)
    return made


def tokens(rows=4, length=7, seed=1):
    return torch.randint(0, 60, (rows, length), generator=torch.Generator().manual_seed(seed))


def solved(model, rows=8):
    """A reference set whose answers are what the model says."""
    samples = tokens(rows, seed=2)
    with torch.no_grad():
        return reference(model, samples, logits_of(model, samples)[:, -1].argmax(-1))


def test_the_own_pathway_changes_nothing(model):
    found = read(model, tokens())
    assert torch.allclose(found.pathways.sum(-1), torch.ones(4, 2))
    assert torch.allclose(logits_with(model, tokens(), found.pathways, (0, 1)), found.logits, atol=1e-5)


def test_only_the_last_token_and_the_critical_layers_change(model):
    other = torch.softmax(torch.randn(4, 1, 4, generator=torch.Generator().manual_seed(0)) * 4, -1)
    with torch.no_grad():
        before = logits_of(model, tokens())
        with control(model, LastToken(other, (1,), torch.full((4,), 6))):
            within = logits_of(model, tokens())
        assert torch.allclose(within[:, :-1], before[:, :-1], atol=1e-5)
        assert not torch.allclose(within[:, -1], before[:, -1], atol=1e-3)
        assert torch.equal(logits_of(model, tokens()), before)
    assert critical(model, 1) == (1,)
    assert critical(model) == (0, 1)


def test_padding_on_the_right_is_not_seen(model):
    short, lengths = tokens(4, 7), torch.tensor([3, 7, 5, 1])
    found = read(model, short, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = read(model, short[row : row + 1, :length])
        assert torch.allclose(found.logits[row], alone.logits[0], atol=1e-5)
        assert torch.allclose(found.pathways[row], alone.pathways[0], atol=1e-5)
        assert torch.allclose(found.embeddings[row], alone.embeddings[0], atol=1e-5)


def test_only_solved_samples_are_kept(model):
    samples = tokens(6)
    answers = read(model, samples).logits.argmax(-1)
    answers[::2] = (answers[::2] + 1) % 256
    found = reference(model, samples, answers)
    assert torch.equal(found.tokens, samples[1::2])
    assert torch.equal(found.answers, answers[1::2])


def test_kernel_regression_by_hand(model):
    known, old = solved(model), read(model, tokens()).pathways
    found = remix(model, tokens(), known, Remixing("kernel", k=3, stay=0.25))
    near, kernel = neighbours(read(model, tokens()).embeddings, known.embeddings, 3)
    for row in range(4):
        mean = sum(kernel[row, n] * known.pathways[near[row, n]] for n in range(3))
        assert torch.allclose(found[row], 0.25 * old[row] + 0.75 * mean, atol=1e-6)
    assert torch.allclose(remix(model, tokens(), known, Remixing("kernel", stay=1.0)), old, atol=1e-6)
    one = remix(model, tokens(), known, Remixing("kernel", k=1, stay=0.0))
    assert torch.allclose(one, known.pathways[near[:, 0]], atol=1e-6)


def test_mean_shift_goes_to_a_mode(model):
    known = solved(model)
    found = remix(model, tokens(), known, Remixing("mode", k=1, steps=30, stay=0.2))
    distances = torch.cdist(found.flatten(1), known.pathways.flatten(1)).amin(1)
    assert float(distances.max()) < 1e-4


def test_the_gradient_lowers_the_neighbours_loss(model):
    samples, answers = tokens(4), torch.tensor([7, 8, 9, 10])
    before = torch.nn.functional.cross_entropy(read(model, samples).logits, answers)
    found = oracle(model, samples, answers, Remixing(steps=10, rate=0.3))
    after = torch.nn.functional.cross_entropy(logits_with(model, samples, found, (0, 1)), answers)
    assert after < before
    assert torch.allclose(found.sum(-1), torch.ones(4, 2))
    # Itself as its own only neighbour, solved: the same objective.
    known = solved(model)
    ours = remix(model, known.tokens, known, Remixing(k=1, steps=3))
    assert torch.allclose(ours, oracle(model, known.tokens, known.answers, Remixing(k=1, steps=3)), atol=1e-5)


def test_only_core_experts_change(model):
    known, old = solved(model), read(model, tokens()).pathways
    for way in WAYS:
        new = remix(model, tokens(), known, Remixing(way, core=2, steps=2))
        rest = old.argsort(-1)[..., :2]
        pair = (new.gather(-1, rest) / old.gather(-1, rest)).unbind(-1)
        assert torch.allclose(pair[0], pair[1], rtol=1e-4)  # the others share what is left as they did


def test_no_steps_change_nothing(model):
    old = read(model, tokens()).pathways
    for way in ("mode", "gradient"):
        assert torch.allclose(remix(model, tokens(), solved(model), Remixing(way, steps=0)), old, atol=1e-6)


def test_neighbours_by_hand():
    near, kernel = neighbours(torch.tensor([[0.0]]), torch.tensor([[3.0], [1.0], [-2.0]]), 2)
    assert near.tolist() == [[1, 2]]
    expected = torch.softmax(torch.tensor([-1.0, -4.0]) / (2 * 2.5), 0)
    assert torch.allclose(kernel[0], expected)


@pytest.mark.parametrize("way", WAYS)
def test_generation(model, way):
    known = solved(model)
    before, weights = logits_of(model, tokens()), [one.clone() for one in model.parameters()]
    made = generate_with(model, tokens(), 3, reference=known, way=way, steps=2)
    assert made.shape == (4, 3)
    assert torch.equal(logits_of(model, tokens()), before)
    assert all(torch.equal(one, was) and one.grad is None for one, was in zip(model.parameters(), weights, strict=True))
    still = generate_with(model, tokens(), 3, reference=known, way="kernel", stay=1.0)
    assert torch.equal(still, generate(model, tokens(), 3))


def test_a_mixtral(mixtral):
    before, known = logits_of(mixtral, tokens()), solved(mixtral)
    for way in WAYS:
        assert generate_with(mixtral, tokens(), 2, reference=known, way=way, steps=2).shape == (4, 2)
    own = read(mixtral, tokens())
    assert torch.allclose(logits_with(mixtral, tokens(), own.pathways, (0, 1)), own.logits, atol=1e-4)
    assert torch.equal(logits_of(mixtral, tokens()), before)


@pytest.mark.parametrize(
    "options", [{"way": "best"}, {"k": 0}, {"core": 0}, {"steps": -1}, {"rate": 0.0}, {"stay": 1.5}, {"stay": -0.1}]
)
def test_options_that_cannot_be(options):
    with pytest.raises(InvalidInput, match="c3po"):
        Remixing(**options)


def test_input_that_cannot_be(model):
    known = solved(model)
    with pytest.raises(InvalidInput, match="fewer than the 9"):
        remix(model, tokens(), known, Remixing(k=9))
    with pytest.raises(InvalidInput, match="solves none"):
        reference(model, tokens(), (read(model, tokens()).logits.argmax(-1) + 1) % 256)
    with pytest.raises(InvalidInput, match="answers"):
        reference(model, tokens(), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InvalidInput, match="embeddings"):
        reference(model, known.tokens, known.answers, embeddings=torch.zeros(2, 3))
    with pytest.raises(InvalidInput, match="embeddings"):
        remix(model, tokens(), known, embeddings=torch.zeros(4, 3))
    with pytest.raises(InvalidInput, match="lengths"):
        read(model, tokens(), lengths=torch.tensor([1, 2, 3, 8]))
    with pytest.raises(InvalidInput, match=r"\[0, 7\]"):
        remix(model, tokens(0), known)
    with pytest.raises(InvalidInput, match="Linear"):
        read(torch.nn.Linear(2, 2), tokens())
