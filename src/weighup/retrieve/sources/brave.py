"""Brave Search: an independent web index, news or web.

API: https://api-dashboard.search.brave.com/app/documentation/news-search/get-started (`/res/v1/news/search`, key in
`X-Subscription-Token`, `freshness=YYYY-MM-DDtoYYYY-MM-DD` both inclusive, `offset` counts pages 0 to 9, `count` ≤ 50,
web: ≤ 20). `page_age` is the page's date, UTC without a zone; `age` is relative ("3 days ago") unless it names a day.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from weighup.retrieve.sources.dating import last_moment, moment
from weighup.retrieve.sources.hits import Hit, documents, domain, enough
from weighup.retrieve.sources.replies import at, fetch_json, key_from, plain, rows, web_address
from weighup.retrieve.types import Document
from weighup.texts import language

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings

KEY = "BRAVE_SEARCH_API_KEY"
_LAST_OFFSET = 9


class Brave:
    """News results (`kind="web"`: web results); the first `pages` are read."""

    name = "brave"

    def __init__(
        self,
        client: WebClient,
        *,
        base_url: str = "https://api.search.brave.com",
        kind: Literal["news", "web"] = "news",
        pages: int = 3,
        max_requests: int = 2,
    ) -> None:
        self.client = client
        self.base_url = base_url.rstrip("/")
        self.kind = kind
        self.pages = pages
        self.max_requests = min(max_requests, _LAST_OFFSET + 1)
        self._key = key_from(KEY, self.name)

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """Results published before the bound. Raises SourceUnavailable."""
        most = 50 if self.kind == "news" else 20
        params: dict[str, Any] = {
            # The service refuses more than 400 characters or 50 words.
            "q": " ".join(query.split()[:50])[:400],
            "count": max(1, min(limit, most)),
            "spellcheck": "false",
        }
        if language(query) in ("zh", "mixed"):
            params["search_lang"] = "zh-hans"
        if before is not None:
            params["freshness"] = f"1970-01-01to{last_moment(before).date().isoformat()}"
        path = ("results",) if self.kind == "news" else ("web", "results")
        hits: list[Hit] = []
        for offset in range(self.max_requests):
            reply = fetch_json(
                self.name,
                self.client,
                f"{self.base_url}/res/v1/{self.kind}/search",
                params={**params, "offset": offset},
                headers={"X-Subscription-Token": self._key, "Accept": "application/json"},
            )
            found = rows(reply, *path)
            hits += [hit for row in found if (hit := _hit(row)) is not None]
            # A page shorter than asked for is the last one; asking on costs money.
            if len(found) < params["count"] or enough(hits, before, limit):
                break
        return documents(hits, self.client, before=before, limit=limit, pages=self.pages)


def _hit(row: dict[str, Any]) -> Hit | None:
    url, title = web_address(row.get("url")), plain(row.get("title"))
    if url is None or not title:
        return None
    extra = row.get("extra_snippets")
    snippets = [plain(row.get("description")), *(plain(part) for part in (extra if isinstance(extra, list) else []))]
    return Hit(
        url=url,
        title=title,
        snippet=" ".join(part for part in snippets if part),
        published=moment(row.get("page_age")) or moment(row.get("age")),
        source=plain(at(row, "profile", "long_name")) or domain(url),
    )


def open_source(settings: RetrieveSettings, client: WebClient) -> Brave:
    """As the registry opens it. Raises SettingsError without a key."""
    return Brave(client)
