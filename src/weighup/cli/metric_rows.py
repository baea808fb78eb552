"""Rows of texts as metrics take them: hypotheses, references, sources, and what people said of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighup.errors import InvalidInput
from weighup.rowfile import Row, read_rows

if TYPE_CHECKING:
    from weighup.metrics.illusion import HumanScores


class Texts:
    """Columns of a file of texts; references and sources None where no row has one."""

    def __init__(self, rows: Sequence[Row], where: str) -> None:
        if not rows:
            raise InvalidInput(f"{where}: holds no texts")
        for number, row in rows:
            if not isinstance(row.get("hypothesis"), str):
                raise InvalidInput(f"{where}: row {number}: hypothesis: a text is needed")
        self.hypotheses = [str(row["hypothesis"]) for _, row in rows]
        self.references = self._column(rows, "reference", where)
        self.sources = self._column(rows, "source", where)

    @property
    def given(self) -> tuple[Any, Any, Any]:
        """As metrics take them."""
        return self.hypotheses, self.references, self.sources

    @staticmethod
    def _column(rows: Sequence[Row], name: str, where: str) -> list[Any] | None:
        lacking = [number for number, row in rows if row.get(name) is None]
        if len(lacking) == len(rows):
            return None
        if lacking:
            raise InvalidInput(f"{where}: row {lacking[0]}: {name}: is missing where others have one")
        return [row[name] for _, row in rows]


def read_texts(path: Path) -> Texts:
    """All texts of a file. Raises InvalidInput naming row and column."""
    return Texts(list(read_rows(path)), str(path))


def read_human_scores(path: Path) -> list[HumanScores]:
    """Data sets of a file: rows by `dataset`, people's scores in columns human.NAME, or an object `human`.

    Raises InvalidInput naming row and column for a score that is missing or no number.
    """
    from weighup.metrics.illusion import HumanScores

    sets: dict[str, list[Row]] = {}
    for number, row in read_rows(path):
        sets.setdefault(str(row.get("dataset") or path.stem), []).append((number, row))
    if not sets:
        raise InvalidInput(f"{path}: holds no texts")
    found = []
    for name, rows in sets.items():
        texts = Texts(rows, str(path))
        scores = [_people(row, f"{path}: row {number}") for number, row in rows]
        dimensions = list(dict.fromkeys(one for row in scores for one in row))
        if not dimensions:
            raise InvalidInput(f"{path}: there are no people's scores: columns human.NAME, or an object human")
        for (number, _), row in zip(rows, scores, strict=True):
            if lacking := [one for one in dimensions if one not in row]:
                raise InvalidInput(f"{path}: row {number}: human.{lacking[0]}: is missing")
        found.append(
            HumanScores(
                name,
                texts.hypotheses,
                {one: [row[one] for row in scores] for one in dimensions},
                texts.references,
                texts.sources,
                systems=_labels(rows, "system"),
                groups=_labels(rows, "group"),
            )
        )
    return found


def _people(row: Mapping[str, Any], where: str) -> dict[str, float]:
    told = row.get("human")
    found = dict(told) if isinstance(told, dict) else {}
    found |= {name.removeprefix("human."): value for name, value in row.items() if name.startswith("human.")}
    for name, value in found.items():
        try:
            found[name] = float(value)  # in CSV a number is text
        except (TypeError, ValueError):
            raise InvalidInput(f"{where}: human.{name}: a number is needed, not {value!r}") from None
    return found


def _labels(rows: Sequence[Row], name: str) -> list[Any] | None:
    return [row[name] for _, row in rows] if all(row.get(name) is not None for _, row in rows) else None
