"""What the frozen trunk makes of texts, computed once for each distinct text and kept on disk in half precision.

A token takes 768 bytes, a text of 197 tokens 151 kB. Texts stand behind one another in one file; an index beside it
says how many tokens each has, and is written after every batch of texts, so that a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.errors import JobFailed
from weighup.models.types import Encoder, TokenStates

log = logging.getLogger(__name__)
MOST_BYTES = 6_000_000_000
_BATCH = 256
_TOKEN_CHARACTERS = 3  # of English text a token has more, so that what is guessed from it is on the high side


@dataclass(frozen=True)
class States:
    """Texts' states. `of` [n]: the place of each given text among the distinct ones; `first` [m + 1]: where those
    begin in `rows` [tokens, dimension] float16."""

    path: Path
    of: NDArray[np.int64]
    first: NDArray[np.int64]
    rows: NDArray[np.float16]

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        return int(self.rows.nbytes)

    def length(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each of some of the given texts."""
        at = self.of[places]
        return np.asarray(self.first[at + 1] - self.first[at], np.int64)

    def __call__(self, places: NDArray[np.int64]) -> TokenStates:
        """The states of some of the given texts, padded to the longest."""
        at, lengths = self.of[places], self.length(places)
        width = int(lengths.max(initial=0))
        states = np.zeros((len(places), width, self.rows.shape[1]), np.float32)
        for row, (text, length) in enumerate(zip(at, lengths, strict=True)):
            states[row, :length] = self.rows[self.first[text] : self.first[text] + length]
        return TokenStates(states, np.arange(width) < lengths[:, None])

    def remove(self) -> None:
        """Give the disk back."""
        for file in (self.path, self.path.with_suffix(".json")):
            file.unlink(missing_ok=True)


def states_of(
    texts: Sequence[str],
    encoder: Encoder,
    folder: Path,
    *,
    max_tokens: int,
    most_bytes: int = MOST_BYTES,
    advance: Advance | None = None,
) -> States:
    """The states of all texts, from `folder` as far as they are there. Raises JobFailed where they would take more
    than `most_bytes`, or more than the disk has."""
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    distinct = list(place)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"states-{_key(distinct, encoder, max_tokens)}.f16"
    lengths = _lengths(path, encoder.dimension)
    _room(distinct[len(lengths) :], path, 2 * encoder.dimension, max_tokens, most_bytes)
    with path.open("r+b" if path.exists() else "w+b") as file:
        size = sum(lengths) * 2 * encoder.dimension
        file.truncate(size)
        file.seek(size)
        while len(lengths) < len(distinct):
            states, mask = encoder.tokens(distinct[len(lengths) : len(lengths) + _BATCH], max_tokens=max_tokens)
            file.write(states[mask].astype(np.float16).tobytes())
            file.flush()
            lengths += mask.sum(1).tolist()
            _keep_lengths(path, lengths)
            if file.tell() > most_bytes:
                raise JobFailed(f"{path}: the texts' states take more than {most_bytes / 1e9:g} GB; give fewer rows")
            if advance is not None:
                advance(len(mask), note="reading texts")
    first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    shape = (int(first[-1]), encoder.dimension)
    rows = np.memmap(path, np.float16, "r", shape=shape) if shape[0] else np.zeros(shape, np.float16)
    found = States(path, np.asarray([place[text] for text in texts], np.int64), first, rows)
    log.info("%s: %d distinct texts, %d tokens, %.2f GB", path.name, len(distinct), shape[0], found.bytes / 1e9)
    return found


def _lengths(path: Path, dimension: int) -> list[int]:
    """Of the texts that are done; none where index and file do not fit each other."""
    try:
        lengths: list[int] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return lengths if sum(lengths) * 2 * dimension <= path.stat().st_size else []
    except (OSError, ValueError, TypeError):
        return []


def _keep_lengths(path: Path, lengths: Sequence[int]) -> None:
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(lengths), encoding="utf-8")
    os.replace(beside, path.with_suffix(".json"))


def _room(texts: Sequence[str], path: Path, token: int, max_tokens: int, most_bytes: int) -> None:
    """Say no before an hour of work, not after."""
    guess = sum(min(max_tokens, 2 + len(text) // _TOKEN_CHARACTERS) for text in texts) * token
    free = shutil.disk_usage(path.parent).free
    if guess > min(most_bytes, free):
        raise JobFailed(
            f"{path.parent}: the states of {len(texts):,} texts may take {guess / 1e9:.1f} GB, with "
            f"{free / 1e9:.1f} GB free and {most_bytes / 1e9:g} GB allowed; give fewer rows or another folder"
        )
    log.info("the states of %d texts take up to %.2f GB in %s", len(texts), guess / 1e9, path.parent)


def _key(texts: Sequence[str], encoder: Encoder, max_tokens: int) -> str:
    digest = hashlib.sha256(f"{encoder.name}\0{encoder.version}\0{encoder.dimension}\0{max_tokens}".encode())
    for text in texts:
        digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
