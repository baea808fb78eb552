"""Claim check of PC² and Feedbacker (2505.06698): made judge, scripted placer, and a profile of real scores.

Made judge: 17 systems answer a query; an answer has eight aspects, N(0, 1) each plus half the system's skill, and
quality is their sum by weights of the query (Dirichlet, concentration 0.5). Asked for one score, the judge looks at two
of the eight, drawn anew each time. Asked to compare three answers by other systems, it names the five aspects in which
the weighted differences between them are largest; asked to score by criteria, it looks at what they name. Every look
has noise of sd 0.5. Prompts, criteria and scores are those of `feedbacker`.

Scripted placer: 6 kinds of 4 kinds each, every one with three names; it misses one query in 50 (which goes to some
other child) and in one of 20 it does not see that a child of another name is the kind it looks for.

Real: GPT-4's scores of four models on MT-Bench questions (`feedback_scores/mt_bench`). In the category in which a model
is worst on one half of the questions, is it worse than over all on the other half too?
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.errors import InvalidInput
from weighup.judge.feedbacker import CriteriaJudge, derive_criteria
from weighup.judge.feedbacker_profile import Profile, profile
from weighup.judge.feedbacker_taxonomy import Branch, Taxonomy
from weighup.judge.llm import LLMJudge
from weighup.judge.sets_rows import Row, rows
from weighup.judge.types import Item, Response
from weighup.metrics.agreement import pairwise_accuracy
from weighup.metrics.arrays import Floats
from weighup.metrics.extras import need
from weighup.metrics.intervals import bootstrap
from weighup.models.metering import Meter
from weighup.models.types import Choice, Prompt, Question, Reply

log = logging.getLogger(__name__)

ASPECTS, SYSTEMS, AUXILIARY, QUERIES, NAMED, LOOK = 8, 17, 3, 30, 5, 0.5
KINDS, BELOW, NAMES, SORTED, ORDERS = 6, 4, 3, 300, 3
MISSES, BLIND = 0.02, 0.05
MADE = f"made judge, {SYSTEMS} answers with {ASPECTS} aspects a query"
_ANSWER, _ASPECT = re.compile(r"answer number (\d+)"), re.compile(r"aspect number (\d+)")


class MadeJudge:
    """Knows the aspects [answers, 8] of all answers to one query, and how much each counts [8]."""

    name, version = "made", "1"

    def __init__(self, aspects: Floats, weights: Floats, seed: int) -> None:
        self._aspects, self._weights, self._seed = aspects, weights, seed
        self.calls = 0

    def generate(self, prompts: Sequence[Prompt], *, meter: Meter | None = None) -> list[Reply]:
        self.calls += len(prompts)
        return [self._reply(one) for one in prompts]

    def choose(self, questions: Sequence[Question], *, meter: Meter | None = None) -> list[Choice]:
        raise InvalidInput("the made judge only writes")

    def _reply(self, asked: Prompt) -> Reply:
        if asked.schema is None:
            raise InvalidInput("the made judge was asked for nothing it knows")
        fields = asked.schema.model_fields
        digest = hashlib.sha256(f"{self._seed}{asked.user}".encode()).digest()
        rng = np.random.default_rng(list(digest[:8]))
        answers = [int(n) for n in _ANSWER.findall(asked.user)]
        if "metrics" in fields:
            said = self._compared(answers, rng)
        elif "scores" in fields:
            said = self._by_criteria(answers[0], [int(n) for n in _ASPECT.findall(asked.user)], rng)
        elif "verdict" in fields:
            first, second = (self._glance(n, rng) for n in answers)
            said = {"reasons": "", "verdict": "1" if first > second else "2"}
        else:
            said = {"reasons": "", "score": float(np.clip(np.rint(5.5 + 2 * self._glance(answers[0], rng)), 1, 10))}
        return Reply(value=asked.schema.model_validate(said))

    def _glance(self, answer: int, rng: np.random.Generator) -> float:
        seen = rng.choice(ASPECTS, 2, replace=False)
        return float(self._aspects[answer, seen].mean() + rng.normal(0, LOOK))

    def _compared(self, answers: Sequence[int], rng: np.random.Generator) -> dict[str, object]:
        looked = self._aspects[list(answers)] + rng.normal(0, LOOK, (len(answers), ASPECTS))
        apart = self._weights * np.ptp(looked, axis=0)
        named = np.argsort(-apart)[:NAMED]
        whole = np.floor(100 * apart[named] / apart[named].sum())
        whole[0] += 100 - whole.sum()
        metrics = [
            {"name": f"metric {k}", "submetrics": [{"name": f"aspect number {k}", "weight": float(w)}]}
            for k, w in zip(named.tolist(), whole, strict=True)
        ]
        return {"comparison": "", "metrics": metrics}

    def _by_criteria(self, answer: int, named: Sequence[int], rng: np.random.Generator) -> dict[str, object]:
        looked = self._aspects[answer, list(named)] + rng.normal(0, LOOK, len(named))
        scores = np.clip(np.rint(2 + looked), 1, 3).astype(int).tolist()
        return {"scores": [{"reason": "", "score": one} for one in scores], "total": 200.0}


class ScriptedPlacer:
    """Reads a query's kinds off its text ("kind 3, below it 1"), with the faults told above."""

    name = "scripted"

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def place(self, query: str, path: Branch, children: Sequence[str]) -> str:
        kind, below = re.findall(r"\d+", query)[:2]
        rng = _chance(self._seed, query, len(path))
        true = f"kind {kind}" if not path else f"kind {kind}.{below}"
        mine = f"{true}, named {rng.integers(NAMES)}"
        missed, blind, which = rng.random() < MISSES, rng.random() < BLIND, rng.random()
        others = [one for one in children if not one.startswith(f"{true},")]
        if missed and others:
            return others[int(which * len(others))]
        known = [one for one in children if one.startswith(f"{true},")]
        return known[0] if known and not blind else mine

    def same(self, path: Branch, children: Sequence[str]) -> Sequence[Sequence[str]]:
        groups: dict[str, list[str]] = {}
        for name in children:
            blind = _chance(self._seed, name, len(path)).random() < BLIND
            groups.setdefault(name if blind else name.split(",")[0], []).append(name)
        return list(groups.values())


