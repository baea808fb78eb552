"""What the wording and subject of a claim alone suggest: content models trained on labelled claims.

English: the mean of two log-odds, a linear head on the claim's MiniLM sentence embedding and tone, and a linear model
on hashed words and word pairs. Chinese, which that encoder does not know: a linear model on hashed character 1- to
3-grams. None has seen evidence; all are priors, and say so. Hashing trick: Weinberger et al. 2009 (arXiv 0902.2206).
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.errors import WeightsError
from weighup.texts import words
from weighup.verify import weights
from weighup.verify.heads import Head
from weighup.verify.knowledge import logit
from weighup.verify.tone import NAMES

Array = NDArray[np.float32]
BUCKETS = 1 << 16


class ContentModel:
    """P(fake) from content (`prior`) and from tone alone (`tone`), English and Chinese."""

    def __init__(
        self, prior: Head, tone: Head, tone_zh: Head, grams: dict[bool, tuple[Array, float]], version: str
    ) -> None:
        self._prior, self._tone, self._tone_zh = prior, tone, tone_zh
        self._grams = grams  # by "is Chinese": weights [BUCKETS] and bias
        self.version = version

    @classmethod
    def load(cls, folder: Path | None = None) -> ContentModel:
        """The weights in `folder`, else the shipped ones; read once for each folder. Raises WeightsError."""
        return _read(weights.find("content", folder))

    def prior(self, texts: Sequence[str], vectors: Array, tones: Array, chinese: Sequence[bool]) -> Array:
        """P(fake), [n]. `vectors` [n, d] are the texts' embeddings, `tones` [n, t] their `tone` rows.

        Raises WeightsError if d is not what the weights were fitted on (384: the built-in encoder's).
        """
        fitted = len(self._prior.mean) - len(NAMES)
        if vectors.shape[1] != fitted:
            raise WeightsError(
                f"content.npz was fitted on vectors of {fitted} numbers and models.encoder gives {vectors.shape[1]}; "
                "use the encoder that it was trained with, or name --weights trained with this one"
            )
        z = logit(self._prior(np.concatenate([vectors, tones], axis=1))[:, 1])
        for index, (text, is_chinese) in enumerate(zip(texts, chinese, strict=True)):
            table, bias = self._grams[is_chinese]
            buckets = gram_buckets(text, is_chinese)
            by_grams = float(table[buckets].sum()) / gram_norm(buckets) + bias
            z[index] = by_grams if is_chinese else (z[index] + by_grams) / 2
        return np.asarray(1 / (1 + np.exp(-z)), np.float32)

    def tone(self, tones: Array, chinese: Sequence[bool]) -> Array:
        """P(fake) by tone alone, [n]."""
        by_tone = np.where(np.asarray(chinese, bool), self._tone_zh(tones)[:, 1], self._tone(tones)[:, 1])
        return np.asarray(by_tone, np.float32)


@functools.cache
def _read(home: Path) -> ContentModel:
    version: str = weights.card("content", home)["version"]
    arrays = weights.Arrays.read(home / "content.npz")
    prior = arrays.head("prior", None, 2)
    if len(prior.mean) <= len(NAMES):
        raise weights.unusable(
            arrays.path, f"prior/mean is {[len(prior.mean)]}, expected the vector's numbers and {len(NAMES)} of tone"
        )
    grams = {
        chinese: (arrays.take(name, BUCKETS).astype(np.float32), float(arrays.take(f"{name}_bias")))
        for chinese, name in ((False, "grams_en"), (True, "grams_zh"))
    }
    tone, tone_zh = (arrays.head(name, len(NAMES), 2) for name in ("tone", "tone_zh"))
    return ContentModel(prior, tone, tone_zh, grams, version)


def gram_buckets(text: str, chinese: bool) -> NDArray[np.int64]:
    """Distinct hash buckets: character 1- to 3-grams of Chinese text, words and word pairs of other text."""
    parts: Sequence[str] = "".join(text[:2000].split()) if chinese else words(text[:2000])
    longest = 3 if chinese else 2
    grams = {"\x1f".join(parts[i : i + n]) for n in range(1, longest + 1) for i in range(len(parts) - n + 1)}
    return np.unique(np.fromiter((zlib.crc32(g.encode()) % BUCKETS for g in grams), np.int64, len(grams)))


def gram_norm(buckets: NDArray[np.int64]) -> float:
    """Length of the binary gram vector, at least 1."""
    return math.sqrt(max(len(buckets), 1))
