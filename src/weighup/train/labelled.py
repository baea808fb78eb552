"""Labelled rows: what `weighup check` reads, with a label; read whole, and refused if one row is broken.

A row has a `text` and a `label` (real, fake or unknown; other names by a mapping), and may say its `group` and its
`split` beside a claim's own fields. Where a set keeps its authors' names in `label` and ours in `label3`, `label3` is
taken. Nothing is dropped in silence: a model trained on less than its user thinks is not the one they asked for.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from weighup.errors import InvalidInput
from weighup.texts import shorten, whole
from weighup.verify.row_files import Decoded, decoded_rows
from weighup.verify.rows import BadRow, Row, read_row
from weighup.verify.types import Claim

LABELS = ("real", "fake", "unknown")
"""Their places are the numbers in `Labelled.label`."""
SPLITS = ("train", "valid", "test")
LEAST = 20
"""Rows of a class below which nothing is learned from it."""
_SPLIT_NAMES = {**{name: name for name in SPLITS}, "dev": "valid", "validation": "valid"}
_COLUMNS = ("label", "label3", "group", "split")
_SHOWN = 10
_LINES_SHOWN = 5
_UNKNOWN = "unknown label"
_NOT_WORDS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A claim with what is known of it. `label` is 0 real, 1 fake, 2 unknown.

    Rows of one `group` must stay on one side of a split; a row that names none is grouped by its text. `line` counts
    from 1 in `file`.
    """

    claim: Claim
    label: int
    group: str
    split: str | None
    line: int
    file: str = ""

    @property
    def place(self) -> str:
        """Where it was read: `line 3 of rows.csv`."""
        return f"line {self.line} of {self.file}" if self.file else f"line {self.line}"


def read_labelled(paths: Iterable[Path], *, labels: Mapping[str, str] | None = None) -> list[Labelled]:
    """The rows of all files, in order. `labels` says which of real, fake, unknown each other label means.

    A row whose `label` is in `labels` is what that says, whatever its `label3`. Raises InvalidInput if a file or any
    row cannot be used, naming the first ten things that are wrong.
    """
    mapping = _mapping(labels or {})
    rows: list[Labelled] = []
    problems = _Problems()
    for path in paths:
        for item in decoded_rows(path, also=_COLUMNS):
            row, data = _read(item)
            if isinstance(row, BadRow):
                problems.add(str(path), row.line, row.error.removeprefix(f"line {row.line}: "))
                continue
            try:
                rows.append(_labelled(row, data, mapping, str(path)))
            except InvalidInput as error:
                problems.add(str(path), row.line, str(error))
    if problems.rows:
        raise InvalidInput(str(problems))
    return rows


def parse_labels(text: str) -> dict[str, str]:
    """`real=true+mostly-true,fake=false` as a mapping from each of their labels, in lower case, to ours.

    Raises InvalidInput if it is written otherwise, or gives a label twice.
    """
    mapping: dict[str, str] = {}
    seen: set[str] = set()
    for part in text.split(","):
        ours, equals, theirs = part.partition("=")
        ours = ours.strip().casefold()
        if ours not in LABELS or not equals:
            raise InvalidInput(f"labels: cannot read {part.strip()[:40]!r}; write them as real=true,fake=false")
        if ours in seen:
            raise InvalidInput(f"labels: {ours} is given twice; join what it stands for with +, as in {ours}=a+b")
        seen.add(ours)
        for name in theirs.split("+"):
            label = name.strip().casefold()
            if not label:
                raise InvalidInput(f"labels: {part.strip()[:40]!r} names an empty label; write it as {ours}=a+b")
            if label in mapping:
                twice = "twice" if mapping[label] == ours else f"to both {mapping[label]} and {ours}"
                raise InvalidInput(f"labels: {label!r} is given {twice}")
            mapping[label] = ours
    return mapping


def require_trainable(rows: Sequence[Labelled]) -> None:
    """Raise InvalidInput unless there are enough real and enough fake rows to learn from."""
    if not rows:
        raise InvalidInput("there are no labelled rows")
    counts = Counter(LABELS[row.label] for row in rows)
    if not counts["real"] or not counts["fake"]:
        only = max(counts, key=counts.__getitem__)
        told = f"all {len(rows):,} rows are {only}"
        if len(counts) > 1:
            told = f"of {len(rows):,} rows " + " and ".join(f"{count:,} are {name}" for name, count in counts.items())
        raise InvalidInput(f"needs both real and fake; {told}")
    for name in ("real", "fake"):
        if counts[name] < LEAST:
            raise InvalidInput(
                f"needs at least {LEAST} rows each of real and fake; of {len(rows):,} rows only {counts[name]} "
                f"{'is' if counts[name] == 1 else 'are'} {name}"
            )


