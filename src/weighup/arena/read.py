"""Matches from files (CSV, JSON lines, Parquet) in the Chatbot Arena's form.

Columns: `model_a`, `model_b` and `winner` (model_a or a, model_b or b, tie, tie (bothbad) or both_bad), or, for the
winner, `score_a` and `score_b`, of which the higher wins. Optional: `weight`, `dimension`, `voter` (or `judge`),
`item` (or `question_id`), `at` (or `tstamp`; seconds since 1970, or a date), `id` (unique). Others are left alone.
Files are read in pieces into columns of numbers, and rows are counted from 1 without the header.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from weighup.arena.types import Floats, Labels, Matches, some
from weighup.errors import InvalidInput

WINNERS: Mapping[str, float] = {
    **dict.fromkeys(("model_a", "a"), 1.0),
    **dict.fromkeys(("model_b", "b"), 0.0),
    **dict.fromkeys(("tie", "tie (bothbad)", "both_bad", "bothbad"), 0.5),
}
_OTHER_NAMES = {"voter": "judge", "item": "question_id", "at": "tstamp"}
_ROWS = 50_000  # of JSON lines at once


def read_matches(
    path: Path | str,
    *,
    covariates: Sequence[str] = (),
    dimension: str | None = None,
    systems: Sequence[str] | None = None,
) -> Matches:
    """All matches of a file, by its ending: .csv, .jsonl, .ndjson or .parquet.

    covariates: each a column of differences (a's less b's), or, where there is none of that name, of columns NAME_a and
    NAME_b. dimension: only the matches of this value. systems: who may play (None: whoever does, by name). Raises
    InvalidInput naming file, row and field for what cannot be used: no such columns, an unknown winner or system, a
    number that is not finite, a system against itself, an id that was there before.
    """
    path = Path(path)
    readers = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise InvalidInput(f"{path}: of unknown kind {path.suffix!r}; a file ends in {', '.join(readers)}")
    table = _Table(path, tuple(covariates), dimension, systems)
    try:
        for batch in readers[path.suffix.lower()](path, table):
            table.add(batch)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error
    return table.matches()


class _Table:
    """What was read so far, as columns of numbers."""

    def __init__(
        self, path: Path, covariates: tuple[str, ...], dimension: str | None, systems: Sequence[str] | None
    ) -> None:
        self.path, self.covariates, self.dimension, self.fixed = path, covariates, dimension, systems is not None
        self._systems = {name: at for at, name in enumerate(systems or ())}
        self._names: dict[str, dict[str, int]] = {"voter": {}, "item": {}, "dimension": {}}
        self._ids: set[str] = set()
        self._pieces: list[dict[str, NDArray[Any]]] = []
        self._at: dict[str, str] = {}
        self._row = 0

    def refuse(self, row: int, field: str, why: str) -> NoReturn:
        raise InvalidInput(f"{self.path}: row {self._row + row + 1}, {field}: {why}")

    def wanted(self, columns: Sequence[str]) -> list[str]:
        """Which columns to read, of those there are. Raises InvalidInput for one that is needed and missing."""
        need = ["model_a", "model_b"]
        need += ["winner"] if "winner" in columns or "score_a" not in columns else ["score_a", "score_b"]
        for name in self.covariates:
            need += [name] if name in columns else [f"{name}_a", f"{name}_b"]
        if self.dimension is not None:
            need.append("dimension")
        if missing := [name for name in need if name not in columns]:
            raise InvalidInput(f"{self.path}: has no column {', '.join(missing)} (it has: {some(columns) or 'none'})")
        for name in ("weight", "dimension", "voter", "item", "at", "id"):
            found = name if name in columns else _OTHER_NAMES.get(name, "")
            if found in columns:
                self._at[name] = found
        return list(dict.fromkeys([*need, *self._at.values()]))

    def add(self, batch: Mapping[str, Any]) -> None:
        """Columns (pyarrow arrays) of the next rows."""
        a, b = (self._codes(batch[name], name, self._systems, self.fixed) for name in ("model_a", "model_b"))
        if (same := a == b).any():
            self.refuse(int(np.argmax(same)), "model_b", "the same system as model_a")
        piece: dict[str, NDArray[Any]] = {"a": a, "b": b, "outcome": self._outcome(batch)}
        if self.covariates:
            piece["covariates"] = np.stack([self._covariate(batch, name) for name in self.covariates], axis=1)
        if "weight" in self._at:
            piece["weight"] = self._numbers(batch["weight"], "weight")
            if (wrong := piece["weight"] < 0).any():
                self.refuse(int(np.argmax(wrong)), "weight", "a number of at least 0 is needed")
        if "at" in self._at:
            piece["at"] = self._numbers(batch[self._at["at"]], self._at["at"], optional=True)
        for name in ("voter", "item", "dimension"):
            if name in self._at:
                piece[name] = self._codes(batch[self._at[name]], self._at[name], self._names[name], optional=True)
        if "id" in self._at:
            for row, value in enumerate(batch["id"].to_pylist()):
                if value is not None and str(value) in self._ids:
                    self.refuse(row, "id", f"{value!r} is the id of an earlier row")
                self._ids.add(str(value))
        self._pieces.append(piece)
        self._row += len(a)

    def matches(self) -> Matches:
        if not self._row:
            raise InvalidInput(f"{self.path}: holds no matches")
        whole = {name: np.concatenate([piece[name] for piece in self._pieces]) for name in self._pieces[0]}
        dimensions = self._names["dimension"]
        if self.dimension is not None:
            kept = whole["dimension"] == dimensions.get(self.dimension, -2)
            if not kept.any():
                raise InvalidInput(f"{self.path}: no match has dimension {self.dimension!r}; it has {some(dimensions)}")
            whole = {name: column[kept] for name, column in whole.items()}
        elif len(dimensions) > 1:
            raise InvalidInput(f"{self.path}: has several dimensions ({some(dimensions)}); choose one with dimension=")
        systems, a, b = tuple(self._systems), whole["a"], whole["b"]
        if not self.fixed:
            used = np.unique(np.concatenate([a, b]))
            order = sorted(used.tolist(), key=systems.__getitem__)
            new = np.zeros(len(systems), dtype=np.int32)
            new[order] = np.arange(len(order))
            systems, a, b = tuple(systems[at] for at in order), new[a], new[b]
        labels = {
            name: Labels(tuple(self._names[name]), whole[name]) if name in whole else None for name in ("voter", "item")
        }
        return Matches.coded(
            systems,
            a,
            b,
            whole["outcome"],
            weight=whole.get("weight"),
            covariates=whole.get("covariates"),
            covariate_names=self.covariates,
            at=whole.get("at"),
            **labels,
        )

    def _codes(
        self, column: Any, field: str, known: dict[str, int], fixed: bool = False, *, optional: bool = False
    ) -> NDArray[np.int32]:
        """Each row's place in `known`, which grows unless it is fixed; −1 for no value where that is allowed."""
        places, values = self._told(column, field)
        new = np.full(len(values) + 1, -1, dtype=np.int32)  # the last is for rows without a value
        for at, value in enumerate(values):
            if not value.strip():
                continue
            if fixed and value not in known:
                self.refuse(int(np.argmax(places == at)), field, f"unknown system {value!r}; known are {some(known)}")
            new[at] = known.setdefault(value, len(known))
        codes: NDArray[np.int32] = new[places]
        if not optional and (codes < 0).any():
            self.refuse(int(np.argmax(codes < 0)), field, "is empty; a name is needed")
        return codes

    def _told(self, column: Any, field: str) -> tuple[NDArray[np.int64], list[str]]:
        """Each row's place among the column's different texts (−1: none), and those."""
        import pyarrow as pa

        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            if field in ("model_a", "model_b", "winner") and not pa.types.is_null(column.type):
                self.refuse(0, field, f"text is needed, not {column.type}")
            column = column.cast(pa.string())
        coded = column.dictionary_encode()
        places = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return places, coded.dictionary.to_pylist()

    def _outcome(self, batch: Mapping[str, Any]) -> Floats:
        if "winner" not in batch:
            a, b = (self._numbers(batch[name], name) for name in ("score_a", "score_b"))
            return np.where(a > b, 1.0, np.where(a < b, 0.0, 0.5))
        places, values = self._told(batch["winner"], "winner")
        worth = np.array([WINNERS.get(value.strip().lower(), np.nan) for value in values] + [np.nan])[places]
        if (wrong := np.isnan(worth)).any():
            row = int(np.argmax(wrong))
            said = repr(values[places[row]]) if places[row] >= 0 else "nothing"
            self.refuse(row, "winner", f"{said} is none of {', '.join(WINNERS)}")
        return worth

    def _covariate(self, batch: Mapping[str, Any], name: str) -> Floats:
        if name in batch:
            return self._numbers(batch[name], name)
        return self._numbers(batch[f"{name}_a"], f"{name}_a") - self._numbers(batch[f"{name}_b"], f"{name}_b")

    def _numbers(self, column: Any, field: str, *, optional: bool = False) -> Floats:
        """float64 [n], finite; NaN for no value where that is allowed. Times become seconds since 1970."""
        import pyarrow as pa

        text = pa.types.is_string(column.type)
        try:
            found = _seconds(column) if pa.types.is_timestamp(column.type) else column.cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            try:
                found = _seconds(column) if text and optional else None
            except pa.ArrowInvalid:
                found = None
        if found is None:
            rows = column.to_pylist()
            row = next((at for at, value in enumerate(rows) if not _is_number(value)), 0)
            self.refuse(row, field, f"{'a number or a date' if optional else 'a number'} is needed, not {rows[row]!r}")
        numbers = np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.float64)
        fine = np.isfinite(numbers)
        if optional:
            fine |= found.is_null().to_numpy(zero_copy_only=False)
        if not fine.all():
            self.refuse(int(np.argmin(fine)), field, "a finite number is needed")
        return numbers


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value is None
    return True


