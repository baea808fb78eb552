"""GDELT DOC 2.0: worldwide online news, found within minutes of publication.

API: https://blog.gdeltproject.org/gdelt-doc-2-0-api-debuts/ (`mode=artlist`, `format=json`, `startdatetime` and
`enddatetime` as YYYYMMDDHHMMSS, both inclusive). `seendate` is when GDELT first saw the article, so it was out by then.
Errors come as plain text with status 200, and titles may hold backslashes that are no JSON escapes: both are read here.
All words of a query must appear in an article, so short queries find more.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from weighup.dates import is_before
from weighup.errors import SourceUnavailable
from weighup.retrieve.pacing import Pacer
from weighup.retrieve.sources.dating import last_moment, moment
from weighup.retrieve.sources.hits import Hit, documents
from weighup.retrieve.sources.replies import fetch, plain, read_object, rows, web_address
from weighup.retrieve.types import Document
from weighup.texts import language, shorten

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings

_BAD_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|(.?))', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
# GDELT reads these as operators: phrases, groups, exclusion, `sourcelang:` and the like.
_OPERATOR = re.compile(r"[\"'()\[\]<>:;/\\|*?#&+=~^%-]+|\bOR\b|\bAND\b|\bNOT\b")
_LANGUAGES = {"English": "en", "Chinese": "zh"}
# "The specified phrase is too short.": GDELT refuses words of fewer letters than this.
_SHORTEST = 3


class Gdelt:
    """Articles of the `window` before the bound (GDELT's own default is three months), best match first.

    GDELT refuses those who ask more than once in five seconds, hence `per_second`, for all threads together.
    """

    name = "gdelt"

    def __init__(
        self,
        client: WebClient,
        *,
        base_url: str = "https://api.gdeltproject.org",
        window: timedelta = timedelta(days=90),
        pages: int = 3,
        per_second: float = 0.2,
    ) -> None:
        self.client = client
        self.base_url = base_url.rstrip("/")
        self.window = window
        self.pages = pages
        self._pacer = Pacer(per_second)

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """Articles seen before the bound; the first `pages` are read. Raises SourceUnavailable."""
        asked = self._query(query)
        if not asked:
            return []
        params: dict[str, Any] = {
            "query": asked,
            "mode": "artlist",
            "format": "json",
            "sort": "hybridrel",
            "maxrecords": max(1, min(limit * 2, 250)),
        }
        if before is not None:
            last = last_moment(before)
            params["startdatetime"] = (last - self.window).strftime("%Y%m%d%H%M%S")
            params["enddatetime"] = last.strftime("%Y%m%d%H%M%S")
        with self._pacer.turn(self.name):
            reply = fetch(self.name, self.client, f"{self.base_url}/api/v2/doc/doc", params=params)
        hits = [hit for row in rows(self._read(reply.text), "articles") if (hit := _hit(row)) is not None]
        seen = [hit for hit in hits if is_before(hit.published, before)]
        return documents(seen, self.client, before=before, limit=limit, pages=self.pages)

    def _query(self, query: str) -> str:
        words = _OPERATOR.sub(" ", query).split()
        if language(query) not in ("zh", "mixed"):
            words = [word for word in words if len(word) >= _SHORTEST]
        return " ".join(words)[:200].strip()

    def _read(self, text: str) -> dict[str, Any]:
        body = text.lstrip("\ufeff \r\n\t")
        if not body:
            return {}  # GDELT's way of saying that nothing matched
        if not body.startswith("{"):
            said = "a web page" if body.startswith("<") else repr(shorten(plain(body), 120))
            raise SourceUnavailable(f"gdelt refused the query: {said}")
        # Raw control characters and stray backslashes inside titles are GDELT's; JSON knows neither.
        return read_object(self.name, _BAD_ESCAPE.sub(_escape, _CONTROL.sub(" ", body)))


def _escape(match: re.Match[str]) -> str:
    return match[0] if match[1] else "\\\\" + (match[2] or "")


def _hit(row: dict[str, Any]) -> Hit | None:
    url, title = web_address(row.get("url")), plain(row.get("title"))
    if url is None or not title:
        return None
    return Hit(
        url=url,
        # GDELT sets punctuation apart: "Biden , Xi meet".
        title=re.sub(r" ([,.;:?!])", r"\1", title),
        published=moment(row.get("seendate")),
        source=plain(row.get("domain")),
        lang=_LANGUAGES.get(plain(row.get("language"))),
    )


def open_source(settings: RetrieveSettings, client: WebClient) -> Gdelt:
    """As the registry opens it."""
    return Gdelt(client)
