"""Wikipedia: the revision in force just before the bound, in the query's language, as text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from source_services import Asked, Reply, Service, answer_json
from source_worlds import BOUND, Open, article

from weighup.errors import SourceUnavailable
from weighup.retrieve.sources.wikipedia import Wikipedia
from weighup.retrieve.web import WebClient

DAY = datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_asks_for_the_last_revision_before_the_bound(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("wikipedia", [article("dam", DAY)])
    (document,) = source.search("dam breach", before=BOUND)
    search, revision = service.asked
    assert search.params["list"] == "search"
    assert search.params["srsearch"] == "dam breach"
    assert {name: revision.params[name] for name in ("rvstart", "rvdir", "rvlimit", "rvslots", "pageids")} == {
        "rvstart": "2024-05-30T23:59:59Z",
        "rvdir": "older",
        "rvlimit": "1",
        "rvslots": "main",
        "pageids": "1",
    }
    assert document.published == DAY
    assert document.url == f"{service.url}/w/index.php?title=Reservoir+dam+breach%2C+dam&oldid=1001"
    assert document.source == "Wikipedia"
    assert "{{" not in document.text
    assert "'''" not in document.text


def test_without_a_bound_asks_for_the_latest(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("wikipedia", [article("dam", DAY)])
    source.search("dam breach")
    assert "rvstart" not in service.asked[1].params


def test_each_language_has_its_edition(client: WebClient) -> None:
    source = Wikipedia(client)
    assert source._base("zh") == "https://zh.wikipedia.org"
    service = Service(lambda _, asked: answer_json({"query": {"search": []}}), [])
    Wikipedia(client, base_url=service.url + "/{lang}").search("北京的水库")
    Wikipedia(client, base_url=service.url + "/{lang}").search("reservoir")
    service.close()
    assert [asked.path for asked in service.asked] == ["/zh/w/api.php", "/en/w/api.php"]


def revisions(page: dict[str, Any]) -> Service:
    def answer(service: Service, asked: Asked) -> Reply:
        if asked.params.get("list") == "search":
            return answer_json({"query": {"search": [{"title": "T", "pageid": 5}]}})
        return answer_json({"query": {"pages": [page]}})

    return Service(answer, [])


@pytest.mark.parametrize(
    "page",
    [
        {"pageid": 5, "title": "T"},  # the page is younger than the bound: no revisions at all
        {"pageid": 5, "title": "T", "missing": True},
        {"pageid": 5, "title": "T", "revisions": [{"revid": 1, "timestamp": "2024-01-01T00:00:00Z"}]},
        {"revisions": [{"revid": 1, "timestamp": "2024-01-01T00:00:00Z", "slots": {"main": {"texthidden": True}}}]},
        {"revisions": [{"timestamp": "2024-01-01T00:00:00Z", "slots": {"main": {"content": "#REDIRECT [[X]]"}}}]},
    ],
)
def test_no_usable_revision_no_document(page: dict[str, Any], client: WebClient) -> None:
    service = revisions(page)
    assert Wikipedia(client, base_url=service.url).search("dam", before=BOUND) == []
    service.close()


def test_an_error_with_status_200_is_an_error(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("wikipedia", [article("dam", DAY)])
    service.trouble = Reply(json.dumps({"error": {"code": "maxlag", "info": "Waiting for a server"}}).encode())
    with pytest.raises(SourceUnavailable, match="maxlag"):
        source.search("dam", before=BOUND)
