"""Which index for passage vectors: build rate, search time, recall and memory of faiss, usearch and hnswlib.

    python benchmarks/vector_index.py [--vectors 32768] [--queries 200] [--out docs/results/vector_index.json]

Vectors are mixtures of the starter pack's (MiniLM, 384 dimensions) with noise. Every index gets the same rows, is built
on one thread and asked on one for 50 neighbours, a query at a time; recall@10 is against exact float search. The
bounded rows ask for neighbours among a tenth and a hundredth of the rows: where a library cannot filter inside the
search, it is asked for ten times as many and its answers are filtered.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from weighup.console import table
from weighup.retrieve.vectors import quantise

DEPTH = 50


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=32_768)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    everything = mixed(asked.vectors + asked.queries)
    rows, queries = everything[: asked.vectors].copy(), everything[asked.vectors :].copy()
    import faiss

    faiss.omp_set_num_threads(1)
    result = [measure(name, build, rows, queries) for name, build in INDEXES.items()]
    columns = list(result[0])
    table(columns, [[row[column] for column in columns] for row in result], title=f"{asked.vectors:,} vectors")
    if asked.out:
        asked.out.write_text(json.dumps({"vectors": asked.vectors, "rows": result}, indent=2) + "\n", encoding="utf-8")


def mixed(count: int) -> Any:
    packed = np.load(io.BytesIO((files("weighup") / "_data" / "starter_pack.npy").read_bytes())).astype(np.float32)
    base = packed / np.linalg.norm(packed, axis=1, keepdims=True)
    chance = np.random.default_rng(0)
    share = chance.uniform(0.6, 1.0, size=(count, 1))
    first, second = (base[chance.integers(len(base), size=count)] for _ in range(2))
    rows = share * first + (1 - share) * second + chance.normal(scale=0.015, size=first.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


Search = Callable[[Any, int], Any]
"""query [d], only the rows below this number -> ids, best first."""


def faiss_ivf(rows: Any, lists: int = 128, probes: int = 24) -> Search:
    import faiss

    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(rows.shape[1]),
        rows.shape[1],
        lists,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.cp.niter, index.cp.max_points_per_centroid = 8, 64
    index.train(np.ascontiguousarray(rows[:: max(1, len(rows) // (lists * 64))]))
    index.add(rows)

    def search(query: Any, below: int) -> Any:
        options: dict[str, Any] = {"nprobe": probes}
        if below < len(rows):
            bits = np.packbits(np.arange(len(rows)) < below, bitorder="little")
            options = {"nprobe": min(lists, probes * len(rows) // below), "sel": faiss.IDSelectorBitmap(bits)}
        return index.search(query[None], DEPTH, params=faiss.SearchParametersIVF(**options))[1][0]

    return search


def faiss_flat(rows: Any) -> Search:
    import faiss

    index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)

    def search(query: Any, below: int) -> Any:
        params = None if below >= len(rows) else faiss.SearchParameters(sel=faiss.IDSelectorRange(0, below))
        return index.search(query[None], DEPTH, params=params)[1][0]

    return search


def usearch_hnsw(rows: Any) -> Search:
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="cos", dtype="i8", connectivity=16, expansion_add=64, expansion_search=64)
    index.add(np.arange(len(rows)), quantise(rows), threads=1)

    def search(query: Any, below: int) -> Any:
        wanted = min(DEPTH * min(10, len(rows) // below), len(rows))
        found = index.search(quantise(query[None])[0], wanted, threads=1).keys.astype(np.int64)
        return found[found < below][:DEPTH]

    return search


def hnswlib_hnsw(rows: Any) -> Search:
    import hnswlib

    index = hnswlib.Index("ip", rows.shape[1])
    index.init_index(len(rows), M=16, ef_construction=64)
    index.add_items(rows, num_threads=1)
    index.set_num_threads(1)

    def search(query: Any, below: int) -> Any:
        wanted = min(DEPTH * min(10, len(rows) // below), len(rows))
        index.set_ef(max(64, wanted))
        found = index.knn_query(query, wanted)[0][0].astype(np.int64)
        return found[found < below][:DEPTH]

    return search


INDEXES: dict[str, Callable[[Any], Search]] = {
    "faiss IVF128 SQ8 (chosen)": faiss_ivf,
    "faiss flat SQ8 (exact scan)": faiss_flat,
    "usearch HNSW16 i8": usearch_hnsw,
    "hnswlib HNSW16 f32": hnswlib_hnsw,
}


def measure(name: str, build: Callable[[Any], Search], rows: Any, queries: Any) -> dict[str, Any]:
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    search = build(rows)
    seconds = time.perf_counter() - began
    row: dict[str, Any] = {
        "index": name,
        "built_per_second": round(len(rows) / seconds),
        "memory_mb": round((psutil.Process().memory_info().rss - before) / 1e6),
    }
    for label, below in (("all", len(rows)), ("tenth", len(rows) // 10), ("hundredth", len(rows) // 100)):
        exact = np.argsort(-(queries @ rows[:below].T), axis=1)[:, :10]
        times, shared = [], 0
        for query, best in zip(queries, exact, strict=True):
            began = time.perf_counter()
            found = search(query, below)
            times.append(time.perf_counter() - began)
            shared += len(set(found[:10].tolist()) & set(best.tolist()))
        row[f"p95_ms_{label}"] = round(float(np.percentile(times, 95)) * 1e3, 2)
        row[f"recall@10_{label}"] = round(shared / (10 * len(queries)), 3)
    return row


if __name__ == "__main__":
    main()
