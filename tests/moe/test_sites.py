"""Sites, control and traces on our model and on every Hugging Face family that is known, tiny and drawn at random."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")
transformers = pytest.importorskip("transformers", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.policy import Policy, Rows, control  # noqa: E402
from weighup.moe.sites import Decision, sites  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import tracing  # noqa: E402

COMMON = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
QWEN = {"intermediate_size": 48, "moe_intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 2}
DEEPSEEK = {
    **COMMON,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "intermediate_size": 48,
    "moe_intermediate_size": 24,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
MIXTRAL = {**COMMON, "intermediate_size": 48, "num_local_experts": 6, "num_experts_per_tok": 2}
OLMOE = {**COMMON, "intermediate_size": 48, "num_experts": 6, "num_experts_per_tok": 2}
# Family: name in transformers, sizes.
FAMILIES = {
    "Mixtral": ("Mixtral", MIXTRAL),
    "OLMoE": ("Olmoe", OLMOE),
    "OLMoE, renormalised": ("Olmoe", {**OLMOE, "norm_topk_prob": True}),
    "Qwen2-MoE": ("Qwen2Moe", {**COMMON, **QWEN, "shared_expert_intermediate_size": 48}),
    "Qwen3-MoE": ("Qwen3Moe", {**COMMON, **QWEN, "head_dim": 8}),
    "DeepSeek-V2": ("DeepseekV2", {**DEEPSEEK, "topk_method": "group_limited_greedy", "routed_scaling_factor": 2.0}),
    "DeepSeek-V2, greedy": ("DeepseekV2", {**DEEPSEEK, "topk_method": "greedy"}),
    "DeepSeek-V3": ("DeepseekV3", DEEPSEEK),
    "GPT-OSS": ("GptOss", {**MIXTRAL, "head_dim": 8}),
}
OURS = TinyConfig(width=32, layers=2, heads=2, n_experts=6, k=2, hidden=24, context=32)


@pytest.fixture(scope="module", params=["weighup", *FAMILIES])
def model(request):
    torch.manual_seed(0)
    if request.param == "weighup":
        made = TinyMoELM(OURS)
    else:
        name, sizes = FAMILIES[request.param]
        config = getattr(transformers, f"{name}Config", None)
        if config is None:
            pytest.skip(f"this transformers has no {name}")
        made = getattr(transformers, f"{name}ForCausalLM")(config(**sizes))
    with torch.no_grad():
        for name, one in [*made.named_parameters(), *made.named_buffers()]:
            if one.dim() > 1 or "correction_bias" in name:
                one.normal_(std=0.2)
    made.architecture = request.param.partition(",")[0]
    return made.eval()


@pytest.fixture(scope="module")
def ids():
    return torch.randint(0, 64, (4, 12), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model, ids):
    return (model(ids) if isinstance(model, TinyMoELM) else model(input_ids=ids, use_cache=False)).logits


def decisions(model, ids):
    """What every layer's router gave."""
    found, handles = {}, []
    for site in sites(model):
        keep = lambda module, args, out, site=site: found.update({site.layer: site.read(out)})  # noqa: E731
        handles.append(site.router.register_forward_hook(keep))
    logits(model, ids)
    for handle in handles:
        handle.remove()
    return [found[layer] for layer in sorted(found)]


def dense(indices, weights, n):
    return torch.zeros(len(indices), n).scatter_add(1, indices, weights.float())


def test_layers_are_found_with_their_sizes(model):
    found = sites(model)
    assert [site.layer for site in found] == [0, 1]
    deepseek = model.architecture.startswith("DeepSeek")
    assert [site.depth for site in found] == ([1, 2] if deepseek else [0, 1])
    assert all(site.width == 32 and site.k == 2 and site.n_experts == (8 if deepseek else 6) for site in found)
    assert {site.architecture for site in found} == {model.architecture}
    assert found[0].shared == (deepseek or model.architecture == "Qwen2-MoE")
    if model.architecture == "GPT-OSS":
        with pytest.raises(InvalidInput, match="GPT-OSS: its experts have biases"):
            found[0].weights()
    else:
        first, last = found[0].weights()
        assert first.shape == (found[0].n_experts, 2 * last.shape[2], 32)
        assert last.shape[:2] == (found[0].n_experts, 32)


def test_choose_is_the_models_own_choice(model, ids):
    for site, own in zip(sites(model), decisions(model, ids), strict=True):
        indices, weights = site.choose(own.logits)
        n = site.n_experts
        torch.testing.assert_close(dense(indices, weights, n), dense(own.indices, own.weights, n), atol=1e-6, rtol=1e-5)
        with pytest.raises(InvalidInput, match="not 99"):
            site.choose(own.logits, 99)


def test_own_k_given_changes_nothing_and_another_k_does(model, ids):
    before = logits(model, ids)
    with control(model, Policy(k=2)):
        torch.testing.assert_close(logits(model, ids), before, atol=1e-5, rtol=1e-5)
    for k in (1, 4):
        with control(model, Policy(k=k)), tracing(model) as told:
            after = logits(model, ids)
        assert (told.trace.indices >= 0).sum(-1).max() == k
        assert not torch.allclose(after, before, atol=1e-4)


