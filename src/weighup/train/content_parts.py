"""What fitting the content models needs of labelled claims: parts, weights, the numbers of their grams, and a cut."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.metrics import macro_f1
from weighup.verify import grams
from weighup.verify.grams import Keys, View
from weighup.verify.tone import tone

Array = NDArray[np.float32]
LEAST = 2  # texts that a gram must be in
VECTOR_SHARE, TONE_SHARE = 0.05, 0.02  # how large one dense number is beside a row of grams, which has length 1


@dataclass(frozen=True)
class Part:
    """Claims of one split: `texts`, `fake` [n] of 0 and 1, `sets` [n] names, `vectors` [n, d] where they are needed."""

    texts: Sequence[str]
    fake: NDArray[np.int64]
    sets: NDArray[np.str_]
    vectors: Array | None = None

    @functools.cached_property
    def tones(self) -> Array:
        """The texts' `tone` rows, [n, t]."""
        return tone(self.texts)

    @property
    def embeddings(self) -> Array:
        """`vectors`, which must be there."""
        if self.vectors is None:
            raise ValueError("these claims are fitted on their embeddings, which are missing")
        return self.vectors

    @functools.cached_property
    def dense(self) -> Array:
        """Embedding and tone side by side, [n, d + t]."""
        return np.concatenate([self.embeddings, self.tones], axis=1)

    def where(self, chosen: NDArray[np.bool_]) -> Part:
        """The claims that `chosen` [n] says."""
        texts = [self.texts[i] for i in np.flatnonzero(chosen).tolist()]
        vectors = None if self.vectors is None else self.vectors[chosen]
        return Part(texts, self.fake[chosen], self.sets[chosen], vectors)

    def of(self, name: str) -> Part:
        """The claims of one set."""
        return self.where(np.asarray(self.sets == name))


def dense_share(train: Part) -> Array:
    """What the embedding's and the tone's numbers are multiplied by beside rows of grams, [d + t]."""
    width = train.embeddings.shape[1]
    vectors = np.full(width, VECTOR_SHARE / train.embeddings.std())
    return np.concatenate([vectors, TONE_SHARE / (train.tones.std(0) + 1e-3)]).astype(np.float32)


def vocabulary(texts: Sequence[str], views: Sequence[View], least: int = LEAST) -> tuple[Keys, Array]:
    """Keys [v], sorted, of the grams that are in `least` texts or more, and their idf: 1 + log((1 + n) / (1 + df))."""
    lengths = {(view.kind, length) for view in views for length in view.lengths}
    found: Counter[int] = Counter()
    for text in texts:
        for kind, length in lengths:
            found.update(grams.count(text, kind, length)[0].tolist())
    keys = np.asarray(sorted(key for key, count in found.items() if count >= least), np.uint32)
    counts = np.asarray([found[int(key)] for key in keys], np.float64)
    return keys, np.asarray(1 + np.log((1 + len(texts)) / (1 + counts)), np.float32)


def matrices(texts: Sequence[str], views: Sequence[View], keys: Keys, idf: Array) -> list[Any]:
    """One sparse matrix [n, v] for each view."""
    from scipy.sparse import csr_matrix

    found = [list(grams.rows(text, views, keys, idf)) for text in texts]
    made = []
    for view in range(len(views)):
        own = [row[view] for row in found]
        ends = np.cumsum([0, *(len(places) for places, _ in own)])
        places, values = (np.concatenate([row[part] for row in own]) for part in (0, 1))
        made.append(csr_matrix((values, places, ends), shape=(len(texts), len(keys))))
    return made


def balanced(part: Part) -> NDArray[np.float64]:
    """Weights [n], 1 on average, by which real and fake weigh alike in every set, and a set by the root of its size."""
    weight = np.zeros(len(part.fake))
    for name in np.unique(part.sets):
        here = part.sets == name
        for label in (0, 1):
            mine = here & (part.fake == label)
            if mine.any():
                weight[mine] = here.sum() ** 0.5 / mine.sum()
    return np.asarray(weight * len(weight) / weight.sum(), np.float64)


def by_set(part: Part, measure: Callable[[NDArray[np.int64], Any], float], values: Any) -> dict[str, float]:
    """`measure(fake, values)` of each set that has both real and fake."""
    found = {}
    for name in np.unique(part.sets):
        here = part.sets == name
        if 0 < part.fake[here].mean() < 1:
            found[str(name)] = measure(part.fake[here], values[here])
    return found


def smoothed_cut(raw: Array, valid: Part) -> float:
    """Where macro-F1, the mean over sets, is best; smoothed over five cuts, so that a lucky spike is not taken."""
    cuts = np.unique(np.quantile(raw, np.linspace(0.02, 0.98, 97)))
    scores = [np.mean(list(by_set(valid, macro_f1, (raw >= cut).astype(np.int64)).values())) for cut in cuts]
    smooth = np.convolve(np.pad(scores, 2, mode="edge"), np.full(5, 0.2), "valid")
    return float(cuts[int(np.argmax(smooth))])
