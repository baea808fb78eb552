"""Copies are recognised, the rest gathers into stories, and a restart changes nothing."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.serve.feeds.items import Item
from weighup.serve.feeds.stories import Placed, Stories
from weighup.texts import STOP_WORDS, words

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
WORDS = (
    "water board basin level drought river north valley council report friday engineer wall crack pump storm".split()
)


class Hashed:
    """Bags of words as unit vectors: texts are as near as the words they share."""

    name, version, dimension = "hashed", "1", 256

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> NDArray[np.float32]:
        self.encoded += len(texts)
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in set(words(text)) - STOP_WORDS:
                rows_at = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "little")
                row[rows_at % self.dimension] += 1.0
            row[0] += 1e-6
            row /= np.linalg.norm(row)
        return rows

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 197) -> Any:
        raise AssertionError("no tokens are asked for")


def item(guid: str, title: str, **changes: Any) -> Item:
    return Item(**{"guid": guid, "title": title, "published": NOW - timedelta(hours=1), **changes})


def long_text(seed: int, count: int = 70) -> str:
    dice = random.Random(seed)
    return " ".join(f"{dice.choice(WORDS)}{dice.randrange(50)}" for _ in range(count))


@pytest.fixture
def stories() -> Stories:
    return Stories(Hashed())


def test_reports_of_one_event_are_one_story(stories: Stories) -> None:
    placed = stories.add(
        [
            item("a", "Dam breach floods northern valley"),
            item("b", "Central bank raises interest rates"),
            item("c", "Northern valley floods after dam breach"),
            item("d", "Bank raises its interest rates again"),
        ],
        NOW,
    )
    ids = [one.story.id for one in placed]
    assert ids[0] == ids[2] != ids[1] == ids[3]
    assert placed[2].story.size == 2
    assert placed[2].story.title == "Dam breach floods northern valley"
    assert [one.copy_of for one in placed] == [None] * 4


def test_copies_by_name_address_words_and_near_words(stories: Stories) -> None:
    text = long_text(1)
    first = item("a", "Dam breach", text=text, url="https://www.n.example/1?utm_source=rss")
    copies = [
        item("a", "Dam breach", text=text),
        item("b", "Something else", url="http://n.example/1/#top"),
        item("c", "DAM  breach", text=text),
        item("d", "Dam breach", text=text.rsplit(" ", 1)[0] + " today"),
    ]
    placed = stories.add([first, *copies], NOW)
    assert [one.copy_of for one in placed] == [None, "a", "a", "a", "a"]
    assert {one.story.id for one in placed} == {placed[0].story.id}
    assert placed[-1].story.size == 1


def test_what_is_no_copy(stories: Stories) -> None:
    placed = stories.add(
        [
            item("a", "10 dead in dam breach", url="https://n.example/"),
            item("b", "12 dead in dam breach", url="https://n.example/"),  # a front page is nobody's article
            item("c", "Dam breach", url="https://n.example/1", updated=NOW - timedelta(hours=1)),
            item("c", "Dam breach: three hurt", url="https://n.example/1", updated=NOW),
        ],
        NOW,
    )
    assert [one.copy_of for one in placed] == [None] * 4


def test_a_flood_of_copies_is_not_embedded_and_weighs_nothing() -> None:
    encoder = Hashed()
    stories = Stories(encoder)
    text = long_text(2)
    stories.add([item("a", "Dam breach", text=text)], NOW)
    placed = stories.add(
        [item(f"c{n}", "Dam breach", text=text, url=f"https://fresh{n}.example/x") for n in range(100)], NOW
    )
    assert {one.copy_of for one in placed} == {"a"}
    assert placed[-1].story.size == 1
    assert encoder.encoded == 1


def test_stories_end_with_their_time(stories: Stories) -> None:
    old = item("a", "Dam breach floods valley", published=NOW - timedelta(days=9))
    new = item("b", "Dam breach floods valley again")
    (first,), (second,) = stories.add([old], NOW), stories.add([new], NOW)
    assert first.story.id != second.story.id
    ahead = item("c", "Dam breach floods valley once more", published=NOW + timedelta(days=400))
    (third,) = stories.add([ahead], NOW)
    assert (third.story.id, third.story.last) == (second.story.id, NOW)


def stream(count: int) -> list[Item]:
    dice = random.Random(5)
    events = [dice.sample(WORDS, 6) for _ in range(20)]
    return [
        item(f"i{n}", " ".join(dice.sample(events[n % 20], 5)) + f" {n % 7}", published=NOW - timedelta(minutes=n % 50))
        for n in range(count)
    ]


def ids(placed: Sequence[Placed]) -> list[tuple[str, str | None]]:
    return [(one.story.id, one.copy_of) for one in placed]


def test_a_restart_between_batches_changes_nothing() -> None:
    items = stream(200)
    whole = Stories(Hashed())
    expected = ids(whole.add(items[:90], NOW)) + ids(whole.add(items[90:], NOW))
    first = Stories(Hashed()).add(items[:90], NOW)
    kept = {}
    for one in first:  # as a database would: the latest row of each, in the order of their last change
        kept.pop(one.story.id, None)
        kept[one.story.id] = one.story
    marks = [one.mark for one in first if one.copy_of is None]
    again = Stories(Hashed(), stories=kept.values(), marks=marks)
    assert ids(first) + ids(again.add(items[90:], NOW)) == expected
    assert ids(Stories(Hashed()).add(items[:90], NOW)) == ids(first)


def test_memory_is_bounded() -> None:
    stories = Stories(Hashed(), near=0.999, max_stories=10, max_marks=15)
    for start in range(0, 300, 60):
        batch = [item(f"x{n}", long_text(n, 60), url=f"https://n.example/{n}") for n in range(start, start + 60)]
        assert len(stories.add([*batch, batch[0]], NOW)) == 61
    assert len(stories._stories) == len(stories._rows) == 10
    assert len(stories._marks) == 15
    assert len(stories._centroids) <= 64
    assert len(stories._by_key) <= 45
    assert sum(map(len, stories._by_band.values())) <= 15 * 64


def test_items_that_only_link_are_known_by_their_address(stories: Stories) -> None:
    link = Item(guid="https://n.example/dam-breach-valley", url="https://n.example/dam-breach-valley")
    words_too = item("b", "Dam breach valley")
    first, second = stories.add([link, words_too], NOW)
    assert first.story.id == second.story.id
    assert stories.add([], NOW) == []


def test_stories_of_another_encoder_are_refused(stories: Stories) -> None:
    (placed,) = stories.add([item("a", "Dam breach")], NOW)
    other = Hashed()
    other.dimension = 128
    with pytest.raises(InvalidInput, match="another encoder"):
        Stories(other, stories=[placed.story])


def test_the_shipped_encoder_tells_events_apart(models_ready: Path) -> None:
    from weighup.models.open import encoder

    reports = {
        "quake": [
            "Strong earthquake hits northern Japan, tsunami warning issued",
            "Japan issues tsunami warning after 7.1 quake",
            "Magnitude 7.1 earthquake strikes off Japan's coast",
        ],
        "rates": [
            "Federal Reserve raises interest rates by a quarter point",
            "Fed hikes rates 25 basis points to fight inflation",
        ],
        "cup": [
            "Argentina beat France on penalties to win World Cup",
            "Messi's Argentina win the World Cup after penalty shootout",
        ],
        "virus": [
            "New Covid variant spreads across Europe, WHO says",
            "WHO warns of new Covid variant spreading in Europe",
        ],
    }
    flat = [(event, text) for event, texts in reports.items() for text in texts]
    random.Random(3).shuffle(flat)
    stories = Stories(encoder())
    placed = stories.add([item(text, text) for _, text in flat], NOW)
    found: dict[str, set[str]] = {}
    for (event, _), one in zip(flat, placed, strict=True):
        found.setdefault(event, set()).add(one.story.id)
    assert sum(len(names) for names in found.values()) == len(set().union(*found.values()))  # no two events are mixed
    # "Federal Reserve … a quarter point" and "Fed … 25 basis points" are at 0.51: the price of not mixing.
    assert {event for event, names in found.items() if len(names) == 1} == {"quake", "cup", "virus"}
