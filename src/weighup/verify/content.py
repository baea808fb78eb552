"""What the wording and subject of a claim alone suggest: content models trained on labelled claims.

English: a linear head on the claim's MiniLM sentence embedding and tone. Chinese, which that encoder does not know:
a linear model on hashed character 1- to 3-grams. Neither has seen evidence; both are priors, and say so.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.verify.heads import Head

Array = NDArray[np.float32]
BUCKETS = 1 << 15
_WEIGHTS = Path(__file__).parent.parent / "_weights"


class ContentModel:
    """P(fake) from content (`prior`) and from tone alone (`tone`), English and Chinese."""

    def __init__(self, prior: Head, tone: Head, tone_zh: Head, grams: Array, grams_bias: float) -> None:
        self._prior, self._tone, self._tone_zh = prior, tone, tone_zh
        self._grams, self._grams_bias = grams, grams_bias

    @classmethod
    @functools.cache
    def load(cls) -> ContentModel:
        """The shipped weights, read once."""
        with np.load(_WEIGHTS / "content.npz", allow_pickle=False) as arrays:
            return cls(
                Head.from_arrays(arrays, "prior"),
                Head.from_arrays(arrays, "tone"),
                Head.from_arrays(arrays, "tone_zh"),
                np.asarray(arrays["grams"], np.float32),
                float(arrays["grams_bias"]),
            )

    def prior(self, texts: Sequence[str], vectors: Array, tones: Array, chinese: Sequence[bool]) -> Array:
        """P(fake), [n]. `vectors` [n, 384] are the texts' embeddings, `tones` [n, t] their `tone` rows."""
        p = self._prior(np.concatenate([vectors, tones], axis=1))[:, 1]
        for index, is_chinese in enumerate(chinese):
            if is_chinese:
                z = float(self._grams[gram_buckets(texts[index])].sum()) / gram_norm(texts[index]) + self._grams_bias
                p[index] = 1 / (1 + np.exp(-z))
        return p

    def tone(self, tones: Array, chinese: Sequence[bool]) -> Array:
        """P(fake) by tone alone, [n]."""
        return np.where(np.asarray(chinese, bool), self._tone_zh(tones)[:, 1], self._tone(tones)[:, 1]).astype(
            np.float32
        )


def gram_buckets(text: str) -> NDArray[np.int64]:
    """Distinct hash buckets of the text's character 1- to 3-grams (hashing trick, Weinberger et al. 2009)."""
    text = "".join(text[:2000].split())
    grams = {text[i : i + n] for n in (1, 2, 3) for i in range(len(text) - n + 1)}
    return np.unique(np.fromiter((zlib.crc32(g.encode()) % BUCKETS for g in grams), np.int64, len(grams)))


def gram_norm(text: str) -> float:
    """Length of the binary gram vector, at least 1."""
    return math.sqrt(max(len(gram_buckets(text)), 1))
