"""NUM: sessions worked by hand, what must hold for every session, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weighup.errors import InvalidInput
from weighup.metrics.num import (
    Passage,
    Query,
    Result,
    Session,
    num,
    num_report,
    read_sessions,
    u_measure,
)
from weighup.metrics.num_claim import check, mean_ndcg, sdcg

EXACT = 1e-12
KINDS = ("skipped", "left at once", "satisfied")


def session(*queries: list[Result], **changes: Any) -> Session:
    return Session(queries=tuple(Query(results=tuple(results)) for results in queries), **changes)


def good(name: str, length: int = 1_000, **changes: Any) -> Result:
    return Result(id=name, length=length, clicked=True, **changes)


def bad(name: str, length: int = 2_000) -> Result:
    return good(name, length, dwell=5)


def skipped(name: str, **changes: Any) -> Result:
    return Result(id=name, **changes)


def test_u_by_hand() -> None:
    trail = [Passage(200), Passage(1_000, 0.5), Passage(300), Passage(5_000, 1)]
    assert u_measure(trail, 10_000) == pytest.approx(0.5 * 0.88 + 0.35, abs=EXACT)
    assert u_measure(trail, 1_200) == 0
    assert u_measure([], 10) == 0


def test_one_query_one_document() -> None:
    report = num_report(session([good("a")]))
    assert report.actual == pytest.approx(1 - 1_200 / 132_000, abs=EXACT)
    assert (report.value, report.read, report.found, report.undefined) == (1, 1, 0, None)


def test_a_useless_click_and_a_reformulation_by_hand() -> None:
    # 200 + 2,000 for nothing, 1,000 to ask again, 100 + 3,000 to the gain; ideally 3,100.
    found = num(session([bad("a"), skipped("b")], [good("c", 3_000, snippet_length=100)]))
    assert found == pytest.approx((132_000 - 6_300) / (132_000 - 3_100), abs=EXACT)
    dearer = num(session([bad("a"), skipped("b")], [good("c", 3_000, snippet_length=100)]), reformulation=2_000)
    assert dearer == pytest.approx((132_000 - 7_300) / (132_000 - 3_100), abs=EXACT)


def test_a_document_clicked_later_counts_where_it_was_first_shown_by_hand() -> None:
    # Read in the first query after two snippets, 4,400; ideally after its own, 4,200.
    report = num_report(session([skipped("a"), skipped("b")], [skipped("c"), good("b", 4_000)]))
    assert report.value == pytest.approx(127_600 / 127_800, abs=EXACT)
    assert (report.read, report.found) == (1, 1)


def test_a_click_left_at_once_finds_nothing_earlier() -> None:
    report = num_report(session([skipped("b")], [bad("b")], [good("c")]))
    assert report.found == 0


def test_grades_by_hand() -> None:
    # Gains 1/3 and 1. Read at 1,200 and 3,400; ideally the better one at 2,200 and the other at 3,400.
    graded = session([good("a", relevance=1), good("b", 2_000, relevance=2)])
    report = num_report(graded, 10_000, "qrels")
    assert report.actual == pytest.approx(0.88 / 3 + 0.66, abs=EXACT)
    assert report.ideal == pytest.approx(0.78 + 0.66 / 3, abs=EXACT)
    assert report.value == pytest.approx(2.86 / 3, abs=EXACT)


def test_a_document_without_a_grade_is_told() -> None:
    report = num_report(session([good("a", relevance=1), good("b")]), labels="qrels")
    assert report.unjudged == 1


def test_satisfied_early_ranks_above_padded() -> None:
    early = session([good("a"), good("b")])
    padded = session([good("a"), bad("x")], [skipped("y"), bad("z")], [good("b")])
    assert num(padded) < num(early) == 1


def test_a_long_document_first_is_not_always_best_and_the_ratio_is_cut() -> None:
    report = num_report(session([good("short", 100, relevance=1), good("long", 90_000, relevance=2)]), labels="qrels")
    assert report.actual > report.ideal
    assert (report.value, report.capped) == (1, True)


@pytest.mark.parametrize("shown", [[], [skipped("a"), skipped("b")]])
def test_without_clicks_it_is_0_and_says_so(shown: list[Result]) -> None:
    report = num_report(session(shown))
    assert (report.value, report.undefined) == (0, "nothing was clicked")
    assert num(session([bad("a")])) == 0
    assert num_report(session([bad("a")])).undefined == "nothing that was read gains anything"


@st.composite
def sessions(draw: st.DrawFn, alike: bool = True) -> Session:
    """One to four queries; satisfying documents of one length and snippet if `alike`."""
    lists = []
    for place in range(draw(st.integers(1, 4))):
        results = []
        for rank, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), max_size=5))):
            snippet, length = draw(st.integers(1, 400)), draw(st.integers(1, 5_000))
            if kind == "satisfied" and alike:
                snippet, length = 200, 1_000
            results.append(
                Result(
                    id=f"{place}-{rank}",
                    snippet_length=snippet,
                    length=length,
                    clicked=kind != "skipped",
                    dwell=5 if kind == "left at once" else None,
                )
            )
        lists.append(results)
    return session(*lists)


def gains(result: Result) -> bool:
    return result.clicked and result.dwell is None


def lists_of(found: Session) -> list[list[Result]]:
    return [list(query.results) for query in found.queries]


@given(sessions(alike=False))
def test_it_lies_between_0_and_1(found: Session) -> None:
    assert 0 <= num(found) <= 1
    assert 0 <= num(found, decay=500) <= 1


@given(sessions())
def test_with_documents_alike_the_ideal_is_never_beaten(found: Session) -> None:
    report = num_report(found)
    assert report.actual <= report.ideal + EXACT


@given(sessions(), st.data())
def test_a_relevant_document_moved_earlier_never_lowers_it(found: Session, data: st.DataObject) -> None:
    lists = lists_of(found)
    movable = [(q, r) for q, results in enumerate(lists) for r, one in enumerate(results) if gains(one) and (q or r)]
    if not movable:
        return
    query, rank = data.draw(st.sampled_from(movable))
    moved = lists[query].pop(rank)
    goal = data.draw(st.integers(0, query)) if query else 0
    # As far down as the user read there, or up to where it was.
    opened = [r for r, one in enumerate(lists[goal]) if one.clicked]
    lowest = rank if goal == query else (opened[-1] + 1 if opened else 0)
    lists[goal].insert(data.draw(st.integers(0, lowest)), moved)
    assert num(session(*lists)) >= num(found) - EXACT


@given(sessions(), st.data())
def test_an_empty_reformulation_lowers_it(found: Session, data: st.DataObject) -> None:
    lists = lists_of(found)
    place = data.draw(st.integers(0, len(lists)))
    longer = session(*lists[:place], [], *lists[place:])
    if any(gains(one) for results in lists[place:] for one in results):
        assert num(longer) < num(found)
    else:  # U sees nothing after the last gain
        assert num(longer) == num(found)


@given(sessions())
def test_merging_the_tail_raises_it(found: Session) -> None:
    *kept, last, tail = [[], *lists_of(found)]
    if not kept:
        return
    opened = [r for r, one in enumerate(last) if one.clicked]
    end = opened[-1] + 1 if opened else 0
    merged = session(*kept[1:], [*last[:end], *(one for one in tail if one.clicked), *last[end:]])
    if any(gains(one) for one in tail):
        assert num(merged) > num(found)
    else:
        assert num(merged) == num(found)


def test_sessions_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    line = {"id": "s", "queries": [{"text": "q", "time": 0, "results": [{"id": "a", "length": 9, "clicked": True}]}]}
    path.write_text(json.dumps(line) + "\n\n" + json.dumps({**line, "satisfaction": 4}) + "\n", encoding="utf-8")
    first, second = read_sessions(path)
    assert (first.id, second.satisfaction, num(first)) == ("s", 4, 1)


CLICKED = {"id": "a", "length": 9, "clicked": True}


@pytest.mark.parametrize(
    ("queries", "says"),
    [
        ([], "queries"),
        ([{"results": [{**CLICKED, "length": 0}]}], "length"),
        ([{"results": [{"id": "a", "snippet_length": 0}]}], "snippet_length"),
        ([{"results": [{**CLICKED, "dwell": -1}]}], "dwell"),
        ([{"results": [{"id": "a", "clicked": True}]}], "`length` is needed"),
        ([{"results": [{"id": "a", "dwell": 3}]}], "was not clicked"),
        ([{"results": [CLICKED, CLICKED]}], "shown twice"),
        ([{"results": [CLICKED]}, {"results": [{"id": "a", "length": 10}]}], "10 characters here"),
        ([{"time": 5}, {"time": 4}], "query 2: asked at 4 s"),
        ([{"time": 5, "results": [{**CLICKED, "clicked_at": 4}]}], "before the query"),
        ([{"time": 5, "results": [{**CLICKED, "clicked_at": 9}]}, {"time": 8}], "asked at 8 s"),
        ([{"results": [{**CLICKED, "relevance": -1}]}], "relevance"),
        ([{"results": [{**CLICKED, "colour": "red"}]}], "colour"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, queries: Any, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("\n" + json.dumps({"queries": queries}), encoding="utf-8")
    with pytest.raises(InvalidInput, match=rf"(?s)bad\.jsonl, line 2.*{says}"):
        read_sessions(path)


def test_files_that_hold_no_session_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_sessions(tmp_path / "none.jsonl")
    path = tmp_path / "empty.jsonl"
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="no session"):
        read_sessions(path)
    path.write_text('{"queries": [', encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 1"):
        read_sessions(path)


@pytest.mark.parametrize("decay", [0, -1, math.nan, math.inf])
def test_the_decay_is_over_0(decay: float) -> None:
    with pytest.raises(InvalidInput, match="decay"):
        num(session([good("a")]), decay)
    with pytest.raises(InvalidInput, match="decay"):
        u_measure([Passage(1, 1)], decay)


def test_other_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidInput, match="passage 2"):
        u_measure([Passage(1), Passage(-1)])
    with pytest.raises(InvalidInput, match="reformulation"):
        num(session([good("a")]), reformulation=-1)
    with pytest.raises(InvalidInput, match="qrels"):
        num(session([good("a")]), labels="qrels")
    with pytest.raises(InvalidInput, match="labels"):
        num(session([good("a")]), labels="stars")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Result(id="a", length=0)


def test_the_baselines_of_the_claim_by_hand() -> None:
    import numpy as np

    grades = [np.array([0.0, 2, 1]), np.array([0.0, 0, 0])]
    best = 3 + 1 / math.log2(3)
    assert mean_ndcg(grades) == pytest.approx((3 / math.log2(3) + 0.5) / best / 2)
    assert sdcg([grades[0]]) == pytest.approx(3 / 2 + 1 / (1 + math.log2(3)))
    assert sdcg([grades[1], grades[0]]) == pytest.approx(sdcg([grades[0]]) / 1.5)


def test_the_claim_check_runs(tmp_path: Path) -> None:
    results = check(tmp_path, (0, 1), sessions=40, draws=20)
    assert [result.baseline for result in results] == ["mean nDCG by query + 0.05", "sDCG + 0.02"]
    assert all(result.n == 40 for result in results)
