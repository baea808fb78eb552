"""An answer as statements with what they cite, as claims, or as a refusal: small rules, made for English.

Finer ones can be handed to `rag_report` in their place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from weighup.texts import sentences, words

_MARKS = re.compile(r"\[([^\[\]\n]{1,200})\]")
_AFTER_STOP = re.compile(r"([.!?…。！？])[ \t]*((?:\[[^\[\]\n]{1,200}\][ \t]*)+)(?=\s|$)")
_RANGE = re.compile(r"(\d{1,4})\s*[-–]\s*(\d{1,4})")
_REFUSAL = re.compile(
    r"\bI(?: am|['’]m)? (?:do not|don['’]t|cannot|can['’]t|could not|couldn['’]t|not (?:able|sure)|unable)\b"
    r"|\b(?:context|passages?|documents?|sources?|texts?|information) (?:given |provided |above )?"
    r"(?:does not|do not|doesn['’]t|don['’]t|did not|didn['’]t) "
    r"(?:contain|say|mention|provide|include|answer|have|tell|state|specify)\b"
    r"|\b(?:not enough|insufficient|no (?:relevant )?) ?(?:information|evidence|context)\b"
    r"|\b(?:unable to|cannot be|can['’]t be) (?:answer|determine|find|answered|determined|found)\b"
    r"|^(?:unknown|unanswerable|no answer|(?:I(?: am|['’]m) )?sorry)\b",
    re.IGNORECASE,
)
_YET = re.compile(r"\b(?:but|however|although|though)\b", re.IGNORECASE)


class CitedText(Protocol):
    """One statement: `text` without markers, `marks` the ids it cites."""

    @property
    def text(self) -> str: ...
    @property
    def marks(self) -> tuple[str, ...]: ...


Split = Callable[[str], Sequence[str]]
Cite = Callable[[str], Sequence[CitedText]]


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence without its markers, and the passage ids it cites, each once."""

    text: str
    marks: tuple[str, ...]


def cited_sentences(text: str) -> list[Statement]:
    """The sentences of a text with the ids in their markers: [3], [1, 2], [4-6], [doc-a]. A marker after a full stop
    belongs to the sentence before it."""
    found = []
    for sentence in sentences(_AFTER_STOP.sub(lambda m: f" {m[2].strip()}{m[1]} ", text)):
        marks = tuple(dict.fromkeys(mark for inside in _MARKS.findall(sentence) for mark in _ids(inside)))
        plain = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(_MARKS.sub(" ", sentence).split()))
        if words(plain):
            found.append(Statement(plain, marks))
    return found


def split_sentences(text: str) -> list[str]:
    """The sentences of a text that claim something: no questions, no refusals, two words at least."""
    plain = [one.text for one in cited_sentences(text)]
    return [one for one in plain if not one.endswith(("?", "？")) and len(words(one)) > 1 and not declines(one)]


def refuses(answer: str) -> bool:
    """Whether an answer says no more than that it cannot tell: each of its sentences does. Usual English wordings."""
    said = cited_sentences(answer)
    return bool(said) and all(declines(one.text) for one in said)


def declines(sentence: str) -> bool:
    """Whether a sentence says that the answer is not known or not in the passages, and nothing else."""
    return bool(_REFUSAL.search(sentence)) and not _YET.search(sentence)


def _ids(inside: str) -> Iterator[str]:
    for part in re.split(r"\s*[,;]\s*", inside.strip()):
        ends = _RANGE.fullmatch(part)
        if ends and int(ends[1]) <= int(ends[2]):
            yield from map(str, range(int(ends[1]), int(ends[2]) + 1))
        elif part:
            yield part
