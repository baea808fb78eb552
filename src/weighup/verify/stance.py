"""Does a passage support a claim, refute it, or neither? A small cross-encoder, on a CPU, without torch.

Cross-encoder for entailment: Reimers & Gurevych 2019 (arXiv 1908.10084); trunk MiniLM-L6 (Wang et al. 2020, arXiv
2002.10957), all layers tuned; the exact-match feature of DrQA (Chen et al. 2017, arXiv 1704.00051) as an embedding
added to the tokens, computed inside the graph; lexical features (`stance_features.py`) into the head; a linear model
over shared and missing words beside it (`stance_wide.py`, after Cheng et al. 2016, arXiv 1606.07792); a shift of the
logits chosen on dev for macro-F1 (Menon et al. 2021, arXiv 2007.07314, the post-hoc form). How the weights were made:
`weights/stance.py`; what they score: `docs/methods/stance.md` and the card `_weights/stance.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from weighup.errors import ModelUnavailable
from weighup.models.onnx import OnnxModel
from weighup.verify import weights
from weighup.verify.stance_features import FEATURES, features
from weighup.verify.stance_wide import Wide
from weighup.verify.stance_windows import CLS, MAX_CLAIM_TOKENS, MAX_TOKENS, SEP, merged, windows

STANCES = ("supports", "refutes", "neutral")


class Stances(Protocol):
    """What takes stances: the model below, or a memo in front of it (`weighup.train.protocol`)."""

    version: str

    def score(self, pairs: Sequence[tuple[str, str]], *, batch_size: int = 32) -> NDArray[np.float32]:
        """As `StanceModel.score`."""
        ...


class StanceModel:
    """A trained stance model. Safe across threads and forks: the session belongs to the process."""

    def __init__(self, network: OnnxModel, wide: Wide, tokenizer: Any, version: str) -> None:
        self._network = network
        self._wide = wide
        self._tokenizer = tokenizer
        self.version = version

    @classmethod
    def load(cls, folder: Path | None = None, *, threads: int | None = None) -> StanceModel:
        """Reads `stance.onnx`, `stance-wide.npz` and the card `stance.json` of `folder`, else the shipped ones.

        `threads`: cores one call may use (None: all). Raises WeightsError.
        """
        home = weights.find("stance", folder)
        card = weights.card("stance", folder)
        network = OnnxModel(home / "stance.onnx", threads=threads or 0)
        wide = Wide.load(home / "stance-wide.npz")
        named = weights.TOKENIZER in weights.digests("stance", card, home / "stance.json")
        words = weights.place(home if named else weights.SHIPPED, weights.TOKENIZER)
        try:
            tokenizer = load_tokenizer(words)
        except Exception as error:  # tokenizers raises nothing more special
            raise weights.unusable(words, f"cannot be read ({error}), expected a tokenizer") from error
        if (wide.vocabulary, len(wide.dense)) != (tokenizer.get_vocab_size(), len(FEATURES)):
            raise weights.unusable(
                home / "stance-wide.npz",
                f"knows {wide.vocabulary} word pieces and {len(wide.dense)} features, "
                f"expected {tokenizer.get_vocab_size()} and {len(FEATURES)}",
            )
        if home != weights.SHIPPED:
            _try_out(network)
        return cls(network, wide, tokenizer, card["version"])

    def score(self, pairs: Sequence[tuple[str, str]], *, batch_size: int = 32) -> NDArray[np.float32]:
        """(claim, passage) pairs -> probabilities, float32 [n_pairs, 3] in `STANCES` order, rows in input order.

        A passage that does not fit is read in overlapping windows, a bounded number of them, and their stances are
        merged (`stance_windows.py`). Equal pairs are scored once. Raises ValueError if batch_size < 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if not pairs:
            return np.zeros((0, 3), dtype=np.float32)
        place: dict[tuple[str, str], int] = {}
        row = [place.setdefault((claim, passage), len(place)) for claim, passage in pairs]
        distinct = list(place)
        read = windows(self._tokenizer, distinct)
        feats = features(read.texts)
        out = self._wide.logits(read.ids, read.types, feats)
        by_length = sorted(range(len(read.ids)), key=lambda i: len(read.ids[i]))
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            inputs: dict[str, NDArray[Any]] = {
                "ids": padded([read.ids[i] for i in batch]),
                "types": padded([read.types[i] for i in batch]),
                "features": feats[batch],
            }
            out[batch] += self._network.run(inputs)[0]
        scored = softmax(out / self._wide.temperature)
        if len(scored) > len(distinct):
            scored = merged(scored, read.rows, len(distinct))
        return scored[row]


def _try_out(network: OnnxModel) -> None:
    """Run one empty pair. Raises WeightsError if the graph does not take or give what it should."""
    ids, types = np.array([[CLS, SEP, SEP]], np.int64), np.array([[0, 0, 1]], np.int64)
    feeds: dict[str, NDArray[Any]] = {"ids": ids, "types": types, "features": np.zeros((1, len(FEATURES)), np.float32)}
    try:
        logits = np.asarray(network.run(feeds)[0])
    except ModelUnavailable as error:
        raise weights.unusable(network.path, f"cannot be run ({error}), expected the stance network") from error
    if logits.shape != (1, len(STANCES)) or logits.dtype.kind != "f" or not np.isfinite(logits).all():
        raise weights.unusable(
            network.path, f"gives {list(logits.shape)} for a pair, expected finite [1, {len(STANCES)}]"
        )


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
        ids.append([CLS, *first, SEP, *second, SEP])
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
