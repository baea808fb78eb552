"""Serper: Google's news (or web) results as JSON.

API: https://serper.dev (`POST /news` or `/search`; key in `X-API-KEY`; Google's own `tbs=cdr:1,cd_min:…,cd_max:…`
bounds the days, both inclusive, M/D/YYYY). Results carry a `date` in words. Only absolute ones count ("May 31, 2024");
relative ones ("3 days ago") leave a result undated, to be dated by its page or dropped under a bound.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from weighup.retrieve.sources.dating import last_moment, moment
from weighup.retrieve.sources.hits import Hit, documents, enough
from weighup.retrieve.sources.replies import key_from, plain, post_json, rows, web_address
from weighup.retrieve.types import Document
from weighup.texts import language

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings

KEY = "SERPER_API_KEY"


class Serper:
    """News results (`kind="search"`: web results); the first `pages` are read."""

    name = "serper"

    def __init__(
        self,
        client: WebClient,
        *,
        base_url: str = "https://google.serper.dev",
        kind: Literal["news", "search"] = "news",
        pages: int = 3,
        max_requests: int = 2,
    ) -> None:
        self.client = client
        self.base_url = base_url.rstrip("/")
        self.kind = kind
        self.pages = pages
        self.max_requests = max_requests
        self._key = key_from(KEY, self.name)

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """Results published before the bound. Raises SourceUnavailable."""
        payload: dict[str, Any] = {"q": query, "num": max(10, min(limit, 100))}
        if language(query) in ("zh", "mixed"):
            payload["hl"] = "zh-cn"
        if before is not None:
            last = last_moment(before)
            payload["tbs"] = f"cdr:1,cd_min:1/1/1970,cd_max:{last.month}/{last.day}/{last.year}"
        field = "news" if self.kind == "news" else "organic"
        hits: list[Hit] = []
        for page in range(1, self.max_requests + 1):
            reply = post_json(
                self.name,
                self.client,
                f"{self.base_url}/{self.kind}",
                {**payload, "page": page},
                headers={"X-API-KEY": self._key},
            )
            found = rows(reply, field)
            hits += [hit for row in found if (hit := _hit(row)) is not None]
            if not found or enough(hits, before, limit):
                break
        return documents(hits, self.client, before=before, limit=limit, pages=self.pages)


def _hit(row: dict[str, Any]) -> Hit | None:
    url, title = web_address(row.get("link")), plain(row.get("title"))
    if url is None or not title:
        return None
    return Hit(url, title, plain(row.get("snippet")), moment(row.get("date")), plain(row.get("source")))


def open_source(settings: RetrieveSettings, client: WebClient) -> Serper:
    """As the registry opens it. Raises SettingsError without a key."""
    return Serper(client)
