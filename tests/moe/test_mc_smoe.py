"""MC-SMoE: equal experts merge into the same model, permuted copies are aligned exactly, and what is stored adds up."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.calibration import Calibration, calibrate  # noqa: E402
from weighup.moe.compress.mc_smoe import (  # noqa: E402
    decomposed,
    dominant_experts,
    grouped,
    logit_similarity,
    low_rank_sparse,
    mc_smoe,
    stable_rank,
)
from weighup.moe.compress.merge import (  # noqa: E402
    aligned,
    average,
    git_rebasin,
    match,
    merge,
    tie,
    units_of,
    weighted,
    weights_of,
    zipit,
)
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.export import load, load_any, save, save_hugging_face  # noqa: E402
from weighup.moe.policy import control  # noqa: E402
from weighup.moe.sites import sites  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=12, context=16)


def tiny(seed: int = 0) -> TinyMoELM:
    torch.manual_seed(seed)
    return TinyMoELM(CONFIG).eval()


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (24, 17), generator=torch.Generator().manual_seed(seed))


def measured(model: torch.nn.Module) -> Calibration:
    return calibrate(model, [tokens()])


def copies(model: torch.nn.Module, seed: int = 1) -> None:
    """Make every expert of a layer a permuted copy of its first, in place."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for site in sites(model):
            first, last = site.weights()
            units = units_of(first, last)
            for expert in range(1, site.n_experts):
                a, b = weights_of(units[0][torch.randperm(units.shape[1], generator=chance)])
                first[expert], last[expert] = a, b


@given(h=st.integers(1, 12), d=st.integers(1, 5), seed=st.integers(0, 1000))
def test_a_permuted_copy_is_aligned_exactly(h: int, d: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    units = torch.randn(h, 3 * d, generator=chance)
    other = units[torch.randperm(h, generator=chance)]
    assert torch.equal(other[match(units, other)], units)
    assert torch.equal(aligned(torch.stack((other, units)), 1)[0], units)


def test_alignment_does_not_change_what_an_expert_computes() -> None:
    torch.manual_seed(0)
    experts, x = Experts(2, 6, 9), torch.randn(7, 6)
    units = units_of(experts.gate_up_proj, experts.down_proj)
    before = experts.one(1, x)
    with torch.no_grad():
        experts.gate_up_proj[1], experts.down_proj[1] = weights_of(aligned(units, 0)[1])
    assert torch.allclose(experts.one(1, x), before, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(units), experts_weights(units), strict=True))


