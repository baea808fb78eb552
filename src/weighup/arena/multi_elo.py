"""Multi-Elo: one Elo rating a dimension, because one verdict for everything lets style hide wrong facts.

Paper: Style Over Substance: Evaluation Biases for Large Language Models (Wu and Aji 2023, arXiv 2307.03025), section 5.
Faithful: every comparison gets a verdict in each of accuracy, helpfulness and language, each dimension has an Elo table
of its own, and ratings are means over many random orders of the matches, with their spread.
Ours: the dimensions may have other names; start 1000 and K 32 are the common ones; a tie is half a win; every dimension
must hold the same comparisons, so that its table differs from the others by the verdicts alone, and plays them in the
same random orders.

Shapes: matches are rows (a, b, winner, dimension), or `Matches` of one dimension each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from weighup.arena.elo import K, elo
from weighup.arena.graph import Disconnected
from weighup.arena.read import WINNERS
from weighup.arena.types import Labels, Leaderboard, Match, Matches, Winner, refuse, some
from weighup.errors import InvalidInput
from weighup.registry import Method
from weighup.rowfile import read_rows

METHOD = Method(
    name="multi_elo",
    room="arena",
    paper="Style Over Substance: Evaluation Biases for Large Language Models (Wu and Aji 2023)",
    arxiv="2307.03025",
    command="weighup arena rate verdicts.csv --method multi-elo",
    claim_check="weighup.arena.multi_elo_claim:check",
)
DIMENSIONS = ("accuracy", "helpfulness", "language")
"""The paper's."""
_WON: Mapping[float, Winner] = {1.0: "a", 0.0: "b", 0.5: "tie"}
_PREFIX = "winner_"


def multi_elo(
    matches: Iterable[Match] | Mapping[str, Matches],
    dimensions: Sequence[str] | None = None,
    *,
    k: float = K,
    orders: int = 100,
    level: float = 0.95,
    seed: int = 0,
    systems: Sequence[str] | None = None,
    disconnected: Disconnected = "error",
) -> dict[str, Leaderboard]:
    """A leaderboard for each dimension: mean rating over `orders` random orders, with quantiles and sd over them.

    dimensions: which, in this order (None: all there are, by first use). systems: who may play (None: whoever does).
    Raises InvalidInput, naming row and field or dimension, for a match without a dimension, a comparison that has no
    verdict in one of them, a system against itself, an unknown system or dimension, K or orders not above 0, and
    systems never compared in a dimension (see `graph.compared`).
    """
    if isinstance(dimensions, str) or (dimensions is not None and len(set(dimensions)) < len(dimensions)):
        raise InvalidInput("dimensions: a list of different names is needed")
    if dimensions is not None and not dimensions:
        raise InvalidInput("dimensions: one or more is needed")
    given = dict(matches) if isinstance(matches, Mapping) else _by_dimension(list(matches), systems)
    if not given:
        raise InvalidInput("matches: there are none; one or more is needed")
    named = tuple(given) if dimensions is None else tuple(dimensions)
    if missing := [name for name in named if name not in given]:
        raise InvalidInput(f"dimensions: no match has dimension {missing[0]!r}; they have {some(given)}")
    _same_comparisons({name: given[name] for name in named})
    boards = {}
    for name in named:
        try:
            board = elo(given[name], k=k, orders=orders, level=level, seed=seed, disconnected=disconnected)
        except InvalidInput as error:
            raise InvalidInput(f"dimension {name}: {error}") from error
        ratings = tuple(replace(one, dimension=name, method="multi_elo") for one in board.ratings)
        boards[name] = replace(board, ratings=ratings, method="multi_elo")
    return boards


def read_dimensions(path: Path | str) -> list[Match]:
    """Matches of several dimensions from a file (.csv, .jsonl, .ndjson or .parquet).

    Columns: model_a, model_b, and either winner and dimension (a row a verdict), or winner_accuracy,
    winner_helpfulness, … (a row a comparison); winners as `read_matches` takes them. Optional: voter (or judge), item
    (or question_id), weight. Raises InvalidInput naming file, row and field for what is missing or cannot be used.
    """
    path = Path(path)
    rows = list(read_rows(path))
    if not rows:
        raise InvalidInput(f"{path}: holds no matches")
    columns = {name for _, row in rows for name in row}
    wide = [name for name in dict.fromkeys(name for _, row in rows for name in row) if name.startswith(_PREFIX)]
    wide = [name for name in wide if len(name) > len(_PREFIX)]
    needed = ["model_a", "model_b", *([] if wide else ["winner", "dimension"])]
    if absent := [name for name in needed if name not in columns]:
        raise InvalidInput(
            f"{path}: has no column {', '.join(absent)} (it has: {some(columns)}); winner and dimension are needed, "
            f"or one column {_PREFIX}NAME a dimension"
        )
    found = []
    for number, row in rows:
        a, b = (_name(path, number, row, field) for field in ("model_a", "model_b"))
        if a == b:
            _refuse(path, number, "model_b", "the same system as model_a")
        rest: dict[str, Any] = {
            "voter": _optional(row, "voter", "judge"),
            "item": _optional(row, "item", "question_id"),
            "weight": _weight(path, number, row),
        }
        if wide:
            told = [(field, field.removeprefix(_PREFIX)) for field in wide]
        else:
            told = [("winner", _name(path, number, row, "dimension"))]
        found += [Match(a, b, _winner(path, number, row, field), dimension=name, **rest) for field, name in told]
    return found


