"""Gathering: all sources side by side, none able to leak, repeat, hang or break what the others found."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from source_services import Reply
from source_worlds import BOUND, OPENERS, Open, article, query_for

from weighup.errors import SourceUnavailable
from weighup.retrieve.gather import canonical_url, gather
from weighup.retrieve.types import Document

DAY = datetime(2024, 5, 29, 8, tzinfo=UTC)
LONG = " ".join(f"word{n} the dam broke in the valley of town{n}" for n in range(30))


class Given:
    """A source of another package: answers with what it was given, whatever the bound."""

    def __init__(self, name: str, answer: Sequence[Document] | Callable[[str], Sequence[Document]]) -> None:
        self.name = name
        self.answer = answer
        self.asked: list[tuple[str, datetime | None, int]] = []

    def search(self, query: str, *, before: datetime | None = None, limit: int = 10) -> Sequence[Document]:
        self.asked.append((query, before, limit))
        return self.answer(query) if callable(self.answer) else self.answer


@pytest.fixture
def stuck() -> Iterator[Callable[[str], Sequence[Document]]]:
    """An answer that does not come until the test is over."""
    over = threading.Event()

    def answer(query: str) -> Sequence[Document]:
        over.wait(30)
        return []

    yield answer
    over.set()


def document(text: str, url: str | None = None, published: datetime | None = DAY) -> Document:
    return Document(text=text, url=url, published=published)


def test_a_leaking_plug_in_is_filtered_and_named(caplog: pytest.LogCaptureFixture) -> None:
    leaking = Given(
        "leaky",
        [
            document("tomorrow", "https://a.example/1", BOUND + timedelta(days=1)),
            document("undated", "https://a.example/2", None),
            document("at the bound", "https://a.example/3", BOUND),
            document("earlier", "https://a.example/4"),
        ],
    )
    with caplog.at_level(logging.WARNING):
        found = gather(["dam"], [leaking], before=BOUND)
    assert [d.text for d in found.documents] == ["earlier"]
    assert caplog.text.count("source leaky returned a document published") == 3
    assert leaking.asked == [("dam", BOUND, 20)]


@pytest.mark.parametrize("name", OPENERS)
def test_no_source_of_ours_leaks_through(name: str, open_on_loopback: Open) -> None:
    tomorrow = article("tomorrow", BOUND + timedelta(days=1, hours=2), "2024-06-01")
    source, _ = open_on_loopback(name, [tomorrow, article("undated", None), article("earlier", DAY)])
    found = gather([query_for(name)], [source], before=BOUND)
    assert len(found.documents) == 1
    assert "earlier" in found.documents[0].text
    assert found.documents[0].id.startswith(f"{name}:")
    assert found.unavailable == {}


def test_failures_are_told_and_the_others_go_on(
    open_on_loopback: Open, stuck: Callable[[str], Sequence[Document]], caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(query: str) -> Sequence[Document]:
        raise SourceUnavailable("press answered with HTTP status 429")

    def break_down(query: str) -> Sequence[Document]:
        raise ZeroDivisionError

    gdelt, service = open_on_loopback("gdelt", [])
    service.trouble = Reply(b"no", 500)
    sources = [
        Given("press", refuse),
        Given("broken", break_down),
        Given("slow", stuck),
        Given("odd", [object()]),  # type: ignore[list-item]
        Given("naive", [document("naive", "https://n.example", DAY.replace(tzinfo=None))]),
        gdelt,
        Given("good", [document("earlier", "https://a.example/4")]),
    ]
    found = gather(["dam"], sources, before=BOUND, deadline_seconds=3)
    assert [d.text for d in found.documents] == ["earlier"]
    assert found.unavailable["press"] == "press answered with HTTP status 429"
    assert found.unavailable["broken"] == "broke with ZeroDivisionError; see the log"
    assert found.unavailable["slow"] == "no answer within 3 s"
    assert "500" in found.unavailable["gdelt"]
    assert sorted(found.unavailable) == ["broken", "gdelt", "naive", "odd", "press", "slow"]


def test_at_the_deadline_what_has_arrived_counts(stuck: Callable[[str], Sequence[Document]]) -> None:
    def answer(query: str) -> Sequence[Document]:
        return [document("earlier")] if query == "first" else stuck(query)

    found = gather(["first", "second"], [Given("half", answer)], before=BOUND, deadline_seconds=0.5)
    assert [d.text for d in found.documents] == ["earlier"]
    assert found.unavailable == {"half": "no answer within 0.5 s"}


def test_what_hangs_does_not_keep_the_process_alive(open_on_loopback: Open) -> None:
    _, service = open_on_loopback("gdelt", [article("slow", DAY)])
    service.page_delay = 60.0
    script = f"""
