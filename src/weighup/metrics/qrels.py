"""Can a model's relevance judgements stand in for people's when systems are compared?

"Limitations of Automatic Relevance Assessments with Large Language Models for Fair and Reliable Retrieval Evaluation"
(Otero, Parapar and Barreiro 2025, arXiv 2411.13212): the whole order of systems comes out alike, but not that of the
best ones, and many differences are called significant that are not. Faithful: Kendall's τ of the systems, overall and
among the best; pairwise tests under both sets of judgements, corrected for all pairs (randomised Tukey HSD), α = .05;
agreement, false positives, false negatives. Ours: paired t with Holm's correction instead, τ_AP, intervals, what is
done with topics and documents that are not judged.

runs {system: {topic: {document: score}}}, higher first; human, model {topic: {document: grade}}, grade ≥ 1 relevant.
Documents are put in trec_eval's order, by score and then by id, both falling (it is `ir_measures` that measures).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weighup.errors import InvalidInput
from weighup.metrics.arrays import Floats, inside
from weighup.metrics.extras import need
from weighup.metrics.qrels_report import Interval, Order, Pairs, ReliabilityReport
from weighup.metrics.trec import Qrels, Run, ranked
from weighup.registry import Method

METHOD = Method(
    name="qrels_reliability",
    room="metrics",
    paper="Limitations of Automatic Relevance Assessments with Large Language Models (Otero et al. 2025)",
    arxiv="2411.13212",
    command="weighup metrics qrels",
    claim_check="weighup.metrics.qrels_claim:check",
)


def qrels_reliability(
    runs: Mapping[str, Run],
    human: Qrels,
    model: Qrels,
    measure: str = "nDCG@10",
    top: Sequence[int] = (5, 10),
    test: Literal["tukey", "paired-t"] = "tukey",
    *,
    unjudged: Literal["not relevant", "left out"] = "not relevant",
    alpha: float = 0.05,
    permutations: int = 10_000,
    draws: int = 1000,
    seed: int = 0,
) -> ReliabilityReport:
    """Compare what is concluded about systems from human and from model judgements of relevance.

    measure: a name `ir_measures` knows. top: how many best systems to look at by themselves. test: "tukey", randomised
    Tukey HSD with `permutations` shuffles, or "paired-t", Student's with Holm's correction. unjudged: what becomes of
    documents without a grade under a set: "not relevant", as trec_eval has it, or "left out" of the runs before
    measuring (condensed lists: Sakai 2007). draws: bootstrap resamples. A topic without a relevant document in one of
    the sets is left out and named; a topic that a run lacks scores 0 and is named. Raises InvalidInput for fewer than
    two systems or measured topics, an unknown measure, a grade that is no whole number, a score that is not finite, and
    a k in `top` below 2 or above the number of systems.
    """
    _checked(runs, human, model, top, test, unjudged, draws)
    inside("alpha", alpha)
    topics, left_out = _topics(human, model)
    scores = [_scores(runs, qrels, topics, measure, unjudged) for qrels in (human, model)]
    order = np.argsort(-scores[0].mean(axis=1), kind="stable")
    names = tuple(list(runs)[place] for place in order)
    people, machine = scores[0][order], scores[1][order]
    significant = [_significant(each, test, alpha, permutations, seed) for each in (people, machine)]
    depth = int(found[1]) if (found := re.search(r"@(\d+)", measure)) else None
    return ReliabilityReport(
        measure=measure,
        test=test,
        alpha=alpha,
        systems=names,
        human_means=tuple(people.mean(axis=1).tolist()),
        model_means=tuple(machine.mean(axis=1).tolist()),
        topics=tuple(topics),
        left_out=left_out,
        missing={name: lacking for name in names if (lacking := tuple(t for t in topics if t not in runs[name]))},
        unjudged=unjudged,
        unjudged_human=_unjudged_share(runs, human, topics, depth),
        unjudged_model=_unjudged_share(runs, model, topics, depth),
        overall=_order(people, machine, names, len(names), draws, seed),
        top={k: _order(people, machine, names, k, draws, seed) for k in top},
        pairs=_pairs(people.mean(axis=1), machine.mean(axis=1), significant[0], significant[1], draws, seed),
    )


def topic_scores(runs: Mapping[str, Run], qrels: Qrels, topics: Sequence[str], measure: str) -> Floats:
    """The measure of every run on every topic by `ir_measures`, [systems, topics]; 0 where a run lacks the topic.

    Raises InvalidInput for a measure that `ir_measures` does not know or cannot compute here.
    """
    library = need("ir_measures")
    try:
        parsed = library.parse_measure(measure)
        evaluator = library.evaluator([parsed], {topic: dict(qrels[topic]) for topic in topics})
    except (NameError, ValueError, SyntaxError) as error:
        raise InvalidInput(f"measure: ir_measures cannot compute {measure!r} here ({error}); try nDCG@10") from error
    place = {topic: column for column, topic in enumerate(topics)}
    found = np.zeros((len(runs), len(topics)))
    for row, run in enumerate(runs.values()):
        held = {topic: dict(run[topic]) for topic in topics if run.get(topic)}
        # A run with no topic at all cannot be handed over; its scores are 0 as they stand.
        for metric in evaluator.iter_calc(held) if held else ():
            found[row, place[metric.query_id]] = metric.value
    return found


def _scores(runs: Mapping[str, Run], qrels: Qrels, topics: Sequence[str], measure: str, unjudged: str) -> Floats:
    if unjudged == "not relevant":
        return topic_scores(runs, qrels, topics, measure)
    condensed = {
        name: {topic: {d: s for d, s in run.get(topic, {}).items() if d in qrels[topic]} for topic in topics}
        for name, run in runs.items()
    }
    return topic_scores(condensed, qrels, topics, measure)


def _topics(human: Qrels, model: Qrels) -> tuple[list[str], dict[str, str]]:
    """Topics with a relevant document in both sets, and why each of the others is left out."""
    topics, left_out = [], {}
    for topic in sorted({*human, *model}):
        lacking = [
            name
            for name, qrels in (("human", human), ("model", model))
            if not any(grade > 0 for grade in qrels.get(topic, {}).values())
        ]
        if lacking:
            left_out[topic] = f"no relevant document in the {' and '.join(lacking)} judgements"
        else:
            topics.append(topic)
    if len(topics) < 2:
        raise InvalidInput(
            f"human, model: {len(topics)} topics have a relevant document in both; two or more are needed. Are the "
            "topics' names the same?"
        )
    return topics, left_out


def _unjudged_share(runs: Mapping[str, Run], qrels: Qrels, topics: Sequence[str], depth: int | None) -> float:
    seen = lacking = 0
    for run in runs.values():
        for topic in topics:
            shown = ranked(run.get(topic, {}))[:depth]
            seen += len(shown)
            lacking += sum(document not in qrels[topic] for document in shown)
    return lacking / max(1, seen)


def _significant(scores: Floats, test: str, alpha: float, permutations: int, seed: int) -> NDArray[np.bool_]:
    """[systems, systems]: whether the pair differs at level alpha, all pairs taken together."""
    from weighup.metrics.significance import holm, paired_t, tukey_randomised

    if test == "tukey":
        return np.asarray(tukey_randomised(scores, n=permutations, seed=seed) <= alpha)
    rows, columns = np.triu_indices(len(scores), 1)
    p = [
        1.0 if (scores[i] == scores[j]).all() else paired_t(scores[i], scores[j]).p
        for i, j in zip(rows, columns, strict=True)
    ]
    found = np.zeros((len(scores), len(scores)), dtype=np.bool_)
    found[rows, columns] = holm(p) <= alpha
    return found | found.T


def _order(people: Floats, machine: Floats, names: Sequence[str], k: int, draws: int, seed: int) -> Order:
    """people, machine [systems, topics], best first by people's means."""
    from weighup.metrics.intervals import bootstrap
    from weighup.metrics.ranking import tau_ap, tau_b

    def found(correlation: str) -> tuple[float | None, Interval | None]:
        by = tau_b if correlation == "tau_b" else tau_ap

        def of_means(a: Floats, b: Floats) -> float:
            return by(a.mean(axis=0), b.mean(axis=0))

        try:
            value = of_means(people[:k].T, machine[:k].T)
        except InvalidInput:  # all of these systems have the same mean: there is no order to compare
            return None, None
        try:
            return value, bootstrap(of_means, people[:k].T, machine[:k].T, n=draws, seed=seed)
        except InvalidInput:  # most resamples have no order
            return value, None

    ranks = [np.sum(each.mean(axis=1)[:, None] < each.mean(axis=1), axis=1) for each in (people, machine)]
    drops = (ranks[1] - ranks[0])[:k]
    worst = int(np.argmax(drops))
    tau, tau_interval = found("tau_b")
    ap, ap_interval = found("tau_ap")
    return Order(k, tau, tau_interval, ap, ap_interval, int(drops[worst]), names[worst])


