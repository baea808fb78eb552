"""Compressed Experts: it starts as routing to fewer experts, the vectors alone learn, and it works on both families."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.compress.compressed_experts import (  # noqa: E402
    CompressedExperts,
    active_parameters,
    compress,
    compressed,
    fine_tune,
)
from weighup.moe.corpus import corpus_of  # noqa: E402
from weighup.moe.cost import cost  # noqa: E402
from weighup.moe.experts import Experts  # noqa: E402
from weighup.moe.lab import Training  # noqa: E402
from weighup.moe.layer import MoELayer  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.sites import sites  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.types import Router  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=3, hidden=12, context=16)
TOKENS = torch.randint(0, 256, (6, 16), generator=torch.Generator().manual_seed(0))


def tiny(**changed: int) -> TinyMoELM:
    torch.manual_seed(0)
    return TinyMoELM(TinyConfig(**{**CONFIG.dump(), **changed})).eval()


@pytest.mark.parametrize("keep", [1, 2])
def test_it_starts_as_renormalised_routing_to_the_kept_experts(keep: int) -> None:
    model = tiny()
    small = compress(model, keep=keep)
    with control(model, Policy(k=keep)):
        wanted = model(TOKENS).logits
    assert torch.allclose(small(TOKENS).logits, wanted, atol=1e-5)


def test_half_of_the_active_experts_are_kept_unless_told() -> None:
    assert [layer.keep for layer in compressed(compress(tiny(k=4)))] == [2, 2]


def test_the_formula_token_by_token() -> None:
    torch.manual_seed(0)
    layer = MoELayer(Experts(4, 6, 5), Router(6, 4, 3))
    made = CompressedExperts(sites(torch.nn.ModuleDict({"moe": layer}))[0], 1)
    with torch.no_grad():
        made.vectors.normal_()
    x = torch.randn(9, 6)
    routing = layer.router(x)
    found = made(x, routing)
    for t in range(9):
        main, *others = routing.indices[t].tolist()
        w = routing.weights[t]
        scale = 1 + sum(w[n + 1] * made.vectors[e] for n, e in enumerate(others)) / w[0]
        wanted = w[0] * (layer.experts.down_proj[main] @ (layer.experts.inner(main, x[t]) * scale))
        assert torch.allclose(found[t], wanted, atol=1e-5)


def test_the_order_of_the_choice_and_unused_slots_do_not_matter() -> None:
    torch.manual_seed(0)
    layer = MoELayer(Experts(4, 6, 5), Router(6, 4, 3))
    made = CompressedExperts(sites(torch.nn.ModuleDict({"moe": layer}))[0], 2)
    x = torch.randn(9, 6)
    routing = layer.router(x)
    turned = made(x, routing.indices.flip(1), routing.weights.flip(1))
    assert torch.allclose(made(x, routing), turned, atol=1e-6)
    mask = torch.tensor([[True, False, False]]).expand(9, 3)
    alone = made(x, routing.with_(mask=mask))
    first = layer.experts.all(x)[routing.indices[:, 0], torch.arange(9)] * routing.weights[:, :1]
    assert torch.allclose(alone, first, atol=1e-5)


def test_only_the_vectors_are_trained() -> None:
    corpus = corpus_of({"a": [f"{n} bottles of beer on the wall " * 3 for n in range(400)]}, name="bottles")
    model = tiny()
    small = compress(model, keep=1)
    before = {name: one.clone() for name, one in small.state_dict().items()}
    log = fine_tune(small, corpus, Training(steps=25, batch=8, rate=5e-2, warmup=2, decay=0.0))
    changed = {name for name, one in small.state_dict().items() if not torch.equal(one, before[name])}
    assert changed == {f"blocks.{n}.moe.experts.vectors" for n in range(2)}
    assert sum(log.losses[-5:]) < sum(log.losses[:5])
    assert all(p.requires_grad for p in small.parameters())
    assert not hasattr(model.blocks[0].moe.experts, "vectors")  # the model itself is as it was


def test_active_parameters() -> None:
    model = tiny()
    expert = 3 * 16 * 12
    assert active_parameters(compress(model, keep=1)) == cost(model).active - 2 * (2 * expert - 2 * 12)
    assert active_parameters(compress(model, keep=2)) == cost(model).active - 2 * (expert - 12)


@pytest.mark.parametrize("name", ["Mixtral", "Olmoe"])
def test_hugging_face_models(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 256, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
        "num_key_value_heads": 2, "num_experts_per_tok": 3, "pad_token_id": 0,
        "num_experts" if name == "Olmoe" else "num_local_experts": 4,
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(**sizes)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    small = compress(model, keep=1)
    found = small(input_ids=TOKENS, use_cache=False).logits

    def scaled(site: object, decision: object) -> object:
        """One expert, with the whole token's weight."""
        whole = decision.weights.sum(1, keepdim=True)  # type: ignore[attr-defined]
        return decision.with_(indices=decision.indices[:, :1], weights=whole)  # type: ignore[attr-defined]

    with control(model, scaled):
        assert torch.allclose(found, model(input_ids=TOKENS, use_cache=False).logits, atol=1e-5)
    small(input_ids=TOKENS, use_cache=False).logits.sum().backward()
    assert all(layer.vectors.grad.abs().sum() > 0 for layer in compressed(small))


@pytest.mark.parametrize("keep", [0, 3])
def test_a_keep_that_cannot_be_is_refused(keep: int) -> None:
    with pytest.raises(InvalidInput, match=f"1 to 2 may stay, not {keep}"):
        compress(tiny(), keep=keep)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidInput, match="uses 1 experts"):
        compress(tiny(k=1))
    with pytest.raises(InvalidInput, match="compressed already"):
        compress(compress(tiny()))
    with pytest.raises(InvalidInput, match="not compressed"):
        active_parameters(tiny())
    with pytest.raises(InvalidInput, match="Linear"):
        compress(torch.nn.Linear(2, 2))
    gelu = torch.nn.ModuleDict({"moe": MoELayer(Experts(4, 6, 5, "gelu"), Router(6, 4, 2))})
    with pytest.raises(InvalidInput, match="no gate"):
        compress(gelu)
    with pytest.raises(InvalidInput, match="no tokens"):
        compress(tiny()).blocks[0].moe(torch.zeros(0, 16))
    with pytest.raises(InvalidInput, match="NaN"):
        compress(tiny()).blocks[0].moe(torch.full((2, 16), float("nan")))
