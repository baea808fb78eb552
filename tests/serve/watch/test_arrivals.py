"""Which claims a new document is about, and that each document is looked at once."""

from __future__ import annotations

import uuid

import pytest
from db_samples import NOON, check, later

from weighup.retrieve.store import EvidenceStore
from weighup.retrieve.types import Document
from weighup.serve.db import Database
from weighup.serve.db.watched import OpenClaim
from weighup.serve.db.words import indexed
from weighup.serve.watch import arrivals
from weighup.serve.watch.arrivals import MATCHES, Arrivals, Claims

DAM = "The northern dam broke on Friday and two villages were flooded"
TRIAL = "A vaccine trial in Kenya was halted after nine volunteers became ill"


def claims(*texts: str, url: str | None = None) -> Claims:
    return Claims([OpenClaim(uuid.uuid5(uuid.NAMESPACE_URL, text), indexed(text), url, NOON) for text in texts])


def about(text: str, *texts: str, url: str | None = None) -> list[int]:
    known = claims(*texts)
    ids = [claim.id for claim in known.claims]
    return [ids.index(one) for one in known.about(text, url)]


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ("Engineers said the northern dam is sound; no villages flooded on Friday, nothing broke.", [0]),
        ("Nine volunteers in the vaccine trial in Kenya fell ill, and it was halted for a week.", [1]),
        ("The concert in Oslo was sold out.", []),
        ("Two dams are planned, and a trial of the gates begins in May.", []),
        (f"{DAM}. {TRIAL}.", [0, 1]),
    ],
)
def test_a_document_is_about_the_claims_that_share_half_their_words_with_it(document: str, found: list[int]) -> None:
    assert sorted(about(document, DAM, TRIAL)) == found


def test_words_must_stand_together() -> None:
    filler = "and so the reporters went on about music and football and the weather in other places. " * 8
    scattered = f"The northern towns. {filler} A dam is old. {filler} Friday was warm. {filler} Villages flooded."
    assert about(scattered, DAM) == []


def test_a_short_claim_needs_all_of_its_words() -> None:
    assert about("He said the dam stood.", "Dam broke") == []
    assert about("He said the dam broke.", "Dam broke") == [0]


def test_chinese_is_compared_by_pairs_of_characters() -> None:
    claim = "北方大坝周五决堤,两个村庄被淹"
    assert about("官员表示北方大坝周五没有决堤,两个村庄安全。", claim) == [0]
    assert about("今天天气很好,孩子们在公园里玩。", claim) == []


def test_the_page_that_made_the_claim_says_nothing_new_of_it() -> None:
    known = claims(DAM, url="https://news.example/dam")
    assert known.about(DAM, "https://news.example/dam") == []
    assert known.about(DAM, "https://other.example/dam") == [known.claims[0].id]


def test_one_document_brings_up_a_bounded_number_nearest_first() -> None:
    many = [f"{DAM} said witness number {i}" for i in range(3 * MATCHES)]
    found = about(DAM + " said witness number 7", *many)
    assert (len(found), found[0]) == (MATCHES, 7)


def test_each_document_is_read_once_in_parts_and_only_dated_ones_of_the_past_count(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "READ", 2)
    db.verdicts.record([check(DAM, key="a", next_check=later(days=1)), check(TRIAL, key="b", next_check=later(days=1))])
    settled = check("The northern dam broke on Friday and one village was flooded", key="c", settled=True)
    db.verdicts.record([settled])
    with EvidenceStore.open() as store:
        store.add([Document(f"{DAM}, says what was there before.", published=NOON)])
        looks = Arrivals(db, [store])
        assert looks.look(later(hours=1)) == 0  # whoever checked has looked into the store
        store.add(
            [
                Document(f"{DAM}, it is said of tomorrow.", published=later(days=1)),
                Document(f"{DAM}, it is said at some time."),
                Document("Nothing of the kind happened in Oslo.", published=NOON),
                Document(f"{DAM}, it is said again.", published=NOON),
            ]
        )
        assert looks.look(later(hours=1)) == 0
        assert Arrivals(db, [store]).look(later(hours=1)) == 1  # another process goes on where this one stood
        assert [looks.look(later(hours=1)) for _ in range(3)] == [0, 0, 0]
    (due,) = db.verdicts.take_due("w", now=later(hours=2))
    assert (due.claim, due.due_for) == (DAM, "new_evidence")


def test_what_was_brought_forward_is_on_schedule_again_after_its_check(db: Database) -> None:
    (first,) = db.verdicts.record([check(DAM, key="a", next_check=later(days=1))])
    assert db.verdicts.hasten([first.id], now=later(hours=1)) == 1
    assert db.verdicts.hasten([first.id], now=later(hours=2)) == 0  # due already
    assert [claim.id for claim in db.verdicts.open_claims(limit=5)] == [first.id]
    again = check(DAM, key="b", reason="new_evidence", at=later(hours=2), settled=True)
    db.verdicts.record([again])
    assert db.verdicts.open_claims(limit=5) == []
    (stored,) = db.verdicts.get("", [first.id])
    assert stored is not None
    assert (stored.due_for, stored.settled) == (None, True)
    assert db.verdicts.hasten([first.id], now=later(hours=3)) == 0
