"""Long passages as overlapping windows: a pair that does not fit is read in pieces, and the pieces are merged.

Sliding windows over a long evidence text, as for long answers in BERT question answering (Devlin et al. 2019, arXiv
1810.04805, its SQuAD code). Ours: which windows are read, and how their stances are merged (chosen on dev,
docs/methods/stance.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLS, SEP = 101, 102
MAX_TOKENS = 160
MAX_CLAIM_TOKENS = 96
MAX_WINDOWS = 6
"""Windows of one passage that are scored."""
SHARPNESS = 2.0
"""0 is the plain mean of the windows, a large number the window that takes a side most clearly."""
READ_CHARACTERS = 16_000
"""Characters of a passage that are looked at: its windows, however long it is, cost a bounded time."""


@dataclass(frozen=True, slots=True)
class Windows:
    """`ids` and `types` of every window, its (claim, text), and the row of the pair it is of; a pair's are in order."""

    ids: list[list[int]]
    types: list[list[int]]
    texts: list[tuple[str, str]]
    rows: list[int]


def windows(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> Windows:
    """`[CLS] claim [SEP] window [SEP]` for every window of every pair; one that fits is one window, its whole passage.

    Windows are as long as fits beside the claim and start half of that apart; the last ends with the passage. Of more
    than MAX_WINDOWS, the first is read and those that share most distinct tokens with the claim.
    """
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    encoded = tokenizer.encode_batch([t[:READ_CHARACTERS] for t in texts], add_special_tokens=False)
    found = dict(zip(texts, encoded, strict=True))
    out = Windows([], [], [], [])
    for row, (claim, passage) in enumerate(pairs):
        first = found[claim].ids[:MAX_CLAIM_TOKENS]
        tokens, room = found[passage].ids, MAX_TOKENS - 3 - len(first)
        starts = [0] if len(tokens) <= room else _starts(first, tokens, room)
        for start in starts:
            second = tokens[start : start + room]
            out.ids.append([CLS, *first, SEP, *second, SEP])
            out.types.append([0] * (len(first) + 2) + [1] * (len(second) + 1))
            out.rows.append(row)
            if len(tokens) <= room:
                out.texts.append((claim, passage))
            else:
                places = found[passage].offsets
                out.texts.append((claim, passage[places[start][0] : places[start + len(second) - 1][1]]))
    return out


def merged(scored: NDArray[np.float32], rows: Sequence[int], n: int) -> NDArray[np.float32]:
    """Probabilities of windows [n_windows, 3] -> of pairs [n, 3]: a mean in which those that take a side weigh more.

    A window's weight is (max(supports, refutes) / neutral) ** SHARPNESS. A pair of one window keeps its numbers.
    """
    weight = (scored[:, :2].max(axis=1) / np.maximum(scored[:, 2], 1e-6)).astype(np.float64) ** SHARPNESS
    sums = np.zeros((n, 3))
    np.add.at(sums, list(rows), scored * weight[:, None])
    out: NDArray[np.float32] = (sums / sums.sum(axis=1, keepdims=True)).astype(np.float32)
    counts = np.bincount(rows, minlength=n)
    alone = [window for window, row in enumerate(rows) if counts[row] == 1]
    out[[rows[window] for window in alone]] = scored[alone]
    return out


def _starts(claim: Sequence[int], tokens: Sequence[int], room: int) -> list[int]:
    step = max(1, room // 2)
    starts = [*range(0, len(tokens) - room, step), len(tokens) - room]
    if len(starts) <= MAX_WINDOWS:
        return starts
    wanted = set(claim)
    shared = {start: len(wanted.intersection(tokens[start : start + room])) for start in starts[1:]}
    return sorted([0, *sorted(shared, key=lambda start: (-shared[start], start))[: MAX_WINDOWS - 1]])
