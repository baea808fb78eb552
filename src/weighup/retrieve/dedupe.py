"""Copies of the same text: an exact content hash for all, MinHash LSH for texts long enough to be near-copies.

MinHash: Broder 1997; banding as in Leskovec, Rajaraman and Ullman, *Mining of Massive Datasets*, ch. 3 (`datasketch`
gives the permutations, the sketch and the optimal banding). Ours: bands live in the store's file, so memory does not
grow with the corpus, and a candidate counts only after its exact Jaccard similarity has been computed from the texts.
Short texts are compared exactly only: "10 dead" and "12 dead" are near-copies and different news.
"""

from __future__ import annotations

import functools
import hashlib
import re
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.registry import Method

METHOD = Method(
    name="minhash",
    room="retrieve",
    paper="On the Resemblance and Containment of Documents",
    arxiv=None,
    command="weighup store add",
)
THRESHOLD = 0.85  # Jaccard similarity of word 5-grams from which two texts are copies
PERMUTATIONS = 64
SHINGLE = 5  # words; for Han text, characters
MIN_SHINGLES = 40  # shorter texts are compared exactly only
_MAX_UNITS = 20_000  # a book is sketched by its first words
_UNIT = re.compile(r"[^\W\u3400-\u9fff\uf900-\ufaff]+|[\u3400-\u9fff\uf900-\ufaff]")
# Odd 64-bit constants (from SplitMix64) make the five positions of a shingle count differently.
_POWERS = np.array([0x9E3779B97F4A7C15 ** (i + 1) % 2**64 | 1 for i in range(SHINGLE)], dtype=np.uint64)


def content_hash(text: str) -> bytes:
    """16 bytes that two texts share if they differ in case and white space at most."""
    return hashlib.blake2b(" ".join(text.casefold().split()).encode("utf-8", "replace"), digest_size=16).digest()


def shingles(text: str) -> NDArray[np.uint64]:
    """Distinct 32-bit hashes of the word 5-grams of `text`, sorted; empty for texts too short to be near-copies."""
    if len(text) < MIN_SHINGLES:
        return np.empty(0, dtype=np.uint64)
    units = _UNIT.findall(text.casefold())[:_MAX_UNITS]
    count = len(units) - SHINGLE + 1
    if count < MIN_SHINGLES:
        return np.empty(0, dtype=np.uint64)
    hashes = np.fromiter((zlib.crc32(unit.encode("utf-8", "replace")) for unit in units), np.uint64, len(units))
    mixed = np.zeros(count, dtype=np.uint64)
    for position in range(SHINGLE):
        mixed += (hashes[position : position + count] + np.uint64(1)) * _POWERS[position]
    return np.unique(mixed >> np.uint64(32))


def bands(shingled: NDArray[np.uint64]) -> list[int]:
    """Signed 64-bit band keys of the MinHash sketch: two texts over THRESHOLD almost surely share one."""
    from datasketch import MinHash

    number, rows = _banding()
    sketch = MinHash(PERMUTATIONS, hashfunc=int, permutations=_permutations(), scheme="affine32")
    sketch.update_batch(shingled)
    values = np.asarray(sketch.hashvalues, dtype=np.uint64)
    keys = []
    for band in range(number):
        part = band.to_bytes(2, "little") + values[band * rows : (band + 1) * rows].tobytes()
        keys.append(int.from_bytes(hashlib.blake2b(part, digest_size=8).digest(), "little", signed=True))
    return keys


def jaccard(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> float:
    """Similarity in [0, 1] of two shingle sets; 0 if either is empty."""
    if not len(first) or not len(second):
        return 0.0
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


@functools.cache
def _banding() -> tuple[int, int]:
    from datasketch import MinHashLSH

    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
    return int(lsh.b), int(lsh.r)


@functools.cache
def _permutations() -> Any:
    from datasketch import MinHash

    return MinHash(PERMUTATIONS, seed=1, scheme="affine32").permutations
