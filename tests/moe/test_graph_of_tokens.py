"""Graph of tokens: smoothing over oneself alone is top-k, no token sees a later one, the graphs are the paper's."""

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.generate import generate  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.routers.graph_of_tokens import AttentionRouter, SimilarityRouter, smoothed  # noqa: E402
from weighup.moe.routers.topk import TopK  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import tracing  # noqa: E402
from weighup.moe.types import Context  # noqa: E402

ROUTERS = ("similarity", "attention")


def model(router: str, seed: int = 0) -> TinyMoELM:
    torch.manual_seed(seed)
    config = TinyConfig(width=16, layers=2, heads=2, n_experts=4, k=2, hidden=8, context=16, router=router)
    return TinyMoELM(config).eval()


def causal(batch: int, length: int) -> torch.Tensor:
    scores = torch.randn(batch, length, length).masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
    return torch.softmax(scores, -1)


def same(routing, expected) -> None:
    assert torch.equal(routing.indices, expected.indices)
    for name in ("weights", "probs", "logits", "aux_loss"):
        torch.testing.assert_close(getattr(routing, name), getattr(expected, name), atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 4), length=st.integers(1, 9), n=st.integers(1, 6), seed=st.integers(0, 1000), data=st.data()
)
def test_with_the_identity_as_graph_it_is_top_k(batch, length, n, seed, data):
    k = data.draw(st.integers(1, n))
    torch.manual_seed(seed)
    x, plain = torch.randn(batch * length, 8), TopK(8, n, k)
    expected = plain(x)

    class Alone(SimilarityRouter):
        def graph(self, x, context):
            return torch.eye(context.length).expand(context.batch, -1, -1)

    router = Alone(8, n, k)
    router.weight = plain.weight
    same(router(x, Context(batch, length)), expected)
    attention = AttentionRouter(8, n, k)
    attention.weight = plain.weight
    same(attention(x, Context(batch, length, attention=torch.eye(length).expand(batch, -1, -1))), expected)


def test_sequences_of_one_token_are_not_smoothed():
    torch.manual_seed(0)
    x, plain, router = torch.randn(20, 8), TopK(8, 4, 2), SimilarityRouter(8, 4, 2)
    router.weight = plain.weight
    same(router(x, Context(20, 1)), plain(x))


def test_probabilities_are_the_graph_times_the_routers_own():
    torch.manual_seed(0)
    x, graph, router = torch.randn(10, 8), causal(2, 5), AttentionRouter(8, 4, 2)
    routing = router(x, Context(2, 5, attention=graph))
    own = torch.softmax(x @ router.weight.T, -1)
    wanted = torch.cat([graph[b] @ own[5 * b : 5 * b + 5] for b in range(2)])
    torch.testing.assert_close(routing.probs, wanted)
    torch.testing.assert_close(torch.softmax(routing.logits, -1), wanted)


def test_the_similarity_graph_is_the_masked_softmax_of_bilinear_scores():
    torch.manual_seed(0)
    x, router = torch.randn(6, 8), SimilarityRouter(8, 4, 2)
    router.similarity.data = torch.randn(8, 8)
    graph = router.graph(x, Context(2, 3))
    for b in range(2):
        own = x[3 * b : 3 * b + 3]
        for t in range(3):
            scores = own[t] @ router.similarity @ own[: t + 1].T / 8**0.5
            torch.testing.assert_close(graph[b, t, : t + 1], torch.softmax(scores, -1))
            assert (graph[b, t, t + 1 :] == 0).all()


def test_the_attention_router_uses_the_models_own_attention():
    one, tokens, seen = model("attention"), torch.randint(256, (2, 8)), []
    router = one.blocks[1].moe.router
    assert router.wants_attention
    hook = router.register_forward_hook(lambda module, args, output: seen.append((args[0], args[1], output)))
    with torch.no_grad():
        one(tokens)
    hook.remove()
    ((x, context, routing),) = seen
    assert context.attention.shape == (2, 8, 8)
    torch.testing.assert_close(context.attention.sum(-1), torch.ones(2, 8))
    torch.testing.assert_close(routing.logits, smoothed(x @ router.weight.T, context.attention))


