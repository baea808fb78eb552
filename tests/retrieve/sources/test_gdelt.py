"""GDELT: bounded queries without operators, plain-text errors, and JSON that is not quite JSON."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from source_services import Reply
from source_worlds import BOUND, Open, article

from weighup.errors import SourceUnavailable

DAY = datetime(2024, 5, 29, 8, 15, tzinfo=UTC)


def test_asks_within_the_window_before_the_bound(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("gdelt", [article("dam", DAY)])
    (document,) = source.search('dam "breach" (near:X) -not a', before=BOUND, limit=5)
    asked = service.requests_to("/api/v2/doc/doc")[0].params
    assert asked["enddatetime"] == "20240530235959"
    assert asked["startdatetime"] == "20240301235959"
    assert asked["mode"] == "artlist"
    assert asked["format"] == "json"
    assert asked["query"] == "dam breach near not"
    assert document.published == DAY
    assert document.source == "news.example"
    assert document.lang == "en"


def test_without_a_bound_the_service_chooses_the_window(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("gdelt", [article("dam", DAY)])
    source.search("dam breach")
    assert "enddatetime" not in service.requests_to("/api/v2/doc/doc")[0].params


@pytest.mark.parametrize(
    "said", ["Your query was too short or too long.", "Please limit requests to one every 5 seconds.", "<html>x</html>"]
)
def test_plain_text_errors_are_told(said: str, open_on_loopback: Open) -> None:
    source, service = open_on_loopback("gdelt", [article("dam", DAY)])
    service.trouble = Reply(said.encode(), 200, "text/html")
    with pytest.raises(SourceUnavailable, match=r"refused the query: ('(Your|Please)|a web page)"):
        source.search("dam breach", before=BOUND)


def test_invalid_escapes_in_titles_are_read(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("gdelt", [], pages=0)
    body = rb'{"articles": [{"url": "http://n.example/a", "title": "A \- \"b\" C:\dam , \u00e9\u12' + b"\t"
    body += rb'", "seendate": "20240529T081500Z", "domain": "n.example", "language": "English"}]}'
    service.trouble = Reply(body)
    (document,) = source.search("dam breach", before=BOUND)
    assert document.title == 'A \\- "b" C:\\dam, é\\u12'


@pytest.mark.parametrize("body", [b"", b"{}", b' \n{"articles": []}'])
def test_nothing_found(body: bytes, open_on_loopback: Open) -> None:
    source, service = open_on_loopback("gdelt", [])
    service.trouble = Reply(body)
    assert source.search("dam breach", before=BOUND) == []


def test_a_query_of_operators_is_not_sent(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("gdelt", [])
    assert source.search('"- (?)', before=BOUND) == []
    assert not service.asked
