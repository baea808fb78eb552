"""The Wayback Machine: the last capture before the bound, and never a later one it redirects to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from source_services import Article, Asked, Reply, Service, answer_json, html_page
from source_worlds import BOUND, Open, article

from weighup.retrieve.sources.wayback import Wayback
from weighup.retrieve.web import WebClient

URL = "https://site.example/story"


def test_the_last_capture_before_the_bound_is_read_raw(open_on_loopback: Open) -> None:
    captures = [article(f"c{day}", datetime(2024, 5, day, 6, 30, tzinfo=UTC)) for day in (3, 20)]
    captures.append(article("after", datetime(2024, 7, 1, tzinfo=UTC)))
    source, service = open_on_loopback("wayback", captures)
    document = source.archived(URL, BOUND)
    assert document.published == datetime(2024, 5, 20, 6, 30, tzinfo=UTC)
    assert "c20" in document.text
    assert document.url == f"{service.url}/web/20240520063000/{URL}"
    assert document.source == "site.example"
    near, index, page = service.asked
    assert near.params == {"url": URL, "timestamp": "20240530235959"}
    assert index.params["to"] == "20240530235959"
    assert index.params["limit"] == "-1"
    assert page.path == f"/web/20240520063000id_/{URL}"


def test_a_near_enough_capture_spares_the_index(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("wayback", [article("near", datetime(2024, 5, 30, 6, tzinfo=UTC))])
    assert source.archived(URL, BOUND) is not None
    assert not service.requests_to("/cdx")


@pytest.mark.parametrize("target", ["/web/20240701000000id_/x", "/live"])
def test_a_redirect_to_a_later_capture_or_out_of_the_archive_is_no_answer(target: str, client: WebClient) -> None:
    def answer(service: Service, asked: Asked) -> Reply:
        if asked.path == "/wayback/available":
            closest = {"status": "200", "available": True, "timestamp": "20240520063000"}
            return answer_json({"archived_snapshots": {"closest": closest}})
        if asked.path.startswith("/web/20240520063000"):
            return Reply(b"", 302, "text/plain", {"location": f"{service.url}{target}"})
        return Reply(html_page(Article("x", "Later", "What became known later.", None)), kind="text/html")

    service = Service(answer, [])
    assert Wayback(client, base_url=service.url, archive_url=service.url).archived(URL, BOUND) is None
    service.close()


@pytest.mark.parametrize("index", [b"[]", b"", b'[["timestamp"]]', b'[["timestamp"], ["x"], [20240701000000]]'])
def test_never_captured(index: bytes, client: WebClient) -> None:
    def answer(service: Service, asked: Asked) -> Reply:
        if asked.path == "/wayback/available":
            return answer_json({"url": URL, "archived_snapshots": {}})
        return Reply(index)

    service = Service(answer, [])
    assert Wayback(client, base_url=service.url, archive_url=service.url).archived(URL, BOUND) is None
    service.close()


def test_only_queries_with_addresses_are_answered(open_on_loopback: Open) -> None:
    source, service = open_on_loopback("wayback", [article("near", datetime(2024, 5, 30, 6, tzinfo=UTC))])
    assert source.search("dam breach", before=BOUND) == []
    assert not service.asked
    assert len(source.search(f"See {URL}, and {URL}!", before=BOUND)) == 1


def test_a_page_elsewhere_with_the_archives_kind_of_path_is_no_capture(client: WebClient) -> None:
    today = Service(
        lambda *_: Reply(html_page(Article("x", "Now", "What is known today.", None)), kind="text/html"), []
    )

    def answer(service: Service, asked: Asked) -> Reply:
        if asked.path == "/wayback/available":
            closest = {"status": "200", "available": True, "timestamp": "20240520063000"}
            return answer_json({"archived_snapshots": {"closest": closest}})
        return Reply(b"", 302, "text/plain", {"location": f"{today.url}/web/20240101000000/x"})

    service = Service(answer, [])
    assert Wayback(client, base_url=service.url, archive_url=service.url).archived(URL, BOUND) is None
    today.close()
    service.close()
