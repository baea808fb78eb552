"""Fact-check ratings, Serper, Brave, SearXNG and DuckDuckGo: what is asked, paging, and which dates count."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from source_services import Reply, answer_json
from source_worlds import BOUND, Open, article

from weighup.errors import SettingsError, SourceUnavailable
from weighup.retrieve.sources.searxng import Searxng
from weighup.retrieve.web import WebClient

DAY = datetime(2024, 5, 29, 8, tzinfo=UTC)
LATER = datetime(2024, 6, 2, 8, tzinfo=UTC)
# Thirty that the bound forbids, then one that it allows: only paging finds it.
BURIED = [*(article(f"later-{n}", LATER) for n in range(30)), article("buried", DAY)]


def test_factcheck_pages_by_token_and_words_its_ratings(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("factcheck", BURIED[18:])
    (document,) = source.search("dam breach", before=BOUND, limit=5)
    assert [asked.params.get("pageToken") for asked in service.asked] == [None, "5", "10"]
    assert service.asked[0].params["languageCode"] == "en"
    assert document.text.startswith("Rated ‘False’ by Checkers: Reservoir dam breach, buried\nThe claim by Somebody: ")
    assert document.published == DAY


def test_factcheck_dates_by_the_review_not_by_the_claim(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("factcheck", [])
    review = {
        "url": "https://c.example/1",
        "textualRating": "Mostly <b>false</b>",
        "reviewDate": "2024-06-03T00:00:00Z",
    }
    claim = {"text": "The dam broke", "claimDate": "2024-01-01T00:00:00Z", "claimReview": [review]}
    service.trouble = answer_json({"claims": [claim]})
    assert source.search("dam", before=BOUND) == []
    (document,) = source.search("dam")
    assert document.text == "Rated ‘Mostly false’ by c.example: The dam broke"


def test_serper_bounds_by_day_and_pages(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("serper", [*BURIED[:10], BURIED[-1]])
    (document,) = source.search("dam breach", before=BOUND, limit=5)
    assert "buried" in document.text
    asked = service.requests_to("/news")
    assert [request.json["page"] for request in asked] == [1, 2]
    assert asked[0].json["tbs"] == "cdr:1,cd_min:1/1/1970,cd_max:5/30/2024"
    assert asked[0].headers["x-api-key"]


def test_serper_relative_dates_count_for_nothing_unless_the_page_is_dated(open_on_loopback: Open) -> None:
    undated = article("undated", None)
    dated_by_page = article("dated-by-page", None, "2024-05-20")
    source, _ = open_on_loopback("serper", [undated, dated_by_page])
    (document,) = source.search("dam breach", before=BOUND)
    assert "dated-by-page" in document.text
    assert document.published == datetime(2024, 5, 20, 23, 59, 59, tzinfo=UTC)


def test_brave_bounds_by_day_and_pages(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("brave", [*BURIED[:5], BURIED[-1]])
    (document,) = source.search("dam breach", before=BOUND, limit=5)
    assert "buried" in document.text
    asked = service.requests_to("/res/v1/news/search")
    assert [request.params["offset"] for request in asked] == ["0", "1"]
    assert asked[0].params["freshness"] == "1970-01-01to2024-05-30"


def test_brave_keeps_to_the_lengths_the_service_takes(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("brave", [])
    source.search("word " * 300, before=BOUND, limit=1000)
    asked = service.asked[0].params
    assert len(asked["q"].split()) == 50
    assert asked["count"] == "50"


def test_searxng_asks_for_json_and_pages(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("searxng", [*BURIED[:10], BURIED[-1]])
    (document,) = source.search("dam breach", before=BOUND, limit=5)
    assert "buried" in document.text
    asked = [request.params for request in service.requests_to("/search")]
    assert [params["pageno"] for params in asked] == ["1", "2"]
    assert asked[0]["format"] == "json"


def test_searxng_that_may_not_answer_json_says_what_to_set(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("searxng", [])
    service.trouble = Reply(b"Forbidden", 403, "text/html")
    with pytest.raises(SourceUnavailable, match="formats"):
        source.search("dam")


def test_searxng_names_the_engines_that_failed(open_on_loopback: Open) -> None:
    source, _ = open_on_loopback("searxng", [])
    with pytest.raises(SourceUnavailable, match="qwant"):
        source.search("dam")


def test_searxng_address_is_checked(client: WebClient) -> None:
    with pytest.raises(SettingsError, match="searxng_url"):
        Searxng(client, base_url="localhost:8888")


def test_duckduckgo_fetches_a_token_then_pages(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("duckduckgo", BURIED)
    (document,) = source.search("dam breach", before=BOUND, limit=5)
    assert "buried" in document.text
    asked = service.requests_to("/news.js")
    assert [request.params.get("s") for request in asked] == [None, "30"]
    assert {request.params["vqd"] for request in asked} == {"4-123456789"}


def test_duckduckgo_refusal_is_not_mistaken_for_no_results(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("duckduckgo", BURIED)
    service.trouble = Reply(b"", 202, "text/html")
    with pytest.raises(SourceUnavailable, match="202"):
        source.search("dam", before=BOUND)
    service.trouble = None
    service.articles.clear()
    assert source.search("dam", before=BOUND) == []


def test_markup_in_answers_is_dropped(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("brave", [], pages=0)
    row = {
        "url": "https://n.example/1",
        "title": "A <strong>dam</strong> &amp; more",
        "page_age": "2024-05-01T10:00:00",
    }
    row["description"] = "It\u200b <script>broke</script>\n\n here"
    service.trouble = Reply(json.dumps({"results": [row]}).encode())
    (document,) = source.search("dam", before=BOUND)
    assert document.title == "A dam & more"
    assert document.text == "A dam & more. It broke here"


def test_searxng_asked_about_403_is_not_said_to_have_answered_it(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("searxng", [], impatient=True)
    service.trouble = 30.0
    with pytest.raises(SourceUnavailable, match="did not answer"):
        source.search("flight 403")


def test_duckduckgo_follows_no_redirect_past_the_guard(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("duckduckgo", BURIED)
    service.trouble = Reply(b"", 302, "text/html", {"location": f"{service.url}/inside"})
    with pytest.raises(SourceUnavailable, match="302"):
        source.search("dam", before=BOUND)
    assert not service.requests_to("/inside")


def test_halves_of_characters_in_answers_are_dropped(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("brave", [], pages=0)
    rows = [
        {"url": "https://n.example/\ud800", "title": "Dam"},
        {"url": "https://n.example/1", "title": "Dam \udfff breach", "page_age": "2024-05-29T08:00:00"},
    ]
    service.trouble = Reply(json.dumps({"results": rows}).encode())
    assert [document.title for document in source.search("dam")] == ["Dam breach"]