@pytest.mark.parametrize("router", ROUTERS)
@settings(max_examples=10, deadline=None)
@given(at=st.integers(1, 11), byte=st.integers(0, 255))
def test_a_later_token_never_changes_an_earlier_output(router, at, byte):
    one = model(router)
    tokens = torch.randint(256, (2, 12), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, at] = byte
    with torch.no_grad():
        before, after = one(tokens), one(changed)
    torch.testing.assert_close(before.logits[:, :at], after.logits[:, :at], atol=1e-5, rtol=1e-5)
    for old, new in zip(before.routings, after.routings, strict=True):
        torch.testing.assert_close(old.probs.view(2, 12, -1)[:, :at], new.probs.view(2, 12, -1)[:, :at])


@pytest.mark.parametrize("router", ROUTERS)
def test_an_earlier_token_does_change_a_later_choice_and_other_sequences_do_not(router):
    torch.manual_seed(0)
    make = SimilarityRouter if router == "similarity" else AttentionRouter
    one, x, graph = make(8, 4, 2), torch.randn(8, 8, requires_grad=True), causal(2, 4)
    one(x, Context(2, 4, attention=graph)).probs[6, 0].backward()  # third token of the second sequence
    moved = x.grad.abs().sum(-1) > 0
    assert moved.tolist() == [False] * 4 + [True] * 3 + [False]


@pytest.mark.parametrize("router", ROUTERS)
def test_everything_learns(router):
    torch.manual_seed(0)
    one, tokens = model(router), torch.randint(256, (2, 8))
    one(tokens, tokens).total.backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in one.parameters())
    if router == "similarity":
        assert one.blocks[0].moe.router.similarity.grad.abs().sum() > 0


@pytest.mark.parametrize("router", ROUTERS)
def test_it_is_traced_controlled_and_generates(router):
    one, tokens = model(router), torch.randint(256, (2, 8))
    with torch.no_grad(), tracing(one) as recorder:
        out = one(tokens)
    assert (recorder.trace.indices[0] == out.routings[0].indices.numpy()).all()
    with torch.no_grad(), control(one, Policy(k=1)):
        routing = one(tokens).routings[0]
    assert torch.equal(routing.indices[:, 0], out.routings[0].indices[:, 0])
    assert generate(one, tokens, 3).shape == (2, 3)
    assert not isinstance(one.blocks[0].moe.router, TopK)  # what an export to Mixtral goes by


def test_a_probability_that_vanishes_keeps_a_finite_logit():
    logits = torch.tensor([[500.0, -500.0]], requires_grad=True)
    found = smoothed(logits, torch.ones(1, 1, 1))
    found.sum().backward()
    assert bool(torch.isfinite(found).all())
    assert bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (None, "Context.attention is needed"),
        (torch.eye(3)[None], r"\[1, 4, 4\] is needed, not \[1, 3, 3\]"),
        (torch.full((1, 4, 4), 0.25), "later tokens"),
        (torch.full((1, 4, 4), float("nan")).tril(), "NaN"),
    ],
)
def test_bad_attention_is_refused(attention, message):
    with pytest.raises(InvalidInput, match=message):
        AttentionRouter(8, 4, 2)(torch.randn(4, 8), Context(1, 4, attention=attention))


def test_bad_sizes_are_refused():
    with pytest.raises(InvalidInput, match="5 tokens are not 2 sequences of 3"):
        SimilarityRouter(8, 4, 2)(torch.randn(5, 8), Context(2, 3))
    with pytest.raises(InvalidInput, match="between 1 and the 4"):
        SimilarityRouter(8, 4, 5)
    with pytest.raises(InvalidInput, match="no tokens"):
        SimilarityRouter(8, 4, 2)(torch.empty(0, 8))
    with pytest.raises(InvalidInput, match="NaN"):
        SimilarityRouter(8, 4, 2)(torch.full((2, 8), float("nan")), Context(1, 2))
