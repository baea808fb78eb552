"""Feeds: polled in turn, backed off when they fail, their entries kept once and checked once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from db_samples import NOON, check, later

from weighup.errors import InvalidInput
from weighup.serve.db import Database
from weighup.serve.db.feeds import ATTEMPTS
from weighup.serve.db.records import FeedItemOutcome, NewItem, Poll

URL = "https://example.org/feed"


def entries(*guids: str) -> list[NewItem]:
    return [NewItem(guid, f"text of {guid}", title=guid, published=NOON) for guid in guids]


def test_adding_a_feed_twice_is_one_feed(db: Database) -> None:
    one = db.feeds.add("t", [URL], every=60, now=NOON)
    assert db.feeds.add("t", [URL, URL], every=90) == one * 2
    assert db.feeds.watched("t") == one
    assert db.feeds.watched("other") == []
    assert db.feeds.remove("other", [one[0].id]) == db.feeds.enable("other", [one[0].id], False) == 0


@pytest.mark.parametrize(
    ("address", "more"), [("", {}), ("x" * 3_000, {}), (URL, {"kind": "fax"}), (URL, {"every": 0})]
)
def test_what_is_no_feed_is_refused(db: Database, address: str, more: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        db.feeds.add("", [address], **more)  # type: ignore[arg-type]


def test_a_poll_keeps_new_entries_once_and_sets_the_next(db: Database) -> None:
    (feed,) = db.feeds.add("", [URL], every=60, now=NOON)
    assert [f.id for f in db.feeds.take("w", now=NOON)] == [feed.id]
    assert db.feeds.take("other", now=NOON) == []
    poll = Poll(feed.id, entries("a", "b", "a"), etag='"1"', last_modified="Sun", title="Wire")
    assert db.feeds.polled([poll], now=NOON) == [2]
    assert db.feeds.polled([Poll(feed.id, entries("b", "c"), etag='"2"')], now=NOON) == [1]
    assert db.feeds.polled([Poll(feed.id, unchanged=True)], now=NOON) == [0]
    (now,) = db.feeds.watched("")
    assert (now.etag, now.last_modified, now.title, now.errors) == ('"2"', None, "Wire", 0)
    assert (now.last_poll, now.next_poll) == (NOON, NOON + timedelta(seconds=60))
    assert db.feeds.take("w", now=NOON + timedelta(seconds=59)) == []
    assert len(db.feeds.take("w", now=NOON + timedelta(seconds=60))) == 1


def test_a_feed_that_fails_waits_longer_each_time_and_as_long_as_it_asks(db: Database) -> None:
    (feed,) = db.feeds.add("", [URL], every=60, now=NOON)
    waits = []
    for wait in (None, None, 1_000, None, None, None, None, None, None, None, None, None):
        db.feeds.polled([Poll(feed.id, error="503", wait=wait)], now=NOON)
        waits.append((db.feeds.watched("")[0].next_poll - NOON).total_seconds())
    assert waits == [120, 240, 1_000, 960, 1_920, 3_840, 7_680, 15_360, 30_720, 61_440, 86_400, 86_400]
    assert (db.feeds.watched("")[0].errors, db.feeds.watched("")[0].last_error) == (12, "503")
    db.feeds.polled([Poll(feed.id, entries("a"))], now=NOON)
    assert (db.feeds.watched("")[0].errors, db.feeds.watched("")[0].next_poll) == (0, NOON + timedelta(seconds=60))


def test_a_paused_feed_is_not_polled(db: Database) -> None:
    (feed,) = db.feeds.add("", [URL])
    assert db.feeds.enable("", [feed.id], False) == 1
    assert db.feeds.take("w") == []
    assert db.feeds.enable("", [feed.id], True) == 1
    assert len(db.feeds.take("w")) == 1


def test_entries_are_checked_once_and_again_if_their_worker_dies(db: Database) -> None:
    (feed,) = db.feeds.add("t", [URL])
    db.feeds.polled([Poll(feed.id, entries("a", "b", "c"))], now=NOON)
    first, second = db.feeds.take_items("one", limit=2, seconds=60, now=NOON)
    assert (first.text, first.tenant, first.published) == (f"text of {first.title}", "t", NOON)
    assert len(db.feeds.take_items("two", now=NOON)) == 1
    assert db.feeds.extend_items("one", [first.id], seconds=7_200, now=NOON) == [first.id]
    assert second.id in [i.id for i in db.feeds.take_items("two", now=later(hours=1))]
    done = FeedItemOutcome(first.id, "checked", check(first.text, key=first.check_key, tenant="t"))
    assert db.feeds.finish_items([done, FeedItemOutcome(second.id, "skipped")]) == [True, True]
    assert db.feeds.finish_items([done]) == [False]
    found = {item.id: item for item in db.feeds.items("t")}
    assert (found[first.id].state, found[second.id].state) == ("checked", "skipped")
    verdict_id = found[first.id].verdict_id
    assert verdict_id is not None
    assert [len(t) for t in db.verdicts.timelines("t", [verdict_id])] == [1]
    assert db.feeds.items("other") == []


def test_an_entry_that_kills_its_workers_is_given_up(db: Database) -> None:
    (feed,) = db.feeds.add("", [URL])
    db.feeds.polled([Poll(feed.id, entries("a"))])
    (item,) = db.feeds.take_items("w", now=NOON)
    assert db.feeds.release_items("w", [item.id]) == 1
    for attempt in range(ATTEMPTS):
        assert len(db.feeds.take_items("w", now=later(hours=attempt))) == 1
    assert db.feeds.take_items("w", now=later(hours=9)) == []
    assert [i.state for i in db.feeds.items("")] == ["failed"]


def test_stories_gather_entries(db: Database) -> None:
    (feed,) = db.feeds.add("t", [URL])
    db.feeds.polled([Poll(feed.id, entries("a", "b", "c"))])
    ids = [item.id for item in db.feeds.items("t")]
    dam = db.stories.put("t", "The dam", ids[:1], now=NOON)
    db.stories.put("t", "Another", ids[2:], now=later(hours=1))
    assert db.stories.put("t", "The dam", ids[1:2], story_id=dam, now=later(hours=2)) == dam
    told = [(s.title, s.items, s.created_at) for s in db.stories.recent("t")]
    assert told == [("The dam", 2, NOON), ("Another", 1, later(hours=1))]
    assert [s.title for s in db.stories.recent("t", since=later(hours=2))] == ["The dam"]
    assert [i.id for i in db.feeds.items("t", story_id=dam)] == sorted(ids[:2], reverse=True)
    db.stories.put("other", "Mine now", ids, story_id=dam)
    assert len(db.feeds.items("t", story_id=dam)) == 2
    assert db.stories.recent("other") == []


def test_forgetting_a_feed_keeps_its_verdicts(db: Database) -> None:
    (feed,) = db.feeds.add("", [URL])
    db.feeds.polled([Poll(feed.id, entries("a"))])
    (item,) = db.feeds.take_items("w")
    db.feeds.finish_items([FeedItemOutcome(item.id, "checked", check("Claim"))])
    assert db.feeds.remove("", [feed.id]) == 1
    assert db.feeds.items("") == []
    assert len(db.verdicts.page("").verdicts) == 1