from weighup.retrieve.gather import gather
from weighup.retrieve.sources.gdelt import Gdelt
from weighup.retrieve.web import WebClient
from weighup.settings import RetrieveSettings
client = WebClient(RetrieveSettings(allow_loopback=True, timeout=100))
found = gather(["reservoir dam"], [Gdelt(client, base_url={service.url!r})], deadline_seconds=2)
print(found.unavailable)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=40)
    assert done.stdout == "{'gdelt': 'no answer within 2 s'}\n", done.stderr


def test_one_refused_query_does_not_end_a_source_but_two_do() -> None:
    def answer(query: str) -> Sequence[Document]:
        if query.startswith("bad"):
            raise SourceUnavailable("refused")
        return [document(query)]

    once, twice = Given("once", answer), Given("twice", answer)
    assert [d.text for d in gather(["bad", "good"], [once]).documents] == ["good"]
    assert gather(["bad 1", "bad 2", "good"], [twice]).documents == []
    assert [query for query, *_ in twice.asked] == ["bad 1", "bad 2"]


def test_each_page_and_each_text_once() -> None:
    one = Given("one", [document("A dam broke.", "https://www.a.example/x?utm_source=t&id=7#top")])
    two = Given("two", [document("A dam broke, they say.", "http://a.example/x/?id=7"), document("a  dam broke.")])
    three = Given("three", [document(LONG, "https://b.example/1"), document(f"{LONG} (agency)", "https://c.example/1")])
    texts = [d.text for d in gather(["dam"], [one, two, three]).documents]
    assert texts == ["A dam broke.", LONG]


def test_short_texts_that_differ_in_a_number_are_different_news() -> None:
    source = Given("one", [document("10 dead in dam breach"), document("12 dead in dam breach")])
    assert len(gather(["dam"], [source]).documents) == 2


def test_sources_take_turns_up_to_the_limit() -> None:
    many = [document(f"a{n}") for n in range(5)]
    found = gather(["q"], [Given("a", many), Given("b", [document("b0")])], limit=3)
    assert [d.text for d in found.documents] == ["a0", "b0", "a1"]


def test_addresses_go_to_those_that_take_them_only() -> None:
    plain, reader = Given("plain", []), Given("reader", [])
    reader.takes_addresses = True  # type: ignore[attr-defined]
    found = gather(["dam", " dam ", "", "https://a.example/x"], [plain, reader])
    assert [query for query, *_ in plain.asked] == ["dam"]
    assert [query for query, *_ in reader.asked] == ["https://a.example/x"]
    assert found.queries == ["dam", "https://a.example/x"]
    assert gather(["dam", "https://a.example/x"], [plain]).queries == ["dam"]


def test_credibility_is_set_unless_the_source_knows_better(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("domain,score\nmine.example,0.75\na.example,0.5\n")
    known = Document(text="known", url="https://a.example/1", credibility=0.25)
    answer = [known, document("listed", "https://mine.example/1"), document("unheard of", "https://b.example/1")]
    found = gather(["q"], [Given("s", answer)], credibility_list=own).documents
    assert {d.text: d.credibility for d in found} == {"known": 0.25, "listed": 0.75, "unheard of": None}


def test_nothing_asked_nothing_found() -> None:
    assert gather([], [Given("s", [])]).documents == []
    assert gather(["q"], []).queries == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://www.a.example/x/?utm_campaign=1&fbclid=2", "http://a.example:80/x#part", True),
        ("https://a.example/x?b=2&a=1", "https://a.example/x?a=1&b=2", True),
        ("https://a.example/x?id=1", "https://a.example/x?id=2", False),
        ("https://a.example:8443/x", "https://a.example/x", False),
        ("https://A.example/X", "https://a.example/x", False),
        ("http://[broken", "http://[broken", True),
    ],
)
def test_canonical_addresses(one: str, other: str, same: bool) -> None:
    assert (canonical_url(one) == canonical_url(other)) is same
