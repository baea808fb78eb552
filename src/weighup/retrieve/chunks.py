"""Documents to passages: windows of at most three sentences or about 80 words, overlapping by one sentence.

A passage is what a stance model reads and a journalist quotes, so it is short, begins at a sentence and never crosses
a blank line (a paragraph's end). Positions are character offsets into the document's text; nothing is stored twice.
"""

from __future__ import annotations

import re

from weighup.texts import sentences

MAX_SENTENCES = 3
MAX_SIZE = 480  # characters of Latin script, about 80 words; a Han character counts as three
SHORT = 200  # a paragraph this short is one passage whatever its sentences
_STUB = 40  # a paragraph shorter than this (a heading, a date line) is read with the one after it
_PARAGRAPH = re.compile(r"\n\s*\n")
_CLOSERS = "\"'”’)]"  # after a full stop they belong to no sentence
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def windows(text: str) -> list[tuple[int, int]]:
    """Passages of `text` as (start, stop) offsets, in order; empty text has none. Linear in length."""
    if len(text) <= SHORT and "\n\n" not in text:
        return [(0, len(text))] if text else []
    found: list[tuple[int, int]] = []
    for start, stop in _paragraphs(text):
        if stop - start <= SHORT and _size(text[start:stop]) <= MAX_SIZE:
            found.append((start, stop))
        else:
            found += _sentence_windows(_spans(text, start, stop), text)
    return found


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Blank-line separated blocks; one that is a mere stub is joined to the block that follows it."""
    found: list[tuple[int, int]] = []
    start = 0
    for gap in _PARAGRAPH.finditer(text):
        if gap.start() - start >= _STUB or _size(text[start : gap.start()]) >= _STUB:
            found.append((start, gap.start()))
            start = gap.end()
    if start < len(text):
        found.append((start, len(text)))
    return found


def _spans(text: str, start: int, stop: int) -> list[tuple[int, int]]:
    """Sentences of one paragraph as offsets. A sentence far over the size (no full stops) is cut at words."""
    paragraph = text[start:stop]
    starts: list[int] = []
    at = 0
    for sentence in sentences(paragraph):
        where = paragraph.find(sentence, at)
        if where >= 0 and all(mark.isspace() or mark in _CLOSERS for mark in paragraph[at:where]):
            at = where + len(sentence)
        else:  # joined over an abbreviation, where white space was squeezed; the same words may come again later
            where, at = _walk(paragraph, sentence, at)
        starts.append(where)
    spans: list[tuple[int, int]] = []
    for first, last in zip(starts, [*starts[1:], len(paragraph)], strict=True):
        length = len(paragraph[first:last].rstrip())
        spans += _cut(text, start + first, start + first + length)
    return spans


def _walk(paragraph: str, sentence: str, at: int) -> tuple[int, int]:
    """Where a sentence begins and ends from `at` on, white space apart."""
    where = -1
    for mark in "".join(sentence.split()):
        found = paragraph.find(mark, at)
        if found < 0:
            break
        where, at = found if where < 0 else where, found + 1
    return max(where, 0), at


def _cut(text: str, start: int, stop: int) -> list[tuple[int, int]]:
    limit = MAX_SIZE * 2
    if stop - start <= limit // 3 or _size(text[start:stop]) <= limit:
        return [(start, stop)] if stop > start else []
    pieces: list[tuple[int, int]] = []
    step = MAX_SIZE // (3 if _HAN.search(text, start, min(stop, start + MAX_SIZE)) else 1)
    while stop - start > step:
        space = text.rfind(" ", start + step // 2, start + step)
        end = space if space > 0 else start + step
        pieces.append((start, end))
        start = end + 1 if space > 0 else end
    return [*pieces, (start, stop)] if stop > start else pieces


def _sentence_windows(spans: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    sizes = [_size(text[start:stop]) for start, stop in spans]
    found: list[tuple[int, int]] = []
    first = 0
    while first < len(spans):
        last, size = first, sizes[first]
        while last + 1 < len(spans) and last + 1 - first < MAX_SENTENCES and size + sizes[last + 1] <= MAX_SIZE:
            last += 1
            size += sizes[last]
        found.append((spans[first][0], spans[last][1]))
        if last + 1 == len(spans):
            break
        first = last if last > first else last + 1
    return found


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text) + 2 * len(_HAN.findall(text))