def experts_weights(units: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    gate, up, down = units.chunk(3, -1)
    return torch.cat((gate, up), 1), down.mT


@pytest.mark.parametrize("experts", [2, 3, 5, 8])
def test_merging_copies_changes_nothing(experts: int) -> None:
    model = tiny()
    copies(model)
    wanted = model(tokens()[:, :-1]).logits
    merged = mc_smoe(model, measured(model), experts=experts)
    assert sum(merged.experts) == experts
    assert min(merged.experts) >= 1
    assert merged.stored * 8 == merged.before * experts
    assert torch.allclose(merged.model(tokens()[:, :-1]).logits, wanted, atol=1e-5)


def test_merging_equal_experts_changes_nothing_whatever_the_way() -> None:
    model = tiny()
    with torch.no_grad():
        for site in sites(model):
            for weights in site.weights():
                weights.copy_(weights[:1].expand_as(weights))
    wanted = model(tokens()[:, :-1]).logits
    to, even = [torch.tensor([0, 0, 2, 2])] * 2, [torch.ones(4)] * 2
    inputs = [one.inputs for one in measured(model).layers]
    for how in (weighted, average, git_rebasin, zipit(inputs)):
        assert torch.allclose(merge(model, to, even, how).model(tokens()[:, :-1]).logits, wanted, atol=1e-5)


def test_a_merged_model_is_the_same_with_one_copy_of_each_group() -> None:
    model = tiny()
    merged = mc_smoe(model, measured(model), experts=4)
    wanted = merged.model(tokens()[:, :-1]).logits
    with torch.no_grad():
        for site, to in zip(sites(merged.model), merged.to, strict=True):
            unread = to != torch.arange(4)
            for weights in site.weights():
                weights[unread] = 1e3  # not used, whether it is computed or not
    with control(merged.model, merged.policy):
        assert torch.allclose(merged.model(tokens()[:, :-1]).logits, wanted, atol=1e-5)
    tie(merged.model, merged.to)
    assert torch.equal(merged.model(tokens()[:, :-1]).logits, wanted)


def test_a_merged_model_is_saved_and_loaded(tmp_path: Path) -> None:
    model = tiny()
    merged = mc_smoe(model, measured(model), experts=3).model
    wanted = merged(tokens()[:, :-1]).logits
    assert torch.equal(load(save(merged, tmp_path / "ours"))(tokens()[:, :-1]).logits, wanted)
    pytest.importorskip("transformers")
    theirs = load_any(save_hugging_face(merged, tmp_path / "theirs"))
    logits = theirs(input_ids=tokens()[:, :-1]).logits
    assert torch.allclose(logits, wanted, atol=1e-4)
    again = mc_smoe(theirs, measured(theirs), experts=2)
    with control(again.model, again.policy):
        assert torch.allclose(
            again.model(input_ids=tokens()[:, :-1]).logits, again.model(tokens()[:, :-1]).logits, atol=1e-5
        )
    assert torch.equal(theirs(input_ids=tokens()[:, :-1]).logits, logits)  # merging works on a copy


def test_dominant_experts_are_one_ranking_after_one_a_layer() -> None:
    frequency = [torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.1, 0.2, 0.0])]
    assert [one.tolist() for one in dominant_experts(frequency, 2)] == [[0], [1]]
    assert [one.tolist() for one in dominant_experts(frequency, 4)] == [[0, 1, 2], [1]]
    assert [one.tolist() for one in dominant_experts(frequency, 6)] == [[0, 1, 2], [0, 1, 2]]


def test_experts_join_the_dominant_of_most_similar_logits() -> None:
    model = tiny()
    with torch.no_grad():
        router = model.blocks[0].moe.router.weight
        router[3] = 1.5 * router[1]
    stats = measured(model).layers[0]
    similarity = logit_similarity(stats)
    assert float(similarity[1, 3]) == pytest.approx(1, abs=1e-4)
    assert torch.allclose(similarity.diagonal(), torch.ones(4), atol=1e-5)
    to = grouped(similarity, torch.tensor([0, 1]))
    assert to.tolist()[:2] == [0, 1]
    assert int(to[3]) == 1


def test_members_count_by_how_often_they_are_chosen() -> None:
    units = torch.stack((torch.eye(3), 5 * torch.eye(3)))
    assert torch.allclose(weighted(units, torch.tensor([0.75, 0.25]), 0, 0), 2 * torch.eye(3))
    assert torch.allclose(git_rebasin(units, torch.tensor([0.75, 0.25]), 0, 0), 3 * torch.eye(3))
    assert torch.allclose(average(units.flip(1), torch.tensor([0.75, 0.25]), 0, 0), 3 * torch.eye(3).flip(0))


def test_zipit_of_permuted_copies_is_the_expert() -> None:
    torch.manual_seed(0)
    experts, x = Experts(1, 6, 5), torch.randn(200, 6)
    units = units_of(experts.gate_up_proj, experts.down_proj).detach()[0]
    merged = zipit([x])(torch.stack((units, units[torch.randperm(5)])), torch.ones(2) / 2, 0, 0)
    wanted = experts.one(0, x)
    with torch.no_grad():
        experts.gate_up_proj[0], experts.down_proj[0] = weights_of(merged)
    assert torch.allclose(experts.one(0, x), wanted, atol=1e-4)


