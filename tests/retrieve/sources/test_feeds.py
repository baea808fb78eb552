"""Feeds: RSS and Atom, ranked by shared words; one broken feed does not silence the others."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from source_services import Asked, Reply, Service
from source_worlds import BOUND, Open, article

from weighup.errors import SettingsError, SourceUnavailable
from weighup.retrieve.sources.feeds import Feeds
from weighup.retrieve.web import WebClient

DAY = datetime(2024, 5, 29, 8, tzinfo=UTC)
ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Atom News</title>
<entry><title>Dam breach: what we know</title><link href="https://n.example/1"/><id>urn:1</id>
<published>2024-05-29T08:00:00Z</published><updated>{updated}</updated>
<content type="html">&lt;p&gt;The &lt;b&gt;reservoir&lt;/b&gt; emptied.&lt;/p&gt;</content></entry></feed>"""


def serving(body: str) -> Service:
    return Service(lambda _, asked: Reply(body.encode(), kind="application/atom+xml"), [])


def test_atom_entries_with_their_content(client: WebClient) -> None:
    service = serving(ATOM.format(updated="2024-05-29T09:30:00Z"))
    (document,) = Feeds(client, urls=[f"{service.url}/atom"]).search("dam breach", before=BOUND)
    service.close()
    assert document.text == "Dam breach: what we know. The reservoir emptied."
    assert document.published == datetime(2024, 5, 29, 9, 30, tzinfo=UTC)
    assert document.source == "Atom News"
    assert document.url == "https://n.example/1"


@pytest.mark.parametrize("updated", ["2024-06-01T09:30:00Z", "2024-05-31", "some day"])
def test_an_entry_revised_after_the_bound_or_nobody_knows_when_is_dropped(updated: str, client: WebClient) -> None:
    service = serving(ATOM.format(updated=updated))
    assert Feeds(client, urls=[service.url]).search("dam breach", before=BOUND) == []
    service.close()


def test_ranked_by_shared_words_and_strangers_left_out(open_on_loopback: Open) -> None:
    source, _ = open_on_loopback("feeds", [article("north", DAY), article("south", DAY)])
    found = source.search("reservoir dam breach south", before=BOUND)
    assert [document.title for document in found] == ["Reservoir dam breach, south", "Reservoir dam breach, north"]
    assert source.search("election fraud ballots", before=BOUND) == []
    assert source.search("the of and", before=BOUND) == []


def test_one_broken_feed_is_logged_and_the_others_answer(client: WebClient, caplog: pytest.LogCaptureFixture) -> None:
    def answer(service: Service, asked: Asked) -> Reply:
        good = ATOM.format(updated="2024-05-29T09:30:00Z").encode()
        return Reply(b"<html>moved</html>", kind="text/html") if asked.path == "/bad" else Reply(good)

    service = Service(answer, [])
    caplog.set_level(logging.WARNING)
    source = Feeds(client, urls=[f"{service.url}/bad", f"{service.url}/good"])
    assert len(source.search("dam breach", before=BOUND)) == 1
    service.close()
    assert "/bad is not an RSS or Atom feed" in caplog.text


def test_addresses_are_checked(client: WebClient) -> None:
    with pytest.raises(SettingsError, match="feeds"):
        Feeds(client, urls=["file:///etc/passwd"])


def test_a_feed_that_is_a_files_name_reads_no_file(client: WebClient, tmp_path: Path) -> None:
    path = tmp_path / "private.xml"
    path.write_text(ATOM.format(updated="2024-05-29T09:30:00Z"))
    service = serving(str(path))
    with pytest.raises(SourceUnavailable, match="not an RSS or Atom feed"):
        Feeds(client, urls=[service.url]).search("dam breach")
    service.close()
