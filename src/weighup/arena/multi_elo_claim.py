"""Claim check of Multi-Elo (2307.03025): does a rating by dimension keep style from hiding wrong facts?

Simulated: a judge whose single verdict weighs 0.2 accuracy, 0.3 length and 0.5 language, and whose verdict in one
dimension leaks 0.15 of the mean of the other two, both with noise sd 0.5, compares seven kinds of made answers, each
pair on 40 questions as in the paper; ten such judges a seed. τ is with the kinds' accuracy. Real: how often people, and
beside them recorded judges, choose the longer answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from weighup.arena.elo import elo
from weighup.arena.multi_elo import DIMENSIONS, multi_elo
from weighup.arena.types import Floats, Leaderboard, Matches
from weighup.claims import ClaimResult, compare
from weighup.judge.sets import JudgingSet, load
from weighup.judge.types import Winner
from weighup.metrics.intervals import bootstrap, paired_bootstrap
from weighup.metrics.ranking import tau_b

SHORT, FLUENT = "short, correct", "several major errors, fluent"
KINDS: Mapping[str, tuple[float, float, float]] = {
    "correct": (1.0, 0.8, 0.9),
    SHORT: (0.9, 0.2, 0.9),
    "learner's English, correct": (0.8, 0.8, 0.3),
    "one minor error": (0.65, 0.8, 0.9),
    "several minor errors": (0.5, 0.8, 0.9),
    "several minor errors, short": (0.4, 0.2, 0.9),
    FLUENT: (0.2, 0.9, 1.0),
}
"""Accuracy, length (what such a judge takes for helpfulness) and language of each kind of answer, in [0, 1]."""
OVERALL = (0.2, 0.3, 0.5)
LEAK, NOISE, QUESTIONS, JUDGES = 0.15, 0.5, 40, 10
MADE = f"{len(KINDS)} simulated kinds of answers, {QUESTIONS} questions a pair"
PLAIN = ("GPT-4", "ChatGPT", "PaLM2", "LLaMA2")
Tables = tuple[Leaderboard, Mapping[str, Leaderboard]]


def check(data: Path, seeds: Sequence[int], *, judges: int = JUDGES) -> list[ClaimResult]:
    """The simulated judge's two ways of rating, and who chooses the longer answer."""
    tables = [[tables_of(1000 * seed + one) for one in range(judges)] for seed in seeds]
    return [*_simulated(tables, seeds), *_longer(data, seeds)]


def tables_of(seed: int) -> Tables:
    """What one simulated judge makes of the kinds: a single Elo table, and Multi-Elo's."""
    rng = np.random.default_rng(seed)
    quality = np.array(list(KINDS.values()))
    pairs = np.repeat(list(combinations(range(len(KINDS)), 2)), QUESTIONS, axis=0)
    others = (quality.sum(axis=1, keepdims=True) - quality) / 2

    def matches(seen: Floats) -> Matches:
        gap = seen[pairs[:, 0]] - seen[pairs[:, 1]] + NOISE * rng.standard_normal(len(pairs))
        return Matches.coded(tuple(KINDS), pairs[:, 0], pairs[:, 1], (gap > 0).astype(float))

    single = elo(matches(quality @ np.array(OVERALL)), seed=seed)
    apart = {name: matches(quality[:, i] + LEAK * others[:, i]) for i, name in enumerate(DIMENSIONS)}
    return single, multi_elo(apart, seed=seed)


def accuracy_tau(board: Leaderboard) -> float:
    """Kendall's τ of a table with the kinds' accuracy."""
    return tau_b([board[kind].value for kind in KINDS], [accuracy for accuracy, _, _ in KINDS.values()])


def _simulated(tables: Sequence[Sequence[Tables]], seeds: Sequence[int]) -> list[ClaimResult]:
    single = [float(np.mean([accuracy_tau(one) for one, _ in some])) for some in tables]
    multi = [float(np.mean([accuracy_tau(several["accuracy"]) for _, several in some])) for some in tables]
    fluent, short = (
        [float(np.mean([one[kind].value for one, _ in some])) for some in tables] for kind in (FLUENT, SHORT)
    )
    n = len(KINDS)
    return [
        compare(
            "one Elo for everything rates a fluent answer with major errors above a short correct one",
            metric=f"single Elo of {FLUENT!r}",
            values=fluent,
            baseline=f"single Elo of {SHORT!r}",
            baseline_values=short,
            seeds=seeds,
            n=n,
            data=MADE,
        ),
        compare(
            "Multi-Elo's accuracy table has the order of true accuracy",
            metric="Kendall's tau with true accuracy",
            values=multi,
            baseline="the margin, 0.85",
            baseline_values=[0.85] * len(seeds),
            seeds=seeds,
            n=n,
            data=MADE,
        ),
        compare(
            "one Elo for everything does not",
            metric="Kendall's tau with true accuracy, single Elo",
            values=single,
            baseline="the margin, 0.5",
            baseline_values=[0.5] * len(seeds),
            lower_is_better=True,
            seeds=seeds,
            n=n,
            data=MADE,
        ),
    ]


def _longer(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    people = load("autoj_pairs", data)
    chosen = np.array(list(longer(people, people.gold).values()))
    low, high = bootstrap(_mean, chosen, seed=seeds[0])
    found = [
        compare(
            "people choose the longer of two answers",
            metric="share of decided pairs in which the longer is chosen",
            values=[float(chosen.mean())] * len(seeds),
            baseline="half",
            baseline_values=[0.5] * len(seeds),
            interval=(low - 0.5, high - 0.5),
            seeds=seeds,
            n=len(chosen),
            data="autoj_pairs",
        )
    ]
    for name, judges in (("llmbar_recorded", [f"{one}/Vanilla" for one in PLAIN]), ("pandalm", None)):
        recorded = load(name, data)
        found += [_beside(recorded, judge, seeds) for judge in judges or recorded.names]
    return found


def _beside(recorded: JudgingSet, judge: str, seeds: Sequence[int]) -> ClaimResult:
    said = {one.item_id: one.winner for one in recorded.recorded[judge] if one.order == "given" and one.winner}
    judged, gold = longer(recorded, said), longer(recorded, recorded.gold)
    both = sorted(judged.keys() & gold.keys())
    ours, theirs = (np.array([some[id] for id in both]) for some in (judged, gold))
    return compare(
        f"beside the claim: {judge} chooses the longer answer more often than is right",
        metric="share of decided pairs in which the longer is chosen",
        values=[float(ours.mean())] * len(seeds),
        baseline="the same share of the gold labels",
        baseline_values=[float(theirs.mean())] * len(seeds),
        interval=paired_bootstrap(_mean, (ours,), (theirs,), seed=seeds[0]),
        seeds=seeds,
        n=len(both),
        data=recorded.name,
    )


def longer(recorded: JudgingSet, winners: Mapping[str, Winner]) -> dict[str, float]:
    """1.0 where the winner is the longer of two answers, by item; ties and answers of one length are left out."""
    found = {}
    for item in recorded.items:
        first, second = (len(response.text) for response in item.responses)
        if winners.get(item.id) in ("1", "2") and first != second:
            found[item.id] = float((winners[item.id] == "1") == (first > second))
    return found


def _mean(values: Floats) -> float:
    return float(values.mean())
