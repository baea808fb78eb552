"""Words in, FTS5 out: how text is indexed, and how a hostile query becomes a safe and quick BM25 search.

Index and queries agree: Latin script is stemmed by SQLite's Porter tokeniser, runs of Han characters become
overlapping bigrams (as Lucene's CJK analyser does). BM25 is FTS5's own, title and text weighted alike.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from weighup.texts import clean, words

MAX_TERMS = 24
# A query reads at most about this many postings: common words are left out as long as rarer ones are there. It keeps
# the 95th percentile flat on millions of passages and costs no measurable recall (docs/store.md).
MAX_POSTINGS = 20_000
_MAX_QUERY = 5_000  # characters of a query that are read at all
_HAN_RUN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")
_STOP = frozenset(
    "a about above after again against all also am an and any are as at be because been before being below between both"
    " but by can could did do does doing down during each few for from further had has have having he her here hers him"
    " his how i if in into is it its itself just me more most my no nor not now of off on once only or other our ours"
    " out over own said same say says she should so some such than that the their theirs them then there these they"
    " this those through to too under until up very was we were what when where which while who whom why will with"
    " would you your yours".split()
)


def indexed(text: str) -> str:
    """`text` as it goes into the index: Han runs as spaced bigrams, the rest as it is."""
    if text.isascii():
        return text
    return _HAN_RUN.sub(lambda run: f" {' '.join(_bigrams(run.group()))} ", text)


def query_terms(query: str) -> list[str]:
    """Distinct terms of a query worth looking up, in order of appearance; stop words only if there is nothing else."""
    text = clean(query[:_MAX_QUERY])
    latin = words(_HAN_RUN.sub(" ", text))
    han = [gram for run in _HAN_RUN.findall(text) for gram in _bigrams(run)]
    terms = list(dict.fromkeys([*latin, *han]))
    return [term for term in terms if term not in _STOP] or terms[:MAX_TERMS]


class TermCounts:
    """How many passages hold a term, counted up to MAX_POSTINGS + 1 and remembered until the store has changed."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, connection: sqlite3.Connection, term: str) -> int:
        known = self._counts.get(term)
        if known is None:
            sql = "SELECT count(*) FROM (SELECT rowid FROM words WHERE words MATCH ? LIMIT ?)"
            known = int(connection.execute(sql, (_quoted(term), MAX_POSTINGS + 1)).fetchone()[0])
            if len(self._counts) > 100_000:
                self._counts.clear()
            self._counts[term] = known
        return known

    def clear(self) -> None:
        self._counts.clear()


def search(
    connection: sqlite3.Connection, counts: TermCounts, query: str, *, before: int | None, limit: int
) -> list[int]:
    """Passage ids by BM25, best first; with `before` only passages dated strictly earlier (undated ones never).

    Rare terms are tried first. Should they not fill `limit` under the bound, all terms are.
    """
    counted = [(counts.count(connection, term), term) for term in query_terms(query)]
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
    if len(found) < limit and len(rare) < len(present):
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
            f"SELECT id FROM (SELECT words.rowid AS id, bm25(words) AS score FROM words{bound} WHERE words MATCH :match"
            " LIMIT :most) ORDER BY score LIMIT :limit"
        )
    values = {"match": match, "before": before, "limit": limit, "most": MAX_POSTINGS}
    return [row[0] for row in connection.execute(sql, values)]


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'


def _bigrams(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]
