"""From a long text to the claim it stands or falls with.

News states its main claim first (the inverted pyramid), repeats its words, and carries names and figures; the
score of a sentence is its check-worthiness, raised by position and by how much of the text's vocabulary it holds
(centrality, after Luhn 1958). Linear in the length of the text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from weighup.texts import STOP_WORDS, clean, language, sentences, shorten, words
from weighup.verify.checkworthy import Checkability, checkability

CLAIM_CHARACTERS = 400
"""A text up to this long, of at most three sentences, is taken as the claim itself."""

POST_CHARACTERS = 1000
"""A text up to this long is a post: how it is worded says more than the sentence taken from it."""

_SENTENCES_READ = 400


@dataclass(frozen=True, slots=True)
class Extracted:
    """The claim to judge, the text whose wording is weighed (a whole post, else the claim), the other check-worthy
    claims by falling worth, whether it is checkable, and warnings."""

    claim: str
    wording: str
    others: tuple[str, ...]
    checkability: Checkability
    warnings: tuple[str, ...]


def extract(text: str, *, others: int = 5) -> Extracted:
    """Find the claim in `text` (any length). A short text is its own claim."""
    text = clean(text)
    parts = sentences(text)
    if len(text) <= CLAIM_CHARACTERS and len(parts) <= 3:
        return Extracted(text, text, (), checkability(text), ())
    whole = text if len(text) <= POST_CHARACTERS else None
    warnings: list[str] = []
    if len(parts) > _SENTENCES_READ:
        warnings.append(f"the text has {len(parts)} sentences; claims were looked for in the first {_SENTENCES_READ}")
        parts = parts[:_SENTENCES_READ]
    counts = Counter(
        word for part in parts for word in set(words(part)) - STOP_WORDS if len(word) > 1 or language(word) == "zh"
    )
    common = {word for word, count in counts.most_common(20) if count > 1}
    scored: list[tuple[float, int, str, Checkability]] = []
    for index, part in enumerate(parts):
        found = checkability(part)
        if not found.checkable:
            continue
        held = len(common & set(words(part))) / len(common) if common else 0.0
        place = 1.0 / (1.0 + index / 3.0)
        scored.append((found.score + 0.5 * held + 0.5 * place, index, shorten(part, CLAIM_CHARACTERS), found))
    if not scored:
        first = shorten(parts[0] if parts else text, CLAIM_CHARACTERS)
        nothing = Checkability(False, "no sentence of it states a checkable fact", 0.1)
        return Extracted(first, whole or first, (), nothing, tuple(warnings))
    scored.sort(key=lambda entry: (-entry[0], entry[1]))
    best = scored[0]
    rest = tuple(dict.fromkeys(entry[2] for entry in scored[1:] if entry[2] != best[2]))[:others]
    if rest:
        warnings.append(f"the text makes {len(scored)} checkable statements; the most central one was judged")
    return Extracted(best[2], whole or best[2], rest, best[3], tuple(warnings))
