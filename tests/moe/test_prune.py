"""Pruning whole experts: the same logits as a mask gives, in ours and in Hugging Face's models, also after a save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.compress.prune import allowing, prune  # noqa: E402
from weighup.moe.export import load, save, to_hugging_face  # noqa: E402
from weighup.moe.policy import control  # noqa: E402
from weighup.moe.sites import sites  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

TINY = TinyConfig(width=16, layers=2, heads=2, n_experts=6, k=2, hidden=8, context=16)
COMMON: dict[str, Any] = {
    "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "max_position_embeddings": 32, "intermediate_size": 24, "num_experts_per_tok": 2,
}  # fmt: skip
MLA = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4}
DEEPSEEK = {
    **COMMON, **MLA, "moe_intermediate_size": 8, "n_routed_experts": 8, "n_group": 2, "topk_group": 1,
    "first_k_dense_replace": 1, "n_shared_experts": 1,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "Mixtral": {**COMMON, "num_local_experts": 6},
    "Olmoe": {**COMMON, "num_experts": 6},
    "Qwen2Moe": {**COMMON, "num_experts": 6, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8},
    "Qwen3Moe": {**COMMON, "num_experts": 6, "moe_intermediate_size": 8, "head_dim": 8},
    "DeepseekV2": {**DEEPSEEK, "topk_method": "group_limited_greedy"},
    "DeepseekV3": DEEPSEEK,
    "GptOss": {**COMMON, "num_local_experts": 6, "head_dim": 8},
}


def hugging_face(name: str, **more: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**MODELS[name], **more})
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def logits(model: Any) -> Any:
    ids = torch.randint(0, 32, (3, 10), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return (model(ids) if isinstance(model, TinyMoELM) else model(input_ids=ids)).logits


@pytest.mark.parametrize("name", MODELS)
def test_hugging_face_models_give_the_logits_of_a_mask_also_after_a_save(name: str, tmp_path: Path) -> None:
    model = hugging_face(name)
    found = sites(model)
    n = found[0].n_experts
    keep = [[1, 2, 5, 6], [0, 3, 4, 7]] if n == 8 else [[0, 2, 3], [1, 4, 5]]
    keep = keep[-len(found) :]
    before = logits(model)
    with control(model, allowing(keep, n)):
        wanted = logits(model)
    small = prune(model, keep)
    assert (wanted - before).abs().max() > 1e-3
    torch.testing.assert_close(logits(small), wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(logits(model), before)  # a copy
    assert {site.n_experts for site in sites(small)} == {len(keep[0])}
    small.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(again), wanted, atol=1e-5, rtol=1e-5)


def test_the_correction_bias_of_deepseek_v3_is_cut_with_its_experts() -> None:
    model = hugging_face("DeepseekV3", n_group=1)
    bias = sites(model)[0].router.e_score_correction_bias
    bias.copy_(torch.tensor([0.0, 0.3, -0.2, 0.1, 0.4, -0.3, 0.2, -0.1]))
    keep = [[1, 2, 4]]
    with control(model, allowing(keep, 8)):
        wanted = logits(model)
    small = prune(model, keep)
    assert sites(small)[0].router.e_score_correction_bias.tolist() == pytest.approx([0.3, -0.2, 0.4])
    torch.testing.assert_close(logits(small), wanted, atol=1e-5, rtol=1e-5)


def test_our_model_gives_the_logits_of_a_mask_is_saved_and_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TinyMoELM(TINY).eval()
    keep = [[4, 0, 2], [1, 2, 5]]  # in any order
    with control(model, allowing(keep, 6)):
        wanted = logits(model)
    small = prune(model, keep)
    torch.testing.assert_close(logits(small), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits(load(save(small, tmp_path))), wanted, atol=1e-5, rtol=1e-5)  # type: ignore[arg-type]
    torch.testing.assert_close(logits(to_hugging_face(small)), wanted, atol=1e-4, rtol=1e-4)  # type: ignore[arg-type]
    assert model.config.n_experts == 6


def test_our_model_may_keep_other_numbers_in_other_layers_and_be_cut_in_place() -> None:
    torch.manual_seed(0)
    model = TinyMoELM(TINY).eval()
    keep = [[0, 1], [2, 3, 4, 5]]
    with control(model, allowing(keep, 6)):
        wanted = logits(model)
    assert prune(model, keep, in_place=True) is model
    torch.testing.assert_close(logits(model), wanted, atol=1e-5, rtol=1e-5)


def test_a_pruned_model_can_be_trained_on() -> None:
    small = prune(TinyMoELM(TINY), [[0, 1, 2], [3, 4, 5]])
    ids = torch.randint(0, 256, (2, 8))
    small(ids, ids).total.backward()
    assert small.blocks[0].moe.router.weight.grad.shape == (3, 16)


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        ([[0, 1]], "1 layers"),
        ([[0, 1], [0, 6]], "experts 0 to 5, not 6"),
        ([[-1, 1], [0, 1]], "not -1"),
        ([[0, 0, 1], [0, 1]], "twice"),
        ([[0], [0, 1]], "leaves 1 experts, a token uses 2"),
        ([[], [0, 1]], "leaves 0"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(keep: list[list[int]], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        prune(TinyMoELM(TINY), keep)


def test_hugging_face_models_need_the_same_number_in_every_layer() -> None:
    with pytest.raises(InvalidInput, match="same number of experts in every layer, not 2, 3"):
        prune(hugging_face("Mixtral"), [[0, 1], [0, 1, 2]])


@pytest.mark.parametrize("name", ["DeepseekV2", "DeepseekV3"])
def test_groups_of_deepseek_must_stay_equal_and_large_enough(name: str) -> None:
    model = hugging_face(name)
    with pytest.raises(InvalidInput, match="same number in each, not 3, 1"):
        prune(model, [[0, 1, 2, 4]])
    with pytest.raises(InvalidInput, match="1 a group are too few"):
        prune(model, [[0, 4]])


def test_models_and_routers_that_are_not_known_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="Linear"):
        prune(torch.nn.Linear(2, 2), [[0]])
    model = TinyMoELM(TINY)
    model.blocks[1].moe.router.scale = torch.nn.Parameter(torch.ones(6))
    with pytest.raises(InvalidInput, match=r"TopK of layer 1 .*scale"):
        prune(model, [[0, 1], [0, 1]])


def test_a_mask_for_an_expert_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not 6"):
        allowing([[0, 6]], 6)
