"""DeepArchitect: what a space asks and holds, what is compiled, and how the searchers choose."""

import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

import numpy as np  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput, JobFailed  # noqa: E402
from weighup.moe.search.build import build  # noqa: E402
from weighup.moe.search.deep_architect import mixtures, search, searcher  # noqa: E402
from weighup.moe.search.searchers import MCTSSearcher, RandomSearcher, SMBOSearcher, completed, ngrams  # noqa: E402
from weighup.moe.search.space import (  # noqa: E402
    Architecture,
    Choice,
    Decision,
    Hyperparameter,
    Optional,
    Repeat,
    Residual,
    Sequence,
    count,
    follow,
    layer,
    paths,
    specified,
)
from weighup.moe.search.space import settings as training  # noqa: E402

UNITS = Hyperparameter((4, 8))
DENSE = layer("dense", units=UNITS)
KINDS = ("random", "mcts", "mcts_bisection", "smbo")


def test_paths_are_counted_module_by_module():
    assert count(DENSE) == 2
    assert count(layer("norm")) == 1
    assert count(Sequence((DENSE, DENSE))) == 4
    assert count(Choice((DENSE, layer("norm")))) == 3
    assert count(Optional(DENSE)) == 3
    assert count(Residual(DENSE)) == 2
    assert count(Repeat(DENSE, (0, 1, 2))) == 1 + 2 + 4
    assert count(Repeat(DENSE, (0, 1, 2), tied=True)) == 1 + 2 + 2


def test_what_is_asked_follows_from_what_was_chosen():
    space = Choice((DENSE, layer("norm")), name="kind")
    assert follow(space, ()) == Decision("kind", 2, False)
    assert follow(space, (0,)) == Decision("dense.units", 2, True)
    assert isinstance(follow(space, (1,)), Architecture)
    assert specified(space, (0, 1)).tokens() == ("dense(units=8)",)


def test_one_option_is_not_asked():
    space = Sequence((layer("dense", units=Hyperparameter((4,))), Choice((layer("norm"),)), Repeat(DENSE, (1,))))
    assert follow(space, ()) == Decision("dense.units", 2, True)


def test_tied_copies_are_alike_and_settings_are_no_layer():
    space = Sequence((training(rate=Hyperparameter((0.1, 0.2))), Repeat(DENSE, (1, 2), tied=True)))
    found = specified(space, (1, 1, 0))
    assert found.settings == {"rate": 0.2}
    assert found.tokens() == ("set:rate=0.2", "dense(units=4)", "dense(units=4)")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_every_drawn_path_is_one_of_the_spaces(seed):
    space = Sequence((Repeat(Choice((DENSE, Optional(layer("norm")))), (0, 1, 2)), Residual(DENSE)))
    path = completed(space, (), np.random.default_rng(seed))
    assert path in set(paths(space))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_every_architecture_of_the_mixtures_is_built_and_can_be_trained(seed):
    architecture = specified(mixtures(), completed(mixtures(), (), np.random.default_rng(seed)))
    model = build(architecture, 6, 3, seed=0)
    x = torch.randn(5, 6)
    y = model(x)
    assert y.shape == (5, 3)
    (y.sum() + model.aux_loss).backward()
    assert all(p.grad is not None for name, p in model.named_parameters())
    assert torch.equal(build(architecture, 6, 3, seed=0)(x), y)


def test_a_residual_block_is_its_input_and_what_is_inside():
    nodes = specified(Residual(layer("dense", units=6)), ())
    model, x = build(nodes, 6, 2, seed=0), torch.randn(4, 6)
    block = model.body[0]
    assert torch.allclose(block(x), x + block.inner(x))


def test_building_leaves_torchs_chance_as_it_was():
    torch.manual_seed(5)
    build(specified(layer("dense", units=4), ()), 6, 2, seed=0)
    found = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(found, torch.rand(1))


def quadratic(architecture):
    """Best at rate 5 of 0 to 15."""
    return 1 - (architecture.settings["rate"] - 5) ** 2 / 100


LINE = training(rate=Hyperparameter(tuple(range(16))))


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_is_repeated_by_its_seed_and_keeps_the_best(kind):
    first, again = (search(LINE, quadratic, searcher(kind, LINE, seed=3), evaluations=20) for _ in range(2))
    assert first == again
    assert len(first.scores) == 20
    assert list(first.best_so_far) == [max(first.scores[: n + 1]) for n in range(20)]
    assert first.best[1] == max(first.scores)
    assert first.area == pytest.approx(np.mean(first.best_so_far))


