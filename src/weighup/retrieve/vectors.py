"""Passage vectors: int8 rows in the store's file, sealed by 32,768 into inverted-file indexes (faiss), inside it too.

Jégou, Douze and Schmid 2011 (inverted file), with 8-bit scalar quantisation. Chosen by `benchmarks/vector_index.py`
over HNSW of usearch and hnswlib: it builds ten times as fast at the same recall, and it applies a bound *while*
scanning, so that a narrow bound loses nothing. The rows not yet sealed are compared exactly.
A row is scaled by its own largest component, which cosine similarity does not see: 1 % of recall@10 is lost.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput

SEGMENT = 32_768  # rows of a sealed index: about 13 MB, built in a second
_LISTS = 128
_PROBES = 24  # of 128 lists: recall@10 above 0.9 (docs/store.md)
_UNDATED = np.iinfo(np.int64).max

Ints = NDArray[np.int64]


def quantise(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Float rows [n, d] to int8 rows of the same direction. A zero row stays zero and is never found."""
    peak = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-12)
    return np.asarray(np.rint(vectors / peak * 127), dtype=np.int8)


class HandedRows:
    """Vectors handed out in order, a document's passages at a time, as int8."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        if vectors.ndim != 2 or vectors.shape[1] == 0:
            raise InvalidInput(f"vectors: shape {vectors.shape}; float32 [passages, dimension] is needed")
        self._vectors = vectors
        self._at = 0
        self.dimension = int(vectors.shape[1])

    @property
    def left(self) -> int:
        return len(self._vectors) - self._at

    def take(self, count: int) -> NDArray[np.int8]:
        if count > self.left:
            raise InvalidInput(f"vectors: only {len(self._vectors)} rows, but there are more passages than that")
        self._at += count
        return quantise(np.asarray(self._vectors[self._at - count : self._at], dtype=np.float32))


def _faiss() -> Any:
    # Its own type stubs do not know the wrappers its package adds (arrays for pointers, keyword parameters).
    import importlib

    module = importlib.import_module("faiss")
    # One thread, this caller's own setting: lists are short, and threads that wait for each other on a busy machine
    # made a search of 1 ms take 80.
    module.omp_set_num_threads(1)
    return module


def _units(rows: NDArray[np.int8]) -> NDArray[np.float32]:
    floats = rows.astype(np.float32)
    squares = np.einsum("ij,ij->i", floats, floats)[:, None]  # without the copy that np.linalg.norm makes
    floats /= np.sqrt(np.maximum(squares, 1e-12))
    return floats


@dataclass(frozen=True)
class _Segment:
    ids: Ints
    published: Ints  # undated: the largest integer, after every bound
    index: Any


@dataclass(frozen=True)
class _Tail:
    ids: Ints
    published: Ints
    units: NDArray[np.float32]  # kept as floats, at most SEGMENT rows: casting them anew would be most of a search


class VectorIndex:
    """Search over all vectors of one store. Loaded when first searched, refreshed when the store has changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: tuple[Any, ...] = ()
        self._segments: dict[int, _Segment] = {}
        self._tail = _Tail(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 1), np.float32))

    def search(
        self, connection: sqlite3.Connection, queries: NDArray[np.float32], *, before: int | None, limit: int
    ) -> list[list[int]]:
        """Passage ids by cosine similarity, best first, for each row of `queries` [n, d] (unit length).

        With `before` (microseconds) only passages dated strictly earlier, tested inside the scan.
        """
        segments, tail = self._refreshed(connection)
        scores = [_search_tail(tail, queries, before, limit)] if len(tail.ids) else []
        scores += [_search_segment(segment, queries, before, limit) for segment in segments]
        merged: list[list[int]] = []
        for row in range(len(queries)):
            pairs = [pair for found in scores for pair in found[row]]
            pairs.sort(key=lambda pair: (-pair[0], pair[1]))
            merged.append([passage for _, passage in pairs[:limit]])
        return merged

    def similarity(self, query: NDArray[np.float32], passage: int) -> float | None:
        """Cosine of `query` [d] (unit length) and a passage's vector; None if the last search knew none of it."""
        with self._lock:
            segments, tail = list(self._segments.values()), self._tail
        if (place := _place(tail.ids, passage)) is not None:
            return float(tail.units[place] @ query)
        for segment in segments:
            if (place := _place(segment.ids, passage)) is not None:
                row = np.asarray(segment.index.reconstruct(place), np.float32)
                return float(row @ query / max(float(np.linalg.norm(row)), 1e-12))
        return None

    def _refreshed(self, connection: sqlite3.Connection) -> tuple[list[_Segment], _Tail]:
        with self._lock:
            connection.execute("BEGIN")  # one snapshot: rows must not move into a segment between the reads
            try:
                state = connection.execute(
                    "SELECT (SELECT max(passage) FROM vectors), (SELECT max(id) FROM segments),"
                    " (SELECT value FROM meta WHERE name = 'redated')"
                ).fetchone()
                if state != self._state:
                    self._load(connection, redated=self._state[2:] != state[2:])
                    self._state = state
            finally:
                connection.execute("COMMIT")
            return list(self._segments.values()), self._tail

    def _load(self, connection: sqlite3.Connection, *, redated: bool) -> None:
        if redated:
            self._segments.clear()
        for (number,) in connection.execute("SELECT id FROM segments").fetchall():
            if number not in self._segments:
                self._segments[number] = _read_segment(connection, number)
        self._tail = _read_tail(connection)


