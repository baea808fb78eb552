"""Pairs whose stance nobody has told, for a teacher to say: claims with passages of other pages, and edits.

After distillation on unlabelled and made-up inputs (Hinton, Vinyals & Dean 2015, arXiv 1503.02531; TinyBERT, Jiao et
al. 2020, arXiv 1909.10351, section 3.2). Ours: the pairs.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from weighup.train.stance.augment import KINDS, augmented
from weighup.train.stance.data import SETS, UNTOLD, Pair, load
from weighup.train.stance.edits import edits, names_of
from weighup.train.stance.passages import near_passages

NEAR = 4
"""Strange passages for each claim."""


def untold(told: Sequence[Pair], neighbours: Mapping[str, Sequence[str]], rng: random.Random) -> list[Pair]:
    """For each claim NEAR passages of other claims that share words with it; for each pair one edit of its claim."""
    known = {(p.claim, p.passage) for p in told}
    found: dict[tuple[str, str], Pair] = {}
    for claim, group, source, passages in near_passages(told):
        for passage in rng.sample(passages, min(NEAR, len(passages))):
            found.setdefault((claim, passage), Pair(claim, passage, UNTOLD, source, group))
    names = names_of(told)
    for p in told:
        if options := list(edits(p.claim, names, neighbours, rng, passage=p.passage)):
            claim, _ = rng.choice(options)
            found.setdefault((claim, p.passage), Pair(claim, p.passage, UNTOLD, p.source, p.group))
    return [pair for key, pair in found.items() if key not in known]


def lessons(
    data: Path, vocab: dict[str, int], words: Any, seed: int = 7, kinds: Collection[str] = KINDS
) -> tuple[list[Pair], list[Pair], list[Pair], list[Path]]:
    """(told and made, untold, dev, files read), the same for a teacher and its pupil.

    `words` are the input embeddings by which near words are found, a tensor [len(vocab), n].
    """
    from weighup.train.stance.net import neighbours

    train, dev, files = load(data)
    rng = random.Random(seed)
    near_words = neighbours(vocab, words, {word for p in train for word in p.claim.lower().split()})
    made = augmented(train, near_words, rng, kinds, SETS)
    strange = untold([p for p in train if p.source in SETS], near_words, rng)
    return [*train, *made], strange, dev, files


def key_of(pair: Pair) -> str:
    """Names a claim and a passage, 16 hex digits."""
    return hashlib.sha256(f"{pair.claim}\0{pair.passage}".encode("utf-8", "replace")).hexdigest()[:16]
