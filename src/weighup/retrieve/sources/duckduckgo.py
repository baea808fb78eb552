"""DuckDuckGo news, through the engine that the library `ddgs` keeps for it.

Library: https://github.com/deedy5/ddgs. DuckDuckGo has no official interface: a search first fetches a token (`vqd`)
from the front page, then `news.js`. `ddgs` speaks that, with its own HTTP client that looks like a browser (others are
turned away), so these requests do not pass through `WebClient`; they go to DuckDuckGo's own host only. Used directly,
its aggregator reports a refusal as "no results"; here the engine is asked itself, so that a refusal is seen as one.
News reach back about a month and cannot be bounded on the service's side; each result's own date decides.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from weighup.dates import is_before
from weighup.errors import SourceUnavailable
from weighup.retrieve.sources.dating import moment
from weighup.retrieve.sources.hits import Hit, documents, enough
from weighup.retrieve.sources.replies import plain, web_address
from weighup.retrieve.types import Document
from weighup.texts import language

if TYPE_CHECKING:
    from ddgs.engines.duckduckgo_news import DuckduckgoNews

    from weighup.retrieve.web import WebClient
    from weighup.settings import RetrieveSettings


class DuckDuckGo:
    """News results; the first `pages` are read. `timeout` in seconds for one request of the library's."""

    name = "duckduckgo"

    def __init__(
        self,
        client: WebClient,
        *,
        base_url: str = "https://duckduckgo.com",
        timeout: float = 10.0,
        pages: int = 3,
        max_requests: int = 2,
    ) -> None:
        self.client = client
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.pages = pages
        self.max_requests = max_requests

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> list[Document]:
        """Results published before the bound. Raises SourceUnavailable."""
        from ddgs.exceptions import DDGSException, TimeoutException

        region = "cn-zh" if language(query) in ("zh", "mixed") else "wt-wt"
        hits: list[Hit] = []
        try:
            engine = _engine(self.base_url, max(1, round(self.timeout)))
            for page in range(1, self.max_requests + 1):
                found = [vars(result) for result in engine.search(query, region=region, page=page) or []]
                hits += [hit for row in found if (hit := _hit(row)) is not None]
                if not found or enough(hits, before, limit):
                    break
        except TimeoutException:
            raise SourceUnavailable(f"duckduckgo did not answer within {self.timeout:g} s") from None
        except DDGSException as error:
            raise SourceUnavailable(
                "duckduckgo could not be reached, or gave no search token; try again later"
            ) from error
        except (ValueError, AttributeError, TypeError) as error:
            # The library parses without checking: junk shows as whatever its first wrong assumption raises.
            raise SourceUnavailable("duckduckgo answered in a form that ddgs does not know; try again later") from error
        dated = [hit for hit in hits if before is None or is_before(hit.published, before)]
        return documents(dated, self.client, before=before, limit=limit, pages=self.pages)


def _engine(base_url: str, timeout: int) -> DuckduckgoNews:
    """The library's engine, aimed at `base_url`, that raises SourceUnavailable for refusals."""
    try:
        from ddgs.engines.duckduckgo_news import DuckduckgoNews
        from ddgs.utils import _extract_vqd
    except ImportError:
        raise SourceUnavailable("the installed ddgs has no DuckDuckGo news engine; install ddgs 9.16") from None

    class Engine(DuckduckgoNews):
        search_url = f"{base_url}/news.js"

        def request(self, *args: Any, **kwargs: Any) -> str:
            response = self.http_client.request(*args, **kwargs)
            if response.status_code != 200:
                raise SourceUnavailable(
                    f"duckduckgo answered with HTTP status {response.status_code}: it turns away frequent callers; "
                    "try again later"
                )
            return str(response.text)

        def _get_vqd(self, query: str) -> str:
            return _extract_vqd(self.request("GET", f"{base_url}/", params={"q": query}).encode(), query)

    engine = Engine(timeout=timeout)
    # A redirect could lead anywhere, past the address guard: it is seen as the refusal that it is.
    engine.http_client.client.follow_redirects = False
    return engine


def _hit(row: dict[str, Any]) -> Hit | None:
    url, title = web_address(row.get("url")), plain(row.get("title"))
    if url is None or not title:
        return None
    return Hit(url, title, plain(row.get("body")), moment(row.get("date")), plain(row.get("source")))


def open_source(settings: RetrieveSettings, client: WebClient) -> DuckDuckGo:
    """As the registry opens it."""
    return DuckDuckGo(client, timeout=settings.timeout)
