"""Human against model judgements of relevance: known orders, planted lenience, and what is left out and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighup.errors import InvalidInput
from weighup.metrics.qrels import qrels_reliability, topic_scores
from weighup.metrics.qrels_claim import made_qrels, systems

TOPICS = [f"q{place}" for place in range(20)]
DOCUMENTS = [f"d{place:02d}" for place in range(30)]
HUMAN = {topic: {document: int(place < 5) for place, document in enumerate(DOCUMENTS)} for topic in TOPICS}


def run_of(noise: float, seed: int) -> dict[str, dict[str, float]]:
    """A run that ranks the five relevant documents first but for noise."""
    rng = np.random.default_rng(seed)
    scores = (np.arange(30) < 5) + rng.normal(0, noise, (20, 30))
    return {t: dict(zip(DOCUMENTS, row.tolist(), strict=True)) for t, row in zip(TOPICS, scores, strict=True)}


RUNS = {f"s{place}": run_of(noise, place) for place, noise in enumerate((0.2, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 3.0))}
FAST: dict[str, Any] = {"top": (3,), "permutations": 200, "draws": 30}


def test_the_same_judgements_agree_in_everything() -> None:
    report = qrels_reliability(RUNS, HUMAN, HUMAN, **FAST)
    assert report.overall.tau == pytest.approx(1)
    assert report.overall.tau_ap == pytest.approx(1)
    assert report.overall.worst_drop == 0
    assert report.top[3].tau == pytest.approx(1)
    assert report.human_means == report.model_means == tuple(sorted(report.human_means, reverse=True))
    assert report.pairs.agree > 0
    assert (report.pairs.opposite, report.pairs.human_only, report.pairs.model_only) == (0, 0, 0)
    assert report.pairs.false_positive_rate == 0
    assert report.unjudged_human == report.unjudged_model == 0


def test_opposite_judgements_turn_everything_round() -> None:
    model = {topic: {document: 1 - grade for document, grade in grades.items()} for topic, grades in HUMAN.items()}
    report = qrels_reliability(RUNS, HUMAN, model, **FAST)
    assert report.overall.tau is not None
    assert report.overall.tau < -0.7
    assert report.pairs.opposite > 0
    assert report.pairs.agree == 0
    assert report.overall.worst_drop >= 6


def test_planted_lenience_is_a_false_positive() -> None:
    """Under people two systems are level; the model likes the documents that one of them puts first."""
    liked = {"q" + str(i): [f"a{i}", f"r{i}", f"b{i}"] for i in range(12)}
    human = {topic: {docs[1]: 1} for topic, docs in liked.items()}
    model = {topic: {docs[1]: 1, docs[0]: 1} for topic, docs in liked.items()}
    runs = {
        "left": {t: {d[0]: 3.0, d[1]: 2.0, "x": 1.0} for t, d in liked.items()},
        "right": {t: {d[2]: 3.0, d[1]: 2.0, "x": 1.0} for t, d in liked.items()},
    }
    for test in ("tukey", "paired-t"):
        if test == "paired-t":  # a difference that never varies has no t
            runs["right"]["q0"] = {"r0": 2.0}
        report = qrels_reliability(runs, human, model, top=(2,), test=test, permutations=500, draws=20)
        assert (report.pairs.model_only, report.pairs.human_only) == (1, 0)
        assert report.pairs.false_positive_rate == 1
        assert report.pairs.false_negative_rate is None


def test_paired_t_and_tukey_see_the_same_large_differences() -> None:
    two = {"good": RUNS["s0"], "poor": RUNS["s7"]}
    for test in ("tukey", "paired-t"):
        assert qrels_reliability(two, HUMAN, HUMAN, test=test, **(FAST | {"top": ()})).pairs.agree == 1


def test_scores_are_those_of_ir_measures_and_ties_go_by_id() -> None:
    run = {"q": {"a": 1.0, "b": 1.0, "c": 0.5}}
    assert topic_scores({"s": run}, {"q": {"b": 1}}, ["q"], "RR")[0, 0] == 1
    assert topic_scores({"s": run}, {"q": {"a": 1}}, ["q"], "RR")[0, 0] == 0.5
    assert topic_scores({"s": run}, {"q": {"a": 1}}, ["q"], "nDCG@10")[0, 0] == pytest.approx(1 / np.log2(3))


def test_a_topic_without_relevant_documents_in_one_set_is_left_out_and_named() -> None:
    model = {**HUMAN, "q3": dict.fromkeys(DOCUMENTS, 0)}
    del model["q4"]
    report = qrels_reliability(RUNS, HUMAN, {**model, "extra": {"d00": 1}}, **FAST)
    assert set(report.left_out) == {"q3", "q4", "extra"}
    assert "model" in report.left_out["q3"]
    assert "human" in report.left_out["extra"]
    assert len(report.topics) == 18
    assert "topic q3 is left out" in report.as_markdown()


def test_topics_that_a_run_lacks_score_nothing_and_are_named() -> None:
    short = {**RUNS, "s0": {topic: RUNS["s0"][topic] for topic in TOPICS[5:]}, "none": {}}
    report = qrels_reliability(short, HUMAN, HUMAN, **FAST)
    assert set(report.missing["s0"]) == set(TOPICS[:5])
    assert set(report.missing["none"]) == set(TOPICS)
    assert report.human_means[report.systems.index("none")] == 0
    whole = qrels_reliability(RUNS, HUMAN, HUMAN, **FAST)
    expected = 0.75 * whole.human_means[whole.systems.index("s0")]
    assert report.human_means[report.systems.index("s0")] == pytest.approx(expected, rel=0.1)
    assert "s0 lacks 5 topics" in report.as_markdown()


def test_documents_without_a_grade_count_as_not_relevant_or_are_left_out() -> None:
    sparse = {topic: {d: g for d, g in grades.items() if d < "d10"} for topic, grades in HUMAN.items()}
    kept = qrels_reliability(RUNS, HUMAN, sparse, **FAST)
    condensed = qrels_reliability(RUNS, HUMAN, sparse, unjudged="left out", **FAST)
    assert kept.unjudged == "not relevant"
    assert kept.unjudged_human == 0 < kept.unjudged_model
    assert kept.model_means == pytest.approx(kept.human_means)
    assert min(np.subtract(condensed.model_means, kept.model_means)) > -1e-12
    assert max(np.subtract(condensed.model_means, kept.model_means)) > 0.05


def test_systems_all_alike_have_no_order() -> None:
    report = qrels_reliability({"a": RUNS["s0"], "b": RUNS["s0"]}, HUMAN, HUMAN, top=(), draws=5, permutations=50)
    assert report.overall.tau is None
    assert report.pairs.neither == 1
    assert report.pairs.false_positive_rate is None
    assert "–" in report.as_markdown()
    paired = qrels_reliability({"a": RUNS["s0"], "b": RUNS["s0"]}, HUMAN, HUMAN, top=(), test="paired-t", draws=5)
    assert paired.pairs.neither == 1


def test_the_report_is_json_and_the_same_for_the_same_seed() -> None:
    one, two = (qrels_reliability(RUNS, HUMAN, HUMAN, seed=4, **FAST) for _ in range(2))
    assert one == two
    assert json.loads(one.as_json())["pairs"]["agree"] == one.pairs.agree
    assert json.loads(one.as_json())["overall"]["tau_interval"] == list(one.overall.tau_interval or ())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"runs": {"s0": RUNS["s0"]}}, "two systems"),
        ({"model": {"other": {"d00": 1}}}, "names the same"),
        ({"measure": "nonsense@10"}, "measure"),
        ({"top": (9,)}, "top: 9 of 8"),
        ({"top": (1,)}, "top: 1 of 8"),
        ({"test": "welch"}, "test is tukey"),
        ({"unjudged": "guess"}, "unjudged"),
        ({"alpha": 1.0}, "alpha"),
        ({"model": {**HUMAN, "q0": {"d00": 0.5}}}, "model: topic q0, document d00: grade 0.5"),
        ({"runs": {**RUNS, "s0": {"q0": {"d00": float("nan")}}}}, "s0, topic q0, document d00"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed: dict[str, Any], message: str) -> None:
    given = {"runs": RUNS, "human": HUMAN, "model": HUMAN, **FAST, **changed}
    with pytest.raises(InvalidInput, match=message):
        qrels_reliability(**given)


def test_made_judgements_flip_what_they_say() -> None:
    """Forty systems on a small made collection: lenient gains are near the topic, uniform ones as many."""
    rng = np.random.default_rng(0)
    words = [f"w{place}" for place in range(40)]
    documents = {f"d{i}": " ".join(rng.choice(words, 12)) for i in range(120)}
    topics = {f"q{i}": " ".join(rng.choice(words, 3)) for i in range(6)}
    runs, nearest = systems(documents, topics)
    assert len(runs) == 40
    assert all(len(run["q0"]) == 50 for run in runs.values())
    human = {topic: dict.fromkeys(near[:4], 1) for topic, near in nearest.items()}
    lenient, uniform = made_qrels(human, runs, nearest, seed=0)
    for topic in topics:
        gained = {d for d, g in lenient[topic].items() if g and d not in human[topic]}
        assert gained <= set(nearest[topic])
        assert len(gained) == sum(g for d, g in uniform[topic].items() if d not in human[topic])
        assert {d: lenient[topic][d] for d in human[topic]} == {d: uniform[topic][d] for d in human[topic]}
    assert made_qrels(human, runs, nearest, seed=0) == (lenient, uniform)


def test_claim_data_that_is_absent_is_named(tmp_path: Path) -> None:
    from weighup.metrics import illusion_claim, qrels_claim

    for check in (illusion_claim.check, qrels_claim.check):
        with pytest.raises(InvalidInput, match=r"jsonl\.gz"):
            check(tmp_path, (0, 1))
