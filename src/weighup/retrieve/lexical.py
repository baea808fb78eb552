"""Words in, FTS5 out: how text is indexed, and how a hostile query becomes a safe and quick BM25 search.

Index and queries agree: Latin script is stemmed by SQLite's Porter tokeniser, runs of Han characters become
overlapping bigrams (as Lucene's CJK analyser does). BM25 is FTS5's own, the title counting double.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from weighup.texts import clean

MAX_TERMS = 24
# A query reads at most about this many postings: common words are left out as long as rarer ones are there. Ranking
# costs about 1 microsecond a posting, so this keeps the 95th percentile flat on millions of passages (docs/store.md).
MAX_POSTINGS = 20_000
_MAX_QUERY = 2_000  # characters of a query that are read at all
_MAX_COUNTED = 64  # terms of it that are looked up at all
_HAN_RUN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")
_TERM = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+")  # as the tokeniser cuts them, but "3.5" stays one phrase
# Few, since BM25 weighs common words down by itself: leaving out more of them lost recall (docs/store.md).
_STOP = frozenset(
    "a an and are as at be been but by for from had has have he her his in is it its of on or s she t that the their"
    " they this to was were which who will with".split()
)


def indexed(text: str) -> str:
    """`text` as it goes into the index: Han runs as spaced bigrams, the rest as it is."""
    if text.isascii():
        return text
    return _HAN_RUN.sub(lambda run: f" {' '.join(_bigrams(run.group()))} ", text)


def query_terms(query: str) -> list[str]:
    """Distinct terms of a query worth looking up, in order of appearance; stop words only if there is nothing else."""
    text = clean(query[:_MAX_QUERY])
    latin = _TERM.findall(_HAN_RUN.sub(" ", text.lower()))
    han = [gram for run in _HAN_RUN.findall(text) for gram in _bigrams(run)]
    terms = list(dict.fromkeys([*latin, *han]))
    return ([term for term in terms if term not in _STOP] or terms)[:_MAX_COUNTED]


class TermCounts:
    """How many passages hold a term, counted up to MAX_POSTINGS + 1 and remembered until passages are added, by any
    thread or process."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, str], int] = {}

    def count(self, connection: sqlite3.Connection, terms: Sequence[str]) -> list[int]:
        """The counts of `terms`, in order."""
        # Read before anything is counted: a count may be of more passages than this, never of fewer.
        newest = int(connection.execute("SELECT ifnull(max(id), 0) FROM passages").fetchone()[0])
        return [self._count(connection, newest, term) for term in terms]

    def _count(self, connection: sqlite3.Connection, newest: int, term: str) -> int:
        known = self._counts.get((newest, term))
        if known is None:
            sql = "SELECT count(*) FROM (SELECT rowid FROM words WHERE words MATCH ? LIMIT ?)"
            known = int(connection.execute(sql, (_quoted(term), MAX_POSTINGS + 1)).fetchone()[0])
            if len(self._counts) > 100_000:
                self._counts.clear()
            self._counts[newest, term] = known
        return known


def search(
    connection: sqlite3.Connection, counts: TermCounts, query: str, *, before: int | None, limit: int, enough: int
) -> list[int]:
    """Passage ids by BM25, best first; with `before` only passages dated strictly earlier (undated ones never).

    At most `limit`. Rare terms are tried first; should they find fewer than `enough`, all terms are.
    """
    terms = query_terms(query)
    counted = zip(counts.count(connection, terms), terms, strict=True)
    present = sorted(pair for pair in counted if pair[0])[:MAX_TERMS]
    if not present:
        return []
    rare: list[str] = []
    spent = 0
    for count, term in present:
        if rare and spent + count > MAX_POSTINGS:
            break
        rare.append(term)
        spent += count
    found = _ranked(connection, rare, before, limit, whole=spent <= MAX_POSTINGS)
    if len(found) < min(enough, limit) and len(rare) < len(present):
        found = _ranked(connection, [term for _, term in present], before, limit, whole=True)
    return found


def _ranked(
    connection: sqlite3.Connection, terms: Sequence[str], before: int | None, limit: int, *, whole: bool
) -> list[int]:
    match = " OR ".join(map(_quoted, terms))
    # CROSS JOIN keeps the ranked index as the outer loop: rows come best first and the bound is tested on each until
    # `limit` have passed it, so nothing is lost to the bound however narrow it is.
    bound = "" if before is None else " CROSS JOIN passages p ON p.id = words.rowid AND p.published < :before"
    if whole:
        sql = f"SELECT words.rowid FROM words{bound} WHERE words MATCH :match ORDER BY words.rank LIMIT :limit"
    else:  # one very common term: rank the first that pass the bound rather than hundreds of thousands
        sql = (
            f"SELECT id FROM (SELECT words.rowid AS id, bm25(words, 2.0, 1.0) AS score FROM words{bound}"
            " WHERE words MATCH :match LIMIT :most) ORDER BY score LIMIT :limit"
        )
    values = {"match": match, "before": before, "limit": limit, "most": MAX_POSTINGS}
    return [row[0] for row in connection.execute(sql, values)]


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'


def _bigrams(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]
