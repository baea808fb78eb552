"""Watching real feeds on loopback: what is checked, once, and what is not; copies, stories, re-checks, settling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from feed_bodies import rss
from watch_samples import NOON, Clock, WordChecker, WordEncoder
from webserver import LoopbackServer, Request, Response

from weighup.errors import ModelMissing
from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document
from weighup.serve.alerts.policy import outbox
from weighup.serve.db import Database
from weighup.serve.desk import Desk
from weighup.serve.watch.watcher import Watcher
from weighup.settings import load_settings

DATE = "Sun, 10 May 2026 08:00:00 GMT"
TEXTS = (
    "The northern dam broke on Friday and two villages were flooded by the river",
    "Inflation in Norway fell to three per cent in April said the central bank",
    "A vaccine trial in Kenya was halted after nine volunteers became ill",
)


class FeedPages:
    """A feed whose entries can be changed, with an ETag; counts the bytes of bodies sent."""

    def __init__(self, *texts: str) -> None:
        self.entries = [entry(text) for text in texts]
        self.sent = 0

    def __call__(self, request: Request) -> Response:
        body = rss(self.entries)
        etag = f'"{hash(body)}"'
        if request.headers.get("if-none-match") == etag:
            return Response(b"", 304, headers={"ETag": etag})
        self.sent += len(body)
        return Response(body, type="application/rss+xml", headers={"ETag": etag})


def entry(text: str, **changes: Any) -> dict[str, Any]:
    name = f"https://news.example/{abs(hash(text))}"
    return {"guid": name, "link": name, "title": text, "pubDate": DATE, **changes}


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as opened:
        yield opened


class Desks:
    """A watcher with all that it needs, on a clock of its own."""

    def __init__(self, db: Database, checker: WordChecker, **more: Any) -> None:
        self.clock = Clock()
        self.settings = load_settings({"retrieve": {"allow_loopback": True}, "watch": {"console": True}})
        self.encoder = WordEncoder()
        self.checker = checker
        self.desk = Desk(checker, db, alerts=outbox(self.settings), settings=self.settings.watch, clock=self.clock)
        self.more = more
        self.number = 0
        self.watcher = self.new()

    def new(self) -> Watcher:
        """Another watcher, as after a restart."""
        self.number += 1
        more = {"stores": (), **self.more}
        self.watcher = Watcher(
            self.desk, self.settings, f"w{self.number}", encoder=self.encoder, clock=self.clock, **more
        )
        return self.watcher


def add(db: Database, *urls: str, **more: Any) -> None:
    db.feeds.add("", urls, every=900, now=NOON, **more)


def test_each_entry_is_checked_once_and_an_unchanged_feed_sends_nothing(db: Database, server: LoopbackServer) -> None:
    pages = FeedPages(*TEXTS)
    server.routes["/feed"] = pages
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    sent = pages.sent
    assert {claim.text for claim in watched.checker.asked} == set(TEXTS)
    assert {claim.source for claim in watched.checker.asked} == {"North News"}
    watched.clock.forward(minutes=16)
    watched.watcher.once()
    watched.new().once()
    assert (pages.sent, len(watched.checker.asked)) == (sent, 3)
    assert db.verdicts.count("") == {"fake": 3}
    items = db.feeds.items("")
    assert {item.state for item in items} == {"checked"}
    assert {item.verdict_id for item in items} == {one.id for one in db.verdicts.page("").verdicts}
    assert len(db.alerts.take("a", limit=50)) == 3


def test_what_comes_later_is_checked_when_it_comes(db: Database, server: LoopbackServer) -> None:
    pages = FeedPages(TEXTS[0])
    server.routes["/feed"] = pages
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    pages.entries.insert(0, entry(TEXTS[1]))
    watched.watcher.once()
    assert len(watched.checker.asked) == 1  # not due before its time
    watched.clock.forward(minutes=16)
    watched.watcher.once()
    assert [claim.text for claim in watched.checker.asked] == [TEXTS[0], TEXTS[1]]


def test_copies_share_one_verdict_and_what_is_new_of_an_event_is_checked_in_its_story(
    db: Database, server: LoopbackServer
) -> None:
    again = entry(TEXTS[0], guid="https://other.example/9", link="https://other.example/9")
    related = "Two villages were flooded by the river after the northern dam broke on Friday evening said police"
    server.routes["/a"], server.routes["/b"] = FeedPages(TEXTS[0], TEXTS[2]), FeedPages(related)
    server.routes["/b"].entries.insert(0, again)  # type: ignore[union-attr]
    add(db, f"{server.url}/a", f"{server.url}/b")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    assert sorted(claim.text for claim in watched.checker.asked) == sorted([TEXTS[0], TEXTS[2], related])
    by_text: dict[str, list[Any]] = {}
    for item in db.feeds.items(""):
        by_text.setdefault(str(item.title), []).append(item)
    first, copy = sorted(by_text[TEXTS[0]], key=lambda item: item.id)
    assert (first.state, copy.state, copy.copy_of) == ("checked", "skipped", first.id)
    assert copy.verdict_id == first.verdict_id is not None
    assert copy.story_id == first.story_id == by_text[related][0].story_id is not None
    assert by_text[TEXTS[2]][0].story_id != first.story_id
    assert {story.items for story in db.stories.recent("")} == {3, 1}
    assert watched.watcher.counts.copies == 1


def test_stories_and_copies_are_known_after_a_restart(db: Database, server: LoopbackServer) -> None:
    server.routes["/a"], server.routes["/b"] = FeedPages(TEXTS[0]), FeedPages(TEXTS[0])
    server.routes["/b"].entries[0] |= {"guid": "x:9", "link": "https://other.example/9"}  # type: ignore[union-attr]
    add(db, f"{server.url}/a")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    add(db, f"{server.url}/b")
    watched.new().once()
    assert len(watched.checker.asked) == 1
    copy, first = db.feeds.items("")
    assert (copy.copy_of, copy.story_id, copy.verdict_id) == (first.id, first.story_id, first.verdict_id)


def test_an_entry_that_its_feed_rewrites_is_checked_anew(db: Database, server: LoopbackServer) -> None:
    pages = FeedPages(TEXTS[0])
    server.routes["/feed"] = pages
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    corrected = "The northern dam did not break on Friday as the water board has now made clear to us"
    atom = "http://www.w3.org/2005/Atom"
    body = rss([{**pages.entries[0], "title": corrected, "a:updated": "2026-05-10T11:00:00Z"}])
    server.routes["/feed"] = Response(body.replace("<rss ", f'<rss xmlns:a="{atom}" '), type="application/rss+xml")
    watched.clock.forward(minutes=16)
    watched.watcher.once()
    assert [claim.text for claim in watched.checker.asked] == [TEXTS[0], corrected]


def test_what_holds_no_claim_is_skipped_with_the_reason(db: Database, server: LoopbackServer) -> None:
    server.routes["/feed"] = FeedPages("Good morning everyone!", TEXTS[0])
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    skipped = next(item for item in db.feeds.items("") if item.state == "skipped")
    assert (skipped.title, skipped.verdict_id) == ("Good morning everyone!", None)
    assert "greeting" in str(skipped.error)
    assert len(watched.checker.asked) == 1


def test_one_entry_that_breaks_the_checker_costs_only_itself(db: Database, server: LoopbackServer) -> None:
    server.routes["/feed"] = FeedPages(TEXTS[0], "The minister breaks his word on the new railway in May", TEXTS[1])
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    states = {str(item.title)[:12]: (item.state, item.error) for item in db.feeds.items("")}
    assert states["The minister"] == ("failed", "unexpected ValueError: it broke")
    assert sum(state == "checked" for state, _ in states.values()) == 2


def test_without_a_model_nothing_is_used_up(db: Database, server: LoopbackServer) -> None:
    server.routes["/feed"] = FeedPages(*TEXTS)
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    watched.checker.missing = True
    for _ in range(5):
        with pytest.raises(ModelMissing):
            watched.watcher.once()
    watched.checker.missing = False
    watched.watcher.once()
    assert {item.state for item in db.feeds.items("")} == {"checked"}
    assert {story.items for story in db.stories.recent("")} == {1}


def test_a_feed_that_fails_is_backed_off_and_others_go_on(db: Database, server: LoopbackServer) -> None:
    server.routes["/bad"] = Response(b"no feed at all", type="text/plain")
    server.routes["/gone"] = Response(b"", 410)
    server.routes["/good"] = FeedPages(TEXTS[0])
    add(db, *(f"{server.url}/{name}" for name in ("bad", "gone", "good")))
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    feeds = {feed.url.rsplit("/", 1)[1]: feed for feed in db.feeds.watched("")}
    assert (feeds["bad"].errors, feeds["good"].errors) == (1, 0)
    assert "no feed" in str(feeds["bad"].last_error)
    assert (feeds["bad"].next_poll - NOON).total_seconds() == 1800
    assert (feeds["gone"].enabled, feeds["good"].enabled) == (False, True)
    assert len(watched.checker.asked) == 1


def test_two_tenants_watch_one_feed_each_for_itself(db: Database, server: LoopbackServer) -> None:
    server.routes["/feed"] = FeedPages(TEXTS[0])
    db.feeds.add("a", [f"{server.url}/feed"], now=NOON)
    db.feeds.add("b", [f"{server.url}/feed"], now=NOON)
    Desks(db, WordChecker()).watcher.once()
    assert (db.verdicts.count("a"), db.verdicts.count("b")) == ({"fake": 1}, {"fake": 1})
    assert {item.copy_of for tenant in "ab" for item in db.feeds.items(tenant)} == {None}


def test_folders_are_read_for_the_machines_owner_only(db: Database, tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.jsonl").write_text(f'{{"text": "{TEXTS[0]}", "date": "2026-05-09"}}\n')
    add(db, str(tmp_path / "drop"), kind="folder")
    refused = Desks(db, WordChecker())
    refused.watcher.once()
    assert not refused.checker.asked
    watched = Desks(db, WordChecker(), folders=True)
    watched.clock.forward(hours=1)
    watched.watcher.once()
    with (tmp_path / "drop" / "a.jsonl").open("a") as file:
        file.write(f'{{"text": "{TEXTS[1]}"}}\n')
    watched.clock.forward(hours=1)
    watched.watcher.once()
    brought = {(item.text, item.published and item.published.day, item.state) for item in db.feeds.items("")}
    assert brought == {(TEXTS[0], 9, "checked"), (TEXTS[1], None, "checked")}


def test_verdicts_are_checked_again_ever_more_seldom_until_they_settle(db: Database, server: LoopbackServer) -> None:
    server.routes["/feed"] = FeedPages(TEXTS[0])
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    for _ in range(24 * 16):
        watched.watcher.once()
        watched.clock.forward(hours=1)
    (stored,) = db.verdicts.page("").verdicts
    (timeline,) = db.verdicts.timelines("", [stored.id])
    assert (stored.settled, stored.next_check) == (True, None)
    assert timeline[0].reason == "first"
    assert {entry.reason for entry in timeline[1:]} == {"recheck"}
    hours = [(entry.at - timeline[0].at).total_seconds() / 3600 for entry in timeline]
    assert hours[:5] == [0, 1, 2, 4, 8]
    assert 8 <= len(hours) <= 14
    # Each asks with what is known by then, and says so.
    assert [claim.date for claim in watched.checker.asked[1:]] == [entry.at for entry in timeline[1:]]
    assert watched.checker.asked[-1].warnings[0].startswith("first dated 2026-05-10T08:00:00Z; checked again")


def test_a_verdict_that_moves_is_told_of_and_followed_more_closely(db: Database, server: LoopbackServer) -> None:
    server.routes["/feed"] = FeedPages(TEXTS[0])
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    for _ in range(9):
        watched.clock.forward(hours=1)
        watched.watcher.once()
    db.alerts.sent([one.id for one in db.alerts.take("a", limit=50)])
    watched.checker.says, watched.checker.seen = (lambda claim: 0.1), ("the water board denies it",)
    watched.clock.forward(hours=16)
    watched.watcher.once()
    (stored,) = db.verdicts.page("").verdicts
    assert (stored.label, stored.next_check and (stored.next_check - watched.clock.now).total_seconds()) == (
        "real",
        3600,
    )
    (told,) = db.alerts.take("a", limit=50)
    assert (told.payload["before"]["label"], told.payload["label"]) == ("fake", "real")
    (timeline,) = db.verdicts.timelines("", [stored.id])
    assert [one["title"] for one in timeline[-1].evidence_added] == ["The Water Board Denies It"]


def test_a_recheck_that_fails_is_put_off(db: Database, server: LoopbackServer) -> None:
    server.routes["/feed"] = FeedPages(TEXTS[0])
    add(db, f"{server.url}/feed")
    watched = Desks(db, WordChecker())
    watched.watcher.once()

    def broken(claim: Any) -> float:
        raise ValueError("no")

    watched.checker.says = broken
    watched.clock.forward(hours=1)
    watched.watcher.once()
    (stored,) = db.verdicts.page("").verdicts
    assert stored.next_check is not None
    assert (stored.next_check - watched.clock.now).total_seconds() == 3600


def test_new_evidence_brings_a_recheck_of_what_it_is_about(db: Database, server: LoopbackServer) -> None:
    server.routes["/feed"] = FeedPages(*TEXTS)
    add(db, f"{server.url}/feed")
    with EvidenceStore.open() as store:
        store.add([Document("The northern dam broke and the villages flooded, an old report says.", published=NOON)])
        watched = Desks(db, WordChecker(), stores=[store])
        watched.watcher.once()
        watched.clock.forward(minutes=20)
        report = "On Friday the northern dam held, the water board said: no villages were flooded by the river."
        store.add(
            [
                Document(report, published=NOON),
                Document(report + " Undated.", url="https://u.example/"),
                Document("A concert in Oslo was sold out within an hour on Friday.", published=NOON),
            ]
        )
        watched.watcher.once()
        watched.watcher.once()
        assert [claim.text for claim in watched.checker.asked[3:]] == [TEXTS[0]]
        (stored,) = db.verdicts.find("", [one.claim_key for one in db.verdicts.page("").verdicts if "dam" in one.claim])
        assert stored is not None
        (timeline,) = db.verdicts.timelines("", [stored.id])
        assert [entry.reason for entry in timeline] == ["first", "new_evidence"]
        assert stored.due_for is None
        watched.clock.forward(hours=1)
        watched.new().once()  # and what was seen is not seen as new again
        (timeline,) = db.verdicts.timelines("", [stored.id])
        assert [entry.reason for entry in timeline] == ["first", "new_evidence", "recheck"]


def test_what_evidence_feeds_bring_is_evidence_under_its_date_and_no_claim(
    db: Database, server: LoopbackServer
) -> None:
    server.routes["/claims"] = FeedPages(TEXTS[0])
    server.routes["/wire"] = FeedPages("The northern dam held on Friday and no villages were flooded, officials said")
    server.routes["/wire"].entries.append(entry("An entry without any date at all", pubDate=""))  # type: ignore[union-attr]
    add(db, f"{server.url}/claims")
    with EvidenceStore.open() as store:
        watched = Desks(db, WordChecker(), stores=[store], evidence=store)
        watched.watcher.once()
        add(db, f"{server.url}/wire", evidence=True)
        watched.clock.forward(minutes=5)
        watched.watcher.once()
        (kept,) = store.documents()
        assert (kept.published and kept.published.hour, kept.source) == (8, "North News")
        assert [claim.text for claim in watched.checker.asked] == [TEXTS[0], TEXTS[0]]
        (stored,) = db.verdicts.page("").verdicts
        (timeline,) = db.verdicts.timelines("", [stored.id])
        assert [entry.reason for entry in timeline] == ["first", "new_evidence"]


def test_entries_that_only_link_are_read_from_their_new_pages(db: Database, server: LoopbackServer) -> None:
    page = f"<html><head><title>Dam</title></head><body><article><p>{TEXTS[0]}.</p></article></body></html>"
    server.routes["/new"] = server.routes["/old"] = Response(page)
    rows = "".join(
        f"<url><loc>{server.url}/{name}</loc><lastmod>{day}</lastmod></url>"
        for name, day in (("new", "2026-05-10T07:00:00Z"), ("old", "2019-01-01"))
    )
    body = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</urlset>'
    server.routes["/sitemap.xml"] = Response(body, type="application/xml")
    add(db, f"{server.url}/sitemap.xml")
    watched = Desks(db, WordChecker())
    watched.watcher.once()
    assert [claim.url for claim in watched.checker.asked] == [f"{server.url}/new"]
    assert TEXTS[0] in watched.checker.asked[0].text
    assert "/old" not in {request.path for request in server.requests}
    assert {item.state for item in db.feeds.items("")} == {"checked", "skipped"}
