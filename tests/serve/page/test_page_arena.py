"""The arena page: answers without their systems' names, one vote each, what the votes say; without JavaScript."""

from __future__ import annotations

import builtins
import html
import math
import re
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from arena_samples import SYSTEMS, crowd, pairs, trio
from hypothesis import given, settings
from hypothesis import strategies as st
from page_samples import HOSTILE, Desk, Parsed, Reader, desk

from weighup.judge.types import Item, Response
from weighup.metrics.significance import fair_coin
from weighup.serve.db.arena import ArenaVote
from weighup.serve.page.routes import arena
from weighup.serve.page.standing import FLAGGED, standing


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server with keys; each test has a tenant of its own."""
    with desk(tmp_path_factory.mktemp("arena")) as running:
        running.served.key("read", tenant="nobody")
        yield running


def voter(desk: Desk, tenant: str, *scopes: str) -> Reader:
    """A browser that a new voter signed in with."""
    reader = desk.reader()
    reader.open("/signin")
    reader.send("/signin", key=desk.served.key(*(scopes or ("review",)), tenant=tenant), next="/arena")
    return reader


def offered(reader: Reader) -> str:
    """Where the vote on what is shown goes."""
    found = re.search(r'action="(/arena/[0-9a-f-]{36})"', reader.text)
    assert found is not None, reader.text[-3000:]
    return found[1]


def answers(reader: Reader) -> list[str]:
    found = re.findall(r'<h2 id="letter\d">.*?</h2>\s*<div class="pre"[^>]*>(.*?)</div>', reader.text, re.DOTALL)
    return [html.unescape(one) for one in found]


def test_answers_are_shown_without_whose_they_are_in_an_order_that_stays(open_: Desk) -> None:
    open_.database.arena.load("blind", [*pairs(), trio()])
    reader = voter(open_, "blind")
    for _ in range(13):
        action, shown = offered(reader), answers(reader)
        assert len(shown) in (2, 3)
        for name in (*SYSTEMS, "-v-", "judge-of-length"):
            assert name not in reader.text
        reader.open("/arena")
        assert (offered(reader), answers(reader)) == (action, shown)
        places = {"place1": "1", "place2": "2", "place3": "2"}
        page = reader.send(action, **({"winner": "a"} if len(shown) == 2 else places))
        assert page.status_code == 200
        for name in SYSTEMS:
            assert name not in reader.text
    assert "You have voted on all there is: 13 comparisons." in reader.text
    votes = list(open_.database.arena.votes("blind"))
    assert len({vote.item for vote in votes}) == 13
    texts = {one.id: {r.system: r.text for r in one.responses} for one in pairs()}
    last = next(vote for vote in reversed(votes) if vote.winner)
    assert last.shown[0] in texts[last.item]


def test_what_is_shown_left_is_what_a_vote_for_a_is_for(open_: Desk) -> None:
    one = pairs()[0]
    open_.database.arena.load("sides", [one])
    systems = {response.text: response.system for response in one.responses}
    for _ in range(6):
        reader = voter(open_, "sides")
        left = answers(reader)[0]
        since = next(str(one["value"]) for one in Parsed(reader.text).of("input") if one.get("name") == "since")
        reader.send(offered(reader), winner="a", since=since)
        vote = list(open_.database.arena.votes("sides"))[-1]
        assert (vote.shown[0], vote.winner) == (systems[left], "a")
        assert vote.seconds is not None
        assert 0 <= vote.seconds < 60


def test_a_second_vote_is_refused_and_the_next_item_shown(open_: Desk) -> None:
    open_.database.arena.load("twice", pairs()[:2])
    reader = voter(open_, "twice")
    action = offered(reader)
    reader.send(action, winner="tie")
    page = reader.send(action, winner="a")
    assert page.status_code == 409
    assert "You have voted on that comparison before" in page.text
    assert 'role="alert"' in page.text
    assert offered(reader) != action
    assert [vote.winner for vote in open_.database.arena.votes("twice")] == ["tie"]
    # Nor from another browser with the same key.
    again = open_.reader()
    key = open_.served.key("review", tenant="twice")
    for _ in range(2):
        again.open("/signin")
        again.send("/signin", key=key, next="/arena")
        status = again.send(action, winner="b").status_code
        again = open_.reader()
    assert status == 409
    assert [vote.winner for vote in open_.database.arena.votes("twice")] == ["tie", "b"]


def test_an_incomplete_vote_shows_the_same_again(open_: Desk) -> None:
    open_.database.arena.load("half", [pairs()[0]])
    open_.database.arena.load("half set", [trio()])
    reader = voter(open_, "half")
    action = offered(reader)
    for wrong in ({}, {"winner": ""}, {"winner": "model_a"}, {"winner": "A"}):
        assert reader.send(action, **wrong).status_code == 422
        assert "Choose one of the four first." in reader.text
        assert offered(reader) == action
    reader = voter(open_, "half set")
    action = offered(reader)
    for some in ({}, {"place1": "1", "place2": "2"}, {"place1": "1", "place2": "2", "place3": "4"}):
        assert reader.send(action, **some).status_code == 422
        assert "Give each of the 3 answers a place." in reader.text
    checked = [one["id"] for one in Parsed(reader.text).of("input") if "checked" in one and one["type"] == "radio"]
    assert checked == ["place1-1", "place2-2"]  # what was given is still there
    assert not list(open_.database.arena.votes("half"))
    assert not list(open_.database.arena.votes("half set"))


def test_what_was_taken_out_in_the_meantime_takes_no_vote(open_: Desk) -> None:
    open_.database.arena.load("gone", pairs()[:3])
    reader = voter(open_, "gone")
    action = offered(reader)
    for system in SYSTEMS:
        open_.database.arena.withdraw("gone", system)
    page = reader.send(action, winner="a", csrf=reader.token())
    assert page.status_code == 409
    assert "taken out of the arena" in page.text
    assert "There is nothing to compare yet" in page.text
    assert not list(open_.database.arena.votes("gone"))


def test_anothers_and_nothing_are_not_there(open_: Desk) -> None:
    open_.database.arena.load("mine", pairs()[:1])
    open_.database.arena.load("theirs", pairs()[:1])
    reader, other = voter(open_, "mine"), voter(open_, "theirs")
    token = reader.token()
    for action in (offered(other), f"/arena/{uuid.uuid4()}", "/arena/x", "/arena/board"):
        assert reader.send(action, csrf=token, winner="a").status_code in (404, 405), action
    assert not list(open_.database.arena.votes("theirs"))
    other.send(offered(other), winner="a")
    assert "Nobody has voted yet." in reader.open("/arena/board").text
    assert reader.open(f"/arena/{uuid.uuid4()}").status_code == 405


def test_a_reader_sees_no_arena_and_a_form_needs_its_token(open_: Desk) -> None:
    open_.database.arena.load("closed", pairs()[:1])
    looking = voter(open_, "closed", "read")
    assert looking.open("/arena").status_code == 403
    assert "/arena" not in looking.open("/verdicts").text
    reader = voter(open_, "closed")
    action = offered(reader)
    assert 'href="/arena" aria-current="page">Arena' in reader.text
    for token in ("", "0" * 64):
        assert reader.send(action, csrf=token, winner="a").status_code == 403
    reader.open("/arena")
    assert reader.send(action, headers={"Sec-Fetch-Site": "cross-site"}, winner="a").status_code == 403
    assert httpx.post(open_.url + action, data={"winner": "a"}).status_code in (303, 403)
    assert not list(open_.database.arena.votes("closed"))


def test_voters_are_held_to_a_pace(open_: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "PER_MINUTE", 4)
    open_.database.arena.load("fast", pairs())
    reader, other = voter(open_, "fast"), voter(open_, "fast")
    codes = []
    for _ in range(5):
        token, action = reader.token(), offered(reader)
        codes.append(reader.send(action, csrf=token, winner="a").status_code)
    assert codes == [200] * 4 + [429]
    assert reader.page is not None
    assert 1 <= int(reader.page.headers["retry-after"]) <= 16
    assert "votes a minute" in reader.text
    assert other.send(offered(other), winner="a").status_code == 200  # each by themselves
    assert len(list(open_.database.arena.votes("fast"))) == 5


@pytest.mark.parametrize("since", ["", "x", "-1", "9" * 15, "9" * 40, "0", "١٢"])
def test_a_time_that_cannot_be_is_none(since: str) -> None:
    assert arena._seconds(since) is None


def test_this_machines_user_votes_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    with desk(tmp_path_factory.mktemp("local")) as running:
        hostile = Item(
            id="h",
            prompt=HOSTILE,
            context=HOSTILE,
            reference="It is\nso.",
            responses=(
                Response(text=f"{HOSTILE}\nline", system=HOSTILE[:60], sources=("javascript:alert(1)",)),
                Response(text="", system="y", sources=("https://example.org/a", "Plato, Republic")),
            ),
        )
        running.database.arena.load("", [hostile])
        reader = running.reader()
        page = reader.open("/arena")
        assert "\u202e" not in page.text
        assert "window.hurt" in page.text  # it is shown
        parsed = Parsed(page.text)
        assert len(parsed.of("script")) == 2
        assert not parsed.of("img")
        assert not [one for one in parsed.of("a") if str(one.get("href")).startswith("javascript:")]
        assert "It is\nso." in page.text  # lines stay lines
        reader.send(offered(reader), winner="both_bad")
        assert [vote.voter for vote in running.database.arena.votes("")] == ["local"]
        board = reader.open("/arena/board")
        assert board.status_code == 200
        assert "this machine&#39;s user (you)" in board.text
        assert not Parsed(board.text).of("img")
        assert len(Parsed(board.text).of("script")) == 2


def test_the_board_shows_ratings_judges_and_voters(open_: Desk) -> None:
    database = open_.database
    database.arena.load("board", [*pairs(), *(trio(f"trio {n}") for n in range(3))])
    reader = voter(open_, "board")
    assert "Nobody has voted yet." in reader.open("/arena/board").text
    crowd(database, "board")
    page = reader.open("/arena/board").text
    assert "90 votes by 6 voters on 15 comparisons" in re.sub(r"\s+", " ", page)
    first = [html.unescape(one) for one in re.findall(r'<th scope="row" dir="auto">(.*?)</th>', page)]
    assert first[:3] == list(SYSTEMS)
    assert page.count("<svg xmlns") == 2
    assert "72 votes" in page
    assert "18 votes" in page
    assert "judge-of-length" in page
    assert "too few" in page  # twelve comparisons
    reader.open("/arena")
    reader.send(
        offered(reader),
        **({"winner": "a"} if len(answers(reader)) == 2 else dict.fromkeys(["place1", "place2", "place3"], "1")),
    )
    page = reader.open("/arena/board").text
    assert "91 votes by 7 voters" in re.sub(r"\s+", " ", page)  # what was worked out is not kept for too long
    assert re.search(r"key \w+ \(test\) \(you\)", page)


# What the votes say ----------------------------------------------------------------------------------------------


def vote(item: str, shown: str, winner: str | None, who: str = "ana", **more: Any) -> ArenaVote:
    told: dict[str, Any] = {"ranking": None, "at": datetime(2026, 5, 10, tzinfo=UTC), "seconds": None, **more}
    return ArenaVote(uuid.uuid4(), item, who, tuple(shown), winner, **told)  # type: ignore[arg-type]


def test_ratings_are_those_of_bradley_terry() -> None:
    from weighup.arena import Match, bradley_terry

    told = [("xy", "a"), ("yx", "a"), ("xz", "tie"), ("zx", "both_bad"), ("yz", "b"), ("zy", "b"), ("xy", "a")]
    found = standing([vote(f"q{n}", shown, winner) for n, (shown, winner) in enumerate(told)], {})
    assert found.pairs is not None
    board = bradley_terry([Match(shown[0], shown[1], winner) for shown, winner in told])  # type: ignore[arg-type]
    for row, rating in zip(found.pairs.rows, board.ratings, strict=True):
        assert (row.system, row.value, row.low, row.high) == (rating.system, rating.value, rating.low, rating.high)
    assert {row.system: (row.won, row.votes) for row in found.pairs.rows} == {
        "x": (pytest.approx(3 / 5), 5), "y": (pytest.approx(2 / 5), 5), "z": (pytest.approx(2 / 4), 4),
    }  # fmt: skip
    assert found.pairs.notes == ()
    assert found.sets is None


def test_a_system_that_only_won_is_rated_with_a_penalty_that_is_said() -> None:
    found = standing([vote("q1", "xy", "a"), vote("q2", "yx", "b")], {})
    assert found.pairs is not None
    assert "ridge 1" in found.pairs.notes[0]
    assert [row.system for row in found.pairs.rows] == ["x", "y"]
    assert found.pairs.rows[0].low is not None


def test_systems_never_compared_are_not_ranked_together() -> None:
    told = [("ab", "a"), ("ab", "b"), ("xy", "a"), ("xy", "b")]
    found = standing([vote(f"q{n}", shown, winner) for n, (shown, winner) in enumerate(told)], {})
    assert found.pairs is not None
    assert found.pairs.groups == 2
    assert [row.group for row in found.pairs.rows] == [1, 1, 2, 2]
    assert "never compared" in found.pairs.notes[0]


def test_sets_are_rated_by_beliefs() -> None:
    from weighup.arena import gaussian_belief

    rankings = [(("x",), ("y", "z")), (("y",), ("x",), ("z",))]
    found = standing([vote(f"q{n}", "xyz", None, ranking=one) for n, one in enumerate(rankings)], {})
    assert found.sets is not None
    board = gaussian_belief(rankings)
    assert [(row.system, row.value) for row in found.sets.rows] == [(one.system, one.value) for one in board.ratings]
    assert {row.system: row.won for row in found.sets.rows} == {"x": 0.75, "y": 0.625, "z": 0.125}


def test_without_scipy_there_are_shares_and_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def bare(name: str, *more: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "scipy":
            raise ImportError(name)
        return real(name, *more, **named)

    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", bare)
    told = [vote("q1", "xy", "a"), vote("q2", "yx", "tie"), vote("q3", "xyz", None, ranking=(("z",), ("x", "y")))]
    found = standing(told, {"q1": {"gpt": "x"}})
    for table in (found.pairs, found.sets):
        assert table is not None
        assert not table.rated
        assert table.drawing is None
        assert "pip install 'weighup[judge]'" in table.notes[0]
    assert found.pairs is not None
    assert [(row.system, row.won) for row in found.pairs.rows] == [("x", 0.75), ("y", 0.25)]
    assert found.judges[0].share.value == 1
    assert found.voters[0].p == 1


def test_a_voter_who_always_picks_the_left_is_flagged() -> None:
    votes = [vote(f"q{n}", "xy" if n % 2 else "yx", "a", "lefty", seconds=float(n)) for n in range(11)]
    votes += [vote(f"q{n}", "xy" if n % 2 else "yx", "a" if n % 2 else "b", "fair") for n in range(11)]
    votes += [vote(f"q{n}", "xy", "tie", "mild") for n in range(30)]
    found = {one.id: one for one in standing(votes, {}).voters}
    assert found["lefty"].p == pytest.approx(2 / 2**11)
    assert found["lefty"].flagged
    assert (found["lefty"].left, found["lefty"].decided, found["lefty"].seconds) == (11, 11, 5)
    assert not found["fair"].flagged
    assert (found["mild"].decided, found["mild"].p, found["mild"].flagged) == (0, None, False)
    ten = standing([vote(f"q{n}", "xy", "a") for n in range(10)], {}).voters[0]
    assert (ten.p, ten.flagged) == (pytest.approx(2 / 2**10), False)  # .00195
    assert pytest.approx(0.001) == FLAGGED


@settings(max_examples=60)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_chance_is_the_binomial_tests(told: tuple[int, int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert fair_coin(*told) == pytest.approx(stats.binomtest(*told).pvalue, rel=1e-9)


def test_judges_are_measured_by_people_without_ties() -> None:
    votes = [vote("q1", "xy", "a"), vote("q1", "yx", "a", "ben"), vote("q2", "xy", "b"), vote("q3", "xy", "tie")]
    votes += [vote("q4", "xy", "both_bad"), vote("q5", "xy", "a")]
    judged: dict[str, dict[str, str | None]] = {
        "q1": {"gpt": "x", "shy": None},
        "q2": {"gpt": "y", "shy": None},
        "q3": {"gpt": "x"},
        "q5": {"gpt": "y", "shy": "x"},
    }
    gpt, shy = standing(votes, judged).judges
    assert (gpt.judge, gpt.share.value, gpt.share.n, gpt.items, gpt.ties) == ("gpt", 0.5, 4, 3, 0)
    assert math.isnan(gpt.share.low)  # of three comparisons an interval would say nothing
    assert (shy.share.value, shy.share.n, shy.ties) == (1.0, 1, 3)
    many = [vote(f"q{n}", "xy", "a" if n % 4 else "b", f"v{n % 2}") for n in range(80)]
    (told,) = standing(many, {f"q{n}": {"gpt": "x"} for n in range(80)}).judges
    assert told.share.value == 0.75
    assert 0.6 < told.share.low < 0.72 < 0.78 < told.share.high < 0.87


def test_no_votes_say_nothing() -> None:
    found = standing([], {})
    assert (found.votes, found.items, found.pairs, found.sets, found.voters, found.judges) == (0, 0, None, None, (), ())
