"""Which rows are measured: labelled files put together into sets, one split of each taken, and its train and valid
rows kept aside for what has to be fitted (the learned gate; with the protocol `transfer`, what is fitted anew)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from weighup.errors import InvalidInput
from weighup.train.labelled import SPLITS, Labelled, read_labelled
from weighup.train.splits import check_leakage, without_leaks

_NAMED = {"train": "train", "valid": "valid", "dev": "valid", "test": "test"}


@dataclass(slots=True)
class MeasuredSet:
    """The rows measured, the train and valid rows that may be fitted on (none is measured), and what should be told."""

    name: str
    rows: list[Labelled]
    valid: list[Labelled] = field(default_factory=list)
    split: str = "test"
    dropped: int = 0
    notes: list[str] = field(default_factory=list)
    train: list[Labelled] = field(default_factory=list)


def set_name(path: Path) -> str:
    """The folder's name for train, valid, dev and test files; else the file's own, without its endings."""
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return path.absolute().parent.name or stem if stem in _NAMED else stem


def read_sets(
    files: Sequence[Path],
    *,
    labels: Mapping[str, str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    drop_leaks: bool = False,
) -> list[MeasuredSet]:
    """One set for each name, in the order of the files.

    `split`: what is measured, "all" for everything; None: test, or what there is where a set has one other split
    only. A row that names no split has its file's (train, valid, dev, test), else it is measured. `limit`: at most so
    many rows of each file and split, drawn the same whoever asks. Raises InvalidInput for files that cannot be used,
    for leaks between the splits unless they are to be dropped, and for sets with nothing to measure.
    """
    if not files:
        raise InvalidInput("--data: name at least one file of labelled rows")
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        if not path.is_file():
            raise InvalidInput(f"--data {path}: there is no such file")
        if path in by_name[set_name(path)]:
            raise InvalidInput(f"--data {path}: is given twice")
        by_name[set_name(path)].append(path)
    found: list[MeasuredSet] = []
    for name, paths in by_name.items():
        rows = [_placed(row, path) for path in paths for row in read_labelled([path], labels=labels)]
        dropped = 0
        if drop_leaks:
            rows, dropped = without_leaks(rows)
        try:
            check_leakage(rows)
        except InvalidInput as error:
            raise InvalidInput(f"{name}: {error}") from None
        made = _chosen(name, rows, split)
        made.dropped = dropped
        made.rows, made.valid, made.train = (fewer(part, limit) for part in (made.rows, made.valid, made.train))
        _require_both(made)
        found.append(made)
    return found


def _placed(row: Labelled, path: Path) -> Labelled:
    if row.split is not None:
        return row
    return replace(row, split=_NAMED.get(path.name.removesuffix(".gz").rsplit(".", 1)[0]))


def _chosen(name: str, rows: Sequence[Labelled], split: str | None) -> MeasuredSet:
    if split == "all":
        return MeasuredSet(name, list(rows), split="all")
    wanted = split or "test"
    there = [part for part in SPLITS if any(row.split == part for row in rows)]
    unnamed = any(row.split is None for row in rows)
    notes = []
    if split is None and len(there) == 1 and not unnamed and there[0] != wanted:
        wanted = there[0]
        notes.append(f"{name} has {wanted} rows only; these were measured")
    mine = [row for row in rows if row.split in (wanted, None)]
    if not mine:
        told = f"its rows are {' and '.join(there)}" if there else "it is empty"
        raise InvalidInput(f"{name}: has no {wanted} rows ({told}); choose with --split, or name its {wanted} file")
    valid, train = ([row for row in rows if row.split == part and part != wanted] for part in ("valid", "train"))
    return MeasuredSet(name, mine, valid, wanted, notes=notes, train=train)


def fewer(rows: list[Labelled], limit: int | None) -> list[Labelled]:
    """At most `limit` of each file, in their order."""
    if limit is None:
        return rows
    by_file: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        by_file[row.file].append(place)
    kept: list[int] = []
    for places in by_file.values():
        random.Random(0).shuffle(places)
        kept += places[:limit]
    return [rows[place] for place in sorted(kept)]


def _require_both(made: MeasuredSet) -> None:
    lacking = [name for name, label in (("real", 0), ("fake", 1)) if not any(row.label == label for row in made.rows)]
    if lacking:
        raise InvalidInput(
            f"{made.name}: of {len(made.rows):,} rows measured none is {' or '.join(lacking)}; both are needed to say "
            "who tells them apart (map labels with --labels, or raise --limit)"
        )
