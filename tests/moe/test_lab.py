"""The training loop and the store: what is cut off goes on to the same end, and nothing old is taken for new."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="weighup.moe needs pip install 'weighup[train]'")

from weighup.errors import InvalidInput, JobFailed  # noqa: E402
from weighup.moe import lab  # noqa: E402
from weighup.moe.corpus import corpus_of  # noqa: E402
from weighup.moe.lab import Training, losses, mean_loss, train, trained  # noqa: E402
from weighup.moe.policy import Policy, control  # noqa: E402
from weighup.moe.tiny import TinyConfig, TinyMoELM  # noqa: E402

CONFIG = TinyConfig(width=16, layers=1, heads=2, n_experts=4, k=2, hidden=8, context=16)
TRAINING = Training(steps=6, batch=4, warmup=2)


@pytest.fixture(scope="module")
def corpus():
    sizes = {"train": 4_000, "valid": 1_500, "test": 1_500}
    return corpus_of(
        {
            "counting": [f"{n} and {n + 1} make {2 * n + 1}, then {n * n}" * 3 for n in range(400)],
            "calling": [f"hey {chr(97 + n % 26) * 5} number {n}! " * 3 for n in range(400)],
        },
        sizes=sizes,
    )


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "moe"


def drawn(seed=0):
    torch.manual_seed(seed)
    return TinyMoELM(CONFIG)


def same(one, other):
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def test_training_lowers_the_loss_and_ends_in_use(corpus):
    model = drawn()
    before = mean_loss(model, corpus, windows=5)
    log = train(model, corpus, Training(steps=40, batch=8, rate=1e-2, warmup=5))
    assert len(log.losses) == 40
    assert mean_loss(model, corpus, windows=5) < before - 1
    assert not model.training


def test_the_same_training_gives_the_same_model_and_another_seed_another(corpus):
    models = [drawn() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, corpus, replace(TRAINING, seed=seed))
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


@pytest.mark.parametrize("cut", [KeyboardInterrupt, None])
def test_a_training_that_was_cut_off_goes_on_to_the_same_model(corpus, tmp_path, monkeypatch, cut):
    whole, state = drawn(), tmp_path / "folder" / "state.pt"
    log = train(whole, corpus, TRAINING)
    if cut is None:
        monkeypatch.setattr(lab, "_KEEP_EVERY", -1.0)  # a kill: only what was kept before is there

    def stop(model, done):
        if done == 3:
            raise cut or RuntimeError

    with pytest.raises(cut or RuntimeError):
        train(drawn(), corpus, TRAINING, on_step=stop, state=state)
    # Weights drawn with another seed: all of it must come from the state.
    again, steps = drawn(seed=9), []
    resumed = train(again, corpus, TRAINING, on_step=lambda model, done: steps.append(done), state=state)
    assert steps == ([4, 5, 6] if cut else [3, 4, 5, 6])
    assert same(again, whole)
    assert resumed.losses == log.losses
    assert [one.name for one in state.parent.iterdir()] == ["state.pt"]
    train(again, corpus, TRAINING, on_step=lambda model, done: steps.append(done), state=state)
    assert steps[-1] == 6
    assert same(again, whole)


def test_a_state_of_another_training_is_refused(corpus, tmp_path):
    state = tmp_path / "state.pt"
    train(drawn(), corpus, TRAINING, state=state)
    kept = state.read_bytes()
    cases = [
        (drawn(), corpus, replace(TRAINING, rate=1e-4)),
        (drawn(), corpus.only("counting"), TRAINING),
        (TinyMoELM(replace(CONFIG, hidden=9)), corpus, TRAINING),
    ]
    for model, data, training in cases:
        before = copy.deepcopy(model)
        with pytest.raises(InvalidInput, match="other sizes, options or data"):
            train(model, data, training, state=state)
        assert same(model, before)
    assert state.read_bytes() == kept
    for broken in (b"", kept[: len(kept) // 2]):
        state.write_bytes(broken)
        with pytest.raises(InvalidInput, match="is no state of a training"):
            train(drawn(), corpus, TRAINING, state=state)


def test_a_file_of_something_else_is_refused(corpus, tmp_path):
    state = tmp_path / "state.pt"
    state.write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match="is no state of a training"):
        train(drawn(), corpus, TRAINING, state=state)


def test_only_some_parameters_with_a_loss_of_ones_own(corpus):
    model, seen = drawn(), []
    before = copy.deepcopy(model)

    def loss(one, tokens, targets, progress):
        seen.append(progress)
        return one(tokens, targets).loss

    train(model, corpus, TRAINING, loss=loss, parameters=[model.head.weight])
    assert not torch.equal(model.head.weight, before.head.weight)
    assert torch.equal(model.embedding.weight, before.embedding.weight)
    assert seen == [n / 6 for n in range(6)]


def test_a_loss_that_is_no_number_ends_it(corpus):
    def loss(model, tokens, targets, progress):
        return model(tokens, targets).loss * (float("nan") if progress > 0.3 else 1.0)

    with pytest.raises(JobFailed, match="the loss of step 2 is nan"):
        train(drawn(), corpus, TRAINING, loss=loss)


def test_a_state_that_cannot_be_kept_is_named(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((JobFailed, OSError)):
        train(drawn(), corpus, replace(TRAINING, steps=1), state=tmp_path / "file" / "state.pt")


def test_rates_warm_up_and_fall_to_a_tenth():
    training = Training(steps=100, rate=1.0, warmup=10)
    rates = [training.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0) == pytest.approx(rates[9])
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert all(a >= b for a, b in pairwise(rates[10:]))
    for bad in ({"steps": 0}, {"batch": 0}, {"rate": 0.0}, {"rate": math.nan}):
        with pytest.raises(InvalidInput, match="positive steps, batch and rate"):
            Training(**bad)


def test_losses_by_domain_are_means_over_windows(corpus):
    model = drawn().train()
    seen = []
    found = losses(model, corpus, windows=7, batch=3, each=lambda out, domains: seen.append(len(domains)))
    assert model.training
    assert seen == [3, 3, 1, 3, 3, 1]
    model.eval()
    for domain in corpus.domains:
        (batch,) = corpus.batches("valid", 7, 16, windows=7, domain=domain)
        with torch.no_grad():
            own = model(torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)).loss
        assert found[domain] == pytest.approx(float(own), rel=1e-5)
    assert mean_loss(model, corpus, windows=7) == pytest.approx(np.mean(list(found.values())))
    other = losses(model, corpus, windows=7, within=lambda: control(model, Policy(k=1)))
    assert other != found


def test_a_model_is_trained_once_for_the_same_content(corpus, store):
    fits = []

    def fit(model):
        fits.append(1)
        train(model, corpus, TRAINING)

    first = trained(CONFIG, corpus, TRAINING, fit=fit)
    again = trained(CONFIG, corpus, TRAINING, fit=fit)
    assert len(fits) == 1
    assert same(first, again)
    assert not again.training
    assert len(list(store.iterdir())) == 1
    wholly = drawn()
    train(wholly, corpus, TRAINING)
    assert same(first, wholly)


def test_other_content_is_trained_anew(corpus, store):
    made = trained(CONFIG, corpus, TRAINING)
    trained(CONFIG, corpus, replace(TRAINING, seed=1))
    trained(CONFIG, corpus.only("counting"), TRAINING)
    trained(replace(CONFIG, hidden=9), corpus, TRAINING)
    trained(CONFIG, corpus, TRAINING, kind="another way")
    files = list(store.iterdir())
    assert len(files) == 5
    for file in files:
        file.write_bytes(file.read_bytes()[:50])
    assert same(trained(CONFIG, corpus, TRAINING), made)  # broken: made again
