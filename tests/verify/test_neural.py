"""Experts that read, without torch: as the torch network says, in any batch, and every way a folder can be wrong."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.errors import WeightsError
from weighup.models.onnx import OnnxModel
from weighup.models.types import TokenStates
from weighup.verify.neural import CARD, DIMENSION, NeuralExperts, file_of, has
from weighup.verify.types import KINDS


def card_for(folder: Path, **values: Any) -> None:
    """Write a card that is whole for the files in the folder, with some values changed; None takes one out."""
    digests = {file_of(kind): hashlib.sha256((folder / file_of(kind)).read_bytes()).hexdigest() for kind in KINDS}
    card = {
        "format": 1,
        "version": "1-test",
        "justified": True,
        "trunk": {"name": "words", "version": "1"},
        "temperature": dict.fromkeys(KINDS, 2.0),
        "sha256": digests,
    } | values
    (folder / CARD).write_text(json.dumps({k: v for k, v in card.items() if v is not None}), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files that are no networks, with a card that is right about them."""
    home = tmp_path / "mine"
    home.mkdir()
    for kind in KINDS:
        (home / file_of(kind)).write_bytes(f"not a network: {kind}".encode())
    card_for(home)
    return home


def refused(folder: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        NeuralExperts.load(folder)
    assert caught.value.exit_code == 2
    return str(caught.value)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no card": (lambda f: (f / CARD).unlink(), "cannot be read"),
    "not JSON": (lambda f: (f / CARD).write_text("{"), "is not JSON"),
    "a list": (lambda f: (f / CARD).write_text("[]"), "not a JSON object"),
    "no format": (lambda f: card_for(f, format=None), "has format None"),
    "newer": (lambda f: card_for(f, format=2), "a newer weighup made it"),
    "no version": (lambda f: card_for(f, version=" "), "no `version`"),
    "no word on assessments": (lambda f: card_for(f, justified="yes"), "no `justified`"),
    "no trunk": (lambda f: card_for(f, trunk={"name": "words"}), "no `trunk`"),
    "no temperature": (lambda f: card_for(f, temperature={"evidence": 1.0}), "temperature.reasoning is None"),
    "temperature 0": (lambda f: card_for(f, temperature=dict.fromkeys(KINDS, 0)), "expected a number above 0"),
    "no hashes": (lambda f: card_for(f, sha256=None), "names no sha256 of expert-evidence.onnx"),
    "a file is missing": (lambda f: (f / file_of("sentiment")).unlink(), "expert-sentiment.onnx: is missing"),
    "a file is another": (lambda f: (f / file_of("reasoning")).write_bytes(b"x"), "expert-reasoning.onnx: has sha256"),
    "no network": (lambda f: None, "expert-evidence.onnx: cannot be run"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name(folder: Path, name: str) -> None:
    change, told = BROKEN[name]
    change(folder)
    message = refused(folder)
    assert told in message
    assert str(folder) in message
    assert "weighup train" in message


def test_a_folder_without_any_of_it_has_none(tmp_path: Path, folder: Path) -> None:
    assert has(folder)
    assert has(tmp_path) == has(None)


class Words:
    """An encoder that gives each word a fixed direction, whatever stands around it."""

    name, version, dimension = "words", "1", DIMENSION

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> Any:
        raise AssertionError("experts read tokens")

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates:
        each = [["[CLS]", *text.split()][:max_tokens] for text in texts]
        width = max(map(len, each))
        states, mask = np.zeros((len(texts), width, DIMENSION), np.float32), np.zeros((len(texts), width), np.bool_)
        for row, words in enumerate(each):
            for place, word in enumerate(words):
                seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
                states[row, place] = np.random.default_rng(seed).normal(0, 0.3, DIMENSION)
            mask[row, : len(words)] = True
        return TokenStates(states, mask)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Path]:
    """A folder of exported experts, the network that they all are, and its float32 graph."""
    torch = pytest.importorskip("torch", reason="exporting needs pip install 'weighup[train]'")
    pytest.importorskip("onnx", reason="exporting needs pip install 'weighup[train]'")
    from weighup.train.ease.neural_export import MOST_BYTES, quantise, to_onnx
    from weighup.train.ease.neural_net import ExpertNet

    torch.manual_seed(0)
    net = ExpertNet().eval()
    home = tmp_path_factory.mktemp("experts")
    to_onnx(net, home / "fp32.onnx")
    for kind in KINDS:
        quantise(home / "fp32.onnx", home / file_of(kind))
        assert (home / file_of(kind)).stat().st_size <= MOST_BYTES
    card_for(home)
    return home, net, home / "fp32.onnx"


TEXTS = [f"Claim {i} " + "about a town " * (i % 9) for i in range(70)]
KNOWLEDGE = [f"Told {i} " + "by people there " * (i * 7 % 31) for i in range(70)]


def test_the_files_say_what_the_torch_network_says(trained: tuple[Path, Any, Path]) -> None:
    import torch

    home, net, fp32 = trained
    content, knowledge = Words().tokens(TEXTS, max_tokens=64), Words().tokens(KNOWLEDGE)
    with torch.inference_mode():
        want = net(*map(torch.from_numpy, (*content, *knowledge)))[0].numpy()
    exact = NeuralExperts({"evidence": OnnxModel(fp32, threads=1)}, {"evidence": 1.0}, "").logits(
        "evidence", content, knowledge
    )
    np.testing.assert_allclose(exact, want, atol=1e-4)
    experts = NeuralExperts.load(home, threads=1)
    for kind in KINDS:
        given = experts.logits(kind, content, knowledge)
        assert given.shape == (70,)
        assert np.abs(given - want).mean() < 0.02
        assert np.abs(given - want).max() < 0.1


def test_the_stored_weights_are_unsigned(trained: tuple[Path, Any, Path]) -> None:
    import onnx

    graph = onnx.load(str(trained[0] / file_of("evidence"))).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMulInteger"]
    assert len(products) == 12  # four in each of two layers, query, key, value, and the hidden layer
    assert {stored[node.input[1]].data_type for node in products} == {onnx.TensorProto.UINT8}


def test_probabilities_are_in_order_and_go_through_the_temperature(trained: tuple[Path, Any, Path]) -> None:
    experts = NeuralExperts.load(trained[0], threads=1)
    forward = experts.probability("reasoning", TEXTS, KNOWLEDGE, Words())
    backward = experts.probability("reasoning", TEXTS[::-1], KNOWLEDGE[::-1], Words())
    assert forward.dtype == np.float32
    assert ((forward > 0) & (forward < 1)).all()
    # int8 scales are set per batch, so batches move a logit by a little.
    np.testing.assert_allclose(forward, backward[::-1], atol=0.01)
    logits = experts.logits("reasoning", Words().tokens(TEXTS, max_tokens=64), Words().tokens(KNOWLEDGE))
    np.testing.assert_allclose(forward, 1 / (1 + np.exp(-logits / 2)), atol=0.01)
    assert experts.probability("reasoning", [], [], Words()).shape == (0,)
    with pytest.raises(ValueError, match="knowledge"):
        experts.probability("reasoning", TEXTS, KNOWLEDGE[:1], Words())


def test_texts_are_cut_where_training_cut_them(trained: tuple[Path, Any, Path]) -> None:
    experts = NeuralExperts.load(trained[0], threads=1)
    long = "word " * 300
    states = Words().tokens([long], max_tokens=300)
    whole = experts.logits("evidence", states, states)
    cut = experts.logits("evidence", Words().tokens([long], max_tokens=64), Words().tokens([long]))
    np.testing.assert_allclose(whole, cut, atol=1e-4)


def test_another_encoder_is_told_of_or_refused(
    trained: tuple[Path, Any, Path], caplog: pytest.LogCaptureFixture
) -> None:
    experts = NeuralExperts.load(trained[0], threads=1)
    other = Words()
    other.version = "another"
    with caplog.at_level(logging.WARNING):
        experts.probability("evidence", TEXTS[:1], KNOWLEDGE[:1], other)
    assert "train them again" in caplog.text
    other.dimension = 512
    with pytest.raises(WeightsError, match="512"):
        experts.probability("evidence", TEXTS[:1], KNOWLEDGE[:1], other)


def test_a_network_of_another_shape_is_refused(trained: tuple[Path, Any, Path], tmp_path: Path) -> None:
    from onnx import TensorProto, checker, helper, save

    given = helper.make_tensor_value_info("content", TensorProto.FLOAT, ["n", "t", DIMENSION])
    out = helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n", "t", DIMENSION])
    graph = helper.make_graph([helper.make_node("Identity", ["content"], ["logit"])], "g", [given], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    for kind in KINDS:
        save(model, str(tmp_path / file_of(kind)))
    card_for(tmp_path)
    assert "expected finite [1] and [1, 3]" in refused(tmp_path)
