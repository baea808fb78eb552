"""Linear models over grams: which words, word pairs and runs of characters go with fake or real claims.

TF-IDF (Spärck Jones 1972; tf as 1 + log tf), a linear model, and a slope and a shift that calibrate its log-odds (Platt
1999). Ours: several *views* of one text, each a range of gram lengths brought to unit length by itself; their log-odds
are added. Grams are kept as their CRC-32, sorted: the vocabulary is numbers, and no text of the training data is
shipped.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.texts import words

Array = NDArray[np.float32]
Keys = NDArray[np.uint32]
MOST_CHARACTERS = 2000  # of a text that are looked at


@dataclass(frozen=True, slots=True)
class View:
    """Grams of `low` to `high` units of one kind: `word`, `token` (see `tokens`), `char` (blanks left out, for Chinese)
    or `inner` (runs of characters within a word and its two blanks)."""

    kind: str
    low: int
    high: int

    @property
    def lengths(self) -> range:
        """Every length of its grams."""
        return range(self.low, self.high + 1)


ENGLISH = (View("word", 1, 2), View("inner", 3, 5))
CHINESE = (View("char", 1, 2), View("char", 1, 3), View("char", 1, 4))
EXPERT = (View("token", 1, 2), View("inner", 2, 5))
GATE = (View("token", 1, 2),)
"""Of the experts for one domain each, which may be of posts, and of what tells domains apart (`content_mixture`)."""

_TOKEN = re.compile(
    r"https?://(?:www\.)?([\w.-]+)\S*|([@#]\w+)|(\d+(?:[.,]\d+)*%?)|([^\W\d_]+(?:['’-][^\W\d_]+)*)|([^\w\s])"
)
_LONGEST_SHAPE = 6  # digits of a number's shape


@dataclass(frozen=True, slots=True)
class Grams:
    """`keys` [v] sorted, `idf` [v] > 0, `table` [views, v], `bias`; `slope` and `shift` calibrate."""

    views: tuple[View, ...]
    keys: Keys
    idf: Array
    table: Array
    bias: float
    slope: float = 1.0
    shift: float = 0.0

    def logits(self, texts: Sequence[str], beside: Array | float = 0.0) -> Array:
        """Calibrated log-odds of fake, [n]. `beside` [n] are log-odds from elsewhere, added before calibration."""
        raw = np.asarray([self.raw(text) for text in texts], np.float32) + beside
        return np.asarray(self.slope * raw + self.shift, np.float32)

    def raw(self, text: str) -> float:
        """The log-odds of all views together, before calibration."""
        found = self.bias
        for view, (places, values) in enumerate(rows(text, self.views, self.keys, self.idf)):
            found += float(values @ self.table[view, places])
        return found

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads back, keys starting with `name/`; idf and weights in half precision."""
        return {
            f"{name}/keys": self.keys,
            f"{name}/idf": self.idf.astype(np.float16),
            f"{name}/table": self.table.astype(np.float16),
            f"{name}/scalars": np.asarray([self.bias, self.slope, self.shift], np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], name: str, views: tuple[View, ...]) -> Grams:
        """Raises KeyError if there is no model of that name."""
        bias, slope, shift = (float(value) for value in arrays[f"{name}/scalars"])
        idf, table = (np.asarray(arrays[f"{name}/{part}"], np.float32) for part in ("idf", "table"))
        return cls(views, np.asarray(arrays[f"{name}/keys"], np.uint32), idf, table, bias, slope, shift)


def rows(text: str, views: Sequence[View], keys: Keys, idf: Array) -> Iterator[tuple[NDArray[np.int64], Array]]:
    """For each view the places in `keys` of the text's grams, each once, and their values, of unit length."""
    counted: dict[tuple[str, int], tuple[NDArray[np.int64], Array]] = {}
    for view in views:
        for length in view.lengths:
            if (view.kind, length) not in counted:
                counted[view.kind, length] = _known(*count(text, view.kind, length), keys, idf)
        parts = [counted[view.kind, length] for length in view.lengths]
        values = np.concatenate([part[1] for part in parts])
        length_of = max(float(np.sqrt(values @ values)), 1e-6)
        yield np.concatenate([part[0] for part in parts]), np.asarray(values / length_of, np.float32)


def count(text: str, kind: str, length: int) -> tuple[Keys, Array]:
    """The keys of a text's grams of one length, each once, and 1 + log of how often each is there.

    Not to be written to: kept for the last texts, which several models read one after the other.
    """
    return _count(text[:MOST_CHARACTERS], kind, length)


@functools.lru_cache(maxsize=2048)
def _count(text: str, kind: str, length: int) -> tuple[Keys, Array]:
    found = Counter(zlib.crc32(f"{kind}{length}\x1f{gram}".encode()) for gram in _grams(text, kind, length))
    keys = np.fromiter(found.keys(), np.uint32, len(found))
    values = np.asarray(1 + np.log(np.fromiter(found.values(), np.float32, len(found))), np.float32)
    keys.flags.writeable = values.flags.writeable = False
    return keys, values


def tokens(text: str) -> list[str]:
    """What a post is made of, in order and in lower case: words, tags and handles, the site of a link, each number and
    its shape (N for every character of it, six at most), and every other mark, emoji among them, by itself."""
    found: list[str] = []
    for site, tag, number, word, mark in _TOKEN.findall(text.lower()):
        if site:
            found.append(f"url:{site}")
        elif number:
            found += [number, "N" * min(len(number), _LONGEST_SHAPE)]
        else:
            found.append(tag or word or mark)
    return found


def _known(found: Keys, values: Array, keys: Keys, idf: Array) -> tuple[NDArray[np.int64], Array]:
    places = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
    here = keys[places] == found
    return places[here], values[here] * idf[places[here]]


def _grams(text: str, kind: str, length: int) -> Iterator[str]:
    """The grams of a text, in order, as often as they are there."""
    text = text.lower()
    if kind in ("word", "token"):
        units = words(text) if kind == "word" else tokens(text)
        yield from (" ".join(units[i : i + length]) for i in range(len(units) - length + 1))
    elif kind == "char":
        joined = "".join(text.split())
        yield from (joined[i : i + length] for i in range(len(joined) - length + 1))
    else:
        for word in text.split():
            padded = f" {word} "
            yield from (padded[i : i + length] for i in range(len(padded) - length + 1))