def test_forbidden_experts_are_not_chosen(model, ids):
    n = sites(model)[0].n_experts
    allowed = torch.arange(n) != 0
    with control(model, Policy(allowed={1: allowed})), tracing(model) as told:
        logits(model, ids)
    assert not (told.trace.indices[1] == 0).any()
    assert (told.trace.indices[0] == 0).any()


def test_added_logits_decide(model, ids):
    n = sites(model)[0].n_experts
    add = torch.full((n,), -50.0)
    add[3] = 50.0
    with control(model, Policy(add=add)), tracing(model) as told:
        logits(model, ids)
    assert (told.trace.indices == 3).any(-1).all()


def test_ranks_pick_places_of_the_routers_order(model, ids):
    n = sites(model)[0].n_experts
    own = decisions(model, ids)[0]
    used = dense(own.indices, own.weights, n)
    with control(model, Policy(ranks={0: (2,)})), tracing(model) as told:
        logits(model, ids)
    second = torch.from_numpy(told.trace.indices[0][:, :1].astype(np.int64))
    assert ((told.trace.indices[0] >= 0).sum(-1) == 1).all()
    # Of the two that the layer uses, the one with less weight; the bias of V3 chooses by another order.
    assert (used.gather(1, second) > 0).all()
    if model.architecture != "DeepSeek-V3":
        assert torch.equal(second[:, 0], used.masked_fill(used == 0, float("inf")).argmin(1))


def test_mixing_weights_in_place_of_the_routers(model, ids):
    own, before = decisions(model, ids), logits(model, ids)
    found = sites(model)
    same = {site.layer: dense(one.indices, one.weights, site.n_experts) for site, one in zip(found, own, strict=True)}
    with control(model, Policy(mix=same)):
        torch.testing.assert_close(logits(model, ids), before, atol=1e-4, rtol=1e-4)
    one_hot = torch.zeros(found[0].n_experts)
    one_hot[2] = 1.0
    with control(model, Policy(mix=one_hot)), tracing(model) as told:
        logits(model, ids)
    assert set(told.trace.indices.reshape(-1).tolist()) == {2}


def test_experts_sent_to_another(model, ids):
    n = sites(model)[0].n_experts
    with control(model, Policy(to=torch.arange(n))):
        assert torch.equal(logits(model, ids), logits(model, ids))
    to = torch.tensor([0, 0, *range(2, n)])
    with control(model, Policy(to=to)), tracing(model) as told:
        logits(model, ids)
    assert not (told.trace.indices == 1).any()


def test_parts_of_a_batch_have_policies_of_their_own(model, ids):
    before = logits(model, ids)
    with control(model, Policy(k=1)):
        alone = logits(model, ids)
    with control(model, Rows((None, Policy(k=1)))):
        both = logits(model, ids)
    torch.testing.assert_close(both[:2], before[:2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[2:], alone[2:], atol=1e-5, rtol=1e-5)
    with control(model, Rows((None, None, None, None, None))), pytest.raises(InvalidInput, match="5 equal parts"):
        logits(model, ids)


def test_the_model_is_the_same_afterwards_even_after_an_error(model, ids):
    state = {name: one.clone() for name, one in model.state_dict().items()}
    before = logits(model, ids)

    def broken(site, decision: Decision):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), control(model, broken):
        logits(model, ids)
    with pytest.raises(KeyboardInterrupt), control(model, Policy(k=1)), tracing(model):
        raise KeyboardInterrupt
    assert torch.equal(logits(model, ids), before)
    assert all(torch.equal(one, state[name]) for name, one in model.state_dict().items())
    for site in sites(model):
        assert not site.router._forward_hooks


def test_a_policy_of_ones_own_may_leave_a_layer_alone(model, ids):
    before, seen = logits(model, ids), []
    with control(model, lambda site, decision: seen.append(site.layer)):
        assert torch.equal(logits(model, ids), before)
    assert seen == [0, 1]


def test_traces_hold_what_was_chosen(model, ids):
    own = decisions(model, ids)
    with tracing(model, names=("a", "b")) as told:
        told.labels, told.tokens = np.array([0, 1, 1, 0]), ids.numpy()
        logits(model, ids)
    trace = told.trace
    assert (trace.layers, len(trace)) == (2, 48)
    for layer, one in enumerate(own):
        assert np.array_equal(trace.indices[layer], one.indices.numpy())
        np.testing.assert_allclose(trace.weights[layer], one.weights.numpy(), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(trace.logits[layer], one.logits.numpy(), rtol=1e-3, atol=1e-2)
    assert len(trace.of("b")) == 24
    assert np.array_equal(trace.tokens.reshape(4, 12), ids.numpy())
    assert trace.sequences.tolist() == np.repeat(np.arange(4), 12).tolist()


def test_a_model_that_is_not_known_is_refused_by_name():
    with pytest.raises(InvalidInput, match=r"Linear: has no mixture-of-experts layer.*GPT-OSS"):
        sites(torch.nn.Linear(2, 2))
    config = transformers.LlamaConfig(**COMMON, intermediate_size=32)
    with pytest.raises(InvalidInput, match="LlamaForCausalLM"), control(transformers.LlamaForCausalLM(config), None):
        pass
