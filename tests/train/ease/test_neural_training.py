"""Experts that read: they learn, stop and go on, answer out of fold, and come out as files that run without torch."""

# ruff: noqa: E402

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs pip install 'weighup[train]'")
pytest.importorskip("safetensors", reason="training needs pip install 'weighup[train]'")

from safetensors.torch import save_file

from weighup.errors import InvalidInput, JobFailed
from weighup.models.types import TokenStates
from weighup.train.ease.fit import Evaluators
from weighup.train.ease.neural import averaged, best_rate, fit_expert, out_of_fold, predict
from weighup.train.ease.neural_material import Material, Recipe, batches, held_out, material_of
from weighup.train.ease.neural_net import ExpertNet
from weighup.train.ease.neural_states import states_of
from weighup.train.ease.table import Table
from weighup.verify.knowledge import EVIDENCE, REASONING, SENTIMENT
from weighup.verify.neural import NeuralExperts, knowledge_text
from weighup.verify.types import KINDS

DIM = 384
RECIPE = Recipe(epochs=4, batch=8, warm_up=2, lr=3e-4, held=0.2)


class Words:
    """An encoder that gives each word a fixed direction, whatever stands around it."""

    name, version, dimension = "words", "1", DIM

    def __init__(self) -> None:
        self.read = 0

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> Any:
        raise AssertionError("experts read tokens")

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates:
        self.read += len(texts)
        each = [[self.state(word) for word in ("[CLS]", *text.split())][:max_tokens] for text in texts]
        width = max(map(len, each))
        states, mask = np.zeros((len(texts), width, DIM), np.float32), np.zeros((len(texts), width), np.bool_)
        for row, words in enumerate(each):
            states[row, : len(words)], mask[row, : len(words)] = words, True
        return TokenStates(states, mask)

    @staticmethod
    def state(word: str) -> Any:
        seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
        return np.random.default_rng(seed).normal(0, 0.3, DIM).astype(np.float32)


