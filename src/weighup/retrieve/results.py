"""From fused passage ids to evidence: copies and overlapping windows are dropped, texts fetched for what is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from weighup.retrieve.schema import from_time
from weighup.retrieve.types import Evidence


def evidence_for(
    connection: sqlite3.Connection,
    ranked: Sequence[tuple[int, float]],
    *,
    query: str,
    before: int | None,
    limit: int,
    similarity: Callable[[int], float | None] | None,
) -> list[Evidence]:
    """The first `limit` of `ranked` (passage id, score) that are no copy of, and do not overlap, a better one.

    `similarity` tells the cosine of the query and a passage; None where it is not known.
    """
    places = _places(connection, [passage for passage, _ in ranked])
    document_of: dict[int, int] = {}  # cluster: the one of its documents that is quoted
    taken: dict[int, list[tuple[int, int]]] = {}
    found: list[Evidence] = []
    for passage, score in ranked:
        document, start, stop, published, cluster = places[passage]
        # The scans have applied the bound already; this second look makes a leak impossible rather than unlikely.
        if before is not None and (published is None or published >= before):
            continue
        if document_of.setdefault(cluster, document) != document:
            continue
        if any(start < other_stop and other_start < stop for other_start, other_stop in taken.get(document, ())):
            continue
        taken.setdefault(document, []).append((start, stop))
        text, url, title, source, credibility = connection.execute(
            "SELECT substr(text, ?, ?), url, title, source, credibility FROM documents WHERE id = ?",
            (start + 1, stop - start, document),
        ).fetchone()
        found.append(
            Evidence(
                text=text,
                origin="store",
                url=url,
                title=title,
                published=from_time(published),
                source=source,
                credibility=credibility,
                score=round(score, 6),
                query=query,
                similarity=similarity(passage) if similarity is not None else None,
            )
        )
        if len(found) == limit:
            break
    return found


def _places(
    connection: sqlite3.Connection, passages: Sequence[int]
) -> dict[int, tuple[int, int, int, int | None, int]]:
    sql = (
        "SELECT p.id, p.document, p.start, p.stop, p.published, d.cluster FROM passages p"
        " JOIN documents d ON d.id = p.document WHERE p.id = ?"
    )
    rows = (connection.execute(sql, (passage,)).fetchone() for passage in passages)
    return {row[0]: (row[1], row[2], row[3], row[4], row[5]) for row in rows}
