"""The wide half of the stance model: a linear model over which words the claim and the passage share or miss.

Wide & deep learning (Cheng et al. 2016, arXiv 1606.07792): a linear model over sparse crossed features remembers what
a small network does not generalise to (here: a claim word that the passage lacks is often the word that was edited).
Ours: the five bags of word pieces below, each scaled by one over the root of its size, next to the lexical features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.verify.weights import Arrays, unusable

CLAIM, FOUND, MISSING, PASSAGE, BIGRAM = range(5)
BIGRAM_BITS = 15
_MARKS = frozenset((0, 100, 101, 102, 103))


@dataclass(frozen=True)
class Wide:
    """`table` float16 [n_columns, 3] over the bags, `dense` float32 [n_features, 3], `bias` float32 [3].

    `temperature` divides the sum of both halves' logits.
    """

    table: NDArray[np.float16]
    dense: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: np.float32

    @classmethod
    def load(cls, path: Path) -> Wide:
        """Reads the arrays from an .npz; never unpickles. Raises WeightsError."""
        arrays = Arrays.read(path)
        table, dense, bias = arrays.take("table", None, 3), arrays.take("dense", None, 3), arrays.take("bias", 3)
        if len(table) <= 1 << BIGRAM_BITS or (len(table) - (1 << BIGRAM_BITS)) % BIGRAM:
            expected = f"{BIGRAM} times the vocabulary and {1 << BIGRAM_BITS}"
            raise unusable(path, f"table has {len(table)} rows, expected {expected}")
        return cls(table, dense, bias, np.float32(arrays.above_zero("temperature")))

    @property
    def vocabulary(self) -> int:
        """How many word pieces the table knows."""
        return (len(self.table) - (1 << BIGRAM_BITS)) // BIGRAM

    def logits(
        self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]], features: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Encoded pairs and their features [n, n_features] -> logits float32 [n, 3]."""
        vocab = self.vocabulary
        out: NDArray[np.float32] = features @ self.dense + self.bias
        for row, (tokens, segments) in enumerate(zip(ids, types, strict=True)):
            columns, values = bags(tokens, segments, vocab)
            out[row] += values @ self.table[columns].astype(np.float32)
        return out


def bags(tokens: Sequence[int], segments: Sequence[int], vocab: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns and values of one encoded pair: five bags of distinct word pieces, each divided by sqrt(its size)."""
    claim_order = [t for t, s in zip(tokens, segments, strict=True) if s == 0 and t not in _MARKS]
    claim = set(claim_order)
    passage = {t for t, s in zip(tokens, segments, strict=True) if s == 1 and t not in _MARKS}
    pairs = {(a * 31_337 + b * 7_919) % (1 << BIGRAM_BITS) for a, b in pairwise(claim_order)}
    columns: list[int] = []
    values: list[float] = []
    for role, bag in enumerate((claim, claim & passage, claim - passage, passage, pairs)):
        columns += [role * vocab + t for t in sorted(bag)]
        values += [max(len(bag), 1) ** -0.5] * len(bag)
    return np.array(columns, dtype=np.int64), np.array(values, dtype=np.float32)