class _Scored(Row):
    category: str
    question_id: str
    model: str
    gpt4_scores: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Query:
    """Pair agreement with quality of plain scores and of PC², and calls of PC² and of all pairs."""

    plain: float
    criteria: float
    calls: int
    pair_calls: int


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """PC² against plain pointwise scores, its calls against those of pairs, the taxonomy, and a real profile."""
    asked = [[_query(seed, n) for n in range(QUERIES)] for seed in seeds]
    plain = np.array([[one.plain for one in some] for some in asked])
    ours = np.array([[one.criteria for one in some] for some in asked])
    margin = 0.08
    found = [
        compare(
            "PC2 criteria agree better with quality than one plain score",
            metric="share of pairs put in the right order",
            values=ours.mean(1).tolist(),
            baseline="plain pointwise score + 8 points",
            baseline_values=(plain.mean(1) + margin).tolist(),
            seeds=seeds,
            n=QUERIES,
            data=MADE,
            interval=bootstrap(np.mean, (ours - plain - margin).ravel(), seed=0),
        )
    ]
    calls = [float(np.mean([one.calls for one in some])) for some in asked]
    pairs = [float(np.mean([one.pair_calls for one in some])) for some in asked]
    found.append(
        compare(
            f"PC2 needs one call an answer and one for the criteria: O(n), {SYSTEMS} answers",
            metric="calls a query",
            values=calls,
            baseline="judging all pairs",
            baseline_values=pairs,
            seeds=seeds,
            n=QUERIES,
            data=MADE,
            lower_is_better=True,
        )
    )
    return [*found, *_taxonomy(seeds), _real(data, seeds)]


def _query(seed: int, n: int) -> _Query:
    rng = np.random.default_rng([seed, n])
    skill = 0.5 * rng.normal(size=(SYSTEMS + AUXILIARY, 1))
    aspects, weights = rng.normal(size=(SYSTEMS + AUXILIARY, ASPECTS)) + skill, rng.dirichlet([0.5] * ASPECTS)
    quality = (aspects @ weights)[:SYSTEMS]
    judge = MadeJudge(aspects, weights, seed)
    answers = [Response(text=f"answer number {k}", system=f"s{k}") for k in range(SYSTEMS + AUXILIARY)]
    item = Item(id=f"q{n}", prompt=f"request {n}", responses=tuple(answers[:SYSTEMS]))
    plain = LLMJudge(judge, prompt="score").judge([item])[0].scores
    judge.calls = 0
    rubric = derive_criteria(judge, item.prompt, answers[SYSTEMS:])
    totals = CriteriaJudge(judge, {item.id: rubric}).score([item])[0].totals
    calls, judge.calls = judge.calls, 0
    LLMJudge(judge).judge(item.pairs())
    told = [np.nan if one is None else one for one in plain or ()]
    return _Query(pairwise_accuracy(quality, told), pairwise_accuracy(quality, totals), calls, judge.calls)


