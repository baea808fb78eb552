"""What the database keeps for watching: stories and marks across restarts, cursors, what was taken in vain."""

from __future__ import annotations

import uuid
from datetime import timedelta

from db_samples import NOON, check, later

from weighup.serve.db import Database
from weighup.serve.db.feeds import ATTEMPTS
from weighup.serve.db.records import FeedItem, FeedItemOutcome, NewItem, Poll
from weighup.serve.db.watched import StoryState


def entries(db: Database, count: int) -> list[FeedItem]:
    (feed,) = db.feeds.add("", ["https://n.example/feed"], now=NOON)
    new = [NewItem(str(i), f"Text {i}", entry=f"e{i}", lang="en", source="N") for i in reversed(range(count))]
    db.feeds.polled([Poll(feed.id, items=new)], now=NOON)
    return db.feeds.take_items("w", limit=count, now=NOON)


def story(title: str, size: int = 1) -> StoryState:
    number = uuid.uuid5(uuid.NAMESPACE_URL, title)
    return StoryState(number, "", title, NOON, later(hours=size), size, bytes(4 * size))


def test_stories_and_marks_come_back_as_they_were_kept(db: Database) -> None:
    first, second = entries(db, 2)
    assert (first.entry, first.lang, first.source, first.text) == ("e0", "en", "N", "Text 0")
    dam = story("Dam")
    db.feeds.finish_items(
        [FeedItemOutcome(first.id, "checked", check("Dam", key="a"), dam.id, mark=b"mark\0\xff")],
        stories=[dam],
        now=NOON,
    )
    grown = story("Dam", 2)
    db.feeds.finish_items([FeedItemOutcome(second.id, "failed", story_id=dam.id)], stories=[grown], now=later(hours=2))
    assert db.stories.active("", NOON, limit=9) == [grown]
    assert db.stories.active("", later(hours=3), limit=9) == []
    assert db.stories.active("other", NOON, limit=9) == []
    (marked,) = db.feeds.marked("", NOON, limit=9)
    assert (marked.item_id, marked.story_id, marked.mark) == (first.id, dam.id, b"mark\0\xff")
    assert db.feeds.marked("", NOON + timedelta(days=1), limit=9) == []


def test_copies_have_the_verdict_of_what_they_copy(db: Database) -> None:
    first, second, third = entries(db, 3)
    dam = story("Dam")
    outcomes = [
        FeedItemOutcome(second.id, "skipped", story_id=dam.id, copy_of=first.id),
        FeedItemOutcome(first.id, "checked", check("Dam", key="a"), dam.id),
    ]
    assert db.feeds.finish_items(outcomes, stories=[dam]) == [True, True]
    db.feeds.finish_items([FeedItemOutcome(third.id, "skipped", copy_of=first.id)])
    (verdict,) = db.verdicts.page("").verdicts
    assert {item.verdict_id for item in db.feeds.items("")} == {verdict.id}
    assert db.feeds.waiting() == 0


def test_what_its_worker_died_of_is_alone_in_the_end_and_costs_the_others_nothing(db: Database) -> None:
    poison = entries(db, 16)[0].id
    now, sizes = NOON, []
    while True:
        now += timedelta(minutes=5)
        taken = db.feeds.take_items("w", limit=16, now=now)
        if not taken:
            break
        ids = [item.id for item in taken]
        if poison in ids:
            sizes.append(len(ids))  # the worker dies
        else:
            db.feeds.finish_items([FeedItemOutcome(one, "skipped") for one in ids])
    assert sizes == [4, 1, 1, 1]
    assert len(sizes) + 1 == ATTEMPTS  # the first time, all sixteen were taken with it
    states = {item.id: item.state for item in db.feeds.items("")}
    assert states.pop(poison) == "failed"
    assert set(states.values()) == {"skipped"}


def test_a_cursor_only_moves_forward(db: Database) -> None:
    assert db.cursors.get("a") is None
    for place in (0, 7, 3):
        db.cursors.move("a", place)
    assert (db.cursors.get("a"), db.cursors.get("b")) == (7, None)


def test_feeds_are_given_back_and_held_on_to(db: Database) -> None:
    feeds = db.feeds.add("", ["https://a.example/", "https://b.example/"], now=NOON)
    ids = [feed.id for feed in feeds]
    assert len(db.feeds.take("one", now=NOON)) == 2
    assert db.feeds.take("two", now=NOON) == []
    assert sorted(db.feeds.extend("one", ids, now=later(seconds=50))) == sorted(ids)
    assert db.feeds.take("two", now=later(seconds=90)) == []
    assert db.feeds.release("one", ids[:1]) == 1
    assert [feed.id for feed in db.feeds.take("two", now=NOON)] == ids[:1]


def test_verdicts_that_were_taken_and_not_checked_are_given_back(db: Database) -> None:
    (made,) = db.verdicts.record([check("Dam", key="a", next_check=NOON)])
    assert len(db.verdicts.take_due("one", now=NOON)) == 1
    assert db.verdicts.take_due("two", now=NOON) == []
    assert db.verdicts.release("two", [made.id]) == 0
    assert db.verdicts.release("one", [made.id]) == 1
    assert len(db.verdicts.take_due("two", now=NOON)) == 1


def test_waiting_copies_share_the_verdict_of_the_first_that_is_checked(db: Database) -> None:
    def brought(tenant: str, name: str, said: str, **more: bool) -> int:
        (feed,) = db.feeds.add(tenant, [f"https://{name}.example/"], now=NOON, **more)
        db.feeds.polled([Poll(feed.id, items=[NewItem("1", "Dam", said=said)])], now=NOON)
        return db.feeds.items(tenant, limit=1)[0].id

    first, copy, held = brought("", "a", "x"), brought("", "b", "x"), brought("", "c", "x")
    other, foreign = brought("", "d", "y"), brought("t", "e", "x")
    wire = brought("", "f", "x", evidence=True)
    taken = [item.id for item in db.feeds.take_items("w", limit=3, now=NOON)]
    assert taken == [first, copy, held]
    db.feeds.release_items("w", [copy])
    dam = story("Dam")
    db.feeds.finish_items([FeedItemOutcome(first, "checked", check("Dam", key="a"), dam.id)], stories=[dam])
    assert db.feeds.join_copies([first], now=NOON) == 1
    assert db.feeds.join_copies([first], now=later(minutes=5)) == 1  # the lease on `held` has run out
    items = {item.id: item for tenant in ("", "t") for item in db.feeds.items(tenant)}
    assert {number: items[number].copy_of for number in items} == {
        first: None,
        copy: first,
        held: first,
        other: None,
        foreign: None,
        wire: None,
    }
    assert {items[number].verdict_id for number in (copy, held)} == {items[first].verdict_id}
    assert {items[number].state for number in (other, foreign, wire)} == {"new"}
