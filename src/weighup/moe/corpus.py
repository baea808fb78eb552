"""Five domains of bytes: political claims, Chinese microblogs, medical abstracts, school maths, aeronautics abstracts.

Made from the data folder (`WEIGHUP_DATA`) or from texts of one's own. A document is in one split by the hash of its
text, so that the same text never stands in two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.rowfile import json_rows

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
SIZES: dict[Split, int] = {"train": 400_000, "valid": 30_000, "test": 30_000}
"""Most bytes of a domain in a split."""
_SEPARATOR = b"\n\n"
# Domain: files (in the data folder), field of the text, what a row must be.
_SOURCES: dict[str, tuple[str, str, Mapping[str, str]]] = {
    "politics": ("news/liar/train.jsonl.gz", "text", {}),
    "microblogs": ("news/ced_weibo/train.jsonl.gz", "text", {}),
    "medicine": ("selection/screening/*.jsonl.gz", "abstract", {}),
    "maths": ("selection/routing_mmlu_gsm8k.jsonl.gz", "prompt", {"task": "gsm8k"}),
    "aeronautics": ("selection/cranfield_docs.jsonl.gz", "text", {}),
}
DOMAINS = tuple(_SOURCES)


@dataclass(frozen=True, eq=False)
class Batch:
    """`tokens`, `targets` int64 [size, length], the next byte of each; `domains` int64 [size]: places in
    `Corpus.domains`."""

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    domains: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Bytes of each domain and split, documents one after the other."""

    domains: tuple[str, ...]
    streams: Mapping[tuple[str, Split], NDArray[np.uint8]]
    name: str = "five domains"

    @property
    def fingerprint(self) -> str:
        """A hash of all of it."""
        made = hashlib.sha256("\n".join(self.domains).encode())
        for key in sorted(self.streams):
            made.update(hashlib.sha256(self.streams[key].tobytes()).digest())
        return made.hexdigest()[:16]

    def only(self, *domains: str) -> Corpus:
        """That of some domains."""
        return Corpus(domains, {key: one for key, one in self.streams.items() if key[0] in domains}, self.name)

    def batch(
        self, chance: np.random.Generator, size: int, length: int, split: Split = "train", domain: str | None = None
    ) -> Batch:
        """Windows at random places; each domain equally likely unless one is named."""
        if domain is None:
            places = chance.integers(len(self.domains), size=size)
        else:
            places = np.full(size, self.domains.index(domain))
        rows = np.empty((size, length + 1), np.int64)
        for n, place in enumerate(places):
            stream = self.streams[self.domains[place], split]
            at = int(chance.integers(len(stream) - length))
            rows[n] = stream[at : at + length + 1]
        return Batch(rows[:, :-1], rows[:, 1:], places)

    def batches(
        self, split: Split, size: int, length: int, *, windows: int = 40, domain: str | None = None
    ) -> Iterator[Batch]:
        """The same evenly spread windows every time, at most `windows` a domain, domain by domain."""
        for place, name in enumerate(self.domains):
            if domain is not None and name != domain:
                continue
            stream = self.streams[name, split]
            count = min(windows, (len(stream) - 1) // length)
            starts = np.linspace(0, len(stream) - length - 1, count).astype(int)
            for at in range(0, count, size):
                rows = np.stack([stream[s : s + length + 1] for s in starts[at : at + size]]).astype(np.int64)
                yield Batch(rows[:, :-1], rows[:, 1:], np.full(len(rows), place))


def five_domains(data: Path, *, sizes: Mapping[Split, int] = SIZES) -> Corpus:
    """The corpus of the data folder. Raises InvalidInput naming a file that is not there."""
    texts = {}
    for domain, (pattern, field, wanted) in _SOURCES.items():
        paths = sorted(data.glob(pattern))
        if not paths:
            raise InvalidInput(f"corpus: {data / pattern} is not there; set WEIGHUP_DATA to the folder that holds it")
        texts[domain] = _texts(paths, field, wanted)
    return corpus_of(texts, sizes=sizes, name="five domains")


def corpus_of(
    texts: Mapping[str, Iterator[str] | Sequence[str]], *, sizes: Mapping[Split, int] = SIZES, name: str = "own texts"
) -> Corpus:
    """A corpus of one's own documents by domain. Raises InvalidInput naming a domain that is too small to split."""
    streams: dict[tuple[str, Split], NDArray[np.uint8]] = {}
    for domain, some in texts.items():
        parts: dict[Split, list[bytes]] = {split: [] for split in SPLITS}
        held = dict.fromkeys(SPLITS, 0)
        seen: set[bytes] = set()
        for text in some:
            told = text.strip().encode("utf-8", "replace")
            digest = hashlib.sha256(told).digest()
            if not told or digest in seen:
                continue
            seen.add(digest)
            split: Split = "valid" if digest[0] < 26 else "test" if digest[0] < 52 else "train"
            if held[split] < sizes[split]:
                parts[split].append(told)
                held[split] += len(told) + len(_SEPARATOR)
            elif all(held[one] >= sizes[one] for one in SPLITS):
                break
        for split in SPLITS:
            stream = np.frombuffer(_SEPARATOR.join(parts[split])[: sizes[split]], np.uint8)
            if len(stream) < 1_000:
                raise InvalidInput(f"corpus: {domain} has {len(stream)} bytes for {split}; 1,000 or more are needed")
            streams[domain, split] = stream
    return Corpus(tuple(texts), streams, name)


def _texts(paths: Sequence[Path], field: str, wanted: Mapping[str, str]) -> Iterator[str]:
    for path in paths:
        for row in json_rows(path):
            if row.get(field) and all(row.get(name) == value for name, value in wanted.items()):
                yield str(row[field])
