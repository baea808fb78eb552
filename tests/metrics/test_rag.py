"""The parts of a RAG system measured: known values, other libraries, planted defects, and what cannot be known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighup.errors import InvalidInput
from weighup.metrics.rag import rag_report, read_samples
from weighup.metrics.rag_retrieval import rank_weighted
from weighup.metrics.rag_samples import RagSample

SUN, MOON, MARS = "The sun is a star.", "The moon orbits the earth.", "Mars has two moons."
ANSWER = "The sun is a star [1]. The moon orbits the earth [2]."
PLAIN = "The sun is a star. The moon orbits the earth."


def holds(pairs: Sequence[tuple[str, str]]) -> Any:
    """A source supports what it says word for word."""
    return np.array([[1.0, 0, 0] if claim in source else [0, 0, 1.0] for source, claim in pairs])


def letters(texts: Sequence[str]) -> Any:
    """Texts as counts of letters."""
    return np.array([[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts], float)


def sample(**changes: Any) -> RagSample:
    base: dict[str, Any] = {
        "id": "q1",
        "question": "What is the sun?",
        "contexts": (SUN, MOON, MARS),
        "answer": ANSWER,
        "reference": PLAIN,
    }
    return RagSample(**(base | changes))


def value(one: RagSample, name: str, **given: Any) -> float:
    """A column of a report on one sample; NaN where there is none."""
    report = rag_report([one], **({"entailment": holds, "draws": 1} | given))
    return float(report.column(name)[0]) if name in report.totals else math.nan


# The retriever.


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(0, 3), st.integers(1, 12))
def test_known_relevance_agrees_with_the_formulas(grades: list[int], missed: int, k: int) -> None:
    passages = [{"id": f"d {place}", "text": f"text {place}"} for place in range(len(grades))]
    relevant = {f"d {place}": grade for place, grade in enumerate(grades)} | {f"m{n}": 1 for n in range(missed)}
    report = rag_report([sample(contexts=passages, relevant=relevant)], ks=(k,), draws=1)
    total = sum(grade > 0 for grade in relevant.values())
    if not total:
        assert f"recall@{k}" in report.left_out
        return
    rel = np.array(grades) > 0
    first = np.flatnonzero(rel)
    discount = 1 / np.log2(np.arange(2, 30))
    ideal = sorted(relevant.values(), reverse=True)[:k]
    precision = np.cumsum(rel) / np.arange(1, len(rel) + 1)
    expected = {
        f"recall@{k}": rel[:k].sum() / total,
        f"precision@{k}": rel[:k].sum() / k,
        f"hit@{k}": float(rel[:k].any()),
        "mrr": 1 / (first[0] + 1) if len(first) else 0.0,
        "ap": float((precision * rel).sum() / total),
        f"ndcg@{k}": float(np.dot(grades[:k], discount[: len(grades[:k])]) / np.dot(ideal, discount[: len(ideal)])),
    }
    for name, right in expected.items():
        assert report.column(name)[0] == pytest.approx(right, abs=1e-9), name


def test_retrieval_agrees_with_ir_measures() -> None:
    ir_measures = pytest.importorskip("ir_measures")
    rng = np.random.default_rng(0)
    many = []
    for number in range(20):
        ids = [f"d{place}" for place in rng.permutation(30)[:10]]
        grades = {f"d{place}": int(rng.integers(0, 3)) for place in range(30)}
        contexts = [{"id": one, "text": one} for one in ids]
        many.append(sample(id=f"q{number}", contexts=contexts, relevant=grades))
    report = rag_report(many, ks=(5,), draws=10)
    run = {one.id: {p.id: 100.0 - rank for rank, p in enumerate(one.contexts)} for one in many}
    qrels = {one.id: dict(one.relevant or {}) for one in many}
    for ours, theirs in {"recall@5": "R@5", "ndcg@5": "nDCG@5", "mrr": "RR", "ap": "AP"}.items():
        measure = ir_measures.parse_measure(theirs)
        assert report.totals[ours].value == pytest.approx(
            ir_measures.calc_aggregate([measure], qrels, run)[measure], abs=1e-9
        )
        assert report.totals[ours].n == 20
        assert report.totals[ours].low < report.totals[ours].value < report.totals[ours].high


def test_rank_weighted_precision_is_the_worked_example() -> None:
    # Relevant at ranks 1 and 3: (1/1 + 2/3) / 2.
    assert rank_weighted(np.array([True, False, True])) == pytest.approx((1 + 2 / 3) / 2)
    assert rank_weighted(np.array([False, False])) == 0.0


def test_context_precision_falls_when_useful_passages_come_late() -> None:
    assert value(sample(), "context_precision") == 1.0
    assert value(sample(contexts=(MARS, SUN, MOON)), "context_precision") == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_context_recall_is_the_share_of_reference_claims_found() -> None:
    assert value(sample(), "context_recall") == 1.0
    assert value(sample(contexts=(SUN, MARS), answer="The sun is a star [1]."), "context_recall") == 0.5


def test_the_judge_gives_context_relevance_and_precision_without_a_reference() -> None:
    def judge(pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [0.9 if passage == SUN else 0.1 for _, passage in pairs]

    one = sample(contexts=(MOON, SUN), reference=None)
    assert value(one, "context_relevance", judge=judge) == pytest.approx(0.5)
    assert value(one, "context_precision", judge=judge) == 0.5
    with pytest.raises(InvalidInput, match="judge"):
        rag_report([one], judge=lambda pairs: [2.0] * len(pairs))
    with pytest.raises(InvalidInput, match="one value a pair"):
        rag_report([one], judge=lambda pairs: [0.5])


# The generator.


def test_a_true_and_rightly_cited_answer_is_perfect() -> None:
    report = rag_report([sample()], entailment=holds, draws=1)
    for name in ("faithfulness", "claim_precision", "claim_recall", "claim_f1", "citation_precision"):
        assert report.column(name)[0] == 1.0, name
    assert report.column("citation_recall")[0] == 1.0
    assert report.samples[0].scores["faithfulness"].n == 2
    assert report.samples[0].flags == ()


@pytest.mark.parametrize(
    ("answer", "column", "right"),
    [
        (f"{ANSWER} Pluto is made of cheese.", "faithfulness", 2 / 3),
        (f"{ANSWER} Pluto is made of cheese.", "citation_recall", 2 / 3),
        (f"{ANSWER} Pluto is made of cheese.", "citation_precision", 1.0),
        ("The sun is a star [1].", "claim_recall", 0.5),
        ("The sun is a star [1].", "claim_precision", 1.0),
        ("The sun is a star [1].", "claim_f1", 2 / 3),
        ("The sun is a star [2]. The moon orbits the earth [2].", "citation_precision", 0.5),
        ("The sun is a star [2]. The moon orbits the earth [2].", "citation_recall", 0.5),
        ("The sun is a star [2]. The moon orbits the earth [2].", "faithfulness", 1.0),
        ("The sun is a star [1, 3]. The moon orbits the earth. [2]", "citation_precision", 2 / 3),
        ("The sun is a star [1-3]. The moon orbits the earth [2].", "citation_recall", 1.0),
    ],
)
def test_each_defect_lowers_its_own_measure(answer: str, column: str, right: float) -> None:
    assert value(sample(answer=answer), column) == pytest.approx(right)


def test_a_citation_is_precise_where_the_others_do_not_support_without_it() -> None:
    """ALCE: neither passage says all, both together do; a third is not needed."""

    def both(pairs: Sequence[tuple[str, str]]) -> Any:
        return np.array([[1.0, 0, 0] if "north" in s and "south" in s else [0, 0, 1.0] for s, _ in pairs])

    contexts = ("It has a north pole.", "It has a south pole.", "It has no sea.")
    two = sample(contexts=contexts, answer="It has two poles [1, 2].", reference=None)
    assert value(two, "citation_precision", entailment=both) == 1.0
    assert value(two, "citation_recall", entailment=both) == 1.0
    three = sample(contexts=contexts, answer="It has two poles [1, 2, 3].", reference=None)
    assert value(three, "citation_precision", entailment=both) == pytest.approx(2 / 3)


def test_claims_are_counted_by_verdict_or_by_chance() -> None:
    def unsure(pairs: Sequence[tuple[str, str]]) -> Any:
        return np.tile([0.4, 0.3, 0.3], (len(pairs), 1))

    assert value(sample(), "faithfulness", entailment=unsure) == 1.0
    assert value(sample(), "faithfulness", entailment=unsure, count="expected") == pytest.approx(0.4)
    with pytest.raises(InvalidInput, match="count"):
        value(sample(), "faithfulness", count="sometimes")


def test_answer_relevance_is_the_mean_cosine_with_questions_written_back() -> None:
    vectors = {"What is the sun?": [1.0, 0], "a?": [2.0, 0], "b?": [0, 5.0]}

    def embed(texts: Sequence[str]) -> Any:
        return np.array([vectors.get(text, [1.0, 1.0]) for text in texts])

    one = sample(regenerated=("a?", "b?"))
    assert value(one, "answer_relevance", embed=embed) == pytest.approx(0.5)
    asked: list[str] = []

    def ask(answers: Sequence[str]) -> list[list[str]]:
        asked.extend(answers)
        return [["a?"] for _ in answers]

    assert value(sample(), "answer_relevance", embed=embed, ask=ask) == pytest.approx(1)
    assert asked == [PLAIN]
    with pytest.raises(InvalidInput, match="a list of questions an answer"):
        value(sample(), "answer_relevance", embed=embed, ask=lambda answers: [])
    with pytest.raises(InvalidInput, match="embed"):
        value(one, "answer_relevance", embed=lambda texts: np.full((len(texts), 2), np.nan))


def test_answer_correctness_blends_claims_and_similarity() -> None:
    one = sample(answer="The sun is a star [1].")
    report = rag_report([one], entailment=holds, embed=letters, draws=1)
    like, f1 = report.column("answer_similarity")[0], report.column("claim_f1")[0]
    assert report.column("answer_correctness")[0] == pytest.approx(0.75 * f1 + 0.25 * like)
    assert 0 < like < 1


def test_noise_robustness_is_what_is_kept_beside_the_same_question_without_noise() -> None:
    pair = [sample(), sample(id="q2", noise_of="q1", contexts=(SUN, MOON, MARS), answer="The sun is a star [1].")]
    report = rag_report(pair, entailment=holds, draws=10)
    assert report.column("noise_robustness")[1] == pytest.approx(1 - (1 - 2 / 3))
    assert report.totals["noise_robustness"].n == 1


def test_refusals_are_right_where_the_passages_lack_the_answer() -> None:
    refused = "I don't know. The passages do not say."
    many = [
        sample(id="a", answerable=False, answer=refused),
        sample(id="b", answerable=False),
        sample(id="c", answerable=True, answer=refused, regenerated=("What?",)),
        sample(id="d", answerable=True, regenerated=("What is the sun?",)),
    ]
    report = rag_report(many, entailment=holds, embed=letters, draws=10)
    assert report.totals["refused_unanswerable"].value == report.totals["refused_answerable"].value == 0.5
    assert report.totals["refused_answerable"].n == 2
    assert report.totals["refused_answerable"].low < 0.5 < report.totals["refused_answerable"].high
    relevance = report.column("answer_relevance")
    assert math.isnan(relevance[0])
    assert relevance[2] == 0
    assert relevance[3] == pytest.approx(1)


def test_finer_splitters_take_the_place_of_the_rules() -> None:
    report = rag_report([sample(answer="x")], entailment=holds, split=lambda text: [SUN, "Pluto is cheese."], draws=1)
    assert report.column("faithfulness")[0] == 0.5


# Totals.


def test_totals_have_an_interval_an_n_and_a_reason_where_there_are_none() -> None:
    many = [sample(id=str(n), answer=ANSWER if n % 2 else "Pluto is cheese [1].") for n in range(20)]
    report = rag_report(many, entailment=holds, draws=200)
    total = report.totals["faithfulness"]
    assert (total.value, total.n) == (0.5, 20)
    assert 0.2 < total.low < 0.5 < total.high < 0.8
    assert "judge" in report.left_out["context_relevance"]
    assert "embed" in report.left_out["answer_relevance"]
    assert "relevant" in report.left_out["mrr"]
    rows = report.rows()
    assert {row["measure"] for row in rows} == {*report.totals, *report.left_out}
    assert len(report.sample_rows()) == 20
    assert rag_report(many, entailment=holds, draws=200).totals == report.totals
    with pytest.raises(InvalidInput, match="mrr"):
        report.column("mrr")


def test_a_system_that_never_cites_is_not_said_to_cite_badly() -> None:
    report = rag_report([sample(answer=PLAIN)], entailment=holds, draws=1)
    assert report.left_out["citation_recall"] == "no answer cites anything"


# Bad input.


def test_no_context_is_said_and_supports_nothing() -> None:
    report = rag_report([sample(contexts=(), relevant={"1": 1})], entailment=holds, draws=1)
    assert "no context" in report.samples[0].flags
    for name in ("faithfulness", "context_recall", "context_precision", "recall@5", "mrr"):
        assert report.column(name)[0] == 0.0, name


def test_an_answer_that_claims_nothing_has_no_faithfulness() -> None:
    many = [sample(id="a", answer="I don't know."), sample(id="b", answer="Which sun?"), sample(id="c")]
    report = rag_report(many, entailment=holds, draws=10)
    assert np.isnan(report.column("faithfulness")).tolist() == [True, True, False]
    assert report.totals["faithfulness"].n == 1
    assert report.samples[0].flags == ("refused",)
    assert report.samples[1].flags == ("no claims in the answer",)
    assert report.column("claim_f1")[:2].tolist() == [0, 0]


def test_citations_of_what_is_not_there_are_wrong_and_said() -> None:
    report = rag_report([sample(answer="The sun is a star [7]. The moon orbits the earth [2].")], entailment=holds)
    assert report.column("citation_precision")[0] == 0.5
    assert report.column("citation_recall")[0] == 0.5
    assert report.samples[0].flags == ("cites what is not there: 7",)


def test_duplicate_passages_are_said_and_count_once() -> None:
    report = rag_report([sample(contexts=(MARS, SUN, "the  sun is a star.", MOON))], entailment=holds, draws=1)
    assert report.samples[0].flags == ("passages given twice: 3",)
    assert report.column("context_precision")[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    with pytest.raises(ValueError, match="twice"):
        sample(contexts=({"id": "a", "text": SUN}, {"id": "a", "text": MOON}))


def test_samples_are_refused_that_cannot_be_told_apart() -> None:
    with pytest.raises(InvalidInput, match="there is none"):
        rag_report([])
    with pytest.raises(InvalidInput, match="'q1' stands there twice"):
        rag_report([sample(), sample()])
    with pytest.raises(InvalidInput, match="noise_of: 'nobody'"):
        rag_report([sample(noise_of="nobody")])
    with pytest.raises(InvalidInput, match="ks"):
        rag_report([sample()], ks=(0,))
    with pytest.raises(InvalidInput, match="draws"):
        rag_report([sample()], draws=0)


@pytest.mark.parametrize("table", [np.zeros((1, 3)), np.full((6, 3), np.nan), np.full((6, 3), 0.9), np.ones((6, 2))])
def test_entailment_of_another_shape_or_range_is_refused(table: Any) -> None:
    with pytest.raises(InvalidInput, match="entailment"):
        rag_report([sample()], entailment=lambda pairs: np.resize(table, (len(pairs), 3)) if len(table) > 5 else table)


def test_samples_are_read_from_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    row = {"id": "a", "question": "What is it?", "contexts": [SUN, {"id": "m", "text": MOON}], "answer": "It is [m]."}
    path.write_text("\n" + json.dumps(row) + "\n", encoding="utf-8")
    (one,) = read_samples(path)
    assert [passage.id for passage in one.contexts] == ["1", "m"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": " "}, "line 2, field question: .*is empty"),
        ({"answer": ""}, "line 2, field answer: .*is empty"),
        ({"contexts": [SUN, " "]}, r"line 2, field contexts\.1\.text: .*is empty"),
        ({"contexts": [{"id": "1", "text": SUN}, {"id": "1", "text": MOON}]}, "line 2, field contexts: .*twice"),
        ({"contexts": "none"}, "line 2, field contexts: "),
        ({"relevant": {"1": -1}}, r"line 2, field relevant\.1: "),
        ({"colour": "red"}, "line 2, field colour: "),
        ({"id": "first"}, "'first' stands there twice"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {"id": "first", "question": "What is it?", "contexts": [SUN], "answer": "It is."}
    path = tmp_path / "samples.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(good | {'id': 'second'} | change)}\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=message):
        read_samples(path)


def test_files_that_hold_no_sample_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text("{\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 1: "):
        read_samples(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(InvalidInput, match="there is none"):
        read_samples(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_samples(tmp_path / "absent.jsonl")
