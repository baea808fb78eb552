"""What the wording and subject of a claim alone suggest: content models trained on labelled claims.

English: a linear model over TF-IDF grams of words and of characters, the claim's MiniLM embedding and its tone, and
where there was enough to learn from, a mixture of experts on top (`content_mixture`). Chinese, which that encoder does
not know: one linear model over characters. None has seen evidence; all are priors, and say so. How they are fitted:
`weighup/train/content.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.errors import WeightsError
from weighup.verify import content_mixture, weights
from weighup.verify.content_mixture import Mixture
from weighup.verify.grams import CHINESE, ENGLISH, Grams
from weighup.verify.heads import Head
from weighup.verify.tone import NAMES

Array = NDArray[np.float32]
_AT_ONCE = 128
_FARTHEST = 6.0  # log-odds: nothing that only reads a claim is surer than this


class ContentModel:
    """P(fake) from content (`prior`) and from tone alone (`tone`), English and Chinese.

    `dense` [d + t] are the weights of an English claim's embedding and tone, beside those of its grams. Without
    `mixture` that model's log-odds stand.
    """

    def __init__(
        self,
        english: Grams,
        dense: Array,
        chinese: Grams,
        tone: Head,
        tone_zh: Head,
        version: str,
        mixture: Mixture | None = None,
    ) -> None:
        self._english, self._dense, self._chinese = english, dense, chinese
        self._tone, self._tone_zh = tone, tone_zh
        self.version = version
        self._mixture = mixture

    @property
    def dimension(self) -> int:
        """Numbers in the embeddings that it was fitted on."""
        return len(self._dense) - len(NAMES)

    @classmethod
    def load(cls, folder: Path | None = None) -> ContentModel:
        """The weights in `folder`, else the shipped ones; read once for each folder. Raises WeightsError."""
        return _read(weights.find("content", folder))

    def prior(self, texts: Sequence[str], vectors: Array, tones: Array, chinese: Sequence[bool]) -> Array:
        """P(fake), [n]. `vectors` [n, d] are the texts' embeddings, `tones` [n, t] their `tone` rows.

        Raises WeightsError if d is not what the weights were fitted on (384: the built-in encoder's).
        """
        if vectors.shape[1] != self.dimension:
            raise WeightsError(
                f"content.npz was fitted on vectors of {self.dimension} numbers and models.encoder gives "
                f"{vectors.shape[1]}; use the encoder that it was trained with, or name --weights trained with this one"
            )
        z = np.zeros(len(texts), np.float32)
        for is_chinese in (False, True):
            here = [i for i, flag in enumerate(chinese) if flag is is_chinese]
            own = [texts[i] for i in here]
            if here and is_chinese:
                z[here] = self._chinese.logits(own)
            elif here:
                # A few at a time: the models read the same grams, which are kept for the last texts only.
                for start in range(0, len(own), _AT_ONCE):
                    some = here[start : start + _AT_ONCE]
                    z[some] = self._of_english(own[start : start + _AT_ONCE], vectors[some], tones[some])
        return np.asarray(1 / (1 + np.exp(-np.clip(z, -_FARTHEST, _FARTHEST))), np.float32)

    def _of_english(self, texts: Sequence[str], vectors: Array, tones: Array) -> Array:
        dense = np.concatenate([vectors, tones], axis=1)
        union = self._english.logits(texts, beside=dense @ self._dense)
        return union if self._mixture is None else self._mixture.logits(texts, union, vectors, dense)

    def tone(self, tones: Array, chinese: Sequence[bool]) -> Array:
        """P(fake) by tone alone, [n]."""
        by_tone = np.where(np.asarray(chinese, bool), self._tone_zh(tones)[:, 1], self._tone(tones)[:, 1])
        return np.asarray(by_tone, np.float32)


@functools.cache
def _read(home: Path) -> ContentModel:
    version: str = weights.card("content", home)["version"]
    arrays = weights.Arrays.read(home / "content.npz")
    dense = arrays.take("en_dense", None).astype(np.float32)
    if len(dense) <= len(NAMES):
        raise weights.unusable(
            arrays.path, f"en_dense is {[len(dense)]}, expected the vector's numbers and {len(NAMES)} of tone"
        )
    for name, views in (("en", ENGLISH), ("zh", CHINESE)):
        content_mixture.check_grams(arrays, name, len(views))
    tone, tone_zh = (arrays.head(name, len(NAMES), 2) for name in ("tone", "tone_zh"))
    english, chinese = (
        Grams.from_arrays(arrays.found, name, views) for name, views in (("en", ENGLISH), ("zh", CHINESE))
    )
    mixture = content_mixture.read(arrays, len(dense) - len(NAMES), len(NAMES))
    return ContentModel(english, dense, chinese, tone, tone_zh, version, mixture)