@given(rank=st.integers(1, 5), columns=st.integers(0, 7), seed=st.integers(0, 100))
def test_low_rank_and_sparse_columns(rank: int, columns: int, seed: int) -> None:
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    found = low_rank_sparse(matrix, rank, columns)
    error = (found.dense() - matrix).norm(dim=0)
    assert found.stored == rank * 12 + columns * 6
    assert float(error[found.columns].abs().sum()) < 1e-4
    if rank == 5 or columns == 7:
        assert torch.allclose(found.dense(), matrix, atol=1e-4)
    else:
        best = torch.linalg.svdvals(matrix)[rank:].norm()
        assert float(error.norm()) <= float(best) + 1e-4


def test_decomposed_at_full_rank_is_the_merged_model() -> None:
    model = tiny()
    calibration = measured(model)
    merged = mc_smoe(model, calibration, experts=4)
    full = decomposed(merged, 12)
    assert torch.allclose(full.model(tokens()[:, :-1]).logits, merged.model(tokens()[:, :-1]).logits, atol=1e-4)
    small = mc_smoe(model, calibration, experts=4, rank=2, columns=1)
    assert small.stored == 4 * (2 * (2 * 28 + 13) + (2 * 28 + 17)) < merged.stored
    assert int(torch.linalg.matrix_rank(sites(small.model)[0].weights()[1][int(small.to[0][0])])) <= 3


def test_stable_rank() -> None:
    assert stable_rank(torch.eye(4)) == pytest.approx(4)
    assert stable_rank(torch.outer(torch.arange(1.0, 4), torch.ones(2))) == pytest.approx(1)
    with pytest.raises(InvalidInput, match="zeros"):
        stable_rank(torch.zeros(2, 2))


def test_bad_input_is_refused() -> None:
    model = tiny()
    calibration = measured(model)
    for experts in (1, 9):
        with pytest.raises(InvalidInput, match=f"not {experts}"):
            mc_smoe(model, calibration, experts=experts)
    with pytest.raises(InvalidInput, match="2 layers route, the calibration has 1"):
        mc_smoe(model, Calibration(calibration.layers[:1]), experts=2)
    with pytest.raises(InvalidInput, match="rank"):
        mc_smoe(model, calibration, experts=2, rank=13)
    with pytest.raises(InvalidInput, match="columns"):
        low_rank_sparse(torch.ones(2, 2), 1, 3)
    with pytest.raises(InvalidInput, match="NaN"):
        match(torch.full((2, 3), float("nan")), torch.ones(2, 3))
    with pytest.raises(InvalidInput, match="one shape"):
        match(torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(InvalidInput, match="NaN"):
        grouped(torch.full((2, 2), float("nan")), torch.tensor([0]))
    own, even = torch.arange(4), torch.ones(4)
    with pytest.raises(InvalidInput, match="in other groups"):
        merge(model, [torch.tensor([1, 0, 2, 3]), own], [even] * 2)
    with pytest.raises(InvalidInput, match="do not fit"):
        merge(model, [torch.tensor([4, 1, 2, 3]), own], [even] * 2)
    with pytest.raises(InvalidInput, match="never chosen"):
        merge(model, [torch.tensor([0, 0, 2, 3]), own], [torch.tensor([0.0, 0, 1, 1]), even])
    with pytest.raises(InvalidInput, match="groups are given for 1"):
        merge(model, [own], [even])
    with pytest.raises(InvalidInput, match="two inputs"):
        merge(model, [torch.tensor([0, 0, 2, 3]), own], [even] * 2, zipit([torch.ones(1, 16)] * 2))
    with pytest.raises(InvalidInput, match="Linear"):
        mc_smoe(torch.nn.Linear(2, 2), calibration, experts=2)
    with pytest.raises(InvalidInput, match="too few"):
        calibrate(model, [tokens()[:2]])
