"""Documents into the store's tables, one transaction a batch: cleaned, compared with what is there, cut, indexed.

A copy of a document already kept is not kept again. The earliest known date of a text counts: an exact copy dated
earlier re-dates the one kept; a *near*-copy dated earlier is kept beside it, in the same cluster, since giving its
date to the other's words would let later words pass for earlier ones.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weighup.retrieve import dedupe, vectors
from weighup.retrieve.chunks import windows
from weighup.retrieve.lexical import indexed
from weighup.retrieve.schema import to_time
from weighup.retrieve.types import Document
from weighup.texts import clean

_CANDIDATES = 16  # near-copies looked at for one document


@dataclass(slots=True)
class AddReport:
    """What became of the documents: each is one of added, duplicates, near_duplicates or empty.

    `redated` counts duplicates that gave the kept copy an earlier date; `undated` those added without any.
    """

    added: int = 0
    passages: int = 0
    vectors: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    redated: int = 0
    undated: int = 0
    empty: int = 0

    @property
    def seen(self) -> int:
        """Documents read."""
        return self.added + self.duplicates + self.near_duplicates + self.empty


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document ready to be written. `rows` are its passages' int8 vectors [n, d], None when it has none."""

    document: Document
    text: str
    title: str
    hash: bytes
    published: int | None
    spans: list[tuple[int, int]]
    rows: NDArray[np.int8] | None = field(default=None)

    def passages(self) -> list[str]:
        """The texts an encoder is to see, in order: each passage under its document's title."""
        return [titled(self.title, self.text[start:stop]) for start, stop in self.spans]


def titled(title: str | None, passage: str) -> str:
    """A passage as it is encoded. Sentences say "he" and "the film"; the title says who and which."""
    return f"{title}: {passage}" if title else passage


def prepare(document: Document) -> Prepared:
    """Clean and cut one document; one without any text has no spans."""
    text = _storable(clean(document.text))
    title = _storable(clean(document.title)) if document.title else ""
    return Prepared(document, text, title, dedupe.content_hash(text), to_time(document.published), windows(text))


def known(connection: sqlite3.Connection, prepared: Iterable[Prepared]) -> set[bytes]:
    """Hashes of those whose text the store has already."""
    sql = "SELECT hash FROM documents WHERE hash = ?"
    return {item.hash for item in prepared if connection.execute(sql, (item.hash,)).fetchone()}


def write(connection: sqlite3.Connection, batch: Sequence[Prepared], report: AddReport) -> None:
    """Add a batch inside the caller's transaction, counting into `report`."""
    document_id = _next(connection, "documents")
    passage_id = _next(connection, "passages")
    words: list[tuple[int, str, str]] = []
    rows: list[tuple[int, bytes]] = []
    for item in batch:
        if not item.spans:
            report.empty += 1
            continue
        # Documents are written one by one because later ones of the batch are compared with them.
        same = connection.execute(
            "SELECT id, published, first, passages FROM documents WHERE hash = ?", (item.hash,)
        ).fetchone()
        if same is not None:
            report.duplicates += 1
            report.redated += _redate(connection, item, *same)
            continue
        cluster, covered = _near(connection, item, document_id)
        if covered:
            report.near_duplicates += 1
            continue
        connection.execute(
            "INSERT INTO documents VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (document_id, item.hash, cluster, passage_id, len(item.spans), *_described(item), item.text),
        )
        for start, stop in item.spans:
            connection.execute(
                "INSERT INTO passages VALUES(?, ?, ?, ?, ?)", (passage_id, document_id, start, stop, item.published)
            )
            words.append((passage_id, indexed(item.title), indexed(item.text[start:stop])))
            passage_id += 1
        if item.rows is not None:
            rows += [(passage_id - len(item.spans) + i, row.tobytes()) for i, row in enumerate(item.rows)]
        report.added += 1
        report.undated += item.published is None
        document_id += 1
    connection.executemany("INSERT INTO words(rowid, title, text) VALUES(?, ?, ?)", words)
    connection.executemany("INSERT INTO vectors VALUES(?, ?)", rows)
    report.passages += len(words)
    report.vectors += len(rows)
    vectors.seal(connection)


def _near(connection: sqlite3.Connection, item: Prepared, document_id: int) -> tuple[int, bool]:
    """The cluster this document belongs to, and whether a copy no later than it is kept already."""
    shingled = dedupe.shingles(item.text)
    if not len(shingled):
        return document_id, False
    keys = dedupe.bands(shingled)
    marks = ", ".join("?" * len(keys))
    candidates = connection.execute(
        f"SELECT DISTINCT document FROM bands WHERE band IN ({marks}) LIMIT {_CANDIDATES}", keys
    ).fetchall()
    cluster = document_id
    for (candidate,) in candidates:
        text, published, of = connection.execute(
            "SELECT text, published, cluster FROM documents WHERE id = ?", (candidate,)
        ).fetchone()
        if dedupe.jaccard(shingled, dedupe.shingles(text)) < dedupe.THRESHOLD:
            continue
        cluster = of
        if item.published is None or (published is not None and published <= item.published):
            return cluster, True
    connection.executemany("INSERT OR IGNORE INTO bands VALUES(?, ?)", [(key, document_id) for key in keys])
    return cluster, False


def _redate(
    connection: sqlite3.Connection, item: Prepared, document: int, published: int | None, first: int, count: int
) -> bool:
    """Take over date and origin of an exact copy published earlier; say whether it was one."""
    if item.published is None or (published is not None and published <= item.published):
        return False
    connection.execute(
        "UPDATE documents SET published = ?, credibility = ?, lang = ?, source = ?, key = ?, url = ?, title = ?"
        " WHERE id = ?",
        (*_described(item), document),
    )
    last = first + count - 1
    connection.execute("UPDATE passages SET published = ? WHERE id BETWEEN ? AND ?", (item.published, first, last))
    vectors.redate(connection, first, last, item.published)
    connection.execute(
        "INSERT INTO meta VALUES('redated', '1') ON CONFLICT(name) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )
    return True


def _described(item: Prepared) -> tuple[object, ...]:
    document = item.document
    return (
        item.published,
        document.credibility,
        document.lang,
        _storable(document.source),
        _storable(document.id),
        _storable(document.url) if document.url else None,
        item.title or None,
    )


def _next(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT ifnull(max(id), 0) + 1 FROM {table}").fetchone()[0])


def _storable(text: str) -> str:
    """Without lone surrogates, which no UTF-8 file can hold."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")