def table_of_claims(n: int = 40) -> Table:
    """n claims with two variants each: at q = 1 the evidence tells the label, at q = 0 there is none."""
    label = np.tile(np.asarray([0, 1, 0, 1, 2]), n // 5 + 1)[:n].repeat(2)
    has = np.tile([True, False], n)
    tellings = ("It is confirmed by officials.", "It is denied by officials.", "Reports differ.", "Nothing was found.")
    told = {kind: np.full(2 * n, 3, np.int64) for kind in KINDS}
    told["evidence"] = np.where(has, label, 3)
    wide = {"evidence": len(EVIDENCE), "reasoning": len(REASONING), "sentiment": len(SENTIMENT)}
    return Table(
        knowledge={kind: np.zeros((2 * n, wide[kind]), np.float32) for kind in KINDS},
        content=np.zeros((2 * n, 4), np.float32),
        vector=np.zeros((2 * n, 2), np.float32),
        label=label,
        group=np.asarray([f"group {i // 2}" for i in range(n)]).repeat(2),
        source=np.asarray(["made"] * (2 * n)),
        q=np.tile(np.asarray([1, 0], np.float32), n),
        r=np.zeros(2 * n, np.float32),
        has=has,
        claim=np.arange(n).repeat(2),
        texts=tuple(f"Claim number {i} about town {i % 7}" for i in range(n)),
        told=told,
        tellings=tellings,
    )


def evaluated(table: Table) -> Evaluators:
    """Evidence knows, where there is any."""
    opinion = np.tile(np.asarray([0, 0, 1], np.float32), (len(table), 1))
    opinion[table.has] = np.eye(3, dtype=np.float32)[table.label[table.has]]
    reliability = np.where(table.has, 0.9, 0.0).astype(np.float32)
    return Evaluators({}, {}, dict.fromkeys(KINDS, opinion), dict.fromkeys(KINDS, reliability), {})


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a sixth layer of small random numbers."""
    made = torch.Generator().manual_seed(0)
    at = "encoder.layer.5."
    shapes = {
        **{f"attention.self.{name}": (DIM, DIM) for name in ("query", "key", "value")},
        "attention.output.dense": (DIM, DIM),
        "intermediate.dense": (4 * DIM, DIM),
        "output.dense": (DIM, 4 * DIM),
    }
    tensors = {f"{at}{name}.weight": torch.randn(shape, generator=made) * 0.03 for name, shape in shapes.items()}
    tensors |= {f"{at}{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    for name in ("attention.output", "output"):
        tensors[f"{at}{name}.LayerNorm.weight"] = torch.ones(DIM)
        tensors[f"{at}{name}.LayerNorm.bias"] = torch.zeros(DIM)
    path = tmp_path_factory.mktemp("start") / "model.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture
def material(tmp_path: Path) -> Material:
    table = table_of_claims()
    return material_of(table, evaluated(table), "evidence", Words(), tmp_path / "states", RECIPE)


def test_the_losses_fall_and_the_expert_reads_its_evidence(material: Material, start: Path) -> None:
    fitted = fit_expert(material, np.arange(80), replace(RECIPE, epochs=8), start)
    first, last = fitted.history[0], fitted.history[-1]
    assert last["fake"] < first["fake"]
    assert last["verdict"] < first["verdict"]
    logits, verdicts = predict(fitted.net, material, np.arange(80), RECIPE)
    shown = material.target == np.asarray([0.0, 1.0])[:, None]
    there = np.arange(80) % 2 == 0
    assert logits[shown[1] & there].min() > logits[shown[0] & there].max()
    assert (verdicts.argmax(1) == material.verdict).mean() > 0.9


def test_equal_seeds_give_equal_weights_and_others_do_not(material: Material, start: Path) -> None:
    short = replace(RECIPE, epochs=1)
    first, again, other = (
        predict(fit_expert(material, np.arange(80), recipe, start).net, material, np.arange(80), recipe)[0]
        for recipe in (short, short, replace(short, seed=1))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_a_stopped_run_ends_where_an_uninterrupted_one_does(material: Material, start: Path, tmp_path: Path) -> None:
    whole = fit_expert(material, np.arange(80), RECIPE, start)
    steps = 0

    def stop(step: int = 1, *, note: str | None = None) -> None:
        nonlocal steps
        steps += step
        if steps in (3, 9):
            raise KeyboardInterrupt

    state = tmp_path / "kept" / "evidence.pt"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit_expert(material, np.arange(80), RECIPE, start, state=state, advance=stop)
        assert state.exists()
    parts = fit_expert(material, np.arange(80), RECIPE, start, state=state, advance=stop)
    assert parts.history == whole.history
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, parts.net.state_dict()[name]), name
    before = steps
    done = fit_expert(material, np.arange(80), RECIPE, start, state=state, advance=stop)
    assert steps == before, "what is finished is not trained again"
    assert done.history == whole.history
    assert torch.equal(done.net.fake.weight, whole.net.fake.weight)


def test_a_state_of_something_else_is_set_aside(
    material: Material, start: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "evidence.pt"
    state.write_bytes(b"not a state")
    one = fit_expert(material, np.arange(80), replace(RECIPE, epochs=1), start, state=state)
    assert "training starts anew" in caplog.text
    caplog.clear()
    fit_expert(material, np.arange(80), replace(RECIPE, epochs=1, lam=0.0), start, state=state)
    assert "another recipe" in caplog.text
    assert one.epochs == 1


def test_no_progress_and_no_time_end_it_early(material: Material, start: Path) -> None:
    still = fit_expert(material, np.arange(80), replace(RECIPE, lr=0.0, epochs=20, patience=2), start)
    assert still.epochs == 3
    assert fit_expert(material, np.arange(80), replace(RECIPE, minutes=1e-6, epochs=20), start).epochs == 1


def test_a_pass_takes_each_claim_once_and_no_held_out_group(material: Material) -> None:
    learn, held = held_out(material, np.arange(80), RECIPE)
    assert not set(material.group[learn]) & set(material.group[held])
    passes = [np.concatenate(batches(material, learn, RECIPE, epoch)) for epoch in range(6)]
    for rows in passes:
        assert sorted(material.claim[rows]) == sorted(set(material.claim[learn]))
    assert len(np.unique(np.concatenate(passes))) > len(passes[0]), "variants change from pass to pass"
    with pytest.raises(InvalidInput, match="two groups"):
        held_out(material, np.arange(2), RECIPE)


def test_out_of_fold_answers_come_from_other_groups_and_are_kept(start: Path, tmp_path: Path) -> None:
    recipe, table = replace(RECIPE, epochs=10), table_of_claims()
    table.knowledge["reasoning"][-1, REASONING.index("chinese")] = 1
    material = material_of(table, evaluated(table), "evidence", Words(), tmp_path / "states", recipe)
    folded = out_of_fold(table, material, recipe, start, tmp_path / "folds")
    assert np.isnan(folded.fake[-1])
    assert ((folded.fake[:-1] > 0) & (folded.fake[:-1] < 1)).all()
    assert len(folded.report["fits"]) == 2
    here = table.has & table.known
    assert folded.fake[here & (table.label == 1)].mean() > folded.fake[here & (table.label == 0)].mean()
    assert not list((tmp_path / "folds").glob("*.pt"))
    calls: list[int] = []
    again = out_of_fold(
        table, material, recipe, start, tmp_path / "folds", advance=lambda step=1, *, note=None: calls.append(step)
    )
    np.testing.assert_array_equal(folded.fake, again.fake)
    assert not calls
    mean = averaged(np.full(len(table), 0.5, np.float32), folded.fake)
    assert mean[-1] == 0.5
    assert mean[0] == pytest.approx((0.5 + folded.fake[0]) / 2)
    with pytest.raises(InvalidInput, match="folds"):
        out_of_fold(table, material, recipe, start, tmp_path / "folds", folds=1)


def test_the_rate_with_the_least_held_out_loss_is_taken(material: Material, start: Path, tmp_path: Path) -> None:
    recipes = [replace(RECIPE, lr=lr) for lr in (0.0, 3e-4)]
    best, tried, fitted = best_rate(material, recipes, start, tmp_path)
    assert best.lr == 3e-4
    assert fitted.loss == pytest.approx(tried["0.0003"], abs=1e-4)
    assert tried["0.0003"] < tried["0"]


def test_the_ablations_change_the_text_and_the_network(start: Path, tmp_path: Path) -> None:
    table = table_of_claims(10)
    plain = material_of(
        table, evaluated(table), "evidence", Words(), tmp_path / "states", replace(RECIPE, justified=False)
    )
    whole = material_of(table, evaluated(table), "evidence", Words(), tmp_path / "states", RECIPE)
    assert whole.knowledge.length(np.arange(1)) > plain.knowledge.length(np.arange(1))
    assert whole.knowledge.length(np.asarray([1])) == plain.knowledge.length(np.asarray([1])), "nothing to assess"
    fit_expert(plain, np.arange(20), replace(RECIPE, epochs=1, cross=False, lam=0.0), start)
    assert not any("query" in name for name in ExpertNet(cross=False).state_dict())


def test_files_and_card_are_written_whole_or_not_at_all(material: Material, start: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="exporting needs pip install 'weighup[train]'")
    from weighup.train.ease.neural_export import MOST_BYTES, write_neural

    net = fit_expert(material, np.arange(80), replace(RECIPE, epochs=1), start).net
    asked: dict[str, Any] = {
        "nets": dict.fromkeys(KINDS, net),
        "materials": {kind: replace(material, kind=kind) for kind in KINDS},
        "encoder": Words(),
        "out": tmp_path / "experts",
        "card": {"command": "none", "made": "2026-01-01"},
        "temperature": dict.fromkeys(KINDS, 1.5),
        "recipes": dict.fromkeys(KINDS, RECIPE),
    }
    with pytest.raises(InvalidInput, match="averitec"):
        write_neural(**asked, sources={"averitec": 3, "liar": 2})
    assert not (tmp_path / "experts").exists()
    card = write_neural(**asked, sources={"made": 80})
    assert sorted(file.name for file in (tmp_path / "experts").iterdir()) == [
        "expert-evidence.onnx",
        "expert-reasoning.onnx",
        "expert-sentiment.onnx",
        "neural.json",
    ]
    assert card["int8"]["against_float32"]["evidence"]["bytes"] <= MOST_BYTES
    assert card["int8"]["against_float32"]["evidence"]["most_difference"] < 0.1
    experts = NeuralExperts.load(tmp_path / "experts", threads=1)
    assert (experts.version, experts.trunk) == (card["version"], ("words", "1"))
    assert experts.temperature == dict.fromkeys(KINDS, 1.5)


def test_padding_changes_nothing(start: Path) -> None:
    net = ExpertNet().eval()
    net.start(start)
    encoder = Words()
    alone = encoder.tokens(["Claim one"]), encoder.tokens(["It is denied."])
    beside = encoder.tokens(["Claim one", "a b c d e f g"]), encoder.tokens(["It is denied.", "a b c d e f g h i"])
    with torch.inference_mode():
        one, two = (net(*(torch.from_numpy(x) for states in pair for x in states))[0] for pair in (alone, beside))
    assert one[0].item() == pytest.approx(two[0].item(), abs=1e-5)


def test_states_are_read_once_and_gone_on_from(tmp_path: Path) -> None:
    encoder, texts = Words(), [f"text {i % 300} {'word ' * (i % 5)}" for i in range(600)]
    found = states_of(texts, encoder, tmp_path, max_tokens=4)
    distinct = len(set(texts))
    assert encoder.read == distinct
    want = encoder.tokens(texts[7:8], max_tokens=4)
    np.testing.assert_allclose(found(np.asarray([7])).states, want.states, atol=1e-3)
    index = found.path.with_suffix(".json")
    lengths = json.loads(index.read_text())
    assert found.bytes == sum(lengths) * 2 * DIM == found.path.stat().st_size
    index.write_text(json.dumps(lengths[:256]))
    encoder.read = 0
    again = states_of(texts, encoder, tmp_path, max_tokens=4)
    assert encoder.read == distinct - 256
    np.testing.assert_array_equal(again.rows, found.rows)
    again.remove()
    assert not list(tmp_path.iterdir())
    with pytest.raises(JobFailed, match="allowed"):
        states_of(texts, encoder, tmp_path, max_tokens=4, most_bytes=10_000)


def test_the_assessment_stands_before_the_telling() -> None:
    text = knowledge_text("It was denied.", np.asarray([0.1, 0.8, 0.1], np.float32), 0.71, True)
    assert text == "Its own verdict: fake (0.8), probably right (0.7). It was denied."
    assert knowledge_text("Nothing.", (0.0, 0.0, 1.0), 0.0, False) == "Nothing."
    assert knowledge_text("It was denied.", (0.1, 0.8, 0.1), 0.7, True, justified=False) == "It was denied."
