"""The database behind a RAG system: how long it takes to build, how large it is, how fast and how exact it answers.

The parts of a vector index that "Retrieval Augmented Generation Evaluation in the Era of Large Language Models" (Gan et
al. 2025, arXiv 2504.20119) lists beside quality. Recall of an approximate index is the share of the k documents of an
exact search that it finds too, as in ANN-Benchmarks (Aumüller, Bernhardsson and Faithfull 2018, arXiv 1807.05614).
Any index can be measured: it is handed over as functions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats
from weighup.metrics.estimate import Estimate, estimated

Index = TypeVar("Index")
Query = TypeVar("Query")
Found = Sequence[Hashable]


@dataclass(frozen=True, slots=True)
class IndexReport:
    """`build_seconds` of one build; `size_bytes`, None where it was not told; latencies of one search in milliseconds,
    over `repeats` rounds of all queries; `recall` in [0, 1] against the exact search, over queries."""

    build_seconds: float
    size_bytes: int | None
    p50_ms: Estimate
    p95_ms: Estimate
    recall: Estimate
    k: int
    repeats: int


def index_report(
    build: Callable[[], Index],
    search: Callable[[Index, Query, int], Found],
    queries: Sequence[Query],
    exact: Callable[[Query, int], Found] | Sequence[Found],
    *,
    k: int = 10,
    size: Callable[[Index], int | Path] | None = None,
    repeats: int = 1,
    warm_up: int = 1,
    draws: int = 1000,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> IndexReport:
    """Build an index once, then search it for every query.

    search(index, query, k) and exact(query, k) -> ids, best first; exact may be the ids themselves, one list a query,
    at least as long as k where there are as many. size(index) -> bytes, or the file or folder that holds them.
    repeats: rounds of all queries that are timed; `warm_up`: rounds before, which are not. Intervals: bootstrap over
    queries, a query's rounds together. clock: seconds. Raises InvalidInput for no queries, k, repeats or draws below 1,
    an exact search that finds nothing for a query, more than k ids back, or an id twice among them.
    """
    if not len(queries):
        raise InvalidInput("queries: there is none; one or more are needed")
    if k < 1 or repeats < 1 or warm_up < 0 or draws < 1:
        raise InvalidInput("k, repeats and draws are 1 or more, warm_up 0 or more")
    if not callable(exact) and len(exact) != len(queries):
        raise InvalidInput(f"exact: {len(exact)} lists of ids for {len(queries)} queries; one a query is needed")
    started = clock()
    index = build()
    took = clock() - started
    for _ in range(warm_up):
        for query in queries:
            search(index, query, k)
    seconds = np.zeros((repeats, len(queries)))
    answers: list[Found] = []
    for each in range(repeats):
        answers = []
        for place, query in enumerate(queries):
            started = clock()
            answers.append(search(index, query, k))
            seconds[each, place] = clock() - started
    recalls = [
        _recall(place, answer, exact(queries[place], k) if callable(exact) else exact[place], k)
        for place, answer in enumerate(answers)
    ]
    timed = seconds.T * 1000  # [queries, repeats], so that a query's rounds are drawn together
    return IndexReport(
        build_seconds=took,
        size_bytes=_bytes(size(index)) if size is not None else None,
        p50_ms=estimated(_median, timed, seed=seed, draws=draws),
        p95_ms=estimated(_p95, timed, seed=seed, draws=draws),
        recall=estimated(_average, np.array(recalls), seed=seed, draws=draws),
        k=k,
        repeats=repeats,
    )


def _recall(place: int, answer: Found, right: Found, k: int) -> float:
    wanted = set(list(right)[:k])
    if not wanted:
        raise InvalidInput(f"exact: nothing is found for query {place}; recall against it is undefined")
    if len(answer) > k or len(set(answer)) < len(answer):
        raise InvalidInput(f"search: query {place}: at most {k} ids, each once, are needed, not {list(answer)[:20]}")
    return len(wanted & set(answer)) / len(wanted)


def _bytes(told: int | Path) -> int:
    if isinstance(told, Path):
        if not told.exists():
            raise InvalidInput(f"size: {told} is not there")
        files = [told] if told.is_file() else [file for file in told.rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files)
    if told < 0 or not math.isfinite(told):
        raise InvalidInput(f"size: a number of bytes is needed, not {told}")
    return int(told)


def _median(timed: Floats) -> float:
    return float(np.median(timed))


def _p95(timed: Floats) -> float:
    return float(np.quantile(timed, 0.95))


def _average(values: Floats) -> float:
    return float(values.mean())
