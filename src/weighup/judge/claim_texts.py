"""A text as the claims it makes and the sources it cites, and whether a source supports a claim.

`split_claims` and `cited_spans` are rules, made for answers in English or Chinese. `Entails` is the seam for whatever
tells support from refutation; `lexical_entails` is the baseline behind it: shared words, numbers and negation only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.texts import STOP_WORDS, sentences, words

SUPPORTS, REFUTES, NEUTRAL = 0, 1, 2
"""Columns of what an `Entails` returns."""

_NAME = r"[A-Z\u00c0-\u00de][\w'’-]+"
_AUTHORS = rf"{_NAME}(?: et al\.?|(?:,? (?:and|&) {_NAME}))?"
_YEARED = re.compile(rf"\(({_AUTHORS},? \d{{4}}[a-z]?(?:; ?{_AUTHORS},? \d{{4}}[a-z]?)*)\)")
_NUMBERED = re.compile(r"\[(\d+(?:\s*[,;–-]\s*\d+)*)\]")
_MARK = re.compile(rf"{_NUMBERED.pattern}|{_YEARED.pattern}")
_LEADING = re.compile(rf"^(?:(?:{_MARK.pattern})[\s.,;]*)+")
_MOST = 100  # sources in one marker: more is no citation
_BULLET = re.compile(r"^(?:[-*•]|\d+[.)]|#+)\s+")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_NO_CLAIM = re.compile(
    r"^(?:i(?: am|['’]m)? (?:do not|don['’]t|cannot|can['’]t|can not|could not|couldn['’]t|not)\b.*"
    r"\b(?:know|sure|answer|find|help|determine|tell|say|provide|able)\b"
    r"|(?:i(?: am|['’]m) )?(?:sorry|unable)\b|(?:hello|hi|thanks|thank you|sure|certainly|of course|here (?:is|are))\b"
    r"|(?:i )?(?:hope|let me know)\b)",
    re.IGNORECASE,
)
_JOINT = re.compile(
    r";\s+|,\s+(?:and|but|while|whereas)\s+(?=(?:the|a|an|it|they|he|she|this|these|its|their)\b|[A-Z])"
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|could|will|would|should|must|may|might|does|did|do|became|made|said|took|gave"
    r"|won|led|lost|rose|fell|grew|\w{2,}ed)\b"
)
_NEGATIVE = frozenset(
    "not no never none nor cannot can't isn't aren't wasn't weren't don't doesn't didn't won't hasn't haven't hadn't "
    "couldn't shouldn't wouldn't neither without false untrue".split()
)
_ENDING = re.compile(r"(?:ies|es|s|ing|ed)$")


class Entails(Protocol):
    """pairs (source, claim) -> float array [n, 3]: chances that the source supports the claim, refutes it, or does
    neither; rows sum to 1."""

    def __call__(self, pairs: Sequence[tuple[str, str]], /) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Cited:
    """One statement of a text. `text` without its markers; `marks` the sources it cites, each once, in order: "3" of
    [3], "Smith 2020" of (Smith, 2020); `start`, `end`: its characters in the text, markers included."""

    text: str
    marks: tuple[str, ...]
    start: int
    end: int


def split_claims(text: str) -> list[str]:
    """The claims a text makes, in order, each standing alone as a sentence, without citation markers.

    Sentences; those joined by a semicolon, or by ", and" where both sides have a verb, are parted. Left out: questions,
    headings, code, greetings, and admissions such as "I don't know", which claim nothing. Empty for an empty text.
    """
    found: list[str] = []
    for statement in cited_spans(_CODE.sub("\n\n", text)):
        if not statement.text.endswith(("?", "？", ":", "：")) and not _NO_CLAIM.match(statement.text):
            found += [one for one in _parted(statement.text) if _says(one)]
    return found


def cited_spans(text: str) -> list[Cited]:
    """Every statement (sentence or list item) of a text with the sources it cites, in order; `marks` is empty where it
    cites none. A marker after a full stop belongs to the statement before it.

    Markers are [1], [2, 3], [4-6] and (Author 2020), (Author et al., 2020; Other and Third 2021).
    """
    found: list[Cited] = []
    at = 0
    for sentence in sentences(text):
        here = re.compile(r"\s+".join(map(re.escape, sentence.split()))).search(text, at)
        if here is None:
            continue
        start, at = here.start(), here.end()
        leading = _LEADING.match(here.group())
        if leading and found:
            before = found[-1]
            marks = tuple(dict.fromkeys((*before.marks, *_marks(leading.group()))))
            end = start + len(leading.group().rstrip())
            found[-1] = Cited(before.text, marks, before.start, end)
            start += leading.end()
        span = text[start:at]
        plain = _plain(span)
        if plain:
            found.append(Cited(plain, _marks(span), start, at))
    return found


def checked(found: object, n: int) -> NDArray[np.float64]:
    """What an `Entails` returned, [n, 3]. Raises InvalidInput where it is of another shape, or not probabilities."""
    table = np.asarray(found, float)
    if table.shape != (n, 3):
        raise InvalidInput(f"entailment: an array of shape ({n}, 3) is needed, not {table.shape}")
    if n and not (np.isfinite(table).all() and table.min() >= 0 and np.allclose(table.sum(1), 1, atol=1e-3)):
        raise InvalidInput("entailment: chances in [0, 1] that sum to 1 are needed: supports, refutes, neutral")
    return table


def lexical_entails(pairs: Sequence[tuple[str, str]], /) -> NDArray[np.float64]:
    """An `Entails` by words alone, as a baseline and for tests.

    c is the share of the claim's content words (numbers aside) in the sentence of the source that has most of them, or,
    times 0.9, in the whole source. c² goes to `supports`; to `refutes` where that sentence has numbers and not those of
    the claim, or only one of the two is negated. The rest is neutral.
    """
    return np.array([_weighed(source, claim) for source, claim in pairs], float).reshape(len(pairs), 3)


def _weighed(source: str, claim: str) -> tuple[float, float, float]:
    content, numbers, negated = _words(claim)
    if not content and not numbers:
        return 0.0, 0.0, 1.0
    parts = [_words(one) for one in sentences(source)]
    if not parts:
        return 0.0, 0.0, 1.0

    def covered(own: frozenset[str]) -> float:
        return len(content & own) / len(content) if content else 0.0

    # Among sentences with as many of the words, the one that also has the numbers and agrees in negation.
    best = max(parts, key=lambda one: (covered(one[0]), numbers <= one[1], one[2] == negated))
    whole = frozenset().union(*(one[0] for one in parts))
    share = max(covered(best[0]), 0.9 * covered(whole))
    if not content:  # a bare number
        share = 1.0 if any(numbers <= one[1] for one in parts) else 0.0
        return share, 0.0, 1.0 - share
    weight = share**2
    everywhere = frozenset().union(*(one[1] for one in parts))
    if not numbers <= everywhere:
        return (0.0, weight, 1 - weight) if best[1] else (0.0, 0.0, 1.0)
    if negated != best[2]:
        return 0.0, weight, 1 - weight
    return weight, 0.0, 1 - weight


def _words(text: str) -> tuple[frozenset[str], frozenset[str], bool]:
    """Content words without their endings, numbers, and whether it is negated."""
    found = [one.replace("’", "'") for one in words(text)]
    numbers = frozenset(one.replace(",", "").rstrip("%") for one in found if one[0].isdigit())
    negative = sum(one in _NEGATIVE for one in found)
    content = frozenset(
        _stem(one) for one in found if not one[0].isdigit() and one not in STOP_WORDS and one not in _NEGATIVE
    )
    return content, numbers, negative % 2 == 1


def _stem(word: str) -> str:
    return _ENDING.sub("", word) if len(word) > 4 else word


def _parted(sentence: str) -> list[str]:
    """A sentence at its joints, where each part has a verb; else whole."""
    parts = _JOINT.split(sentence)
    if len(parts) < 2 or not all(_VERB.search(one) and len(one.split()) > 2 for one in parts):
        return [sentence]
    full = [one.rstrip(" ,;.") + "." for one in parts[:-1]] + [parts[-1]]
    return [one[:1].upper() + one[1:] for one in full]


def _says(sentence: str) -> bool:
    found = words(sentence)
    return len(found) > 1 and any(one not in STOP_WORDS for one in found)


def _plain(span: str) -> str:
    bare = _BULLET.sub("", _MARK.sub("", span).strip())
    return re.sub(r"\s+([.,;:!?])", r"\1", " ".join(bare.split())).strip(" ,;") if re.search(r"\w", bare) else ""


def _marks(span: str) -> tuple[str, ...]:
    found: list[str] = []
    for mark in _MARK.finditer(span):
        numbered, yeared = mark.group(1), mark.group(2)
        found += _numbers(numbered) if numbered else [" ".join(re.split(r",?\s+", one)) for one in yeared.split("; ")]
    return tuple(dict.fromkeys(found))


def _numbers(marked: str) -> list[str]:
    found: list[str] = []
    for part in re.split(r"\s*[,;]\s*", marked):
        ends = [int(one) for one in re.split(r"\s*[–-]\s*", part)]
        if len(ends) == 2 and 0 <= ends[1] - ends[0] < _MOST:
            found += [str(n) for n in range(ends[0], ends[1] + 1)]
        else:
            found += [str(n) for n in ends]
    return found
