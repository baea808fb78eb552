"""How quick the evidence store is: ingest, search with and without a bound, memory and size.

    python benchmarks/store.py [--passages 1000000] [--queries 300] [--out docs/results/store.json]

Passages are made from the starter pack's Wikipedia sentences: the head of one joined to the tail of another, so that
words are as common and as rare as in print; their vectors are mixed likewise, with noise. Dates are spread over ten
years. Beside the store, in the same run: a plain FTS5 table (insert, and BM25 over all the query's words), and the
HNSW index of usearch (build rate, on at most 65,536 rows). Times are by the clock, and of this thread's processor time
(which a busy machine does not stretch as much); the machine's load is kept with them. Memory is the process's own,
less pages of mapped files.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from weighup.console import table
from weighup.retrieve.lexical import query_terms
from weighup.retrieve.pack import pack_documents
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document
from weighup.retrieve.vectors import quantise
from weighup.retrieve.writer import prepare

FIRST_DAY = datetime(2015, 1, 1, tzinfo=UTC)
DAYS = 3650
BOUNDS = {
    "no bound": None,
    "half": FIRST_DAY + timedelta(days=DAYS // 2),
    "1 %": FIRST_DAY + timedelta(days=DAYS // 100),
}


class Corpus:
    """`count` passages, made anew at each reading from the same seed; `vectors` lie in a file."""

    def __init__(self, count: int, folder: Path) -> None:
        self.count = count
        self._halves: list[tuple[str, str]] = []
        for document in pack_documents():
            item = prepare(document)
            for start, stop in item.spans:
                words = item.text[start:stop].split()
                half = min(len(words) // 2, 12)
                self._halves.append((" ".join(words[:half]), " ".join(words[-half:])))
        chance = np.random.default_rng(7)
        self.heads = chance.integers(len(self._halves), size=count)
        self.tails = chance.integers(len(self._halves), size=count)
        self.days = chance.integers(DAYS, size=count)
        rows = np.load(io.BytesIO((files("weighup") / "_data" / "starter_pack.npy").read_bytes())).astype(np.float32)
        self._base = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        self.vectors: Any = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float16, (count, rows.shape[1]))
        for at in range(0, count, 10_000):
            stop = min(at + 10_000, count)
            self.vectors[at:stop] = self._mixed(self.heads[at:stop], self.tails[at:stop], chance)
        self.vectors.flush()

    def documents(self) -> Iterator[Document]:
        for number in range(self.count):
            text = f"{self._halves[self.heads[number]][0]} {self._halves[self.tails[number]][1]}"
            published = FIRST_DAY + timedelta(days=int(self.days[number]))
            yield Document(f"{text[:185]} ({number})", id=str(number), published=published, source="benchmark")

    def queries(self, count: int) -> tuple[list[str], Any]:
        """Five to fourteen words from a sentence each, and vectors near it."""
        chance = np.random.default_rng(11)
        chosen = chance.integers(len(self._halves), size=count)
        texts = []
        for number in chosen:
            words = " ".join(self._halves[number]).split()
            texts.append(" ".join(words[: int(chance.integers(5, 15))]))
        return texts, self._mixed(chosen, chosen, chance).astype(np.float32)

    def _mixed(self, heads: Any, tails: Any, chance: np.random.Generator) -> Any:
        share = chance.uniform(0.4, 0.6, size=(len(heads), 1)).astype(np.float32)
        noise = chance.normal(scale=0.015, size=(len(heads), self._base.shape[1])).astype(np.float32)
        mixed = share * self._base[heads] + (1 - share) * self._base[tails] + noise
        return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weighup-bench-") as folder:
        result = measure(Path(folder), asked.passages, asked.queries)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, count: int, number: int) -> dict[str, Any]:
    corpus = Corpus(count, folder)
    queries, embedded = corpus.queries(number)
    result: dict[str, Any] = {
        "passages": count,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "ingest": {},
        "search": {},
    }

    result["ingest"]["plain FTS5 (baseline)"] = plain = plain_fts(folder, corpus, queries, result)
    start = memory()
    with EvidenceStore.open(folder / "lexical.sqlite") as store:
        result["ingest"]["store, words"] = ingest(store, corpus, None, start)
        search(store, queries, None, "words", result)
    (folder / "lexical.sqlite").unlink()
    start = memory()
    with EvidenceStore.open(folder / "both.sqlite") as store:
        result["ingest"]["store, words + vectors"] = ingest(store, corpus, corpus.vectors, start)
        began = time.perf_counter()
        store.search(queries[:1], vectors=embedded[:1])
        result["first_search_seconds"] = round(time.perf_counter() - began, 2)
        search(store, queries, embedded, "words + vectors", result)
        result["rss_mb_after_search"] = memory()
    result["ingest"]["usearch HNSW alone (baseline)"] = hnsw(corpus)

    for row in result["ingest"].values():
        row["ratio_to_plain"] = round(row["per_second"] / plain["per_second"], 2)
    table(
        ("ingest", "per second", "ratio", "seconds", "file MB", "memory MB"),
        [
            (name, *(row.get(key) for key in ("per_second", "ratio_to_plain", "seconds", "file_mb", "rss_mb")))
            for name, row in result["ingest"].items()
        ],
        title=f"{count:,} passages",
    )
    table(
        ("search", "p50 ms", "p95 ms", "max ms", "p95 ms of processor", "found"),
        [
            (name, *(row[key] for key in ("p50_ms", "p95_ms", "max_ms", "cpu_p95_ms", "found")))
            for name, row in result["search"].items()
        ],
    )
    print(f"first search with vectors, which loads them: {result['first_search_seconds']} s")
    print(f"memory after searching with vectors: {result['rss_mb_after_search']} MB")
    return result


def ingest(store: EvidenceStore, corpus: Corpus, vectors: Any, start: float) -> dict[str, float]:
    highest = [start]

    def watch(step: int = 1, *, note: str | None = None) -> None:
        highest.append(memory())

    began = time.perf_counter()
    report = store.add(corpus.documents(), vectors=vectors, on_progress=watch)
    seconds = time.perf_counter() - began
    size = sum(part.stat().st_size for part in store.path.parent.glob(store.path.name + "*"))
    return {
        "per_second": round(report.passages / seconds),
        "seconds": round(seconds, 1),
        "file_mb": round(size / 1e6),
        "rss_mb": max(highest),
        "rss_mb_at_half": highest[len(highest) // 2],
    }


def search(store: EvidenceStore, queries: list[str], vectors: Any, name: str, result: dict[str, Any]) -> None:
    for bound, before in BOUNDS.items():
        times, own, found = [], [], 0
        for i, query in enumerate(queries):
            began, worked = time.perf_counter(), time.thread_time()
            [hits] = store.search([query], before=before, vectors=None if vectors is None else vectors[i : i + 1])
            times.append(time.perf_counter() - began)
            own.append(time.thread_time() - worked)
            found += len(hits)
        result["search"][f"store, {name}, {bound}"] = timing(times, found / len(queries), own)


def plain_fts(folder: Path, corpus: Corpus, queries: list[str], result: dict[str, Any]) -> dict[str, float]:
    connection = sqlite3.connect(folder / "plain.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE VIRTUAL TABLE plain USING fts5(text, published UNINDEXED, tokenize='porter unicode61')")
    began = time.perf_counter()
    rows: list[tuple[str, str]] = []
    for document in corpus.documents():
        rows.append((document.text, str(document.published)))
        if len(rows) == 20_000:
            _insert(connection, rows)
    _insert(connection, rows)
    seconds = time.perf_counter() - began
    times, own, found = [], [], 0
    for query in queries:
        match = " OR ".join(f'"{term}"' for term in query_terms(query))
        began, worked = time.perf_counter(), time.thread_time()
        found += len(
            connection.execute("SELECT text FROM plain WHERE plain MATCH ? ORDER BY rank LIMIT 10", (match,)).fetchall()
        )
        times.append(time.perf_counter() - began)
        own.append(time.thread_time() - worked)
    connection.close()
    result["search"]["plain FTS5, all words (baseline)"] = timing(times, found / len(queries), own)
    size = (folder / "plain.sqlite").stat().st_size
    (folder / "plain.sqlite").unlink()
    return {"per_second": round(corpus.count / seconds), "seconds": round(seconds, 1), "file_mb": round(size / 1e6)}


def _insert(connection: sqlite3.Connection, rows: list[tuple[str, str]]) -> None:
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO plain VALUES(?, ?)", rows)
    connection.execute("COMMIT")
    rows.clear()


def hnsw(corpus: Corpus) -> dict[str, float]:
    from usearch.index import Index

    rows = quantise(np.asarray(corpus.vectors[:65_536], dtype=np.float32))
    index = Index(ndim=rows.shape[1], metric="cos", dtype="i8", connectivity=16, expansion_add=64)
    began = time.perf_counter()
    index.add(np.arange(len(rows)), rows)
    seconds = time.perf_counter() - began
    return {"per_second": round(len(rows) / seconds), "seconds": round(seconds, 1)}


def timing(times: list[float], found: float, own: list[float]) -> dict[str, float]:
    milliseconds = np.array(times) * 1e3
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return {
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "max_ms": round(float(milliseconds.max()), 1),
        "cpu_p95_ms": round(float(np.percentile(own, 95)) * 1e3, 1),
        "found": round(found, 1),
    }


def memory() -> float:
    """Megabytes of resident memory that are not pages of mapped files."""
    info = psutil.Process().memory_info()
    return round((info.rss - info.shared) / 1e6)


if __name__ == "__main__":
    main()
