"""Copies: what counts as one and what does not."""

from __future__ import annotations

import random

import numpy as np
from datasketch import MinHash

from weighup.retrieve import dedupe

WORDS = "river dam council water storm village bridge engineer report damage repair money vote flood night road".split()


def text(seed: int, count: int = 300) -> str:
    chance = random.Random(seed)
    return " ".join(f"{chance.choice(WORDS)}{chance.randrange(50)}" for _ in range(count))


def changed(original: str, words: int, seed: int) -> str:
    chance = random.Random(seed)
    parts = original.split()
    for _ in range(words):
        parts[chance.randrange(len(parts))] = "changed"
    return " ".join(parts)


def test_case_and_white_space_do_not_make_another_text() -> None:
    assert dedupe.content_hash("The Dam\n broke") == dedupe.content_hash("the dam broke ")
    assert dedupe.content_hash("10 dead") != dedupe.content_hash("12 dead")


def test_jaccard_agrees_with_sets_counted_by_hand() -> None:
    first, second = dedupe.shingles(text(1)), dedupe.shingles(changed(text(1), 3, 2))
    left, right = set(first.tolist()), set(second.tolist())
    assert dedupe.jaccard(first, second) == len(left & right) / len(left | right)
    assert dedupe.jaccard(first, first) == 1.0
    assert dedupe.jaccard(first, np.empty(0, np.uint64)) == 0.0


def test_short_texts_are_not_compared_nearly() -> None:
    assert len(dedupe.shingles("Ten people died when the dam broke on Monday.")) == 0


def test_bands_are_those_of_a_datasketch_sketch() -> None:
    shingled = dedupe.shingles(text(3))
    sketch = MinHash(dedupe.PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")
    for value in shingled.tolist():
        sketch.update(value)
    ours = MinHash(dedupe.PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")
    ours.update_batch(shingled)
    assert (sketch.hashvalues == ours.hashvalues).all()
    assert len(dedupe.bands(shingled)) == len(set(dedupe.bands(shingled)))


def test_near_copies_share_a_band_and_strangers_do_not() -> None:
    near = far = total = 0
    for seed in range(60):
        original = dedupe.shingles(text(seed))
        copy = dedupe.shingles(changed(text(seed), 2, seed))
        if dedupe.jaccard(original, copy) < dedupe.THRESHOLD:
            continue
        total += 1
        near += bool(set(dedupe.bands(original)) & set(dedupe.bands(copy)))
        far += bool(set(dedupe.bands(original)) & set(dedupe.bands(dedupe.shingles(text(seed + 1_000)))))
    assert total > 40
    assert near / total > 0.9
    assert far == 0
