"""Vectors and token states from MiniLM on onnxruntime."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from weighup.errors import ModelMissing, ModelUnavailable, SettingsError
from weighup.models import Encoder, encoder
from weighup.models.onnx import OnnxModel
from weighup.models.onnx_encoder import OnnxEncoder
from weighup.settings import load_settings

TEXTS = [
    "The cat sat on the mat.",
    "A feline rested on a rug.",
    "Shares fell sharply after the bank's warning.",
    "",
    "The cat sat on the mat.",
    "word " * 2000,
]


@pytest.fixture(scope="module")
def minilm(models_ready: Path) -> OnnxEncoder:
    return OnnxEncoder.load(load_settings({"models": {"encoder": "embedded"}}))


def test_vectors_have_unit_length_and_keep_the_order(minilm: OnnxEncoder) -> None:
    vectors = minilm.encode(TEXTS, batch_size=2)
    assert isinstance(minilm, Encoder)
    assert (vectors.shape, vectors.dtype) == ((6, 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    assert np.array_equal(vectors[0], vectors[4])


def test_a_texts_vector_hardly_depends_on_its_company(minilm: OnnxEncoder) -> None:
    together = minilm.encode(TEXTS)
    alone = np.stack([minilm.encode([text])[0] for text in TEXTS])
    # The int8 model scales its activations by the batch: not equal to the last digit, but the same direction.
    assert (together * alone).sum(axis=1).min() > 0.98


def test_no_texts(minilm: OnnxEncoder) -> None:
    assert minilm.encode([]).shape == (0, 384)
    states, mask = minilm.tokens([])
    assert (states.shape, mask.shape) == ((0, 0, 384), (0, 0))


def test_token_states_are_masked_and_cut(minilm: OnnxEncoder) -> None:
    states, mask = minilm.tokens(["hello world", "word " * 500], max_tokens=20)
    assert (states.shape, states.dtype, mask.shape) == ((2, 20, 384), np.float32, (2, 20))
    assert mask.sum(axis=1).tolist() == [4, 20]
    assert not states[0, 4:].any()
    assert states[0, :4].any(axis=1).all()


def test_many_threads_share_one_session(minilm: OnnxEncoder) -> None:
    expected = minilm.encode(["shared"])
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(minilm.encode(["shared"]))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(f, expected, atol=1e-5) for f in found)
    assert len(found) == 6


def test_a_pickled_encoder_works(minilm: OnnxEncoder) -> None:
    copy = pickle.loads(pickle.dumps(minilm))
    assert np.allclose(copy.encode(["x"]), minilm.encode(["x"]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_encodes_and_ends(models_ready: Path) -> None:
    script = (
        "import os, sys\n"
        "from weighup.models import encoder\n"
        "from weighup.settings import load_settings\n"
        "e = encoder(load_settings({'models': {'encoder': 'embedded', 'threads': 2}}))\n"
        "here = e.encode(['fork'])\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.exit(7 if abs(here - e.encode(['fork'])).max() < 1e-5 else 8)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), abs(here - e.encode(['fork'])).max() < 1e-5)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout.split(), ran.stderr, ran.returncode) == (["7", "True"], "", 0)


def test_a_folder_with_a_model_and_a_tokenizer(minilm: OnnxEncoder, models_ready: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to(models_ready / "all-MiniLM-L6-v2-int8.onnx")
    (tmp_path / "tokenizer.json").symlink_to(minilm.tokenizer_file)
    own = encoder(load_settings({"models": {"encoder": str(tmp_path)}}))
    assert (own.name, own.dimension) == (tmp_path.name, 384)
    assert own.version != minilm.version
    assert np.allclose(own.encode(["x"]), minilm.encode(["x"]), atol=1e-5)


def test_what_is_missing_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clean_environment: Path
) -> None:
    monkeypatch.setenv("WEIGHUP_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ModelMissing, match="weighup models pull minilm"):
        encoder(load_settings())
    with pytest.raises(ModelMissing, match=r"has no model\.onnx"):
        encoder(load_settings({"models": {"encoder": str(tmp_path)}}))


def test_a_file_that_is_no_model_is_named(tmp_path: Path, minilm: OnnxEncoder) -> None:
    from weighup.errors import ModelUnavailable

    (tmp_path / "model.onnx").write_bytes(b"junk")
    (tmp_path / "tokenizer.json").symlink_to(minilm.tokenizer_file)
    with pytest.raises(ModelUnavailable, match=r"model\.onnx"):
        encoder(load_settings({"models": {"encoder": str(tmp_path)}}))


def test_onnxruntime_reports_to_nobody(models_ready: Path) -> None:
    script = "import os, weighup.models.onnx\nimport onnxruntime\nprint(os.environ['ORT_DISABLE_TELEMETRY'])\n"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == ["1"]


def test_the_facade_opens_an_encoder_whatever_was_imported_before() -> None:
    """A module of the same name would hide the function once it is imported."""
    import weighup.models
    import weighup.models.onnx_encoder

    assert callable(weighup.models.encoder)


def test_half_a_character_in_a_text(minilm: OnnxEncoder) -> None:
    vectors = minilm.encode(["one", "half \ud800"])
    assert np.isfinite(vectors).all()
    assert np.array_equal(vectors[1], minilm.encode(["one", "half ?"])[1])


def test_a_file_that_is_no_tokenizer_is_named(models_ready: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to(models_ready / "all-MiniLM-L6-v2-int8.onnx")
    (tmp_path / "tokenizer.json").write_text("{}")
    model = OnnxEncoder.load(load_settings({"models": {"encoder": str(tmp_path)}}))
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json: not a tokenizer"):
        model.encode(["x"])


def test_a_model_that_wants_other_inputs_is_named(models_ready: Path) -> None:
    model = OnnxModel(models_ready / "all-MiniLM-L6-v2-int8.onnx")
    with pytest.raises(ModelUnavailable, match=r"it wants .*attention_mask"):
        model.run({"input_ids": np.zeros((1, 2), dtype=np.int64)})
    with pytest.raises(ModelUnavailable, match="cannot run it"):
        model.run({name: np.zeros(1) for name in ("input_ids", "attention_mask", "token_type_ids")})


def test_without_settings_those_in_force_are_read(clean_environment: Path) -> None:
    (clean_environment / "weighup.toml").write_text("[models]\ntimeout = -1\n")
    with pytest.raises(SettingsError, match=r"models\.timeout"):
        OnnxEncoder.load()
