"""Wikipedia as it stood when the claim was made.

Search: `action=query&list=search`, https://www.mediawiki.org/wiki/API:Search. The index is today's, so each page found
is then read at its last revision before the bound: `prop=revisions` with `rvdir=older` and `rvstart`,
https://www.mediawiki.org/wiki/API:Revisions (which takes one page at a time). A page that did not exist then vanishes.
The revision's wikitext is used, not a rendering: see `wikitext`. The title shown is today's; the text never holds it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from weighup.dates import published_or_none
from weighup.errors import SourceUnavailable
from weighup.retrieve.sources.dating import last_moment, only_before
from weighup.retrieve.sources.replies import at, fetch_json, plain, rows
from weighup.retrieve.sources.wikitext import is_redirect, plain_text
from weighup.retrieve.types import Document
from weighup.texts import language

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings


class Wikipedia:
    """Articles of the language edition the query is written in (English unless Chinese): at most `articles`, since each
    costs a request of its own, and about `max_chars` of each."""

    name = "wikipedia"

    def __init__(
        self,
        client: WebClient,
        *,
        base_url: str = "https://{lang}.wikipedia.org",
        articles: int = 4,
        max_chars: int = 30_000,
    ) -> None:
        self.client = client
        self.base_url = base_url.rstrip("/")
        self.articles = articles
        self.max_chars = max_chars

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """Articles whose text matches, as of `before`. Raises SourceUnavailable."""
        lang = "zh" if language(query) in ("zh", "mixed") else "en"
        limit = min(limit, self.articles)
        # Redirects and pages younger than the bound drop out below, hence a few more than asked for.
        found = self._ask(
            lang, list="search", srsearch=query[:300], srlimit=limit + 5, srnamespace=0, srprop="", srinfo=""
        )
        documents: list[Document] = []
        for hit in rows(found, "query", "search"):
            if len(documents) >= limit:
                break
            document = self._revision(lang, hit.get("pageid"), before)
            if document is not None:
                documents += only_before([document], before, 1)
        return documents

    def _revision(self, lang: str, pageid: Any, before: datetime | None) -> Document | None:
        """The page's last revision before the bound, or None if there was none or it only redirected."""
        if not isinstance(pageid, int):
            return None
        bound = {} if before is None else {"rvstart": last_moment(before).strftime("%Y-%m-%dT%H:%M:%SZ")}
        found = self._ask(
            lang,
            prop="revisions",
            pageids=pageid,
            rvprop="ids|timestamp|content",
            rvslots="main",
            rvlimit=1,
            rvdir="older",
            **bound,
        )
        for page in rows(found, "query", "pages"):
            for revision in rows(page, "revisions"):
                content = at(revision, "slots", "main", "content")
                model = at(revision, "slots", "main", "contentmodel")
                if model not in (None, "wikitext") or not isinstance(content, str):
                    continue  # deleted from the history, or not an article
                text = "" if is_redirect(content) else plain_text(content, self.max_chars)
                if not text:
                    continue
                oldid = revision.get("revid")
                title = plain(page.get("title"))
                return Document(
                    text=text,
                    id=f"wikipedia:{lang}:{oldid}",
                    url=f"{self._base(lang)}/w/index.php?{urlencode({'title': title, 'oldid': oldid})}",
                    title=title or None,
                    published=published_or_none(revision.get("timestamp")),
                    source="Wikipedia",
                    lang=lang,
                )
        return None

    def _ask(self, lang: str, **params: Any) -> dict[str, Any]:
        params = {"action": "query", "format": "json", "formatversion": 2, **params}
        found = fetch_json(self.name, self.client, f"{self._base(lang)}/w/api.php", params=params)
        if "error" in found:  # MediaWiki reports errors with status 200
            raise SourceUnavailable(f"wikipedia refused the request: {plain(at(found, 'error', 'code'))[:60]}")
        return found

    def _base(self, lang: str) -> str:
        return self.base_url.replace("{lang}", lang)


def open_source(settings: RetrieveSettings, client: WebClient) -> Wikipedia:
    """As the registry opens it."""
    return Wikipedia(client)