def _pairs(
    people: Floats, machine: Floats, human: NDArray[np.bool_], model: NDArray[np.bool_], draws: int, seed: int
) -> Pairs:
    """people, machine [systems]: means; human, model [systems, systems]: which pairs differ."""
    same = np.sign(people[:, None] - people) == np.sign(machine[:, None] - machine)
    kinds = {
        "agree": human & model & same,
        "opposite": human & model & ~same,
        "human_only": human & ~model,
        "model_only": model & ~human,
        "neither": ~human & ~model,
    }
    upper = np.triu(np.ones(human.shape, dtype=np.bool_), 1)
    counts = {name: int(np.sum(kind & upper)) for name, kind in kinds.items()}
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=draws).astype(np.float64)

    def rate(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> tuple[float | None, Interval | None]:
        # A pair of systems counts as often as both were drawn; a system and its own copy are no pair.
        part, whole = part & upper, whole & upper
        if not whole.any():
            return None, None
        above, below = (np.einsum("bi,ij,bj->b", drawn, each.astype(float), drawn) for each in (part, whole))
        value, rates = float(part.sum() / whole.sum()), above[below > 0] / below[below > 0]
        if 2 * len(rates) < draws:  # most resamples have no significant pair
            return value, None
        low, high = np.quantile(rates, [0.025, 0.975])
        return value, (float(low), float(high))

    false_positives, positive_interval = rate(kinds["model_only"], model)
    false_negatives, negative_interval = rate(kinds["human_only"], human)
    return Pairs(
        **counts,
        false_positive_rate=false_positives,
        false_positive_interval=positive_interval,
        false_negative_rate=false_negatives,
        false_negative_interval=negative_interval,
    )


def _checked(
    runs: Mapping[str, Run], human: Qrels, model: Qrels, top: Sequence[int], test: str, unjudged: str, draws: int
) -> None:
    if len(runs) < 2:
        raise InvalidInput(f"runs: two systems or more are needed, not {len(runs)}")
    if test not in ("tukey", "paired-t") or unjudged not in ("not relevant", "left out") or draws < 1:
        raise InvalidInput("test is tukey or paired-t, unjudged is 'not relevant' or 'left out', draws 1 or more")
    for k in top:
        if not 2 <= k <= len(runs):
            raise InvalidInput(f"top: {k} of {len(runs)} systems; give numbers from 2 to {len(runs)}")
    for name, run in runs.items():
        for topic, scores in run.items():
            for document, score in scores.items():
                if not np.isfinite(score):
                    raise InvalidInput(f"runs: {name}, topic {topic}, document {document}: score {score} is not finite")
    for which, qrels in (("human", human), ("model", model)):
        for topic, grades in qrels.items():
            for document, grade in grades.items():
                if not isinstance(grade, (int, np.integer)):
                    raise InvalidInput(
                        f"{which}: topic {topic}, document {document}: grade {grade!r} is no whole number"
                    )
