"""PreMoe: scores counted by hand, the experts that stay, and finding a task by a query's own logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.compress.premoe import (  # noqa: E402
    Patterns,
    Scoring,
    frequency,
    keep_top,
    labelled,
    patterns,
    retrieve,
    tcess,
)
from weighup.moe.compress.prune import prune  # noqa: E402
from weighup.moe.corpus import Batch  # noqa: E402
from weighup.moe.policy import control  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402
from weighup.moe.trace import RoutingTrace, tracing  # noqa: E402

TINY = TinyConfig(width=16, layers=2, heads=2, n_experts=6, k=2, hidden=8, context=16)


def trace_of(probs: object, labels: object = None, names: tuple[str, ...] = (), k: int = 1) -> RoutingTrace:
    logits = np.log(np.asarray(probs, float)).astype(np.float16)
    indices = (-logits).argsort(-1, kind="stable")[..., :k].astype(np.int16)
    count = logits.shape[1]
    told = None if labels is None else np.asarray(labels, np.int16)
    weights = np.ones(indices.shape, np.float16)
    return RoutingTrace(indices, weights, logits, logits.shape[2], np.zeros(count, np.int32), told, names)


# Three tokens, one layer, three experts.
TOY = trace_of([[[0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [0.2, 0.1, 0.7]]])


def test_scores_of_a_toy_counted_by_hand() -> None:
    assert tcess(TOY, least=1) == pytest.approx(np.array([[1.2 / 3, 0, 0.7 / 3]]), abs=1e-3)
    two = trace_of([[[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.2, 0.1, 0.7]]])
    assert tcess(two, Scoring(ka=2), least=1) == pytest.approx(np.array([[1.4 / 3, 0.5 / 3, 0.7 / 3]]), abs=1e-3)


def test_only_tokens_of_which_the_router_is_sure_count() -> None:
    assert tcess(TOY, Scoring(r=0.6), least=1) == pytest.approx(np.array([[0.35, 0, 0.35]]), abs=1e-3)
    with pytest.raises(InvalidInput, match=r"r=0.9; take a lower"):
        tcess(TOY, Scoring(r=0.9), least=1)


def test_logits_are_taken_less_their_mean_so_that_a_shift_changes_nothing() -> None:
    assert TOY.logits is not None
    low = RoutingTrace(TOY.indices, TOY.weights, TOY.logits - 8, 3, TOY.sequences)
    scoring = Scoring(value="logit")
    assert tcess(low, scoring, least=1) == pytest.approx(tcess(TOY, scoring, least=1), abs=0.02)
    assert (tcess(low, scoring, least=1)[0, [0, 2]] > 0).all()


def test_all_experts_in_the_top_makes_the_score_the_mean_probability() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(5), (2, 300))
    assert tcess(trace_of(probs), Scoring(ka=5)) == pytest.approx(probs.mean(1), abs=1e-3)


def test_frequency_is_the_share_of_tokens_and_the_best_stay() -> None:
    assert frequency(TOY) == pytest.approx(np.array([[2 / 3, 0, 1 / 3]]))
    assert keep_top(np.array([[0.1, 0.4, 0.2, 0.4], [1, 1, 1, 1]]), 2) == [[1, 3], [0, 1]]


def test_a_query_finds_the_task_whose_pattern_is_nearest(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    a, b = chance.dirichlet([8, 1, 1], (2, 300)), chance.dirichlet([1, 1, 8], (2, 300))
    both = trace_of(np.concatenate((a, b), 1), [0] * 300 + [1] * 300, ("a", "b"))
    store = patterns(both)
    store.write(tmp_path / "patterns.npz")
    again = Patterns.read(tmp_path / "patterns.npz")
    assert again.scoring == store.scoring
    for task, alpha in (("a", [8, 1, 1]), ("b", [1, 1, 8])):
        query = trace_of(chance.dirichlet(alpha, (2, 12)))
        assert store.nearest(query) == again.nearest(query) == task
    assert store.policy("a", 1).allowed[0].tolist() == [True, False, False]  # type: ignore[index]


def test_retrieval_on_a_model_and_its_policy_equals_the_pruned_model() -> None:
    torch.manual_seed(0)
    model = TinyMoELM(TINY).eval()
    ids = torch.randint(0, 256, (40, 16))
    halves = [Batch(half.numpy(), half.numpy(), np.full(20, n)) for n, half in enumerate(ids.chunk(2))]
    trace = labelled(model, halves, ("first", "second"))
    assert len(trace.of("second")) == 320
    store = patterns(trace)
    for n, task in enumerate(store.scores):
        found, policy = retrieve(model, store, ids[20 * n : 20 * n + 20], 3)
        assert found == task
        keep = keep_top(store.scores[task], 3)
        with torch.no_grad():
            with control(model, policy), tracing(model) as recorder:
                wanted = model(ids).logits
            torch.testing.assert_close(prune(model, keep)(ids).logits, wanted, atol=1e-5, rtol=1e-5)
        assert set(recorder.trace.indices[1].ravel()) <= set(keep[1])


NAN = RoutingTrace(TOY.indices, TOY.weights, np.full((1, 3, 3), np.nan, np.float16), 3, TOY.sequences)
BARE = RoutingTrace(TOY.indices, TOY.weights, None, 3, TOY.sequences)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda _: tcess(TOY), "3 tokens are too few; 256"),
        (lambda _: tcess(BARE, least=1), "no logits"),
        (lambda _: tcess(NAN, least=1), "NaN"),
        (lambda _: tcess(TOY, Scoring(ka=4), least=1), "ka=4"),
        (lambda _: Scoring(ka=0), "ka=0"),
        (lambda _: Scoring(r=1.5), "r=1.5"),
        (lambda _: Scoring(value="rank"), "rank"),  # type: ignore[arg-type]
        (lambda _: keep_top(np.ones((1, 3)), 4), "not 4"),
        (lambda _: patterns(TOY), "no labels"),
        (lambda _: Patterns({}), "at least one"),
        (lambda _: Patterns({"a": np.ones((1, 3))}).policy("b", 1), "'b'"),
        (lambda _: Patterns({"a": np.ones((2, 3))}).nearest(TOY), r"\(1, 3\)"),
        (lambda _: frequency(TOY.at(np.zeros(0, int))), "no token"),
        (lambda path: Patterns.read(path / "none.npz"), "none.npz"),
    ],
)
def test_bad_input_is_refused_by_name(call: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=told):
        call(tmp_path)  # type: ignore[operator]


def test_a_policy_that_leaves_too_few_experts_is_refused() -> None:
    store = Patterns({"a": np.random.default_rng(0).random((2, 6))})
    with pytest.raises(InvalidInput, match="leaves 1 experts"), control(TinyMoELM(TINY), store.policy("a", 1)):
        pass
