"""The evidence store: documents in one SQLite file, found by BM25 and by vectors, fused by reciprocal rank.

Reading and writing go side by side (WAL): one writer at a time, any number of threads and processes searching.
Every search takes `before`, an exclusive bound that is applied inside the index scans; undated documents are kept and
are never returned under a bound.
"""

from __future__ import annotations

import functools
import json
import logging
import queue
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from weighup.console import Advance
from weighup.dates import iso
from weighup.errors import InvalidInput, StoreError
from weighup.models.types import Encoder
from weighup.retrieve import lexical, schema, writer
from weighup.retrieve.fusion import fuse
from weighup.retrieve.results import evidence_for
from weighup.retrieve.types import Document, Evidence
from weighup.retrieve.vectors import HandedRows, VectorIndex
from weighup.retrieve.writer import AddReport, Prepared

log = logging.getLogger(__name__)

_BATCH = 20_000  # passages in one transaction
_BATCH_ENCODED = 512  # fewer when each must be encoded, so that little is lost to Ctrl-C
_BATCH_CHARACTERS = 32_000_000
_DEPTH = 50  # of each list that is fused
_GIVEN = "given"


class EvidenceStore:
    """Open with `EvidenceStore.open`; close, or use as a context manager. Safe to share between threads."""

    def __init__(self, path: Path, encoder: Encoder | None, temporary: tempfile.TemporaryDirectory[str] | None) -> None:
        self.path = path
        self.encoder = encoder
        self._temporary = temporary
        self._lock = threading.Lock()  # one writer
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._vectors = VectorIndex()
        self._counts = lexical.TermCounts()
        self._warned = False
        self._closed = False
        self._writer = self._connect()

    @classmethod
    def open(
        cls, path: Path | str | None = None, *, encoder: Encoder | None = None, create: bool = True
    ) -> EvidenceStore:
        """Open the store in file `path`, making it if `create`; None: a temporary one that ends with `close`.

        Without `encoder` nothing is embedded and searching is lexical, unless vectors are handed in.
        Raises StoreError naming the file for one that is damaged, newer, another program's or not writable.
        """
        if path is None:
            temporary = tempfile.TemporaryDirectory(prefix="weighup-store-")
            return cls(Path(temporary.name) / "evidence.sqlite", encoder, temporary)
        path = Path(path)
        if path.is_dir():
            raise StoreError(f"{path}: is a folder; name a file in it, such as {path / 'evidence.sqlite'}")
        if not path.exists():
            if not create:
                raise StoreError(f"{path}: there is no evidence store; make one with `weighup store add FILES…`")
            with schema.explained(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        return cls(path, encoder, None)

    def add(
        self,
        documents: Iterable[Document],
        *,
        vectors: NDArray[np.float32] | None = None,
        made_by: str | None = None,
        on_progress: Advance | None = None,
    ) -> AddReport:
        """Add documents from any iterable, holding a batch of them in memory at a time.

        Adding the same again changes nothing. `vectors` float32 [passages, d] are rows for the passages of all the
        documents in their order (one row a document where each is a single passage), `made_by` the encoder's label;
        without them the store's encoder embeds. A batch is written whole or not at all; on an error what earlier
        batches wrote is kept. Raises StoreError, and InvalidInput if `vectors` do not fit.
        """
        report = AddReport()
        rows = None if vectors is None else HandedRows(vectors)
        if rows is not None or self.encoder is not None:
            dimension = rows.dimension if rows is not None else self.encoder.dimension  # type: ignore[union-attr]
            self._agree_on_vectors(made_by or self._label() or _GIVEN, dimension)
        for batch in self._batches(documents, small=rows is None and self.encoder is not None):
            before = report.seen
            if rows is not None:
                batch = [_with_rows(item, rows.take(len(item.spans))) for item in batch]
            elif self.encoder is not None:
                batch = self._embedded(batch, self.encoder)
            with schema.explained(self.path), self._lock, schema.transaction(self._open_writer()):
                writer.write(self._writer, batch, report)
            if on_progress is not None:
                on_progress(report.seen - before)
        if rows is not None and rows.left:
            raise InvalidInput(f"vectors: {rows.left} rows are left over; one row belongs to each passage, in order")
        return report

    def search(
        self,
        queries: Sequence[str],
        *,
        before: datetime | None = None,
        limit: int = 10,
        vectors: NDArray[np.float32] | None = None,
    ) -> list[list[Evidence]]:
        """For each query at most `limit` passages, best first, no two of them copies or overlapping.

        `before`: only what was published strictly earlier; undated documents only when it is None.
        `vectors`: float32 [queries, d], the queries' own, instead of asking the store's encoder, if it has one.
        """
        if limit < 1:
            raise InvalidInput(f"limit: {limit} is not a number of passages; use 1 or more")
        if vectors is not None and len(vectors) != len(queries):
            raise InvalidInput(f"vectors: {len(vectors)} rows for {len(queries)} queries")
        bound = schema.to_time(before)
        with self._reader() as connection:
            embedded = self._query_vectors(connection, queries, vectors)
            # Vectors that were handed in may be anyone's: a cosine means something only with the encoder's own.
            own = self.encoder is not None and _meta(connection, "encoder") == self._label()
            rows = [None] * len(queries) if embedded is None else list(embedded[:, None])
            pairs = zip(queries, rows, strict=True)
            return [self._search_one(connection, query, row, bound, limit, own) for query, row in pairs]

    def stats(self) -> dict[str, object]:
        """Counts, dates, sizes and who made the vectors."""
        with self._reader() as connection:
            one = connection.execute(
                "SELECT count(*), count(published), count(DISTINCT cluster), min(published), max(published)"
                " FROM documents"
            ).fetchone()
            passages = connection.execute("SELECT count(*) FROM passages").fetchone()[0]
            vectors = connection.execute(
                "SELECT (SELECT count(*) FROM vectors) + (SELECT ifnull(sum(count), 0) FROM segments)"
            ).fetchone()[0]
            sources = connection.execute(
                "SELECT source, count(*) FROM documents GROUP BY source ORDER BY count(*) DESC, source LIMIT 20"
            ).fetchall()
            encoder = _meta(connection, "encoder")
            size = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            size = size.fetchone()[0]
        return {
            "path": str(self.path),
            "documents": one[0],
            "undated": one[0] - one[1],
            "clusters": one[2],
            "passages": passages,
            "vectors": vectors,
            "encoder": encoder,
            "earliest": _said(one[3]),
            "latest": _said(one[4]),
            "bytes": size,
            "sources": {name or "(none)": count for name, count in sources},
        }

    def documents(self) -> Iterator[Document]:
        """All documents in the order they were added."""
        with self._reader() as connection:
            for row in connection.execute(
                "SELECT text, key, url, title, published, source, lang, credibility FROM documents ORDER BY id"
            ):
                text, key, url, title, published, source, lang, credibility = row
                moment = schema.from_time(published)
                yield Document(text, key, url, title, moment, source, lang, credibility)

    def export(self, out: Path, *, on_progress: Advance | None = None) -> int:
        """Write all documents as JSON lines that `weighup store add` reads back (gzipped if named .gz); their number.

        The file appears whole or not at all.
        """
        import gzip

        part = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
        count = 0
        try:
            with (
                gzip.open(part, "wt", encoding="utf-8")
                if out.suffix == ".gz"
                else part.open("w", encoding="utf-8") as file
            ):
                for document in self.documents():
                    file.write(json.dumps(_row(document), ensure_ascii=False) + "\n")
                    count += 1
                    if on_progress is not None:
                        on_progress(1)
            part.replace(out)
        except OSError as error:
            raise StoreError(f"{out}: cannot be written: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
        return count

    def settle(self) -> None:
        """Merge the word index and write everything into the one file: for a store that is to be moved or read only."""
        with schema.explained(self.path), self._lock:
            self._open_writer().execute("INSERT INTO words(words) VALUES('optimize')")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; a temporary store is gone. Searches under way in other threads end first by themselves."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            while not self._readers.empty():
                self._readers.get_nowait().close()
            self._writer.close()
            if self._temporary is not None:
                self._temporary.cleanup()

    def __enter__(self) -> EvidenceStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _search_one(
        self,
        connection: sqlite3.Connection,
        query: str,
        embedded: NDArray[np.float32] | None,
        before: int | None,
        limit: int,
        tell: bool,
    ) -> list[Evidence]:
        if not query.strip():
            return []
        similarity = functools.partial(self._vectors.similarity, embedded[0]) if tell and embedded is not None else None
        depth, enough = max(_DEPTH, 2 * limit), limit
        while True:
            rankings = [lexical.search(connection, self._counts, query, before=before, limit=depth, enough=enough)]
            if embedded is not None:
                rankings += self._vectors.search(connection, embedded, before=before, limit=depth)
            found = evidence_for(
                connection, fuse(rankings), query=query, before=before, limit=limit, similarity=similarity
            )
            if len(found) >= limit or depth >= 16 * _DEPTH:
                return found
            # Copies and overlaps were dropped after ranking; look wider, then deeper, while there is more to see.
            if enough <= len(rankings[0]) < depth:
                enough = depth
            elif all(len(ranking) < depth for ranking in rankings):
                return found
            else:
                depth, enough = depth * 4, depth * 4

    def _query_vectors(
        self, connection: sqlite3.Connection, queries: Sequence[str], vectors: NDArray[np.float32] | None
    ) -> NDArray[np.float32] | None:
        dimension = _meta(connection, "dimension")
        if dimension is None or not queries:
            return None
        if self.encoder is None and vectors is None:
            return None
        if self.encoder is not None:
            made_by = _meta(connection, "encoder")
            if made_by not in (_GIVEN, self._label()):
                if not self._warned:
                    log.warning(
                        "%s: vectors are by %s, not %s; searching words only", self.path, made_by, self._label()
                    )
                    self._warned = True
                return None
            if vectors is None:
                vectors = self.encoder.encode([query[:2_000] for query in queries])
        assert vectors is not None
        if vectors.shape[1] != int(dimension):
            raise InvalidInput(f"vectors: {vectors.shape[1]} dimensions; those of {self.path} have {dimension}")
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _batches(self, documents: Iterable[Document], *, small: bool) -> Iterator[list[Prepared]]:
        batch: list[Prepared] = []
        passages = characters = 0
        for document in documents:
            item = writer.prepare(document)
            batch.append(item)
            passages += max(1, len(item.spans))
            characters += len(item.text)
            if passages >= (_BATCH_ENCODED if small else _BATCH) or characters >= _BATCH_CHARACTERS:
                yield batch
                batch, passages, characters = [], 0, 0
        if batch:
            yield batch

    def _embedded(self, batch: list[Prepared], encoder: Encoder) -> list[Prepared]:
        """The batch with vectors for every text that is new: encoding is what costs, so copies are left out first."""
        with self._reader() as connection:
            old = writer.known(connection, batch)
        fresh = {item.hash: item for item in batch if item.hash not in old}
        texts = [text for item in fresh.values() for text in item.passages()]
        rows = HandedRows(encoder.encode(texts))
        made = {key: rows.take(len(item.spans)) for key, item in fresh.items()}
        return [_with_rows(item, made[item.hash]) if item.hash in made else item for item in batch]

    def _agree_on_vectors(self, label: str, dimension: int) -> None:
        with schema.explained(self.path), self._lock, schema.transaction(self._open_writer()):
            made_by, size = _meta(self._writer, "encoder"), _meta(self._writer, "dimension")
            if size is None:
                rows = [("encoder", label), ("dimension", str(dimension))]
                self._writer.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", rows)
            elif int(size) != dimension or (made_by != label and _GIVEN not in (made_by, label)):
                raise StoreError(
                    f"{self.path}: holds vectors of {made_by} ({size} dimensions), not of {label} ({dimension}); "
                    "add without vectors (--no-vectors) or to another store"
                )

    def _label(self) -> str | None:
        return None if self.encoder is None else f"{self.encoder.name} {self.encoder.version}"

    def _connect(self) -> sqlite3.Connection:
        with schema.explained(self.path):
            connection = schema.connect(self.path, durable=self._temporary is None)
            try:
                schema.prepare(connection, self.path, uuid.uuid4().hex)
            except BaseException:
                connection.close()
                raise
            return connection

    def _open_writer(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError(f"{self.path}: the store has been closed; open it again")
        return self._writer

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        self._open_writer()
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            with schema.explained(self.path):
                yield connection
        finally:
            if self._closed:
                connection.close()
            else:
                self._readers.put(connection)


def _with_rows(item: Prepared, rows: NDArray[np.int8]) -> Prepared:
    return Prepared(item.document, item.text, item.title, item.hash, item.published, item.spans, rows)


def _meta(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _said(moment: int | None) -> str | None:
    """ISO 8601, exact: to the microsecond where there is one, so that a copy is dated no earlier than its original."""
    published = schema.from_time(moment)
    return published.isoformat() if published is not None and published.microsecond else iso(published)


def _row(document: Document) -> dict[str, object]:
    named = {
        "id": document.id,
        "text": document.text,
        "title": document.title,
        "url": document.url,
        "date": _said(schema.to_time(document.published)),
        "source": document.source,
        "lang": document.lang,
        "credibility": document.credibility,
    }
    return {name: value for name, value in named.items() if value not in (None, "")}


def default_path() -> Path:
    """Where the user's own store is: setting `retrieve.store`, else evidence.sqlite in the user's data folder."""
    import platformdirs

    from weighup.settings import load_settings

    return load_settings().retrieve.store or Path(platformdirs.user_data_dir("weighup")) / "evidence.sqlite"
