"""SearXNG: a metasearch engine that anybody can host; the address comes from the setting `retrieve.searxng_url`.

API: https://docs.searxng.org/dev/search_api.html (`/search?format=json`; the instance must list `json` under
`search.formats`, else it answers 403). `time_range` looks back from today, so it cannot bound a past claim and is left
out; `publishedDate` decides. An instance on the user's own machine needs `retrieve.allow_loopback = true` besides.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from weighup.errors import SettingsError, SourceUnavailable
from weighup.retrieve.sources.dating import moment
from weighup.retrieve.sources.hits import Hit, documents, enough
from weighup.retrieve.sources.replies import fetch, plain, read_object, rows, web_address
from weighup.retrieve.types import Document
from weighup.texts import language

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings


class Searxng:
    """Results of the instance at `base_url`; the first `pages` are read."""

    name = "searxng"

    def __init__(
        self,
        client: WebClient,
        *,
        base_url: str,
        categories: str = "news,general",
        pages: int = 3,
        max_requests: int = 2,
    ) -> None:
        if web_address(base_url) is None:
            raise SettingsError(f"setting retrieve.searxng_url: {base_url[:60]!r} is not an http(s) address")
        self.client = client
        self.base_url = base_url.rstrip("/")
        self.categories = categories
        self.pages = pages
        self.max_requests = max_requests

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """Results published before the bound. Raises SourceUnavailable."""
        params: dict[str, Any] = {
            "q": query,
            "format": "json",
            "categories": self.categories,
            "language": {"en": "en", "zh": "zh", "mixed": "zh"}.get(language(query), "all"),
            "safesearch": 0,
        }
        hits: list[Hit] = []
        for page in range(1, self.max_requests + 1):
            reply = self._ask({**params, "pageno": page})
            found = rows(reply, "results")
            if not found and not hits and (silent := _silent(reply)):
                raise SourceUnavailable(f"searxng found nothing, and these engines did not answer it: {silent}")
            hits += [hit for row in found if (hit := _hit(row)) is not None]
            if not found or enough(hits, before, limit):
                break
        return documents(hits, self.client, before=before, limit=limit, pages=self.pages)

    def _ask(self, params: dict[str, Any]) -> dict[str, Any]:
        try:
            return read_object(self.name, fetch(self.name, self.client, f"{self.base_url}/search", params=params).text)
        except SourceUnavailable as error:
            if "HTTP status 403" in str(error):
                raise SourceUnavailable(
                    "searxng answered 403: let the instance answer JSON (settings.yml, search: formats: [html, json])"
                ) from error
            raise


def _hit(row: dict[str, Any]) -> Hit | None:
    url, title = web_address(row.get("url")), plain(row.get("title"))
    if url is None or not title:
        return None
    published = moment(row.get("publishedDate")) or moment(row.get("pubdate"))
    return Hit(url, title, plain(row.get("content")), published)


def _silent(reply: dict[str, Any]) -> str:
    """The engines that failed, from pairs [name, reason]."""
    pairs = reply.get("unresponsive_engines")
    names = [plain(pair[0]) for pair in pairs if isinstance(pair, list) and pair] if isinstance(pairs, list) else []
    return ", ".join(name for name in names[:5] if name)


def open_source(settings: RetrieveSettings, client: WebClient) -> Searxng:
    """As the registry opens it. Raises SettingsError without an address."""
    if not settings.searxng_url:
        raise SettingsError(
            "source searxng needs its address: set retrieve.searxng_url, for example http://localhost:8888"
        )
    return Searxng(client, base_url=settings.searxng_url)