def _taxonomy(seeds: Sequence[int]) -> list[ClaimResult]:
    changed, strays = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        texts = {
            f"q{n}": f"kind {rng.integers(KINDS)}, below it {rng.integers(BELOW)}, query {n}" for n in range(SORTED)
        }
        trees = [_grown(texts, rng.permutation(list(texts)).tolist(), seed) for _ in range(ORDERS)]
        places = [tree.placements() for tree in trees]
        changed.append([_moved(places[i], places[j]) for i in range(ORDERS) for j in range(i)])
        often = [tree.root.all() for tree in trees]
        strays.append(sum(some.count(id) != 1 for some in often for id in texts))
    told = f"scripted placer, {SORTED} queries of {KINDS * BELOW} kinds, {ORDERS} orders a seed"
    margin = 0.10
    return [
        compare(
            "every query stands in exactly one leaf, after refining and pruning too",
            metric="queries in no leaf or in several",
            values=[float(one) for one in strays],
            baseline="one",
            baseline_values=[1.0] * len(seeds),
            seeds=seeds,
            n=SORTED,
            data=told,
            lower_is_better=True,
        ),
        compare(
            "the order of insertion changes at most a tenth of the placements",
            metric="share of queries placed otherwise in another order, leaves matched",
            values=[float(np.mean(one)) for one in changed],
            baseline="a tenth",
            baseline_values=[margin] * len(seeds),
            seeds=seeds,
            n=SORTED,
            data=told,
            lower_is_better=True,
            interval=bootstrap(np.mean, margin - np.ravel(changed), seed=0),
        ),
    ]


def _grown(texts: Mapping[str, str], order: Sequence[str], seed: int) -> Taxonomy:
    made = Taxonomy(ScriptedPlacer(seed), layers=2)
    for id in order:
        made.insert(texts[id], id)
    made.refine()
    made.prune(2)
    return made


def _moved(first: Mapping[str, Branch], second: Mapping[str, Branch]) -> float:
    """Share of queries that are not in the leaf that matches theirs, leaves matched one to one as well as they can."""
    rows_, columns = ({path: n for n, path in enumerate(sorted(set(one.values())))} for one in (first, second))
    shared = np.zeros((len(rows_), len(columns)))
    for id, path in first.items():
        shared[rows_[path], columns[second[id]]] += 1
    matched = need("scipy.optimize").linear_sum_assignment(-shared)
    return 1 - float(shared[matched].sum()) / len(first)


def mt_bench_profile(data: Path) -> Profile:
    """GPT-4's scores, 1 to 5, of four models by MT-Bench category."""
    read = _mt_bench(data)
    tree = Taxonomy.of({one.question_id: (one.category,) for one in read})
    results: dict[str, dict[str, list[float]]] = {}
    for one in read:
        scores = results.setdefault(one.model, {}).setdefault(one.question_id, [])
        scores.append(float(np.mean(one.gpt4_scores)))
    return profile(results, tree)


def _real(data: Path, seeds: Sequence[int]) -> ClaimResult:
    read = _mt_bench(data)
    score = np.array([float(np.mean(one.gpt4_scores)) for one in read])
    system, kind, question = (
        np.array([getattr(one, name) for one in read]) for name in ("model", "category", "question_id")
    )
    found = []
    for seed in seeds:
        seen = np.isin(question, _half(question, kind, seed))
        weak = np.zeros(len(read), bool)
        for one in np.unique(system):
            mine = (system == one) & seen
            worst = min(np.unique(kind[mine]), key=lambda k: score[mine & (kind == k)].mean())
            weak |= (system == one) & ~seen & (kind == worst)
        found.append((score[~seen], weak[~seen], question[~seen]))
    joined = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    return compare(
        "a category found weak on half of the questions is weak on the other half",
        metric="GPT-4's score, 1 to 5, in the category that was worst for each of four models",
        values=[float(s[w].mean()) for s, w, _ in found],
        baseline="all categories",
        baseline_values=[float(s.mean()) for s, _, _ in found],
        seeds=seeds,
        n=len(found[0][0]),
        data="feedback_scores/mt_bench",
        lower_is_better=True,
        interval=bootstrap(_below, joined[0], joined[1], groups=joined[2], seed=0),
    )


def _below(score: Floats, weak: Floats) -> float:
    if not weak.any():
        raise InvalidInput("resample: holds no question of a weak category")
    return float(score.mean() - score[weak.astype(bool)].mean())


def _half(question: Floats, kind: Floats, seed: int) -> list[str]:
    """Half of the questions of every category."""
    rng = np.random.default_rng(seed)
    return [
        str(one)
        for name in np.unique(kind)
        for some in [rng.permutation(np.unique(question[kind == name]))]
        for one in some[: len(some) // 2]
    ]


def _mt_bench(data: Path) -> list[_Scored]:
    return list(rows(data / "judging" / "feedback_scores" / "mt_bench.jsonl.gz", _Scored))


def _chance(seed: int, text: str, layer: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed} {layer} {text}".encode()).digest()
    return np.random.default_rng(list(digest[:8]))
