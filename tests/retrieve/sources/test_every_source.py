"""What every source promises, tested on every source that the registry knows, each in its own wire format."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from source_worlds import BOUND, Open, article, query_for

from weighup.retrieve.sources import available_sources
from weighup.retrieve.types import Source

NAMES = [source.name for source in available_sources() if source.module.startswith("weighup.")]
# Those that read the pages of what they find.
READERS = ["gdelt", "serper", "brave", "searxng", "duckduckgo"]

EARLIER = article("earlier", datetime(2024, 5, 29, 8, tzinfo=UTC), "2024-05-29")
TOMORROW = article("tomorrow", BOUND + timedelta(days=1, hours=3), "2024-06-01")
AT_THE_BOUND = article("at-the-bound", BOUND, "2024-05-31")
UNDATED = article("undated", None)


@pytest.mark.parametrize("name", NAMES)
def test_tomorrows_news_and_undated_news_cannot_leak(name: str, open_on_loopback: Open) -> None:
    planted = [TOMORROW, UNDATED, AT_THE_BOUND, EARLIER]
    source, service = open_on_loopback(name, planted)

    found = source.search(query_for(name), before=BOUND, limit=10)

    assert [document.published < BOUND for document in found] == [True]
    assert "earlier" in found[0].text
    for document in found:
        shown = f"{document.text} {document.title} {document.url}"
        assert not any(planted.slug in shown for planted in (TOMORROW, UNDATED, AT_THE_BOUND))
    assert service.asked


@pytest.mark.parametrize("name", NAMES)
def test_without_a_bound_all_are_found(name: str, open_on_loopback: Open) -> None:
    source, _ = open_on_loopback(name, [TOMORROW, EARLIER])
    found = source.search(query_for(name), limit=10)
    expected = {"wayback": 1}.get(name, 2)  # one address has one latest capture
    assert len(found) == expected
    assert isinstance(source, Source)
    for document in found:
        assert document.published is not None
        assert document.published.tzinfo is not None
        assert document.text
        assert document.url
        assert document.source


@pytest.mark.parametrize("name", READERS)
def test_a_page_that_says_a_later_date_cannot_leak(name: str, open_on_loopback: Open) -> None:
    rewritten = article("rewritten", datetime(2024, 5, 29, 8, tzinfo=UTC), "2024-06-02")
    source, service = open_on_loopback(name, [rewritten, EARLIER])
    found = source.search(query_for(name), before=BOUND, limit=10)
    assert ["earlier" in document.text for document in found] == [True]
    assert len(service.requests_to("/page/rewritten")) == 1


@pytest.mark.parametrize("name", READERS)
def test_read_pages_give_their_text_and_unread_ones_their_snippet(name: str, open_on_loopback: Open) -> None:
    source, service = open_on_loopback(name, [EARLIER], pages=1)
    assert "Paragraph 3 says so too." in source.search(query_for(name), before=BOUND)[0].text
    source, service = open_on_loopback(name, [EARLIER], pages=0)
    (document,) = source.search(query_for(name), before=BOUND)
    assert "Paragraph" not in document.text
    assert document.text.startswith(EARLIER.title)
    assert not service.requests_to("/page/")


@pytest.mark.parametrize("name", NAMES)
def test_at_most_limit(name: str, open_on_loopback: Open) -> None:
    many = [article(f"number-{n}", datetime(2024, 5, 1, n, tzinfo=UTC)) for n in range(20)]
    source, _ = open_on_loopback(name, many)
    assert len(source.search(query_for(name), before=BOUND, limit=3)) == (1 if name == "wayback" else 3)
    assert source.search(query_for(name), before=BOUND, limit=0) == []