def test_tree_search_tries_every_child_before_any_twice():
    by = MCTSSearcher(LINE, seed=0)
    found = search(LINE, quadratic, by, evaluations=17)
    assert sorted(path[0] for path in found.paths[1:]) == list(range(16))


def test_bisection_halves_an_ordered_decision_and_leaves_others():
    by = MCTSSearcher(LINE, seed=0, bisect=True)
    search(LINE, quadratic, by, evaluations=40)
    assert len(by.tree[by.root].children) == 2
    assert all(len(one.children) in (0, 2) for one in by.tree.values())
    unordered = training(kind=Hyperparameter(("a", "b", "c", "d"), ordered=False))
    by = MCTSSearcher(unordered, seed=0, bisect=True)
    by.propose()
    assert len(by.tree[by.root].children) == 4


def test_bisection_leaves_no_value_out():
    for size in (2, 3, 5, 7):
        line = training(rate=Hyperparameter(tuple(range(size))))
        by = MCTSSearcher(line, seed=0, bisect=True, exploration=10.0)
        found = search(line, lambda _: 0.0, by, evaluations=60)
        assert {path[0] for path in found.paths} == set(range(size))


def test_tree_search_prefers_what_scores():
    for bisect in (False, True):
        by = MCTSSearcher(LINE, seed=0, bisect=bisect)
        found = search(LINE, quadratic, by, evaluations=120)
        assert np.mean(found.scores[60:]) > np.mean(found.scores[:20]) + 0.05


def test_the_surrogate_learns_which_modules_help():
    space = Repeat(Choice((layer("good"), layer("bad"))), (4,))

    def score(architecture):
        return sum(token == "good" for token in architecture.tokens()) / 4

    by = SMBOSearcher(space, seed=0, start=6, explore=0.0)
    search(space, score, by, evaluations=10)
    best, worst = by.predicted([(0, 0, 0, 0), (1, 1, 1, 1)])
    assert best > worst + 0.3
    assert len(set(by.seen)) >= 8


def test_n_grams_of_a_known_sequence():
    found = ngrams(specified(Sequence((layer("a"), layer("b"), layer("a"))), ()), 2)
    assert found == {"modules": 3, "a": 2, "b": 1, "a b": 1, "b a": 1}


def test_random_search_learns_nothing():
    by = RandomSearcher(LINE, seed=1)
    drawn = search(LINE, quadratic, by, evaluations=10).paths
    other = RandomSearcher(LINE, seed=1)
    assert drawn == tuple(other.propose() for _ in range(10))


NORM = specified(layer("norm"), ())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Hyperparameter(()), "no values"),
        (lambda: Hyperparameter((1, 1)), "not all different"),
        (lambda: Choice(()), "no modules"),
        (lambda: Repeat(DENSE, (-1,)), "-1"),
        (lambda: follow(DENSE, (2,)), "not 2"),
        (lambda: follow(DENSE, (0, 0)), "asks for 1 choices"),
        (lambda: specified(DENSE, ()), "dense.units is still"),
        (lambda: build(specified(layer("lstm"), ()), 4, 2, seed=0), "lstm"),
        (lambda: build(specified(layer("dense"), ()), 4, 2, seed=0), "units"),
        (lambda: build(specified(layer("dense", units=4, activation="tan"), ()), 4, 2, seed=0), "tan"),
        (lambda: build(specified(layer("moe", n_experts=2, k=3, hidden=4), ()), 4, 2, seed=0), "3"),
        (lambda: build(NORM, 0, 2, seed=0), "width"),
        (lambda: searcher("greedy", DENSE, seed=0), "greedy"),
        (lambda: search(DENSE, lambda _: 0.0, searcher("random", DENSE, seed=0), evaluations=0), "not 0"),
        (lambda: MCTSSearcher(DENSE, seed=0, exploration=-1), "-1"),
        (lambda: SMBOSearcher(DENSE, seed=0, explore=2), "explore"),
    ],
)
def test_what_cannot_be_is_refused(call, says):
    with pytest.raises(InvalidInput, match=says):
        call()


def test_a_score_that_is_no_number_names_the_architecture():
    with pytest.raises(JobFailed, match="dense"):
        search(DENSE, lambda _: float("nan"), searcher("random", DENSE, seed=0))
