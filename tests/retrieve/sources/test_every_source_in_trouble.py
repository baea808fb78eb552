"""What every source does in trouble, tested on every source that the registry knows: it says so, and keeps its key."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from source_services import Reply
from source_worlds import BOUND, SECRET, Open, article, query_for

from weighup.errors import SourceUnavailable
from weighup.retrieve.sources import available_sources

NAMES = [source.name for source in available_sources() if source.module.startswith("weighup.")]
WITH_KEY = [source.name for source in available_sources() if source.key]
EARLIER = article("earlier", datetime(2024, 5, 29, 8, tzinfo=UTC), "2024-05-29")

TROUBLES = {
    "too many requests": Reply(b"slow down", 429, "text/plain", {"retry-after": "0"}),
    "broken": Reply(b"oops", 500, "text/plain"),
    "a web page": Reply(b"<!doctype html><html><body>Please log in</body></html>", 200, "text/html"),
    "cut off": Reply(b'{"articles": [{"url": "http://exa', 200),
    "another form": Reply(b'[1, "two", null]', 200),
    "silence": 30.0,
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", NAMES)
def test_trouble_is_told_not_hidden(name: str, trouble: str, open_on_loopback: Open) -> None:
    source, service = open_on_loopback(name, [EARLIER], impatient=trouble == "silence")
    service.trouble = TROUBLES[trouble]
    with pytest.raises(SourceUnavailable):
        source.search(query_for(name), before=BOUND)
    if trouble != "silence":
        service.trouble = None
        assert source.search(query_for(name), before=BOUND)


@pytest.mark.parametrize("name", NAMES)
def test_answers_of_the_right_form_with_the_wrong_fields_are_survived(name: str, open_on_loopback: Open) -> None:
    source, service = open_on_loopback(name, [])
    rows = b'[null, 3, {}, {"url": 7, "link": [], "title": {}}, {"url": "javascript:alert(1)", "title": "x"}]'
    fields = ("articles", "claims", "news", "results", "organic", "archived_snapshots")
    body = ", ".join(f'"{name}": {rows.decode()}' for name in fields)
    service.trouble = Reply(f'{{{body}, "query": {{"search": {rows.decode()}}}}}'.encode())
    try:
        found = source.search(query_for(name), before=BOUND)
    except SourceUnavailable:  # saying that it was not understood is right too
        found = []
    assert found == []


@pytest.mark.parametrize("name", WITH_KEY)
def test_the_key_travels_in_a_header_and_shows_nowhere(
    name: str, open_on_loopback: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source, service = open_on_loopback(name, [EARLIER])
    service.trouble = Reply(f'{{"message": "key {SECRET} is not valid"}}'.encode(), 403)
    with pytest.raises(SourceUnavailable, match="403") as raised:
        source.search(query_for(name), before=BOUND)
    service.trouble = None
    source.search(query_for(name), before=BOUND)

    assert SECRET not in f"{raised.value!r} {raised.value.__cause__!r} {caplog.text} {source!r}"
    for asked in service.asked:
        assert SECRET not in f"{asked.path} {asked.params} {asked.body!r}"
        # Pages are other people's: they must not see the key at all.
        assert (SECRET in asked.headers.values()) == (not asked.path.startswith("/page/"))
