"""HEAPr: its score is the loss that an atom's removal costs, and what is removed leaves a checkpoint that works."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.calibration import calibrate  # noqa: E402
from weighup.moe.compress.heapr import (  # noqa: E402
    atom_scores,
    heapr,
    kept_atoms,
    kept_experts,
    magnitude_scores,
    prune_atoms,
    remove,
)
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.export import load, load_any, save, save_hugging_face  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.policy import control  # noqa: E402
from weighup.moe.sites import sites  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.types import Router  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=24, context=16)
IDS = 40


def tiny(seed: int = 0, config: TinyConfig = CONFIG) -> TinyMoELM:
    torch.manual_seed(seed)
    return TinyMoELM(config).eval()


def batches(seed: int = 0, count: int = 2) -> list[torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (12, 17), generator=chance) for _ in range(count)]


class Toy(torch.nn.Module):
    """One layer, one expert a token with weight 1, read along `v`. Tokens n and n + IDS are the same input, their
    residuals +1 and -1: the gradient's mean is 0 and its outer product is the Hessian, exactly."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.randn(IDS, 6)
        self.v = torch.randn(6)
        self.moe = MoELayer(Experts(3, 6, 5), Router(6, 3, 1))
        with torch.no_grad():
            self.target = self.read(torch.arange(2 * IDS)) - self.residual(torch.arange(2 * IDS))

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        return self.moe(self.table[ids % IDS])[0] @ self.v

    def residual(self, ids: torch.Tensor) -> torch.Tensor:
        return 1.0 - 2.0 * (ids >= IDS)

    def loss(self, ids: torch.Tensor) -> torch.Tensor:
        return 0.5 * (self.read(ids) - self.target[ids]).square().mean()


EVERY = torch.cat((torch.arange(2 * IDS), torch.zeros(1, dtype=torch.long))).repeat(4, 1)


def toy_loss(model: Toy, batch: torch.Tensor) -> torch.Tensor:
    return model.loss(batch[:, :-1].reshape(-1))


def test_the_score_is_the_second_order_loss_rise_and_the_first_order_is_nothing() -> None:
    toy = Toy()
    scores = atom_scores(toy, calibrate(toy, [EVERY], loss=toy_loss, gradients=True))[0]
    down = toy.moe.experts.down_proj
    ids = torch.arange(2 * IDS)
    whole = toy.loss(ids)
    with torch.no_grad():
        for expert in range(3):
            for atom in range(5):
                column = down[expert, :, atom].clone()
                rises = []
                for share in (1.0, 0.5, 0.1):
                    down[expert, :, atom] = (1 - share) * column
                    rises.append(float(toy.loss(ids) - whole) / share**2)
                down[expert, :, atom] = column
                # A first-order term would make the rises differ once divided by share².
                assert rises == pytest.approx([float(scores[expert, atom])] * 3, rel=2e-2, abs=2e-5)


def test_the_score_is_that_of_its_definition_token_by_token() -> None:
    model = tiny()
    one = batches(count=1)[0]
    found = atom_scores(model, calibrate(model, [one], gradients=True, least=1))
    layer, tokens = 1, 12 * 16
    site = sites(model)[layer]
    seen = {}
    handles = [
        site.experts.register_forward_hook(
            lambda m, args, out: seen.update(x=args[0], r=args[1], y=out) or out.retain_grad()
        )
    ]
    out = model(one[:, :-1], one[:, 1:])
    (out.loss * tokens).backward()
    for handle in handles:
        handle.remove()
    routing, x = seen["r"], seen["x"].detach()
    expert = int(routing.indices[0, 0])
    token, slot = torch.nonzero(routing.indices == expert, as_tuple=True)
    a = site.experts.inner(expert, x[token]).detach()
    g = seen["y"].grad[token] * routing.weights[token, slot, None].detach()
    w = site.experts.down_proj[expert].detach()
    fisher = sum(torch.outer(row, row) for row in g) / len(token)
    for j in (0, 11):
        wanted = 0.5 * a[:, j].square().sum() / tokens * (w[:, j] @ fisher @ w[:, j])
        assert float(found[layer][expert, j]) == pytest.approx(float(wanted), rel=1e-4)


