"""HoME: each of its parts against known answers, the made click data, and what MMoE and PLE are."""

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

import numpy as np  # noqa: E402

from weighup.errors import InvalidInput, JobFailed  # noqa: E402
from weighup.moe.multitask.baselines import (  # noqa: E402
    PLE,
    ExpertBank,
    Inputs,
    MMoE,
    masked_softmax,
    multi_task_loss,
    zero_share,
)
from weighup.moe.multitask.ctr_data import RATES, clicks, sequences  # noqa: E402
from weighup.moe.multitask.fitting import fit  # noqa: E402
from weighup.moe.multitask.home import FeatureGate, HoME, hierarchy_masks  # noqa: E402

GROUPS = (0, 0, 1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def rows(n=12, width=6, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_the_masks_of_three_tasks_in_two_groups():
    first, second = hierarchy_masks(GROUPS, 1, 1, 1)
    # Experts: everybody's, group 0's, group 1's, then one a task. The last row of the first level sees all.
    assert first.int().tolist() == [[1, 1, 0], [1, 0, 1], [1, 1, 1]]
    assert second.int().tolist() == [[1, 1, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0], [1, 0, 1, 0, 0, 1]]


def test_gates_weigh_only_what_the_hierarchy_allows():
    model = HoME(6, GROUPS, out=4).eval()
    found = model(rows())
    assert found.logits.shape == (12, 3)
    for gates, mask in zip(found.gates, hierarchy_masks(GROUPS, 2, 1, 1), strict=True):
        assert gates.sum(-1).allclose(torch.ones(12, len(mask)))
        assert not gates[:, ~mask].any()


def test_a_task_teaches_no_experts_of_other_tasks_or_groups():
    model = HoME(6, GROUPS, shared=1, out=4).eval()
    model(rows()).logits[:, 0].sum().backward()
    taught = model.level.bank.weight.grad.abs().sum((1, 2)) > 0
    assert taught.tolist() == [True, True, False, True, False, False]
    free = HoME(6, GROUPS, shared=1, out=4, hierarchy=False).eval()
    free(rows()).logits[:, 0].sum().backward()
    assert (free.level.bank.weight.grad.abs().sum((1, 2)) > 0).all()


def test_a_feature_gate_begins_as_one_and_stays_between_zero_and_two():
    gate = FeatureGate(3, 6, loras=2, rank=4)
    x = torch.randn(5, 3, 6)
    assert gate(x).allclose(torch.ones(5, 3, 6))
    torch.nn.init.normal_(gate.a)
    assert (gate(x) > 0).all()
    assert (gate(x) < 2).all()
    assert gate(x).std() > 0.1


def test_a_feature_gate_of_one_lora_is_the_papers_formula():
    gate = FeatureGate(1, 6, loras=1, rank=4)
    torch.nn.init.normal_(gate.a)
    v = torch.randn(5, 6)
    assert gate(v[:, None])[:, 0].allclose(2 * torch.sigmoid(v @ gate.b[0, 0] @ gate.a[0, 0]), atol=1e-6)


def test_without_its_gates_at_work_the_parts_change_nothing_at_first():
    torch.manual_seed(0)
    model = HoME(6, GROUPS, out=4).eval()
    x, feature = rows(), model.level.feature
    before = model(x).logits
    model.meta.feature = model.level.feature = None
    assert before.allclose(model(x).logits, atol=1e-6), "feature gates start as 1"
    model.level.feature = feature
    torch.nn.init.constant_(model.self_gate.bias, -100.0)
    torch.nn.init.zeros_(model.self_gate.weight)
    torch.nn.init.constant_(model.meta_self.bias, -100.0)
    with_sigmoid_closed = model(x).logits
    model.self_gate = None
    # One expert of its own a task: its sigmoid is shut, so the task's self gate adds nothing.
    assert with_sigmoid_closed.allclose(model(x).logits, atol=1e-6)


def test_a_self_gate_is_a_sigmoid_for_one_expert_and_a_softmax_for_more():
    for per_task in (1, 2):
        model = HoME(6, GROUPS, per_task=per_task, out=4).eval()
        gates = model.self_gate(torch.randn(5, 3, 8))
        assert (gates > 0).sum(-1).eq(per_task).all()
        assert gates.sum(-1).allclose(torch.ones(5, 3)) == (per_task == 2)


def test_normalised_experts_stay_alive_where_relu_dies():
    x = rows(200)
    dead, alive = ExpertBank(4, 6, 8, normalise=False), ExpertBank(4, 6, 8, normalise=True)
    for bank in (dead, alive):
        torch.nn.init.constant_(bank.bias, -20.0)  # what a drifting bias does
    assert zero_share([dead(x)]) == 1.0
    assert zero_share([alive(x)]) < 0.1


def test_the_zero_share_of_known_numbers():
    assert zero_share([torch.tensor([[[0.0, 1.0, 0.001, -2.0]]])]) == 0.5
    assert zero_share([torch.zeros(1, 1, 2), torch.ones(1, 1, 6)]) == 0.25


def test_an_expert_bank_is_its_experts_side_by_side():
    bank = ExpertBank(3, 6, 4, normalise=False)
    x = rows()
    for n in range(3):
        assert bank(x)[:, n].allclose(torch.relu(x @ bank.weight[n] + bank.bias[n]), atol=1e-6)
    assert bank(x).allclose(bank(x[:, None].expand(-1, 3, -1)), atol=1e-6)


def test_the_baselines_gates_sum_to_one_and_ple_keeps_tasks_apart():
    x = rows()
    assert MMoE(6, 3)(x).gates[0].sum(-1).allclose(torch.ones(12, 3))
    model = PLE(6, 3, shared=1)
    found = model(x)
    assert found.logits.shape == (12, 3)
    assert all(gates.sum(-1).allclose(torch.ones(1)) for gates in found.gates)
    assert (found.gates[1] > 0).sum(-1).eq(2).all()
    found.logits[:, 0].sum().backward()
    assert (model.second.weight.grad.abs().sum((1, 2)) > 0).tolist()[2:] == [False, False]


def test_it_learns_made_clicks_and_keeps_the_best_state():
    data = clicks(0, train=600, valid=100, test=100, users=20, items=20)["train"]
    inputs = Inputs(data.sizes, 4, 6)
    body = HoME(inputs.out, (0, 0, 0, 1, 1, 1), out=8)
    model = torch.nn.ModuleList((inputs, body))
    fields, counts, labels = map(torch.from_numpy, (data.fields, data.counts, data.labels))

    def loss(chosen):
        return multi_task_loss(body(inputs(fields[chosen], counts[chosen])).logits, labels[chosen])

    everything = torch.arange(600)
    before = float(loss(everything).detach())
    scores = iter([1.0, 3.0, 2.0])
    assert fit(model, loss, 600, seed=0, steps=30, batch=64, every=10, valid=lambda: next(scores)) == 3.0
    assert float(loss(everything).detach()) < before
    assert not model.training


def test_made_clicks_come_at_their_rates_from_a_seed():
    first, again, other = (clicks(seed, train=20_000, valid=5, test=5) for seed in (3, 3, 4))
    assert np.allclose(first["train"].labels.mean(0), RATES, atol=0.012)
    assert (first["train"].labels == again["train"].labels).all()
    assert not (first["train"].fields == other["train"].fields).all()
    assert [len(first[name]) for name in ("train", "valid", "test")] == [20_000, 5, 5]


def test_made_sequences_hold_their_behaviours_first():
    data = sequences(1, train=50, valid=5, test=5, items=60)["train"]
    assert len(data) == 400
    assert ((data.behaviours > 0).sum(1) == data.lengths).all()
    assert (np.diff((data.behaviours > 0).astype(int), axis=1) <= 0).all()
    assert data.target.min() >= 1
    assert 0.3 < (data.lengths <= 4).mean() < 0.7


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: HoME(6, (0, 2)), "without gaps"),
        (lambda: HoME(6, ()), "without gaps"),
        (lambda: HoME(0, GROUPS), "width"),
        (lambda: HoME(6, GROUPS, rank=0), "rank"),
        (lambda: HoME(6, GROUPS)(torch.zeros(0, 6)), r"\[0, 6\]"),
        (lambda: HoME(6, GROUPS)(torch.zeros(3, 5)), r"\[3, 5\]"),
        (lambda: HoME(6, GROUPS)(torch.full((3, 6), torch.nan)), "row 0"),
        (lambda: MMoE(6, 3, experts=0), "experts"),
        (lambda: PLE(6, 3)(torch.zeros(3, 5)), r"\[3, 5\]"),
        (lambda: zero_share([]), "no activations"),
        (lambda: clicks(0, users=0), "users"),
        (lambda: sequences(0, rows=0), "rows"),
        (lambda: fit(torch.nn.Linear(1, 1), lambda r: r.sum(), 0, seed=0), "rows"),
    ],
)
def test_what_cannot_be_is_refused(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()


def test_a_loss_that_is_no_number_stops_the_fitting():
    model = torch.nn.Linear(1, 1)
    with pytest.raises(JobFailed, match="step 1 is nan"):
        fit(model, lambda r: model(torch.full((1, 1), torch.nan)).sum(), 4, seed=0, steps=3)


def test_masked_softmax_gives_nothing_to_the_masked():
    found = masked_softmax(torch.zeros(1, 1, 3), torch.tensor([[True, False, True]]))
    assert found.flatten().tolist() == [0.5, 0.0, 0.5]
