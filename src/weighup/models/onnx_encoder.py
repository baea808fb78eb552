"""Sentence vectors and token states from a BERT-like ONNX model; by default all-MiniLM-L6-v2, int8, 384 dimensions.

Wang et al. 2020, MiniLM (arXiv 2002.10957), trained by sentence-transformers (Reimers & Gurevych 2019, arXiv
1908.10084): a vector is the mean of the last layer over real tokens, scaled to unit length. English. Texts beyond
256 tokens are cut, as the model was trained.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import ModelMissing, ModelUnavailable
from weighup.models.catalogue import asset, require
from weighup.models.instances import shared
from weighup.models.onnx import OnnxModel
from weighup.models.types import TokenStates
from weighup.settings import Settings, load_settings
from weighup.texts import whole

_MAX_TOKENS = 256
# Texts are tokenised this many batches at a time, so that memory stays flat however many there are.
_WINDOW = 32


class OnnxEncoder:
    """A folder's or the embedded model, opened at first use; `Encoder` in full. Thread- and fork-safe, picklable."""

    def __init__(
        self, model: Path, tokenizer: Path, *, name: str, version: str, dimension: int | None = None, threads: int = 0
    ) -> None:
        self.name = name
        self.version = version
        self.tokenizer_file = tokenizer
        self._model = OnnxModel(model, threads=threads)
        self.dimension = dimension or _dimension(self._model)

    @classmethod
    def load(cls, settings: Settings | None = None) -> OnnxEncoder:
        """The encoder that `settings.models.encoder` names. Raises ModelMissing saying what to do."""
        models = (settings or load_settings()).models
        if models.encoder == "embedded":
            known = asset("minilm")
            model, tokenizer = require("minilm"), Path(str(files("weighup") / "_weights" / "minilm-tokenizer.json"))
            version = known.sha256[:12]
            return cls(model, tokenizer, name="minilm", version=version, dimension=384, threads=models.threads)
        folder = Path(models.encoder).expanduser()
        for needed in ("model.onnx", "tokenizer.json"):
            if not (folder / needed).is_file():
                raise ModelMissing(
                    f"setting models.encoder: {folder} has no {needed}; name a folder with model.onnx and "
                    "tokenizer.json, or write `embedded` and run `weighup models pull minilm`"
                )
        model, tokenizer = folder / "model.onnx", folder / "tokenizer.json"
        name = folder.resolve().name
        return cls(model, tokenizer, name=name, version=fingerprint(model), threads=models.threads)

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> NDArray[np.float32]:
        """Unit vectors, float32 [n_texts, dimension], in input order. Equal texts are computed once."""
        unique = list(dict.fromkeys(texts))
        vectors = np.zeros((len(unique), self.dimension), dtype=np.float32)
        for rows, states, mask in self._batches(unique, batch_size, _MAX_TOKENS):
            weights = mask[:, :, None].astype(np.float32)
            means = (states * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
            vectors[rows] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        if len(unique) == len(texts):
            return vectors
        place = {text: row for row, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]]

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates:
        """Last-layer states, padded to the longest text, which is cut at `max_tokens` ([CLS] and [SEP] included)."""
        done = list(self._batches(texts, 32, max_tokens))
        width = max((mask.shape[1] for _, _, mask in done), default=0)
        states = np.zeros((len(texts), width, self.dimension), dtype=np.float32)
        real = np.zeros((len(texts), width), dtype=np.bool_)
        for rows, part, mask in done:
            # A padded place still gets a state from the model; it carries nothing and is written as zero.
            states[rows, : mask.shape[1]] = part * mask[:, :, None]
            real[rows, : mask.shape[1]] = mask
        return TokenStates(states, real)

    def _batches(
        self, texts: Sequence[str], batch_size: int, max_tokens: int
    ) -> Iterator[tuple[list[int], NDArray[np.float32], NDArray[np.bool_]]]:
        """Rows, states [b, t, d] and mask [b, t] of batches of texts of about equal length (little padding)."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        tokenizer = shared(("tokenizer", self.tokenizer_file), self._open_tokenizer)
        for start in range(0, len(order), batch_size * _WINDOW):
            window = order[start : start + batch_size * _WINDOW]
            # No text of 256 tokens needs more characters than this; the rest of a megabyte is not tokenised.
            pieces = tokenizer.encode_batch([whole(texts[row][: max_tokens * 100]) for row in window])
            encoded = [(row, _cut(piece.ids, max_tokens)) for row, piece in zip(window, pieces, strict=True)]
            encoded.sort(key=lambda pair: len(pair[1]))
            for first in range(0, len(encoded), batch_size):
                batch = encoded[first : first + batch_size]
                ids = np.zeros((len(batch), len(batch[-1][1])), dtype=np.int64)
                mask = np.zeros(ids.shape, dtype=np.bool_)
                for place, (_, tokens) in enumerate(batch):
                    ids[place, : len(tokens)] = tokens
                    mask[place, : len(tokens)] = True
                feeds = {
                    "input_ids": ids,
                    "attention_mask": mask.astype(np.int64),
                    "token_type_ids": np.zeros_like(ids),
                }
                yield [row for row, _ in batch], self._model.run(feeds)[0], mask

    def _open_tokenizer(self) -> Any:
        # Tokenising is far quicker than encoding; its thread pool only warns, at length, when the process forks.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.tokenizer_file))
        except Exception as error:
            raise ModelUnavailable(f"{self.tokenizer_file}: not a tokenizer that can be loaded: {error}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def fingerprint(path: Path) -> str:
    """Twelve hex digits that change with a file's content: its size, first and last megabyte."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(str(size).encode())
        for start in {0, max(0, size - 1_000_000)}:
            file.seek(start)
            digest.update(file.read(1_000_000))
    return digest.hexdigest()[:12]


def _cut(ids: list[int], limit: int) -> list[int]:
    """Keep the closing special token when cutting, as in training."""
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]


def _dimension(model: OnnxModel) -> int:
    shape = model.output_shapes[0]
    if len(shape) != 3 or not isinstance(shape[-1], int):
        raise ModelMissing(f"{model.path}: its first output has shape {shape}; expected [batch, sequence, dimension]")
    return shape[-1]