@given(ratio=st.floats(0, 0.99), seed=st.integers(0, 50))
def test_one_ranking_over_everything(ratio: float, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    scores = [torch.rand(3, 5, generator=chance), 10 * torch.rand(2, 4, generator=chance)]
    kept = kept_atoms(scores, ratio)
    gone = torch.cat([s[~k] for s, k in zip(scores, kept, strict=True)])
    stay = torch.cat([s[k] for s, k in zip(scores, kept, strict=True)])
    assert len(gone) == round(ratio * 23)
    assert not len(gone) or not len(stay) or float(gone.max()) <= float(stay.min())


@pytest.mark.parametrize("even", [True, False])
def test_removing_is_the_same_as_zeroing(even: bool) -> None:
    model = tiny()
    kept = [torch.rand(4, 24, generator=torch.Generator().manual_seed(n)) < 0.2 + 0.3 * n for n in range(2)]
    made = remove(model, kept, even=even)
    widths = [int(mask.sum(1).max()) for mask in kept]
    hidden = [block.moe.experts.hidden for block in made.blocks]
    assert all(
        width <= size < width + 8 for width, size in zip([max(widths)] * 2 if even else widths, hidden, strict=True)
    )
    before = [p.clone() for p in model.parameters()]
    tokens = batches()[0][:, :-1]
    found = made(tokens).logits
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    with torch.no_grad():
        for block, mask in zip(model.blocks, kept, strict=True):
            block.moe.experts.down_proj.mul_(mask[:, None, :])
    assert torch.allclose(found, model(tokens).logits, atol=1e-5)


def test_nothing_removed_changes_nothing() -> None:
    model = tiny()
    tokens = batches()[0][:, :-1]
    assert torch.equal(prune_atoms(model, magnitude_scores(model), 0.0)(tokens).logits, model(tokens).logits)


def test_a_dead_atom_scores_nothing_and_goes_first() -> None:
    model = tiny()
    with torch.no_grad():
        model.blocks[0].moe.experts.down_proj[2, :, 7] = 0
    scores = atom_scores(model, calibrate(model, batches(), gradients=True))
    assert float(scores[0][2, 7]) == 0
    kept = kept_atoms(scores, 1 / (2 * 4 * 24))
    assert sum(int((~one).sum()) for one in kept) == 1
    assert not kept[0][2, 7]


def test_ours_is_saved_and_loaded_with_its_new_width(tmp_path: Path) -> None:
    found = heapr(tiny(), batches(), ratio=0.6)
    assert found.removed == pytest.approx(0.6, abs=0.01)
    assert sum(map(sum, found.widths)) == sum(int(one.sum()) for one in found.kept)
    tokens = batches()[0][:, :-1]
    assert torch.allclose(load(save(found.model, tmp_path))(tokens).logits, found.model(tokens).logits, atol=1e-5)


@pytest.mark.parametrize("even", [True, False])
def test_a_hugging_face_checkpoint_of_ours_gives_the_same_logits(tmp_path: Path, even: bool) -> None:
    pytest.importorskip("transformers")
    model = tiny()
    scores = [one * torch.linspace(0.1, 1, 24) * (1 + n) for n, one in enumerate(magnitude_scores(model))]
    made = prune_atoms(model, scores, 0.6, even=even)
    tokens = batches()[0][:, :-1]
    loaded = load_any(save_hugging_face(made, tmp_path))
    assert torch.allclose(loaded(input_ids=tokens).logits, made(tokens).logits, atol=1e-4)


@pytest.mark.parametrize("name", ["Mixtral", "Qwen3Moe", "DeepseekV3"])
def test_hugging_face_models_are_pruned_saved_and_loaded(tmp_path: Path, name: str) -> None:
    model = theirs(name)
    tokens = batches()[0][:, :-1] % 64
    calibration = calibrate(model, [one % 64 for one in batches()], gradients=True)
    scores = atom_scores(model, calibration)
    # The last third of every expert counts for nothing, so that there is something to cut.
    kept = kept_atoms([one * (torch.arange(24) < 16) for one in scores], 0.5)
    made = remove(model, kept)
    width = sites(made)[0].weights()[1].shape[2]
    assert width == 24 if name == "DeepseekV3" else width <= 16
    logits = made(input_ids=tokens).logits
    loaded = load_any(save_hugging_face(made, tmp_path))
    assert torch.allclose(loaded(input_ids=tokens).logits, logits, atol=1e-4)
    with torch.no_grad():
        for site, mask in zip(sites(model), kept, strict=True):
            site.weights()[1].mul_(mask[:, None, :])
    assert torch.allclose(model(input_ids=tokens).logits, logits, atol=1e-5)


def theirs(name: str) -> torch.nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "intermediate_size": 24, "max_position_embeddings": 64, "num_experts_per_tok": 2, "head_dim": 8,
    }  # fmt: skip
    more = {
        "Mixtral": {"num_local_experts": 4},
        "Qwen3Moe": {"num_experts": 4, "moe_intermediate_size": 24, "decoder_sparse_step": 1, "mlp_only_layers": []},
        "DeepseekV3": {
            "n_routed_experts": 4, "moe_intermediate_size": 24, "n_shared_experts": 1, "first_k_dense_replace": 0,
            "n_group": 1, "topk_group": 1, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 4, "v_head_dim": 8, "head_dim": 4,
        },
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(**{**sizes, **more[name]})
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def test_whole_experts_that_are_barred_are_not_chosen() -> None:
    model = tiny()
    policy = kept_experts([torch.arange(4.0), torch.arange(4.0) + 10], 0.5, least=2)
    assert policy.allowed[0].tolist() == [False, False, True, True]
    assert policy.allowed[1].tolist() == [False, False, True, True]  # the first layer must keep two
    with control(model, policy):
        routings = model(batches()[0][:, :-1]).routings
    assert min(int(one.indices.min()) for one in routings) == 2


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_a_ratio_that_cannot_be_is_refused(ratio: float) -> None:
    with pytest.raises(InvalidInput, match="ratio"):
        heapr(tiny(), batches(), ratio=ratio)
    with pytest.raises(InvalidInput, match="ratio"):
        kept_experts([torch.ones(2)], ratio)


def test_bad_input_is_refused() -> None:
    model = tiny()
    with pytest.raises(InvalidInput, match="no gradients"):
        atom_scores(model, calibrate(model, batches()))
    with pytest.raises(InvalidInput, match="192 tokens are too few"):
        heapr(model, batches(count=1))
    with pytest.raises(InvalidInput, match="NaN"):
        kept_atoms([torch.tensor([[1.0, float("nan")]])], 0.5)
    with pytest.raises(InvalidInput, match=r"mask of \[4, 24\]"):
        remove(model, [torch.ones(4, 3, dtype=torch.bool)] * 2)
    with pytest.raises(InvalidInput, match="2 layers that route, 1 are given"):
        remove(model, [torch.ones(4, 24, dtype=torch.bool)])
    with pytest.raises(InvalidInput, match="Linear"):
        heapr(torch.nn.Linear(2, 2), batches())
    other = calibrate(tiny(config=dataclasses.replace(CONFIG, hidden=8)), batches(), gradients=True)
    with pytest.raises(InvalidInput, match="24 atoms, the calibration"):
        atom_scores(model, other)
    with pytest.raises(InvalidInput, match="even=False"):
        remove(theirs("Mixtral"), [torch.ones(4, 24, dtype=torch.bool)] * 2, even=False)
