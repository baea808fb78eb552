"""Google Fact Check Tools: what fact-checkers have already rated (schema.org ClaimReview).

API: https://developers.google.com/fact-check/tools/api/reference/rest/v1alpha1/claims/search
A review's own `reviewDate` counts as published; the date of the claim it reviews says nothing about when the rating
was known. The key travels in the `X-Goog-Api-Key` header, never in an address.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from weighup.dates import is_before
from weighup.retrieve.sources.dating import moment, only_before
from weighup.retrieve.sources.hits import domain
from weighup.retrieve.sources.replies import at, fetch_json, key_from, plain, rows, web_address
from weighup.retrieve.types import Document
from weighup.texts import language

if TYPE_CHECKING:
    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings

KEY = "GOOGLE_FACTCHECK_API_KEY"


class FactCheck:
    """Published ratings of claims like the query. `max_pages` bounds the requests of one search."""

    name = "factcheck"

    def __init__(
        self,
        client: WebClient,
        *,
        base_url: str = "https://factchecktools.googleapis.com",
        max_pages: int = 3,
    ) -> None:
        self.client = client
        self.base_url = base_url.rstrip("/")
        self.max_pages = max_pages
        self._key = key_from(KEY, self.name)

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """Ratings published before the bound. Raises SourceUnavailable."""
        params: dict[str, Any] = {"query": query, "pageSize": max(1, min(limit, 50))}
        if language(query) in ("en", "zh"):
            params["languageCode"] = language(query)
        found: dict[str, Document] = {}
        for _ in range(self.max_pages):
            reply = fetch_json(
                self.name,
                self.client,
                f"{self.base_url}/v1alpha1/claims:search",
                params=params,
                headers={"X-Goog-Api-Key": self._key},
            )
            for claim in rows(reply, "claims"):
                for review in rows(claim, "claimReview"):
                    document = _document(claim, review)
                    if document is not None and is_before(document.published, before):
                        found.setdefault(document.id, document)
            token = reply.get("nextPageToken")
            if len(found) >= limit or not isinstance(token, str) or not token:
                break
            params["pageToken"] = token
        return only_before(found.values(), before, limit)


def _document(claim: dict[str, Any], review: dict[str, Any]) -> Document | None:
    url, rating = web_address(review.get("url")), plain(review.get("textualRating"))
    if url is None or not rating:
        return None
    source = plain(at(review, "publisher", "name")) or plain(at(review, "publisher", "site")) or domain(url)
    title, said = plain(review.get("title")), plain(claim.get("text"))
    by = plain(claim.get("claimant"))
    text = f"Rated ‘{rating}’ by {source}: {title or said}"
    if title and said:
        text += f"\nThe claim{f' by {by}' if by else ''}: {said}"
    return Document(
        text=text,
        id=url,
        url=url,
        title=title or said or None,
        published=moment(review.get("reviewDate")),
        source=source,
        lang=plain(review.get("languageCode"))[:2] or None,
    )


def open_source(settings: RetrieveSettings, client: WebClient) -> FactCheck:
    """As the registry opens it. Raises SettingsError without a key."""
    return FactCheck(client)
