"""Does a passage support a claim, refute it, or neither? A small cross-encoder, on a CPU, without torch.

Cross-encoder for entailment: Reimers & Gurevych 2019 (arXiv 1908.10084); trunk MiniLM-L6 (Wang et al. 2020, arXiv
2002.10957), all layers tuned; the exact-match feature of DrQA (Chen et al. 2017, arXiv 1704.00051) as an embedding
added to the tokens, computed inside the graph; lexical features (`stance_features.py`) into the head; a linear model
over shared and missing words beside it (`stance_wide.py`, after Cheng et al. 2016, arXiv 1606.07792); a shift of the
logits chosen on dev for macro-F1 (Menon et al. 2021, arXiv 2007.07314, the post-hoc form). How the weights were made:
`weights/stance.py`; what they score: `docs/methods/stance.md` and the card `_weights/stance.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.models.onnx import OnnxModel
from weighup.verify.stance_features import features
from weighup.verify.stance_wide import Wide

STANCES = ("supports", "refutes", "neutral")
MAX_TOKENS = 160
MAX_CLAIM_TOKENS = 96
_CLS, _SEP = 101, 102
_WEIGHTS = Path(__file__).parent.parent / "_weights"


class StanceModel:
    """The shipped stance model. Safe across threads and forks: the session belongs to the process."""

    def __init__(self, network: OnnxModel, wide: Wide, tokenizer: Any, version: str) -> None:
        self._network = network
        self._wide = wide
        self._tokenizer = tokenizer
        self.version = version

    @classmethod
    def load(cls, path: Path | None = None, *, threads: int | None = None) -> StanceModel:
        """Reads `stance.onnx`, `stance-wide.npz` and the card `stance.json`, next to `path` (the .onnx file).

        `path` None is the shipped model. `threads`: cores one call may use (None: all).
        Raises FileNotFoundError if a file is missing.
        """
        model = path if path is not None else _WEIGHTS / "stance.onnx"
        card, words = model.with_suffix(".json"), _WEIGHTS / "minilm-tokenizer.json"
        wide = model.with_name(f"{model.stem}-wide.npz")
        for needed in (model, wide, card, words):
            if not needed.is_file():
                raise FileNotFoundError(f"stance model: {needed.name} is missing from {needed.parent}")
        version = str(json.loads(card.read_text(encoding="utf-8"))["version"])
        return cls(OnnxModel(model, threads=threads or 0), Wide.load(wide), load_tokenizer(words), version)

    def score(self, pairs: Sequence[tuple[str, str]], *, batch_size: int = 32) -> NDArray[np.float32]:
        """(claim, passage) pairs -> probabilities, float32 [n_pairs, 3] in `STANCES` order, rows in input order.

        Equal pairs are scored once. Raises ValueError if batch_size < 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if not pairs:
            return np.zeros((0, 3), dtype=np.float32)
        place: dict[tuple[str, str], int] = {}
        row = [place.setdefault((claim, passage), len(place)) for claim, passage in pairs]
        distinct = list(place)
        ids, types = encode_pairs(self._tokenizer, distinct)
        feats = features(distinct)
        out = self._wide.logits(ids, types, feats)
        by_length = sorted(range(len(distinct)), key=lambda i: len(ids[i]))
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            inputs: dict[str, NDArray[Any]] = {
                "ids": padded([ids[i] for i in batch]),
                "types": padded([types[i] for i in batch]),
                "features": feats[batch],
            }
            out[batch] += self._network.run(inputs)[0]
        return softmax(out / self._wide.temperature)[row]


def load_tokenizer(path: Path) -> Any:
    """The MiniLM tokenizer with its own cutting and padding turned off."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode_pairs(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], max_tokens: int = MAX_TOKENS
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and types of `[CLS] claim [SEP] passage [SEP]` (claim 0, passage 1), at most `max_tokens` a pair.

    The passage is cut to fit; the claim only where it is longer than `MAX_CLAIM_TOKENS`.
    """
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    # A cap on characters keeps a book-length passage from being tokenized whole: a token has under 20 on average.
    encoded = tokenizer.encode_batch([t[: max_tokens * 20] for t in texts], add_special_tokens=False)
    tokens = {text: e.ids for text, e in zip(texts, encoded, strict=True)}
    ids, types = [], []
    for claim, passage in pairs:
        first = tokens[claim][: min(MAX_CLAIM_TOKENS, max_tokens - 3)]
        second = tokens[passage][: max_tokens - 3 - len(first)]
        ids.append([_CLS, *first, _SEP, *second, _SEP])
        types.append([0] * (len(first) + 2) + [1] * (len(second) + 1))
    return ids, types


def padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Rows of unequal length -> int64 [n_rows, longest], zeros at the end."""
    out = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for i, values in enumerate(rows):
        out[i, : len(values)] = values
    return out


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of logits -> rows that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
