"""AW-MoE: the gate is a sum over behaviours, the contrast is InfoNCE, and what cannot be ranked is refused."""

import math

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.multitask.aw_moe import (  # noqa: E402
    AWMoE,
    MoERanker,
    equal_rows,
    info_nce,
    masked,
    ranking_loss,
)
from weighup.moe.multitask.ctr_data import sequences  # noqa: E402
from weighup.moe.multitask.fitting import fit  # noqa: E402

ITEMS = 9
FEATURES = torch.randn(ITEMS + 1, 3, generator=torch.Generator().manual_seed(0))


def made(kind=AWMoE, **more):
    torch.manual_seed(1)
    return kind(FEATURES, experts=3, width=4, hidden=5, **more)


@pytest.fixture(autouse=True, scope="module")
def _seeded():
    torch.manual_seed(0)


items = st.lists(st.integers(1, ITEMS), min_size=1, max_size=6)


@settings(max_examples=8, deadline=None)
@given(items, items, st.integers(1, ITEMS))
def test_gates_of_two_histories_add_up(first, second, target):
    model, at = made(), torch.tensor([target])
    gates = [model.gates(torch.tensor([past]), at) for past in (first, second, first + second)]
    assert torch.allclose(gates[0] + gates[1] - model.default, gates[2], atol=1e-5)


@pytest.mark.parametrize("kind", [AWMoE, MoERanker])
@settings(max_examples=8, deadline=None)
@given(past=items, chance=st.randoms())
def test_order_and_padding_do_not_matter(kind, past, chance):
    model, at = made(kind), torch.tensor([4])
    moved = [*past, 0, 0]
    chance.shuffle(moved)
    for one, other in zip(model(torch.tensor([past]), at), model(torch.tensor([moved]), at), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_without_behaviours_the_default_gate_decides():
    model = made()
    _, gate = model(torch.zeros(2, 5, dtype=torch.long), torch.tensor([1, 2]))
    assert gate.allclose(model.default.expand(2, -1))


def test_the_score_is_the_experts_weighed_by_the_gate():
    model = made()
    nobody, at = torch.zeros(1, 3, dtype=torch.long), torch.tensor([3])
    torch.nn.init.constant_(model.bias, 0.7)

    def scored(gate):
        model.default.data = torch.tensor(gate)
        return float(model(nobody, at)[0].detach()) - 0.7

    parts = [scored(row) for row in torch.eye(3).tolist()]
    assert len({round(part, 5) for part in parts}) == 3, "experts differ"
    assert scored([0.2, 0.5, -1.0]) == pytest.approx(0.2 * parts[0] + 0.5 * parts[1] - parts[2], abs=1e-5)


def test_the_plain_gate_is_a_softmax():
    _, gate = made(MoERanker)(torch.tensor([[1, 2, 0]]), torch.tensor([3]))
    assert gate.sum(1).allclose(torch.ones(1))


def test_info_nce_of_known_vectors():
    same = torch.ones(4, 2)
    assert float(info_nce(same, same)) == pytest.approx(math.log(4), abs=1e-5)
    apart = torch.eye(3)
    assert float(info_nce(apart, apart, 0.5)) == pytest.approx(math.log(1 + 2 * math.exp(-2)), abs=1e-5)
    assert float(info_nce(apart, apart, 0.01)) == pytest.approx(0, abs=1e-5)
    assert float(info_nce(same, same, same=torch.ones(4, 4, dtype=torch.bool))) == pytest.approx(0, abs=1e-6)


def test_equal_histories_are_no_negatives():
    assert equal_rows(torch.tensor([[1, 2], [3, 0], [1, 2]])).int().tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def test_masking_leaves_out_the_share_and_changes_nothing_else():
    past = torch.randint(1, ITEMS, (200, 50), generator=torch.Generator().manual_seed(0))
    copy = masked(past, 0.3, torch.Generator().manual_seed(1))
    assert float((copy == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert (copy[copy > 0] == past[copy > 0]).all()
    assert (masked(past, 0.0) == past).all()


def test_the_contrast_is_added_with_its_weight():
    model = made()
    past, at, labels = torch.tensor([[1, 2], [3, 4]]), torch.tensor([5, 6]), torch.tensor([0.0, 1.0])
    plain = ranking_loss(model, past, at, labels, weight=0.0)
    gate = model.gates(past, at)
    whole = ranking_loss(model, past, at, labels, weight=0.5, share=0.0)
    assert float((whole - plain).detach()) == pytest.approx(0.5 * float(info_nce(gate, gate).detach()), abs=1e-5)
    assert torch.equal(
        ranking_loss(made(MoERanker), past, at, labels), ranking_loss(made(MoERanker), past, at, labels, weight=0.0)
    )


def test_it_learns_made_sequences():
    data = sequences(0, train=60, valid=5, test=5, items=30)["train"]
    torch.manual_seed(0)
    model = AWMoE(torch.from_numpy(data.items), experts=3, width=8, hidden=8)
    past, at, labels = map(torch.from_numpy, (data.behaviours, data.target, data.labels))
    chance = torch.Generator().manual_seed(0)

    def loss(rows, weight=0.05):
        return ranking_loss(model, past[rows], at[rows], labels[rows], weight=weight, generator=chance)

    everything = torch.arange(len(data))
    before = float(loss(everything, 0.0).detach())
    fit(model, loss, len(data), seed=0, steps=40, batch=64, rate=1e-2)
    assert float(loss(everything, 0.0).detach()) < before - 0.02


LONG = torch.long


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: AWMoE(FEATURES, experts=0), "experts"),
        (lambda: AWMoE(FEATURES[:1]), "item features"),
        (lambda: AWMoE(torch.full((3, 2), torch.nan)), "item features"),
        (lambda: made()(torch.zeros(0, 3, dtype=LONG), torch.zeros(0, dtype=LONG)), r"\[0, 3\]"),
        (lambda: made()(torch.ones(2, 3, dtype=LONG), torch.ones(3, dtype=LONG)), r"\[3\]"),
        (lambda: made()(torch.full((1, 2), 10), torch.ones(1, dtype=LONG)), "1 to 9"),
        (lambda: made()(torch.ones(1, 2, dtype=LONG), torch.zeros(1, dtype=LONG)), "never as the target"),
        (lambda: masked(torch.ones(1, 2), 1.0), "1.0"),
        (lambda: info_nce(torch.ones(2, 2), torch.ones(3, 2)), r"\[3, 2\]"),
        (lambda: info_nce(torch.ones(0, 2), torch.ones(0, 2)), r"\[0, 2\]"),
        (lambda: info_nce(torch.ones(2, 2), torch.ones(2, 2), 0.0), "temperature"),
        (lambda: info_nce(torch.full((2, 2), torch.nan), torch.ones(2, 2)), "NaN"),
    ],
)
def test_what_cannot_be_ranked_is_refused(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()
