"""Who decides best: what is measured is what a check says, and each demand can come out either way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup import Verifier, load_settings
from weighup.errors import InvalidInput
from weighup.metrics import macro_f1
from weighup.train.ablations import ABLATIONS
from weighup.train.evaluate import Plan, evaluate, measuring, work
from weighup.train.findings import error_in_one, findings
from weighup.train.holds import calibrated, kept_risk, must_hold
from weighup.train.measured import MeasuredSet, read_sets, set_name
from weighup.train.protocol import Variant, strangers, thinned
from weighup.train.rendering import as_markdown, figures, tables
from weighup.train.results import SYSTEMS, Cell, Estimate, Evaluation, Reliability
from weighup.train.scoring import Answers, Resampling, Scorer, columns, ease_numbers, macro_f1_of
from weighup.verify.types import KINDS, Claim

ROWS = 30
PLAN = Plan(
    "scarcity",
    seeds=(0, 1),
    qs=(1.0, 0.25, 0.0),
    rs=(0.0, 0.3),
    resamples=20,
    limit=ROWS,
    ablate=tuple(ABLATIONS),
)


@pytest.fixture(scope="module")
def verifier(models_ready) -> Iterator[Verifier]:
    with measuring(load_settings()) as made:
        yield made


@pytest.fixture(scope="module")
def sets(tests_data: Path) -> list[MeasuredSet]:
    folder = tests_data / "news" / "check_covid"
    return read_sets([folder / "test.jsonl.gz", folder / "valid.jsonl.gz"], limit=ROWS)


@pytest.fixture(scope="module")
def found(verifier: Verifier, sets: list[MeasuredSet]) -> Evaluation:
    return evaluate(verifier, sets, PLAN)


@pytest.mark.usefixtures("models_ready")
@pytest.mark.parametrize("variant", [Variant(1.0, 0.0, 0), Variant(0.5, 0.3, 1), Variant(0.0, 0.0, 0)])
def test_ease_is_what_check_says(sets: list[MeasuredSet], variant: Variant) -> None:
    claims = [thinned(row, others, variant) for row, others in zip(sets[0].rows, strangers(sets[0].rows), strict=True)]
    claims.insert(3, Claim("I think the new park is beautiful."))
    # Nothing is remembered yet: the int8 networks round by what shares a batch, so that the batches must be the same.
    with measuring(load_settings()) as fresh:
        judged = fresh.judge(claims)
    with Verifier(offline=True, search=False, brief=True) as plain:
        verdicts = plain.check(claims)
    assert [one is None for one in judged] == [v.verdict == "not_checkable" for v in verdicts]
    assert judged[3] is None
    checkable = [one for one in judged if one is not None]
    kept = [v for v in verdicts if v.verdict != "not_checkable"]
    ease = columns([Answers.of(checkable, [0.0] * len(checkable))], np.zeros(len(kept), np.int64), None)["ease"][:, 0]
    assert [round(float(p), 4) for p in ease] == [v.probability_fake for v in kept]
    assert [one.label for one in checkable] == [v.verdict for v in kept]
    assert [one.chosen for one in checkable] == [v.expert for v in kept]
    assert [one.decided.interval for one in checkable] == [pytest.approx(v.interval, abs=1e-4) for v in kept]


def test_equal_claims_are_read_once(verifier: Verifier, sets: list[MeasuredSet]) -> None:
    claims = [row.claim for row in sets[0].rows[:5]]
    first = verifier.judge(claims)
    before = verifier._stance_model.read  # type: ignore[attr-defined]
    assert verifier.judge(claims) == first
    assert verifier._stance_model.read == before  # type: ignore[attr-defined]


def test_a_whole_evaluation(found: Evaluation, sets: list[MeasuredSet]) -> None:
    assert Evaluation.model_validate_json(found.model_dump_json()) == found
    info = found.sets[0]
    assert (info.name, info.split, info.rows, info.valid) == ("check_covid", "test", ROWS, ROWS)
    assert info.real + info.fake + info.unknown + info.not_checkable == ROWS
    assert found.gate.fitted
    assert [(c.q, c.r) for c in found.cells] == [(None, None), *((q, r) for q in (1, 0.25, 0) for r in (None, 0, 0.3))]
    for cell in found.cells:
        assert set(cell.systems) == set(SYSTEMS)
        assert set(cell.gains) == set(SYSTEMS) - {"ease"}
        assert cell.n == info.real + info.fake
        assert sum(cell.ease.chosen.values()) == pytest.approx(1)
        for scores in cell.systems.values():
            assert scores.macro_f1.value is not None
            assert scores.macro_f1.low is not None
            assert scores.macro_f1.high is not None
            assert scores.macro_f1.low <= scores.macro_f1.high
        ceiling = cell.systems["oracle"].macro_f1.value
        assert ceiling is not None
        assert all(ceiling >= (cell.systems[way].macro_f1.value or 0) - 1e-9 for way in ("ease", *KINDS))
        assert cell.gains["content"].value == pytest.approx(
            (cell.systems["ease"].macro_f1.value or 0) - (cell.systems["content"].macro_f1.value or 0)
        )
    at_zero = next(c for c in found.cells if c.q == 0)
    assert at_zero.ease.chosen["evidence"] == 0
    assert len(found.holds) == 6
    assert {h.demand.split(" ")[0] for h in found.holds} == {"EASE", "coverage", "selection", "expected"}


def test_a_brief_pass_asks_no_model_and_takes_time(found: Evaluation) -> None:
    cost = found.sets[0].cost
    assert cost is not None
    assert (cost.claims, cost.calls, cost.tokens_in, cost.tokens_out, cost.usd) == (ROWS, 0, 0, 0, 0)
    assert cost.seconds > 0


def test_it_is_the_same_each_time(found: Evaluation, verifier: Verifier, sets: list[MeasuredSet]) -> None:
    before = verifier._stance_model.read  # type: ignore[attr-defined]
    again = evaluate(verifier, sets, PLAN)
    apart = {"made": True, "sets": {"__all__": {"cost"}}}
    assert again.model_dump(exclude=apart) == found.model_dump(exclude=apart)
    assert verifier._stance_model.read == before  # type: ignore[attr-defined]


def test_progress_is_told_for_all_the_work(verifier: Verifier, sets: list[MeasuredSet]) -> None:
    plan = Plan("scarcity", seeds=(0,), qs=(1.0, 0.0), rs=(0.0,), resamples=5)
    steps: list[int] = []
    evaluate(verifier, sets, plan, advance=lambda step=1, *, note=None: steps.append(step))
    assert sum(steps) == work(sets, plan) == 4 * ROWS


def test_without_valid_rows_there_is_no_gate(verifier: Verifier, tests_data: Path) -> None:
    sets = read_sets([tests_data / "news" / "check_covid" / "test.jsonl.gz"], limit=12)
    found = evaluate(verifier, sets, Plan(resamples=5))
    assert not found.gate.fitted
    assert "left out" in found.gate.told
    assert "gate" not in found.cells[0].systems
    assert not found.holds
    assert len(found.cells) == 1


def test_over_time(verifier: Verifier, tests_data: Path) -> None:
    sets = read_sets([tests_data / "news" / "ced_weibo" / "test.jsonl.gz"], limit=40)
    found = evaluate(verifier, sets, Plan("time", resamples=5))
    named = [cell.period for cell in found.cells]
    assert named[:3] == [None, "2013 Q2", "2013 Q3"]
    assert sum(cell.n for cell in found.cells[1:]) == found.cells[0].n
    assert as_markdown(found)


def test_tables_and_markdown_show_it(found: Evaluation) -> None:
    for table in tables(found):
        assert all(len(row) == len(table.columns) for row in table.rows)
    text = as_markdown(found)
    assert text.count("<svg") == len(list(figures(found))) == 4
    for told in ("what must hold", "learned gate", "no evaluators", "seconds a claim", "all r"):
        assert told in text


def test_what_it_comes_to_names_its_tables(found: Evaluation) -> None:
    told = list(findings(found))
    assert len(told) == 6 + 4 + 4 + 1
    titles = [table.title for table in tables(found)]
    for sentence in told:
        assert "*what must hold*" in sentence or "tables by set" in sentence or "*what EASE did*" in sentence
    assert "what must hold" in titles
    assert any("what EASE did" in title for title in titles)


def test_sentences_follow_the_numbers(found: Evaluation) -> None:
    def with_holds(holds: bool) -> Evaluation:
        held = found.holds[0].model_copy(update={"holds": holds})
        return found.model_copy(update={"holds": [held]})

    assert any("met on 1 of 1 sets" in one for one in findings(with_holds(True)))
    assert any("met on 0 of 1 sets; not on check_covid" in one for one in findings(with_holds(False)))


def test_two_sets_have_means(found: Evaluation) -> None:
    twin = [cell.model_copy(update={"set": "twin"}) for cell in found.cells]
    info = found.sets[0].model_copy(update={"name": "twin"})
    both = found.model_copy(update={"sets": [*found.sets, info], "cells": [*found.cells, *twin]})
    by_title = {table.title: table for table in tables(both)}
    table = by_title["means over sets: macro-F1"]
    assert len(table.rows) == len(found.cells)
    assert table.rows[0][1] == found.cells[0].systems["content"].macro_f1.value
    assert next(findings(both)).startswith("Mean macro-F1")
    assert any(one.startswith("Expected calibration error with the claims of all sets") for one in findings(both))
    assert "means over sets" not in " ".join(table.title for table in tables(found))


def test_sets_that_stray_to_either_side_make_up_for_each_other(found: Evaluation) -> None:
    def of(name: str, n: int, observed: float) -> Cell:
        curve = Reliability(predicted=[0.05, 0.45], observed=[0.05, observed], counts=[30, 10])
        return found.cells[0].model_copy(update={"set": name, "n": n, "reliability": curve})

    info = found.sets[0]
    sets = [info.model_copy(update={"name": name}) for name in ("one", "two")]
    even = found.model_copy(update={"sets": sets, "cells": [of("one", 40, 0.65), of("two", 40, 0.25)]})
    assert error_in_one(even) == pytest.approx(0)
    uneven = even.model_copy(update={"cells": [of("one", 120, 0.65), of("two", 40, 0.25)]})
    assert error_in_one(uneven) == pytest.approx((30 * 0.2 - 10 * 0.2) / 160)


# --- what must hold can come out false ------------------------------------------------------------------------------

N = 40
FAKE = np.arange(N) % 2
ALL = np.ones((N, 3), np.bool_)


def answers(ease: np.ndarray, experts: np.ndarray | None = None, content: np.ndarray | None = None) -> Answers:
    own = np.stack([ease] * 3, axis=1) if experts is None else experts
    given = np.full(N, 0.4) if content is None else content
    return Answers(given, own, ease, np.zeros(N, np.int64), np.zeros(N, np.bool_), np.zeros((N, 9)), ALL, np.zeros(N))


def sure(right: int) -> np.ndarray:
    """P(fake) that is right for the first `right` claims, and surest there."""
    truth = np.where(FAKE == 1, 0.9, 0.1)
    return np.where(np.arange(N) < right, truth, 0.5 + (0.5 - truth) * 0.2)


def demands(by_q: dict[float, Answers]) -> list[bool]:
    scorer = Scorer(FAKE, Resampling(np.arange(N), 10))
    every = {q: [one] for q, one in by_q.items()}
    systems = {q: columns(mine, FAKE, None) for q, mine in every.items()}
    return [held.holds for held in must_hold("toy", scorer, systems, every, FAKE)]


def test_all_demands_can_be_met() -> None:
    mixed = np.stack([1 - sure(30), sure(30), np.full(N, 0.4)], axis=1)
    good = replace(answers(sure(30), mixed), chosen=np.ones(N, np.int64))
    assert demands({1.0: good, 0.0: good}) == [True] * 5


def test_a_better_single_expert_fails_the_first_two() -> None:
    better = np.stack([sure(38), sure(20), sure(20)], axis=1)
    assert demands({1.0: answers(sure(20), better), 0.0: answers(sure(20), better)})[:2] == [False, False]


def test_one_bad_q_fails_the_second_alone() -> None:
    weak = np.stack([sure(10)] * 3, axis=1)
    strong = np.stack([sure(22), sure(10), sure(10)], axis=1)
    assert demands({1.0: answers(sure(39), weak), 0.0: answers(sure(20), strong)})[:2] == [True, False]


def test_content_ahead_without_evidence_fails_the_third_and_the_fourth() -> None:
    found = demands({1.0: answers(sure(39)), 0.0: answers(sure(20), content=sure(35))})
    assert found[2:4] == [False, False]


def test_equal_coverage_is_not_higher() -> None:
    assert demands({1.0: answers(sure(30), content=sure(30)), 0.0: answers(sure(30), content=sure(30))})[3] is False


def test_selection_that_always_takes_evidence_fails_the_last() -> None:
    assert demands({1.0: answers(sure(30)), 0.25: answers(sure(30))})[-1] is False


def test_demands_on_q_that_was_not_measured_do_not_appear() -> None:
    assert len(demands({1.0: answers(sure(30)), 0.5: answers(sure(30))})) == 3


def test_probabilities_must_mean_what_they_say(found: Evaluation) -> None:
    def at(error: float) -> Cell:
        ease = found.cells[0].systems["ease"].model_copy(update={"ece": Estimate(value=error)})
        return found.cells[0].model_copy(update={"systems": {"ease": ease}})

    assert [calibrated("x", at(error), apart=False).holds for error in (0.04, 0.06)] == [True, False]
    assert [calibrated("x", at(error), apart=True).holds for error in (0.06, 0.11)] == [True, False]


def test_a_risk_that_was_asked_for_is_held_against_what_came_of_it(found: Evaluation) -> None:
    def at(risk: float | None) -> Cell:
        ease = found.cells[0].ease.model_copy(update={"risk_among_called": risk})
        return found.cells[0].model_copy(update={"ease": ease})

    assert [kept_risk("x", at(risk), 0.1).holds for risk in (0.09, 0.114, 0.12, None)] == [True, True, False, True]
    assert "nothing is called" in kept_risk("x", at(None), 0.1).at[0].who


# --- numbers --------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), *[st.sampled_from((0.0, 0.4, 0.5, 0.9))] * 3), min_size=1, max_size=30))
def test_macro_f1_of_columns_is_the_mean_of_the_metric(rows: list[tuple[Any, ...]]) -> None:
    fake = np.asarray([row[0] for row in rows], np.int64)
    p = np.asarray([row[1:] for row in rows], np.float64)
    assert macro_f1_of(fake, p) == pytest.approx(np.mean([macro_f1(fake, p[:, k] >= 0.5) for k in range(3)]))


def test_a_called_claim_of_unknown_label_is_wrong() -> None:
    a = answers(np.where(FAKE == 1, 0.9, 0.1))
    labels = np.where(np.arange(N) < 10, 2, FAKE)
    assert ease_numbers([a], FAKE).risk_among_called == 0
    assert ease_numbers([a], labels).risk_among_called == pytest.approx(10 / N)
    quiet = replace(a, unknown=labels == 2)
    assert ease_numbers([quiet], labels).risk_among_called == 0
    assert ease_numbers([quiet], labels).called == pytest.approx(30 / N)
    silent = replace(a, unknown=np.ones(N, np.bool_))
    assert ease_numbers([silent], labels).risk_among_called is None


def test_one_class_has_no_auroc_and_few_groups_no_interval() -> None:
    one = Scorer(np.ones(4, np.int64), Resampling(np.zeros(4, np.int64), 5)).scores(np.full((4, 2), 0.7))
    assert one.auroc.value is None
    assert one.macro_f1.value == 1
    assert one.macro_f1.low is None


# --- at the door ----------------------------------------------------------------------------------------------------


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def claims(n: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"text": f"Claim number {i}.", "label": ("real", "fake")[i % 2], "group": f"g{i}", **more} for i in range(n)
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("covid/test.jsonl.gz", "covid"),
        ("covid/dev.jsonl", "covid"),
        ("covid/mine.csv", "mine"),
        ("a.b.jsonl.gz", "a.b"),
    ],
)
def test_names_of_sets(name: str, expected: str) -> None:
    assert set_name(Path(name)) == expected


def test_files_of_a_folder_are_one_set_and_name_their_split(tmp_path: Path) -> None:
    test = write(tmp_path / "mine" / "test.jsonl", claims(6))
    valid = write(
        tmp_path / "mine" / "dev.jsonl", [{**row, "text": f"{row['text']} b", "group": None} for row in claims(4)]
    )
    [made] = read_sets([test, valid])
    assert (made.name, len(made.rows), len(made.valid), made.split) == ("mine", 6, 4, "test")
    [made] = read_sets([test, valid], split="valid")
    assert (len(made.rows), len(made.valid)) == (4, 0)
    [made] = read_sets([test, valid], split="all", limit=3)
    assert (len(made.rows), len(made.valid)) == (6, 0)
    [made] = read_sets([valid])
    assert made.split == "valid"
    assert "valid rows only" in made.notes[0]
    with pytest.raises(InvalidInput, match="has no test rows"):
        read_sets([valid], split="test")
    with pytest.raises(InvalidInput, match="given twice"):
        read_sets([test, test])
    with pytest.raises(InvalidInput, match="no such file"):
        read_sets([tmp_path / "none.jsonl"])


def test_leaks_are_refused_unless_dropped(tmp_path: Path) -> None:
    files = [write(tmp_path / "s" / f"{name}.jsonl", claims(6)) for name in ("test", "valid")]
    with pytest.raises(InvalidInput, match="--drop-leaks"):
        read_sets(files)
    [made] = read_sets(files, drop_leaks=True)
    assert (len(made.rows), len(made.valid), made.dropped) == (6, 0, 6)


def test_one_class_and_unknown_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="none is fake"):
        read_sets([write(tmp_path / "one.jsonl", claims(6)[::2])])
    odd = write(tmp_path / "odd.jsonl", [{"text": "A claim.", "label": "half-true"}])
    with pytest.raises(InvalidInput, match="--labels"):
        read_sets([odd])


def test_a_protocol_says_what_it_lacks(tmp_path: Path) -> None:
    from weighup.train.evaluate import require_measurable

    sets = read_sets([write(tmp_path / "bare.jsonl", claims(6))])
    require_measurable(sets, Plan())
    with pytest.raises(InvalidInput, match="no row has evidence"):
        require_measurable(sets, Plan("scarcity"))
    with pytest.raises(InvalidInput, match="6 of 6 rows have no `date`"):
        require_measurable(sets, Plan("time"))
