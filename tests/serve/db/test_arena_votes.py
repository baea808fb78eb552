"""The arena's items and votes: blind orders, one vote each, the least voted first; and the commands for both."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from db_samples import NOON, later
from sqlalchemy import text
from typer.testing import CliRunner

from weighup.arena.rankings import read_rankings
from weighup.arena.read import read_matches
from weighup.cli import arena_votes
from weighup.errors import InvalidInput, StoreError, WeighupError
from weighup.judge.types import Item, Response
from weighup.serve.db import Database
from weighup.serve.db.arena import ArenaItem, Loaded
from weighup.serve.db.arena_files import write_matches, write_rankings
from weighup.serve.db.sessions import present


def item(id: str, *systems: str, **more: Any) -> Item:
    responses = [Response(text=f"{name} says {id}", system=name) for name in systems or ("x", "y")]
    return Item(id=id, prompt=f"What is {id}?", responses=tuple(responses), **more)


def got(db: Database, voter: str, tenant: str = "t") -> ArenaItem:
    found = db.arena.next(tenant, voter)
    assert found is not None
    return found


def test_items_are_added_once_and_take_over_what_judges_said(db: Database) -> None:
    whole = item("q1", reference="It is so.", context="A text.", category="physics", meta={"n": 1})
    assert db.arena.load("t", [whole, item("q2")]) == Loaded(added=2)
    assert db.arena.load("t", [whole, item("q2")]) == Loaded(known=2)
    assert db.arena.load("other", [whole]) == Loaded(added=1)
    told = whole.model_copy(update={"meta": {"judgements": {"gpt": "1"}}})
    assert db.arena.load("t", [told]) == Loaded(changed=1)
    kept = next(one for one in (db.arena.next("t", str(n)) for n in range(50)) if one and one.item.id == "q1")
    assert kept.item == told
    with pytest.raises(InvalidInput, match="item q1: is in the arena with other texts"):
        db.arena.load("t", [item("q3"), item("q1", "x", "z")])
    assert db.arena.progress("t", "ana") == (0, 2)  # a batch is in whole or not at all


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (item("q", "x"), "1 responses"),
        (item("q", *"abcdefghi"), "9 responses"),
        (item("q", "x", "x"), "answers twice"),
        (item("q", "x", " "), "has no system"),
        (item("q", "x", "y" * 101), "more than 100"),
        (item("q" * 201), "id: too long"),
        (item("q", category="c" * 101), "category: too long"),
        (item("q").model_copy(update={"prompt": " "}), "prompt: is empty"),
        (item("q").swapped(), "leave order out"),
        (item("q", meta={"active": "no"}), "meta.active"),
        (item("q", meta={"judgements": ["1"]}), "meta.judgements: an object"),
        (item("q", meta={"judgements": {"gpt": "x"}}), r"meta.judgements.gpt: 1, 2 or tie is needed, not 'x'"),
        (item("q", "x", "y", "z", meta={"judgements": {"gpt": "1"}}), "of pairs only"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_compared_is_refused_by_name(tmp_path: Path, bad: Item, why: str) -> None:
    with Database.open(tmp_path / "serve.sqlite") as db:
        with pytest.raises(InvalidInput, match=f"item q.*{why}"):
            db.arena.load("t", [item("fine"), bad])
        assert db.arena.next("t", "ana") is None


def test_the_order_is_a_voters_own_the_same_again_and_even_over_voters(db: Database, url: str) -> None:
    db.arena.load("t", [item("q1"), item("q2", "x", "y", "z", "w")])
    shown = {one.item.id: one for one in (got(db, str(n)) for n in range(40))}
    pair, four = shown["q1"], shown["q2"]
    with Database.open(url) as again:
        same = again.arena.get("t", pair.id)
        assert same is not None
        assert [same.order(str(n)) for n in range(50)] == [pair.order(str(n)) for n in range(50)]
    first = Counter(pair.order(str(n))[0] for n in range(2_000))
    assert abs(first[0] - 1_000) < 150  # 6.7 standard deviations
    firsts = Counter(four.order(str(n)) for n in range(4_800))
    assert len(firsts) == 24
    assert max(firsts.values()) < 290  # 200 expected, 6.4 standard deviations
    assert db.arena.get("other", pair.id) is None


def test_a_vote_is_given_once_and_means_what_was_shown(db: Database) -> None:
    db.arena.load("t", [item("q1")])
    one = got(db, "ana")
    order = one.order("ana")
    assert db.arena.vote("t", "ana", one.id, by="key ana", winner="a", seconds=12.5, now=NOON)
    assert not db.arena.vote("t", "ana", one.id, by="key ana", winner="b")
    assert db.arena.vote("t", "ben", one.id, by="key ben", winner="both_bad", now=later(hours=1))
    first, second = db.arena.votes("t")
    assert first.shown == tuple("xy"[place] for place in order)
    assert (first.item, first.voter, first.winner, first.at, first.seconds) == ("q1", "ana", "a", NOON, 12.5)
    assert (second.voter, second.winner, second.ranking) == ("ben", "both_bad", None)
    kept = db.arena.get("t", one.id)
    assert kept is not None
    assert kept.votes == 2
    entries = db.audit.read("t", subject=f"arena:{one.id}")
    assert [(entry.who, entry.what) for entry in entries] == [("key ben", "arena vote"), ("key ana", "arena vote")]
    assert (db.arena.next("t", "ana"), db.arena.progress("t", "ana")) == (None, (1, 0))


def test_two_votes_at_the_same_time_count_as_one(db: Database) -> None:
    db.arena.load("t", [item("q1")])
    one, done = got(db, "ana"), []

    def vote() -> None:
        done.append(db.arena.vote("t", "ana", one.id, by="ana", winner="tie"))

    threads = [threading.Thread(target=vote) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == [False] * 5 + [True]
    assert len(list(db.arena.votes("t"))) == 1


def test_a_set_is_ranked_with_ties(db: Database) -> None:
    db.arena.load("t", [item("q1", "x", "y", "z")])
    one = got(db, "ana")
    shown = ["xyz"[place] for place in one.order("ana")]
    for winner, places in (("a", None), (None, None), (None, [1, 2]), (None, [1, 2, 4]), (None, [0, 1, 2])):
        with pytest.raises(InvalidInput, match="vote: "):
            db.arena.vote("t", "ana", one.id, by="ana", winner=winner, places=places)
    assert db.arena.vote("t", "ana", one.id, by="ana", places=[3, 1, 1])
    (vote,) = db.arena.votes("t")
    assert vote.ranking == ((shown[1], shown[2]), (shown[0],))
    assert vote.winner is None


def test_a_vote_of_the_wrong_kind_or_on_nothing_is_refused(db: Database) -> None:
    db.arena.load("t", [item("q1")])
    one = got(db, "ana")
    for winner, places in ((None, None), ("x", None), ("a", [1, 2]), (None, [1, 2])):
        with pytest.raises(InvalidInput, match="vote: on a pair"):
            db.arena.vote("t", "ana", one.id, by="ana", winner=winner, places=places)
    for tenant, id in (("t", uuid.uuid4()), ("other", one.id)):
        with pytest.raises(InvalidInput, match="no comparison"):
            db.arena.vote(tenant, "ana", id, by="ana", winner="a")
    assert list(db.arena.votes("t")) == []


def test_the_least_voted_comes_first_and_voters_begin_at_different_places(db: Database) -> None:
    db.arena.load("t", [item(f"q{n}") for n in range(10)])
    begun = {got(db, f"voter {n}").item.id for n in range(30)}
    assert len(begun) >= 7
    for turn in range(10):
        one = got(db, "ana")
        assert got(db, "ana").id == one.id  # the same when the page is opened again
        assert db.arena.vote("t", "ana", one.id, by="ana", winner="b")
        assert db.arena.progress("t", "ana") == (turn + 1, 9 - turn)
        if turn < 9:
            assert got(db, "ben").votes == 0
    db.arena.load("t", [item("late")])
    assert got(db, "ben").item.id == "late"


def test_what_is_taken_out_is_shown_no_more_and_keeps_its_votes(db: Database) -> None:
    db.arena.load("t", [item("q1"), item("q2", "x", "z"), item("q3", "y", "z")])
    db.arena.load("other", [item("q1")])
    for _ in range(3):
        assert db.arena.vote("t", "ana", got(db, "ana").id, by="ana", winner="a")
    assert db.arena.withdraw("t", "x") == 2
    assert db.arena.withdraw("t", "x") == 0
    assert db.arena.progress("t", "ben") == (0, 1)
    assert db.arena.progress("other", "ben") == (0, 1)
    assert len(list(db.arena.votes("t"))) == 3
    assert db.arena.load("t", [item("q1"), item("q3", "y", "z", meta={"active": False})]) == Loaded(known=1, changed=1)
    assert db.arena.next("t", "ben") is None
    assert db.arena.load("t", [item("q1", meta={"active": True})]) == Loaded(changed=1)
    back = got(db, "ben")
    assert back.item.id == "q1"
    db.arena.withdraw("t", "x")
    with pytest.raises(InvalidInput, match="taken out"):
        db.arena.vote("t", "ben", back.id, by="ben", winner="a")


def test_a_tenants_arena_is_its_own(db: Database) -> None:
    db.arena.load("a", [item("q1", meta={"judgements": {"gpt": "2", "claude": "tie"}})])
    db.arena.load("b", [item("q2")])
    one = got(db, "ana", "a")
    before = [db.arena.stamp(tenant) for tenant in "ab"]
    assert db.arena.vote("a", "ana", one.id, by="ana", winner="a")
    assert [vote.item for vote in db.arena.votes("a")] == ["q1"]
    assert list(db.arena.votes("b")) == []
    assert db.arena.judged("a") == {"q1": {"gpt": "y", "claude": None}}
    assert db.arena.judged("b") == {}
    after = [db.arena.stamp(tenant) for tenant in "ab"]
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    db.arena.load("a", [item("q1", meta={"judgements": {"gpt": "1"}})])
    assert db.arena.stamp("a") != after[0]


def test_retention_takes_what_was_taken_out_and_never_voted_on(db: Database) -> None:
    db.arena.load("", [item("voted"), item("out"), item("waiting", "y", "z")])
    one = next(one for n in range(50) if (one := got(db, str(n), "")).item.id == "voted")
    assert db.arena.vote("", "ana", one.id, by="ana", winner="a")
    db.arena.withdraw("", "x")
    assert db.retention.prune(10).counts == {}
    far = present() + timedelta(days=20)
    assert db.retention.prune(10, now=far).counts == {"arena_item": 1}
    assert [vote.item for vote in db.arena.votes("")] == ["voted"]
    with pytest.raises(StoreError, match="break"), db._sessions.writing() as session:
        session.execute(text("DELETE FROM arena_item WHERE key = 'voted'"))


def test_texts_that_a_database_cannot_hold_are_kept_as_far_as_they_go(db: Database) -> None:
    odd = Item(id="q\0", prompt="\ud800?", responses=(Response(text="a\0b", system="x"), Response(text="", system="y")))
    assert db.arena.load("t", [odd]) == Loaded(added=1)
    assert db.arena.load("t", [odd]) == Loaded(known=1)
    assert got(db, "ana").item.responses[0].text == "a\ufffdb"


def fill(db: Database) -> None:
    db.arena.load("", [item(f"q{n}", *pair) for n, pair in enumerate(("xy", "yz", "xz", "xyz"))])
    for number, voter in enumerate(("ana", "ben", "eve")):
        while (one := db.arena.next("", voter)) is not None:
            if len(one.item.responses) > 2:
                db.arena.vote("", voter, one.id, by=voter, places=[1, 2, 2])
            else:
                winner = ("a", "b", "tie", "both_bad")[(number + int(one.item.id[1:])) % 4]
                db.arena.vote("", voter, one.id, by=voter, winner=winner)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_votes_are_written_as_raters_read_them(db: Database, tmp_path: Path, ending: str) -> None:
    fill(db)
    path, sets = tmp_path / f"votes.{ending}", tmp_path / "sets.jsonl"
    assert write_matches(db.arena.votes(""), path) == 9
    assert write_rankings(db.arena.votes(""), sets) == 3
    votes = [vote for vote in db.arena.votes("") if vote.winner]
    read = read_matches(path)
    names = [(read.systems[a], read.systems[b]) for a, b in zip(read.a, read.b, strict=True)]
    assert names == [vote.shown for vote in votes]
    assert read.outcome.tolist() == [{"a": 1.0, "b": 0.0}.get(str(vote.winner), 0.5) for vote in votes]
    assert read.voter is not None
    assert set(read.voter.names) == {"ana", "ben", "eve"}
    assert read.item is not None
    assert set(read.item.names) == {"q0", "q1", "q2"}
    assert read.at is not None
    assert read.at.tolist() == pytest.approx([vote.at.timestamp() for vote in votes])
    ranked = read_rankings(sets)
    assert [len(ranking) for ranking in ranked] == [2, 2, 2]
    assert json.loads(sets.read_text().splitlines()[0])["voter"] == "ana"
    with pytest.raises(InvalidInput, match="unknown kind"):
        write_matches([], tmp_path / "votes.xlsx")
    with pytest.raises(InvalidInput, match="rankings go to"):
        write_rankings([], tmp_path / "votes.csv")
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_matches([], tmp_path / "nowhere" / "votes.csv")


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(clean_environment: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> Command:
    """Run `load` or `votes` in this process, in an empty folder, on a database with nothing in it."""
    monkeypatch.setenv("WEIGHUP_DATABASE", url)
    app = typer.Typer()
    app.command()(arena_votes.load)
    app.command()(arena_votes.votes)

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(arguments))
        if isinstance(done.exception, WeighupError):
            return done.exception.exit_code, str(done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


def test_the_commands_load_items_and_write_votes(command: Command, url: str, clean_environment: Path) -> None:
    rows = [
        {
            "id": "q1",
            "prompt": "How many?",
            "responses": [{"system": "x", "text": "One"}, {"system": "y", "text": "Two"}],
        },
        {"id": "q2", "prompt": "Why?", "response_1": "So", "system_1": "x", "response_2": "Thus", "system_2": "z"},
    ]
    path, out = clean_environment / "items.jsonl", clean_environment / "votes.csv"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    code, said = command("load", str(path))
    assert code == 0
    assert "2 comparisons added, 0 changed, 0 were there already" in said
    code, said = command("load", str(path), "--without", "z")
    assert "0 comparisons added, 0 changed, 2 were there already" in said
    assert "1 with z taken out" in said
    with Database.open(url) as db:
        assert db.arena.progress("", "ana") == (0, 1)
        assert db.arena.vote("", "ana", got(db, "ana", "").id, by="ana", winner="a")
        told = db.audit.read("", subject="arena")
        assert told[0].after == {"added": 0, "changed": 0, "withdrawn": {"z": 1}}
    code, said = command("votes", str(out))
    assert (code, "wrote 1 votes on pairs" in said) == (0, True)
    assert len(read_matches(out)) == 1
    code, said = command("votes", str(out))
    assert (code, "is there already" in said) == (2, True)
    assert command("votes", str(out), "--force")[0] == 0
    code, said = command("votes", "sets.jsonl", "--sets")
    assert (code, "wrote 0 rankings" in said) == (0, True)
    path.write_text('{"id": "q1", "prompt": "How many?", "responses": ["One"]}\n')
    code, said = command("load", str(path))
    assert (code, "item q1: has 1 responses" in said) == (2, True)
    assert command("load", "nowhere.jsonl")[0] == 2


def test_the_commands_help_has_examples(command: Command) -> None:
    for name in ("load", "votes"):
        assert f"Example: weighup arena {name}" in " ".join(command(name, "--help")[1].split())
