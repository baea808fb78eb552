"""K-shot experts: who is chosen, which instructions, and what the mixture of the chosen is."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from dataclasses import replace  # noqa: E402
from itertools import pairwise  # noqa: E402

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from weighup.errors import InvalidInput  # noqa: E402
from weighup.moe.lab import Training  # noqa: E402
from weighup.moe.multitask import lora  # noqa: E402
from weighup.moe.multitask.open_knowledge import (  # noqa: E402
    Mixture,
    Scores,
    Shot,
    choose_experts,
    exam,
    examined,
    mixture,
    open_knowledge,
    select_instructions,
)
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

CONFIG = TinyConfig(width=16, layers=1, heads=2, n_experts=4, k=2, hidden=8, context=16)
IDS = torch.randint(0, 256, (2, 10), generator=torch.Generator().manual_seed(0))
SOME = Training(steps=4, batch=4, rate=3e-2, warmup=1, decay=0.0)
SHOTS = [Shot(b"the sheep in the ", (b"field", b"xqzvk"), 0), Shot(b"two and two make ", (b"\x01\x02", b"four"), 1)]


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
def pool(model):
    return [lora.drawn(model, f"a{n}", rank=2, seed=n, noise=0.3) for n in range(5)]


@torch.no_grad()
def logits(model):
    return model(IDS).logits


def scores(performance, perplexity, alike=None):
    count = len(performance)
    return Scores(np.array(performance, float), np.array(perplexity, float), np.eye(count) if alike is None else alike)


def test_an_exam_is_losses_taken_one_by_one(model):
    right, told, count = 0, 0.0, 0
    for shot in SHOTS:
        means = []
        for place, choice in enumerate(shot.choices):
            ids = torch.tensor([list(shot.reasoning + choice)])
            with torch.no_grad():
                probs = torch.log_softmax(model(ids).logits[0, :-1], -1)
            each = -probs.gather(1, ids[0, 1:, None])[:, 0]
            means.append(float(each[-len(choice) :].mean()))
            if place == shot.answer:
                told, count = told + float(each.sum()), count + len(each)
        right += int(np.argmin(means)) == shot.answer
    performance, perplexity = exam(model, SHOTS)
    assert performance == right / 2
    assert perplexity == pytest.approx(np.exp(told / count), rel=1e-4)


def test_every_expert_of_the_pool_sits_the_exam(model, pool):
    found = examined(model, pool, SHOTS)
    with lora.attached(model, [pool[3]]):
        performance, perplexity = exam(model, SHOTS)
    assert found.performance[3] == performance
    assert found.perplexity[3] == pytest.approx(perplexity)
    np.testing.assert_allclose(np.diag(found.alike), 1, atol=1e-5)


def test_blind_guessers_are_not_chosen_however_well_they_answer():
    some = scores([0.5, 1.0, 0.6, 1.0, 0.1], [10, 90, 11, 95, 80])
    choice = choose_experts(some, 2, limit=20)
    assert set(choice.experts) == {0, 2}
    assert choice.guessers == (1, 3)
    assert choose_experts(scores([1, 1, 0.5, 0.9], [10, 90, 95, 11]), 2).experts == (0, 3)  # by the median


def test_of_two_that_are_alike_one_is_chosen():
    alike = np.eye(6)
    alike[0, 1] = alike[1, 0] = 0.99
    some = scores([1.0, 1.0, 0.8, 0.3, 0.2, 0.1], [10, 10.1, 11, 50, 60, 70], alike)
    assert choose_experts(some, 2).experts == (0, 2)
    assert choose_experts(some, 2, diversity=0.0).experts == (0, 1)


@settings(max_examples=25)
@given(count=st.integers(1, 7), seed=st.integers(0, 999), data=st.data())
def test_the_chosen_are_different_fluent_and_do_not_depend_on_the_order(count, seed, data):
    chance = np.random.default_rng(seed)
    alike = chance.random((count, count))
    some = scores(chance.random(count), 1 + chance.random(count), (alike + alike.T) / 2)
    n = data.draw(st.integers(1, max(1, count // 2)))
    chosen = choose_experts(some, n).experts
    assert len(set(chosen)) == n
    assert (some.perplexity[list(chosen)] <= np.median(some.perplexity)).all()
    order = chance.permutation(count)
    moved = Scores(some.performance[order], some.perplexity[order], some.alike[np.ix_(order, order)])
    assert [int(order[place]) for place in choose_experts(moved, n).experts] == list(chosen)


def test_choices_that_cannot_be_are_named():
    some = scores([1.0, 0.5], [10.0, 20.0])
    for n in (0, 3):
        with pytest.raises(InvalidInput, match=f"not {n}"):
            choose_experts(some, n)
    with pytest.raises(InvalidInput, match=r"diversity >= 0 are needed, not 1, -1"):
        choose_experts(some, 1, diversity=-1.0)
    with pytest.raises(InvalidInput, match="1 experts have a perplexity up to 15"):
        choose_experts(some, 2, limit=15)
    with pytest.raises(InvalidInput, match="perplexity is not a number"):
        scores([1.0], [float("nan")])
    for bad in (([], []), ([1.0], [1.0, 2.0])):
        with pytest.raises(InvalidInput, match="of the same experts"):
            scores(*bad)


def test_instructions_are_the_nearest_without_duplicates():
    def at(*degrees):
        angles = np.radians(degrees)
        return np.stack((np.cos(angles), np.sin(angles)), 1)

    found = select_instructions(at(0, 90), at(50, 5, 5.1, 180, 88, 20), 4, duplicate=0.99)
    assert found == [4, 1, 5, 0]
    assert select_instructions(at(0), at(7, 7, 7), 3, duplicate=1.0)[:1] == [0]


@settings(max_examples=20)
@given(size=st.integers(2, 30), n=st.integers(1, 5), duplicate=st.floats(0.5, 1.0), seed=st.integers(0, 999))
def test_no_two_instructions_are_near_duplicates_and_none_nearer_is_left_out(size, n, duplicate, seed):
    chance = np.random.default_rng(seed)
    pool, shots = chance.normal(size=(size, 3)), chance.normal(size=(2, 3))
    pool, shots = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (pool, shots))
    try:
        taken = select_instructions(shots, pool, n, duplicate=duplicate)
    except InvalidInput:
        return
    near = (pool @ shots.T).max(1)
    assert all(near[a] >= near[b] for a, b in pairwise(taken))
    likeness = pool[taken] @ pool[taken].T
    assert (likeness[~np.eye(n, dtype=bool)] < duplicate).all()
    for place in set(range(size)) - set(taken):
        before = [one for one in taken if near[one] >= near[place]]
        assert near[place] <= near[taken[-1]] or (pool[before] @ pool[place]).max() >= duplicate


def test_instructions_that_cannot_be_had_are_named():
    rows = np.eye(3)
    with pytest.raises(InvalidInput, match="1 of 3 are left without duplicates, not 2"):
        select_instructions(rows, rows[[0, 0, 0]], 2)
    for duplicate in (0.0, 1.5):
        with pytest.raises(InvalidInput, match=f"not {duplicate}"):
            select_instructions(rows, rows, 1, duplicate=duplicate)
    with pytest.raises(InvalidInput, match=r"not 0\.9, 0"):
        select_instructions(rows, rows, 0)
    with pytest.raises(InvalidInput, match="do not fit"):
        select_instructions(rows[:0], rows, 1)
    with pytest.raises(InvalidInput, match="do not fit"):
        select_instructions(rows[:, :2], rows, 1)


def test_a_mixture_begins_as_the_mean_of_its_experts(model, pool):
    routers = {name: torch.zeros(3, 16) for name in pool[0].parts}
    with Mixture(tuple(pool[:3]), routers, 3).attached(model):
        found = logits(model)
    with lora.attached(model, pool[:3], torch.full((3,), 1 / 3)):
        torch.testing.assert_close(found, logits(model), atol=1e-5, rtol=1e-4)


def test_only_the_best_of_a_router_are_active(pool):
    x, router = torch.randn(7, 16), torch.randn(3, 16)
    name = next(iter(pool[0].parts))
    weights = Mixture(tuple(pool[:3]), {name: router}, 2).gate()(name, x)
    assert ((weights > 0).sum(-1) == 2).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(7))
    torch.testing.assert_close(weights.argmax(-1), (x @ router.T).argmax(-1))


def test_training_changes_the_router_alone(model, pool):
    before = {name: one.clone() for name, one in model.state_dict().items()}
    prints = [one.fingerprint for one in pool]
    made = mixture(model, pool[:2], [b"the sheep in the field sleep"] * 5, SOME, k=1)
    assert (made.k, len(made.experts)) == (1, 2)
    assert made.routers.keys() == pool[0].parts.keys()
    assert any(bool(one.any()) for one in mixture(model, pool[:2], [b"sheep in fields"] * 5, SOME).routers.values())
    assert prints == [one.fingerprint for one in pool]
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_all_of_it_from_shots_to_mixture(model, pool):
    texts = [f"sheep {chr(97 + n % 26) * 6} field {chr(122 - n % 26) * 4}" for n in range(40)]
    options = {"n_experts": 2, "n_instructions": 5, "training": replace(SOME, steps=2)}
    made, choice = open_knowledge(model, pool, SHOTS, texts, Letters(), **options)
    assert [one.name for one in made.experts] == [pool[place].name for place in choice.experts]
    again, _ = open_knowledge(model, pool, SHOTS, texts, Letters(), **options)
    assert all(torch.equal(one, again.routers[name]) for name, one in made.routers.items())


def test_bad_input_is_named(model, pool):
    for bad in ((b"a", (b"x",), 0), (b"abc", (), 0), (b"abc", (b"x", b""), 0)):
        with pytest.raises(InvalidInput, match="reasoning of two bytes"):
            Shot(*bad)
    with pytest.raises(InvalidInput, match="answer 2 is none of the 2"):
        Shot(b"abc", (b"x", b"y"), 2)
    with pytest.raises(InvalidInput, match="not 0 and 5"):
        examined(model, pool, [])
    with pytest.raises(InvalidInput, match="not 2 and 0"):
        examined(model, [], SHOTS)
    with pytest.raises(InvalidInput, match="needs an expert"):
        mixture(model, [], [b"text"], SOME)
    with pytest.raises(InvalidInput, match="4 bytes to train on"):
        mixture(model, pool[:1], [b"text"], SOME)
    for k in (0, 3):
        with pytest.raises(InvalidInput, match=f"not {k}"):
            mixture(model, pool[:2], [b"text" * 9], SOME, k=k)
