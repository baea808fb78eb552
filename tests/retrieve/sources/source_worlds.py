"""How each source is aimed at a loopback service, and what is planted there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from source_services import Article, Service

from weighup.retrieve.sources.brave import KEY as BRAVE_KEY
from weighup.retrieve.sources.brave import Brave
from weighup.retrieve.sources.duckduckgo import DuckDuckGo
from weighup.retrieve.sources.factcheck import KEY as FACTCHECK_KEY
from weighup.retrieve.sources.factcheck import FactCheck
from weighup.retrieve.sources.feeds import Feeds
from weighup.retrieve.sources.gdelt import Gdelt
from weighup.retrieve.sources.searxng import Searxng
from weighup.retrieve.sources.serper import KEY as SERPER_KEY
from weighup.retrieve.sources.serper import Serper
from weighup.retrieve.sources.wayback import Wayback
from weighup.retrieve.sources.wikipedia import Wikipedia
from weighup.retrieve.types import Source

KEYS = (FACTCHECK_KEY, SERPER_KEY, BRAVE_KEY)
SECRET = "made-up-key-5f3a9c"
BOUND = datetime(2024, 5, 31, tzinfo=UTC)
QUERY = "reservoir dam breach"

# How each source is aimed at a loopback service. A source that is missing here fails the tests that list all sources.
OPENERS: dict[str, Callable[..., Source]] = {
    "wikipedia": lambda client, url, **more: Wikipedia(client, base_url=url, **more),
    "gdelt": lambda client, url, **more: Gdelt(client, base_url=url, per_second=1000, **more),
    "factcheck": lambda client, url, **more: FactCheck(client, base_url=url, **more),
    "serper": lambda client, url, **more: Serper(client, base_url=url, **more),
    "brave": lambda client, url, **more: Brave(client, base_url=url, **more),
    "searxng": lambda client, url, **more: Searxng(client, base_url=url, **more),
    "duckduckgo": lambda client, url, **more: DuckDuckGo(client, base_url=url, timeout=1, **more),
    "feeds": lambda client, url, **more: Feeds(client, urls=[f"{url}/rss"], **more),
    "wayback": lambda client, url, **more: Wayback(client, base_url=url, archive_url=url, **more),
}

Opened = tuple[Any, Service]
Open = Callable[..., Opened]


def article(slug: str, published: datetime | None, page_date: str | None = None) -> Article:
    """One that answers QUERY, with a text of its own."""
    text = f"The {slug} report: the reservoir dam breach flooded the valley of {slug} and its villages."
    return Article(slug, f"Reservoir dam breach, {slug}", text, published, page_date)


def query_for(name: str) -> str:
    """What to ask that source so that it finds the articles."""
    return "https://site.example/story" if name == "wayback" else QUERY