def seal(connection: sqlite3.Connection) -> None:
    """Move the unsealed rows into a new index if there are SEGMENT of them. Runs inside the caller's transaction."""
    if connection.execute("SELECT count(*) FROM vectors").fetchone()[0] < SEGMENT:
        return
    faiss = _faiss()
    tail = _read_tail(connection)
    floats = tail.units
    dimension = floats.shape[1]
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension), dimension, _LISTS, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter = 8
    index.cp.max_points_per_centroid = 64
    index.cp.seed = 1
    step = max(1, len(floats) // (_LISTS * 64))
    index.train(np.ascontiguousarray(floats[::step]))
    index.add(floats)
    connection.execute(
        "INSERT INTO segments(first, last, count, ids, published, data) VALUES(?, ?, ?, ?, ?, ?)",
        (
            int(tail.ids[0]),
            int(tail.ids[-1]),
            len(tail.ids),
            tail.ids.tobytes(),
            tail.published.tobytes(),
            faiss.serialize_index(index).tobytes(),
        ),
    )
    connection.execute("DELETE FROM vectors")


def redate(connection: sqlite3.Connection, first: int, last: int, published: int | None) -> None:
    """Give the passages `first`..`last` a new date wherever sealed indexes keep it."""
    moment = _UNDATED if published is None else published
    touched = connection.execute(
        "SELECT id, ids, published FROM segments WHERE first <= ? AND last >= ?", (last, first)
    ).fetchall()
    for number, id_bytes, date_bytes in touched:
        ids, dates = np.frombuffer(id_bytes, np.int64), np.frombuffer(date_bytes, np.int64).copy()
        dates[(ids >= first) & (ids <= last)] = moment
        connection.execute("UPDATE segments SET published = ? WHERE id = ?", (dates.tobytes(), number))


def _read_segment(connection: sqlite3.Connection, number: int) -> _Segment:
    faiss = _faiss()
    row = connection.execute("SELECT ids, published, data FROM segments WHERE id = ?", (number,)).fetchone()
    index = faiss.deserialize_index(np.frombuffer(row[2], np.uint8))
    index.make_direct_map()  # so that a row can be had by its place
    return _Segment(np.frombuffer(row[0], np.int64), np.frombuffer(row[1], np.int64), index)


def _read_tail(connection: sqlite3.Connection) -> _Tail:
    rows = connection.execute(
        "SELECT v.passage, ifnull(p.published, ?), v.data FROM vectors v JOIN passages p ON p.id = v.passage"
        " ORDER BY v.passage",
        (_UNDATED,),
    ).fetchall()
    data = np.frombuffer(b"".join(row[2] for row in rows), np.int8).reshape(len(rows), -1 if rows else 1)
    ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    return _Tail(ids, np.fromiter((row[1] for row in rows), np.int64, len(rows)), _units(data))


def _place(ids: Ints, passage: int) -> int | None:
    """Where a passage is among `ids`, which are in order."""
    place = int(np.searchsorted(ids, passage))
    return place if place < len(ids) and ids[place] == passage else None


def _search_tail(
    tail: _Tail, queries: NDArray[np.float32], before: int | None, limit: int
) -> list[list[tuple[float, int]]]:
    ids, similar = tail.ids, queries @ tail.units.T
    if before is not None:
        allowed = np.flatnonzero(tail.published < before)
        ids, similar = ids[allowed], similar[:, allowed]
    if not len(ids):
        return [[] for _ in queries]
    count = min(limit, len(ids))
    best = np.argpartition(-similar, count - 1, axis=1)[:, :count]
    return [[(float(similar[row, column]), int(ids[column])) for column in columns] for row, columns in enumerate(best)]


def _search_segment(
    segment: _Segment, queries: NDArray[np.float32], before: int | None, limit: int
) -> list[list[tuple[float, int]]]:
    faiss = _faiss()
    options: dict[str, Any] = {}
    probes = _PROBES
    if before is not None:
        allowed = segment.published < before
        count = int(allowed.sum())
        if not count:
            return [[] for _ in queries]
        if count < len(allowed):
            # The fewer rows pass, the more lists are read: by the root of the share recall is kept (docs/store.md).
            probes = min(_LISTS, int(_PROBES * (len(allowed) / count) ** 0.5))
            options["sel"] = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    similar, places = segment.index.search(queries, limit, params=faiss.SearchParametersIVF(nprobe=probes, **options))
    return [
        [(float(score), int(segment.ids[place])) for score, place in zip(row, column, strict=True) if place >= 0]
        for row, column in zip(similar, places, strict=True)
    ]