def _by_dimension(matches: Sequence[Match], systems: Sequence[str] | None) -> dict[str, Matches]:
    rows: dict[str, list[Match]] = {}
    for row, one in enumerate(matches):
        if one.dimension is None:
            refuse(row, "dimension", "is missing; every match says in which dimension its winner won")
        if one.a == one.b:
            refuse(row, "b", f"{one.b!r} plays against itself")
        for field, name in (("a", one.a), ("b", one.b)):
            if systems is not None and name not in systems:
                refuse(row, field, f"unknown system {name!r}; known are {some(systems)}")
        rows.setdefault(one.dimension, []).append(one)
    names = tuple(systems) if systems is not None else tuple(sorted({name for m in matches for name in (m.a, m.b)}))
    return {dimension: Matches.of(some_, systems=names) for dimension, some_ in rows.items()}


def _same_comparisons(given: Mapping[str, Matches]) -> None:
    """Raises InvalidInput where a comparison (two systems, item, voter) of one dimension is not in another as often."""
    systems, items, voters = ({}, {}, {})  # type: tuple[dict[str, int], dict[str, int], dict[str, int]]
    keys = {name: _keys(one, systems, items, voters) for name, one in given.items()}
    counted = {name: np.unique(key, axis=0, return_counts=True) for name, key in keys.items()}
    every = np.unique(np.concatenate([rows for rows, _ in counted.values()]), axis=0)
    times = {name: np.zeros(len(every), dtype=np.int64) for name in counted}
    for name, (rows, count) in counted.items():
        both = np.concatenate([every, rows])
        _, place = np.unique(both, axis=0, return_inverse=True)
        times[name][place.ravel()[len(every) :]] = count
    most = np.max(list(times.values()), axis=0)
    for name, count in times.items():
        if (short := count < most).any():
            a, b, item, voter = every[int(np.argmax(short))].tolist()
            at = "".join(
                f", {what} {list(known)[code]}"
                for what, known, code in (("item", items, item), ("voter", voters, voter))
                if code >= 0
            )
            two = " and ".join(sorted(list(systems)[code] for code in (a, b)))
            raise InvalidInput(
                f"matches: {two}{at}: {int(most[np.argmax(short)])} verdicts in another dimension but "
                f"{int(count[np.argmax(short)])} in {name}; each comparison needs one in every dimension "
                f"({int(short.sum())} lack one in {name})"
            )


def _keys(
    matches: Matches, systems: dict[str, int], items: dict[str, int], voters: dict[str, int]
) -> NDArray[np.int64]:
    """[n, 4]: the two systems, item and voter (−1: none) of each match, in codes shared by all dimensions."""
    code = np.array([systems.setdefault(name, len(systems)) for name in matches.systems], dtype=np.int64)
    a, b = code[matches.a], code[matches.b]

    def shared(column: Labels | None, known: dict[str, int]) -> NDArray[np.int64]:
        if column is None:
            return np.full(len(matches), -1)
        new = np.array([known.setdefault(name, len(known)) for name in column.names] + [-1], dtype=np.int64)
        return new[column.code]

    return np.stack([np.minimum(a, b), np.maximum(a, b), shared(matches.item, items), shared(matches.voter, voters)], 1)


def _name(path: Path, number: int, row: Mapping[str, Any], field: str) -> str:
    told = row.get(field)
    if not isinstance(told, str) or not told.strip():
        _refuse(path, number, field, f"a name is needed, not {'nothing' if told is None else repr(told)[:60]}")
    return told


def _winner(path: Path, number: int, row: Mapping[str, Any], field: str) -> Winner:
    told = row.get(field)
    worth = WINNERS.get(told.strip().lower()) if isinstance(told, str) else None
    if worth is None:
        said = "nothing" if told is None else repr(told)[:60]
        _refuse(path, number, field, f"{said} is none of {', '.join(WINNERS)}")
    return _WON[worth]


def _weight(path: Path, number: int, row: Mapping[str, Any]) -> float:
    try:
        weight = float(row.get("weight", 1.0))
    except (TypeError, ValueError):
        weight = np.nan
    if not (np.isfinite(weight) and weight >= 0):
        _refuse(path, number, "weight", f"a number of at least 0 is needed, not {row['weight']!r}")
    return weight


def _optional(row: Mapping[str, Any], *fields: str) -> str | None:
    return next((str(row[field]) for field in fields if row.get(field) is not None), None)


def _refuse(path: Path, number: int, field: str, why: str) -> NoReturn:
    raise InvalidInput(f"{path}: row {number}, {field}: {why}")