def _seconds(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.divide(column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64()), 1e6)


def _csv(path: Path, table: _Table) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.csv as read

    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            header = next(csv.reader(file), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidInput(f"{path}: is not CSV in UTF-8: {error}") from error
    wanted = table.wanted(header)
    texts = read.ConvertOptions(
        include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=True
    )
    try:
        with read.open_csv(
            path, convert_options=texts, parse_options=read.ParseOptions(newlines_in_values=True)
        ) as opened:
            for batch in opened:
                yield {name: batch.column(name) for name in wanted}
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{path}: is not CSV in UTF-8: {str(error)[:200]}") from error


def _parquet(path: Path, table: _Table) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as read

    try:
        with read.ParquetFile(path) as opened:
            wanted = table.wanted(opened.schema_arrow.names)
            for batch in opened.iter_batches(columns=wanted):
                yield {name: batch.column(name) for name in wanted}
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{path}: is not Parquet that can be read: {str(error)[:200]}") from error


_TEXTS = ("model_a", "model_b", "winner", "dimension", "voter", "judge", "item", "question_id", "id")


def _jsonl(path: Path, table: _Table) -> Iterator[Mapping[str, Any]]:
    wanted: list[str] = []
    rows: list[dict[str, Any]] = []

    def columns() -> Mapping[str, Any]:
        return {name: _column([row.get(name) for row in rows], name, table) for name in wanted}

    decode = json.JSONDecoder().raw_decode  # json.loads guesses each line's encoding first, at twice the time
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text:
                continue
            try:
                row, end = decode(text)
            except (ValueError, RecursionError) as error:
                raise InvalidInput(f"{path}: line {number}: is not JSON: {str(error)[:100]}") from error
            if end < len(text):
                raise InvalidInput(f"{path}: line {number}: is not JSON: more follows its object")
            if not isinstance(row, dict):
                raise InvalidInput(f"{path}: line {number}: a JSON object is needed")
            # The first row tells which columns there are.
            wanted = wanted or table.wanted(list(row))
            rows.append(row)
            if len(rows) == _ROWS:
                yield columns()
                rows.clear()
    if rows:
        yield columns()


def _column(values: list[Any], name: str, table: _Table) -> Any:
    """JSON values as a pyarrow array of texts or numbers."""
    import pyarrow as pa

    texts = set(map(type, values)) == {str}
    for at, value in enumerate(() if texts else values):
        if name in ("model_a", "model_b", "winner") and not isinstance(value, str):
            table.refuse(at, name, f"text is needed, not {value!r}")
        if isinstance(value, (dict, list, bool)):
            table.refuse(at, name, f"one value is needed, not {value!r}")
    try:
        if texts:
            return pa.array(values, pa.string())
        if name in _TEXTS or any(isinstance(value, str) for value in values):
            return pa.array([None if value is None else str(value) for value in values], pa.string())
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    except (UnicodeEncodeError, OverflowError):
        row = next(at for at, value in enumerate(values) if not _is_kept(value))
        table.refuse(row, name, "a number out of all range, or text that is not Unicode (half of a surrogate pair)")


def _is_kept(value: object) -> bool:
    try:
        str(value).encode("utf-8")
        return not isinstance(value, int) or np.isfinite(float(value))
    except (UnicodeEncodeError, OverflowError, ValueError):  # the last: a number of thousands of digits
        return False
