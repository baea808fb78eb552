"""Which answer a talker gives to a question with one right answer: stated on a line of its own, by letter or in full.

A question is an `Item`: `prompt` the question, `responses` its options where there are two or more, `reference` the
official answer.
"""

from __future__ import annotations

import re
import unicodedata

from weighup.errors import InvalidInput
from weighup.judge.types import Item

_MARKUP = " \t*_#"
_LETTER = re.compile(r"\(?([A-Za-z])(?:[).:]|$)")


def options(item: Item) -> tuple[str, ...]:
    """The options' texts, in order; none for an open question."""
    return tuple(one.text for one in item.responses) if len(item.responses) > 1 else ()


def official(item: Item) -> str:
    """The official answer. Raises InvalidInput for an item that has none, or none of whose options it is."""
    if item.reference is None or not plain(item.reference):
        raise InvalidInput(f"item {item.id}: has no reference, the official answer, which is needed here")
    choices = options(item)
    if not choices:
        return item.reference
    place = _place(choices, item.reference)
    if place is None:
        raise InvalidInput(f"item {item.id}: the official answer {item.reference!r} is none of its options")
    return choices[place]


def listed(item: Item) -> str:
    """The options for a prompt, one a line: `A. text`. Empty for an open question."""
    return "\n".join(f"{chr(65 + place)}. {text}" for place, text in enumerate(options(item)))


def stated(text: str) -> str | None:
    """What the last line of the form `Answer: …` says; None where there is none or it is empty."""
    for line in reversed(text.splitlines()):
        word, colon, rest = line.strip(_MARKUP).partition(":")
        if colon and word.strip(_MARKUP).casefold() == "answer" and plain(rest):
            return rest.strip(_MARKUP)
    return None


def same_answer(item: Item, a: str, b: str) -> bool:
    """Whether two answers are the same: the same option by letter or text, else the same words."""
    choices = options(item)
    first, second = _place(choices, a), _place(choices, b)
    if first is not None and second is not None:
        return plain(choices[first]) == plain(choices[second])
    return first is second and plain(a) == plain(b)


def plain(text: str) -> str:
    """Without letter case, blanks and the punctuation around it; what stands within (3.5, −2) is kept."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .,;:!?\"'()[]*_")


def _place(choices: tuple[str, ...], answer: str) -> int | None:
    """Which option an answer is: its text, its letter, or both (`B. text`)."""
    said = plain(answer)
    for place, choice in enumerate(choices):
        if said and said == plain(choice):
            return place
    letter = _LETTER.match(answer.strip())
    place = ord(letter[1].upper()) - 65 if letter else len(choices)
    if place >= len(choices):
        return None
    rest = plain(answer.strip()[letter.end() :]) if letter else ""
    return place if not rest or rest == plain(choices[place]) else None