def text_key(text: str) -> str:
    """A text's letters and digits, in any script, lower case: texts that differ by punctuation only are one."""
    return _NOT_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _read(item: Decoded | BadRow) -> tuple[Row | BadRow, Mapping[str, Any]]:
    """The claim of a row, and all its fields (to be used only if there is a claim)."""
    if isinstance(item, BadRow):
        return item, {}
    line, data = item
    return read_row(data, line), cast(Mapping[str, Any], data)


def _labelled(row: Row, data: Mapping[str, Any], mapping: Mapping[str, str], file: str) -> Labelled:
    label = _label(data, mapping)
    split = _word(data, "split")
    if split is not None and split.casefold() not in _SPLIT_NAMES:
        raise InvalidInput(f"split: {split[:40]!r} is not one of train, valid and test")
    return Labelled(
        claim=row.claim,
        label=LABELS.index(label),
        group=_word(data, "group") or text_key(row.claim.text),
        split=None if split is None else _SPLIT_NAMES[split.casefold()],
        line=row.line,
        file=file,
    )


def _label(data: Mapping[str, Any], mapping: Mapping[str, str]) -> str:
    given = [word for name in ("label3", "label") if (word := _word(data, name)) is not None]
    if not given:
        raise InvalidInput("label: is missing")
    for word in reversed(given):
        if word.casefold() in mapping:
            return mapping[word.casefold()]
    if given[0].casefold() in LABELS:
        return given[0].casefold()
    raise InvalidInput(f"{_UNKNOWN} {shorten(given[0], 40)!r}")


def _word(data: Mapping[str, Any], name: str) -> str | None:
    """A field as a word. Tables keep whole numbers as 1.0 and holes as NaN; JSON has true for "true"."""
    value = data.get(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str | int | float):
        raise InvalidInput(f"{name}: is {type(value).__name__}, not a word")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    # Lone surrogates, which JSON can smuggle in, can be neither written nor hashed.
    return whole(str(value)).strip() or None


def _mapping(labels: Mapping[str, str]) -> dict[str, str]:
    for theirs, ours in labels.items():
        if ours not in LABELS:
            raise InvalidInput(f"labels: {theirs!r} is said to mean {ours!r}, which is not one of {', '.join(LABELS)}")
    return {theirs.strip().casefold(): ours for theirs, ours in labels.items()}


class _Problems:
    """What is wrong, and in which lines: the first ten things, and how many rows there are of the rest."""

    def __init__(self) -> None:
        self.rows = 0
        self._lines: dict[tuple[str, str], list[int]] = {}

    def add(self, file: str, line: int, problem: str) -> None:
        self.rows += 1
        if (file, problem) in self._lines or len(self._lines) < _SHOWN:
            self._lines.setdefault((file, problem), []).append(line)

    def __str__(self) -> str:
        told = [f"{problem} ({_numbered(lines)} of {file})" for (file, problem), lines in self._lines.items()]
        hint = "map labels with --labels real=true,fake=false"
        unknown = any(problem.startswith(_UNKNOWN) for _, problem in self._lines)
        if len(told) == 1:
            return f"{told[0]}; {hint}" if unknown else told[0]
        rest = self.rows - sum(map(len, self._lines.values()))
        more = [f"and {rest:,} more rows"] if rest else []
        return "\n  ".join([f"{self.rows:,} rows cannot be used:", *told, *more, *([hint] if unknown else [])])


def _numbered(lines: Sequence[int]) -> str:
    """`line 3`; `lines 3 and 7`; `lines 3, 4, 5, 6, 7 and 90 more`."""
    if len(lines) == 1:
        return f"line {lines[0]}"
    shown = [str(line) for line in lines[:_LINES_SHOWN]]
    last = f"{len(lines) - _LINES_SHOWN:,} more" if len(lines) > _LINES_SHOWN else shown.pop()
    return f"lines {', '.join(shown)} and {last}"
