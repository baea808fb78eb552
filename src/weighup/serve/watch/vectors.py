"""An encoder that remembers: an entry is embedded once, though both its story and its verdict want its vector."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weighup.models.types import Encoder, TokenStates

KEPT = 4_096
"""Vectors remembered; 1.5 kB each with the shipped encoder."""


class Remembering:
    """`inner`, which it does not close, with the vectors of the last texts. Thread-safe if `inner` is."""

    def __init__(self, inner: Encoder, *, kept: int = KEPT) -> None:
        self.inner = inner
        self.name, self.version, self.dimension = inner.name, inner.version, inner.dimension
        self._kept = kept
        self._lock = threading.Lock()
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> NDArray[np.float32]:
        """As `inner`: unit vectors, float32 [n_texts, dimension], in order."""
        with self._lock:
            found = {text: self._vectors[text] for text in texts if text in self._vectors}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            made = self.inner.encode(missing, batch_size=batch_size)
            found |= dict(zip(missing, made, strict=True))
        with self._lock:
            for text in texts:
                self._vectors[text] = found[text]
                self._vectors.move_to_end(text)
            while len(self._vectors) > self._kept:
                self._vectors.popitem(last=False)
        rows = [found[text] for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32)

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> TokenStates:
        """As `inner`; not remembered."""
        return self.inner.tokens(texts, max_tokens=max_tokens)
