"""Runs and relevance judgements in TREC's two text formats, read and written.

A run: `topic Q0 document rank score tag` a line. Judgements (qrels): `topic 0 document grade` a line. Blank lines are
skipped. As trec_eval does, a run's `rank` is not read: its order is by score, falling, then by document id, falling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from weighup.errors import InvalidInput

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]
V = TypeVar("V")


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """{topic: {document: score}}. Raises InvalidInput naming the line that is malformed or names a document again."""
    run: dict[str, dict[str, float]] = {}
    for line, (topic, _, document, _, score, _) in _fields(path, 6, "topic Q0 document rank score tag"):
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InvalidInput(f"{path}, line {line}: score {score!r} is not a finite number")
        _put(run, topic, document, value, path, line)
    return run


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """{topic: {document: grade}}. Raises InvalidInput naming the line that is malformed or judges a document again."""
    qrels: dict[str, dict[str, int]] = {}
    for line, (topic, _, document, grade) in _fields(path, 4, "topic 0 document grade"):
        try:
            value = int(grade)
        except ValueError:
            raise InvalidInput(f"{path}, line {line}: grade {grade!r} is not a whole number") from None
        _put(qrels, topic, document, value, path, line)
    return qrels


def write_run(path: Path, run: Run, tag: str = "weighup") -> None:
    """Writes a run with ranks from 1 in `ranked` order. Raises InvalidInput for an id or tag that is empty or holds
    blanks, and for a score that is not finite."""
    _word("tag", tag)
    lines = []
    for topic, scores in run.items():
        for rank, document in enumerate(ranked(scores), start=1):
            if not math.isfinite(scores[document]):
                raise InvalidInput(f"run: topic {topic}, document {document}: the score is not a finite number")
            ids = f"{_word('topic', topic)} Q0 {_word('document', document)}"
            lines.append(f"{ids} {rank} {float(scores[document])!r} {tag}\n")
    path.write_text("".join(lines), encoding="utf-8")


def write_qrels(path: Path, qrels: Qrels) -> None:
    """Writes judgements, in their order. Raises InvalidInput for an id that is empty or holds blanks."""
    lines = [
        f"{_word('topic', topic)} 0 {_word('document', document)} {int(grade)}\n"
        for topic, grades in qrels.items()
        for document, grade in grades.items()
    ]
    path.write_text("".join(lines), encoding="utf-8")


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Documents in trec_eval's order: by score, falling; ties by document id, falling."""
    return sorted(scores, key=lambda document: (scores[document], document), reverse=True)


def _fields(path: Path, count: int, form: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                fields = line.split()
                if fields and len(fields) != count:
                    raise InvalidInput(f"{path}, line {number}: {len(fields)} fields, not {count}; write: {form}")
                if fields:
                    yield number, fields
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _put(table: dict[str, dict[str, V]], topic: str, document: str, value: V, path: Path, line: int) -> None:
    entries = table.setdefault(topic, {})
    if document in entries:
        raise InvalidInput(f"{path}, line {line}: topic {topic} has document {document} already; keep one line of them")
    entries[document] = value


def _word(name: str, value: str) -> str:
    if not value or value.split() != [value]:
        raise InvalidInput(f"{name} {value!r}: TREC's formats take ids without blanks, of one character or more")
    return value
