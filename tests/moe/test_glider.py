"""GLIDER and the adapters it routes: what the task is decides where an expert knows it, tokens decide elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from dataclasses import replace  # noqa: E402

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.corpus import corpus_of  # noqa: E402
from weighup.moe.lab import Training, mean_loss  # noqa: E402
from weighup.moe.multitask import lora  # noqa: E402
from weighup.moe.multitask.glider import (  # noqa: E402
    Glider,
    Specialist,
    alpha,
    as_instruction,
    embedded,
    fit_gates,
    global_scores,
    known_from,
    local_scores,
    specialist,
)
from weighup.moe.policy import Policy, Rows, control  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

CONFIG = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16)
IDS = torch.randint(0, 256, (2, 10), generator=torch.Generator().manual_seed(0))
SOME = Training(steps=25, batch=8, rate=2e-2, warmup=2, decay=0.0)


class Letters:
    """An encoder that counts letters."""

    name, version, dimension = "letters", "1", 26

    def encode(self, texts, *, batch_size=32):
        counts = np.array([[text.count(chr(97 + n)) for n in range(26)] for text in texts], np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TinyMoELM(CONFIG).eval()


@pytest.fixture(scope="module")
def corpus():
    texts = {
        "sheep": [f"{n} sheep sleep" * 4 for n in range(300)],
        "cabs": [f"a cab, a bad cab {n}" * 4 for n in range(300)],
    }
    return corpus_of(texts, sizes={"train": 3_000, "valid": 1_200, "test": 1_200})


@torch.no_grad()
def logits(model):
    return model(IDS).logits


def noisy(model, count, rank=2, where=lora.EVERYWHERE):
    return [lora.drawn(model, f"a{n}", rank=rank + n, where=where, seed=n, noise=0.5) for n in range(count)]


# Adapters.


@settings(max_examples=10)
@given(
    count=st.integers(1, 3),
    where=st.sampled_from([("attention",), ("experts",), lora.EVERYWHERE]),
    seed=st.integers(0, 99),
)
def test_a_mix_is_the_model_with_the_changes_in_its_weights(model, count, where, seed):
    adapters = [replace(one, scale=0.5 + n) for n, one in enumerate(noisy(model, count, where=where))]
    weights = torch.rand(count, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    merged = model
    for adapter, weight in zip(adapters, weights.tolist(), strict=True):
        merged = lora.added(merged, adapter, weight)
    with lora.attached(model, adapters, weights):
        mixed = logits(model)
    torch.testing.assert_close(mixed, logits(merged), atol=1e-4, rtol=1e-4)


def test_constant_gates_are_weights_and_one_adapter_is_applied_in_full(model):
    adapters = noisy(model, 2)
    with lora.attached(model, adapters, torch.tensor([0.3, 0.7])):
        wanted = logits(model)
    with lora.attached(model, adapters, lambda name, x: torch.tensor([0.3, 0.7]).expand(len(x), 2)):
        torch.testing.assert_close(logits(model), wanted)
    wanted = logits(lora.added(model, adapters[0]))
    with lora.attached(model, adapters[:1]):
        torch.testing.assert_close(logits(model), wanted, atol=1e-4, rtol=1e-4)


def test_each_token_gets_what_its_gate_says(model):
    adapters = noisy(model, 2)
    with lora.attached(model, adapters, torch.tensor([0.0, 1.0])):
        second = logits(model)

    def gate(name, x):  # sequence 0: none; sequence 1: the second adapter
        return torch.tensor([[0.0, 0.0], [0.0, 1.0]]).repeat_interleave(len(x) // 2, 0)

    with lora.attached(model, adapters, gate):
        found = logits(model)
    torch.testing.assert_close(found[0], logits(model)[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], second[1], atol=1e-5, rtol=1e-4)


def test_the_model_is_the_same_afterwards_even_after_an_error(model):
    before, adapters = logits(model), noisy(model, 2)
    with pytest.raises(RuntimeError, match="stop"), lora.attached(model, adapters):
        raise RuntimeError("stop")
    with lora.attached(model, adapters):
        assert not torch.allclose(logits(model), before, atol=1e-3)
    assert torch.equal(logits(model), before)
    assert not any("forward" in vars(one) or one._forward_hooks for one in model.modules())


def test_adapters_go_with_control_and_its_masks(model):
    adapter = noisy(model, 1)[0]
    with lora.attached(model, [adapter]), control(model, Rows((Policy(k=1), Policy(k=3)))):
        found = logits(model)
    other = lora.added(model, adapter)
    with control(other, Rows((Policy(k=1), Policy(k=3)))):
        torch.testing.assert_close(found, logits(other), atol=1e-4, rtol=1e-4)


def test_an_adapter_learns_its_domain_and_the_model_stays(model, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path))
    before = {name: one.clone() for name, one in model.state_dict().items()}
    own = corpus.only("sheep")
    adapter = lora.fitted(model, own, SOME, rank=2, keep=True)
    assert (adapter.name, len(adapter.parts)) == ("sheep", 10)
    plain = mean_loss(model, own, windows=8)
    with lora.attached(model, [adapter]):
        assert mean_loss(model, own, windows=8) < plain - 0.5
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    monkeypatch.setattr(lora, "train", None)  # kept: not trained again
    assert lora.fitted(model, own, SOME, rank=2, keep=True).fingerprint == adapter.fingerprint


def test_similarity_is_the_cosine_of_the_changes(model):
    adapters = [*noisy(model, 2), lora.drawn(model, "none", rank=2)]

    def change(adapter):
        after = lora.added(model, adapter).state_dict()
        return torch.cat([(after[name] - one).reshape(-1) for name, one in model.state_dict().items()])

    one, other, _ = (change(adapter) for adapter in adapters)
    found = lora.similarity([*adapters, replace(adapters[0], scale=-2.0)])
    assert found[0, 1] == pytest.approx(float(torch.cosine_similarity(one, other, dim=0)), abs=1e-3)
    assert found[0, 3] == pytest.approx(-1, abs=1e-5)
    assert found[0, 2] == 0
    torch.testing.assert_close(found, found.T)


def test_adapters_that_cannot_be_are_named(model):
    adapter = noisy(model, 1)[0]
    with pytest.raises(InvalidInput, match="none to attach"), lora.attached(model, []):
        pass
    for bad in (torch.ones(2), torch.tensor([float("nan")])):
        with pytest.raises(InvalidInput, match="1 finite weights"), lora.attached(model, [adapter], bad):
            pass
    other = TinyMoELM(replace(CONFIG, width=32))
    with pytest.raises(InvalidInput, match="do not fit"), lora.attached(other, [adapter]):
        pass
    with (
        pytest.raises(InvalidInput, match="has no blocks"),
        lora.attached(TinyMoELM(replace(CONFIG, layers=1)), [adapter]),
    ):
        pass
    for rank in (0, 9):
        with pytest.raises(InvalidInput, match=f"not {rank}"):
            lora.drawn(model, "a", rank=rank)
    for where in ((), ("head",)):
        with pytest.raises(InvalidInput, match="attention and experts"):
            lora.places(model, where)
    with pytest.raises(InvalidInput, match="adapters already"), lora.attached(model, [adapter]):
        lora.attached(model, [adapter]).__enter__()
    assert not any("forward" in vars(one) or one._forward_hooks for one in model.modules())
    with (
        pytest.raises(InvalidInput, match=r"\[20, 1\] is needed"),
        lora.attached(model, [adapter], lambda n, x: x[:, :2]),
    ):
        logits(model)


# Routing.


def specialists(model, count=3):
    embeddings = torch.eye(5)[:count]
    chance = torch.Generator().manual_seed(0)
    made = []
    for adapter, embedding in zip(noisy(model, count), embeddings, strict=True):
        gates = {name: torch.randn(16, generator=chance) for name in adapter.parts}
        made.append(Specialist(adapter, gates, embedding))
    return tuple(made)


def test_instructions_are_the_examples_unless_a_writer_says_otherwise():
    assert as_instruction(["two\nlines", " and  more "]) == "two lines\nand more"
    found = embedded(Letters(), [["aab"], ["ccc", "c"]])
    torch.testing.assert_close(found[0, :3], torch.tensor([2.0, 1.0, 0.0]) / 5**0.5)
    assert found[1, 2] == 1
    assert embedded(Letters(), [["aab"]], writer=lambda examples: "z")[0, 25] == 1
    with pytest.raises(InvalidInput, match="no task"):
        embedded(Letters(), [])
    with pytest.raises(InvalidInput, match="task 1 has no example"):
        embedded(Letters(), [["a"], [" "]])


def test_scores_are_cosines_at_their_scales():
    x, gates = torch.randn(4, 9), torch.randn(2, 9)
    wanted = 3 * torch.cosine_similarity(x[:, None], gates[None], dim=-1)
    torch.testing.assert_close(local_scores(x, gates), wanted)
    torch.testing.assert_close(local_scores(10 * x, gates), wanted)
    queries = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    torch.testing.assert_close(global_scores(queries, torch.eye(2)), queries)
    assert alpha(queries, 100.0, 0.9).tolist() == [[100.0], [0.0]]
    with pytest.raises(InvalidInput, match="do not fit"):
        global_scores(queries, torch.eye(3))


def test_a_known_task_gets_its_expert_and_an_unknown_one_what_its_tokens_say(model):
    router = Glider(specialists(model))
    queries = torch.stack([torch.eye(5)[1], torch.eye(5)[4]])  # the second expert's task; nobody's
    x = torch.randn(20, 16)
    name = next(iter(router.specialists[0].gates))
    weights = router.gate(queries)(name, x)
    torch.testing.assert_close(weights[:10], torch.tensor([0.0, 1.0, 0.0]).expand(10, 3), atol=1e-6, rtol=0)
    local = local_scores(x, torch.stack([one.gates[name] for one in router.specialists]))
    best, places = local.topk(2)
    wanted = torch.zeros(20, 3).scatter(1, places, torch.softmax(best, -1))
    torch.testing.assert_close(weights[10:], wanted[10:])
    torch.testing.assert_close(replace(router, gamma=0.0).gate(queries)(name, x), wanted)
    # γ between: both count.
    between = replace(router, gamma=1.0, k=3).gate(queries)(name, x)[:10]
    torch.testing.assert_close(between, torch.softmax(local[:10] + torch.eye(3)[1], -1))


def test_a_routed_model_with_a_known_task_is_the_model_of_its_expert(model):
    router = Glider(specialists(model))
    with router.routed(model, torch.eye(5)[[0, 2]]):
        found = logits(model)
    for row, place in ((0, 0), (1, 2)):
        with lora.attached(model, [router.specialists[place].adapter]):
            torch.testing.assert_close(found[row], logits(model)[row], atol=1e-4, rtol=1e-4)


def test_an_expert_has_no_say_where_it_adapts_nothing(model):
    everywhere, attention = specialists(model, 2)
    adapter = lora.drawn(model, "q", rank=2, where=("attention",), noise=0.5)
    some = Specialist(adapter, {name: torch.ones(16) for name in adapter.parts}, attention.embedding)
    router = Glider((everywhere, some))
    name = next(one for one in everywhere.gates if one.endswith("experts"))
    weights = router.gate(torch.eye(5)[[1]])(name, torch.randn(4, 16))
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.0]]).expand(4, 2))


def test_the_threshold_divides_tasks_with_and_without_their_expert():
    scores = torch.tensor([[0.9, 0.3, 0.1], [0.8, 0.2, 0.4], [0.1, 0.7, 0.2], [0.2, 0.3, 0.75]])
    found = known_from(scores, torch.tensor([0, 0, 1, 2]))
    assert 0.4 <= found < 0.7
    for scores, own in (
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)),
        (torch.zeros(2, 1), torch.zeros(2, dtype=torch.long)),
    ):
        with pytest.raises(InvalidInput, match="two or more experts"):
            known_from(scores, own)


def test_gates_learn_where_their_expert_helps(model, corpus):
    own = corpus.only("cabs")
    adapter = lora.fitted(model, own, SOME, rank=2)
    gates = fit_gates(model, adapter, own, replace(SOME, steps=6))
    assert gates.keys() == adapter.parts.keys()
    assert all(one.shape == (16,) and bool(one.any()) for one in gates.values())

    def loss(vectors):
        gate = lambda name, x: torch.sigmoid(x @ vectors[name])[:, None]  # noqa: E731
        with lora.attached(model, [adapter], gate):
            return mean_loss(model, own, windows=8)

    assert loss(gates) < loss({name: torch.zeros(16) for name in gates})
    made = specialist(adapter, gates, torch.eye(5)[:2])
    torch.testing.assert_close(made.embedding[:2], torch.full((2,), 0.5**0.5))


def test_routers_that_cannot_be_are_named(model):
    some = specialists(model)
    with pytest.raises(InvalidInput, match="no experts"):
        Glider(())
    for k in (0, 4):
        with pytest.raises(InvalidInput, match=f"not {k}"):
            Glider(some, k=k)
    for bad in ({"gamma": -1.0}, {"known": 1.5}):
        with pytest.raises(InvalidInput, match="gamma >= 0 and known"):
            Glider(some, **bad)
    with pytest.raises(InvalidInput, match="no gate for blocks"):
        specialist(some[0].adapter, {}, torch.eye(5))
    with pytest.raises(InvalidInput, match=r"not \[0, 5\]"):
        specialist(some[0].adapter, some[0].gates, torch.zeros(0, 5))
    router = Glider(some)
    with (
        pytest.raises(InvalidInput, match="20 tokens are not those of 3 queries"),
        router.routed(model, torch.eye(5)[:3]),
    ):
        logits(model)
    with pytest.raises(InvalidInput, match="NaN"):
        router.gate(torch.full((1, 5), float("nan")))
