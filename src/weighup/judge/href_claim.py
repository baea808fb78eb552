"""HREF's claim check: is judging each category by its own best method better than by the one that is best overall?

Recorded: methods and annotators of `pandalm` (three votes; categories are the seven commonest apps, and the rest) and
of `llmbar_recorded` (one label; 44 judges × prompts as methods, five subsets: the 340 pairs that all were asked; both
orders averaged, a tie counts half and an unusable verdict nothing). Many times one random half of the instructions
chooses and the other is judged; an item counts with its mean over the halves in which it is judged.

Made: three methods, each of which rules a third of nine categories (right .85 there, .70 elsewhere), four annotators
who are right .90, 55 development items a category, as many as the paper's on the average.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.claims import ClaimResult, compare
from weighup.judge.href import Development, href
from weighup.judge.href_choice import SHRINK, Floats, agreement, family_wise, pick, votes_table
from weighup.judge.orders import combine
from weighup.judge.recorded import RecordedJudge
from weighup.judge.sets import ORDERS, load
from weighup.judge.types import OTHER, Item, Judgement, Winner
from weighup.metrics.intervals import bootstrap, paired_bootstrap
from weighup.rowfile import json_rows

MARGIN, MADE_MARGIN = 0.003, 0.03
HALVES = {"pandalm": 200, "llmbar_recorded": 100}
APPS = 7
CATEGORIES, EACH, ANNOTATORS = 9, 55, 4
RULES, ELSEWHERE, ANNOTATOR = 0.85, 0.70, 0.90
SIDES: tuple[Winner, Winner] = ("1", "2")


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """The shrunk, the paper's and the corrected choice on both recorded sets, also without GPT-4, and the made one."""
    agreed, groups, instructions = _pandalm(data)
    found = _halves("pandalm", "4 methods, 8 groups of apps", agreed, groups, instructions, seeds)
    names, agreed, groups = _llmbar(data)
    alone = np.arange(len(groups)).astype(str)
    found += _halves("llmbar_recorded", f"{len(names)} methods, 5 subsets", agreed, groups, alone, seeds)
    weak = np.array([not name.startswith("GPT-4") for name in names])
    told = f"{weak.sum()} methods without GPT-4, 5 subsets"
    found += _halves("llmbar_recorded", told, agreed[weak], groups, alone, seeds)
    return found + _made(seeds)


def _halves(
    name: str, told: str, agreed: Floats, groups: NDArray[Any], instructions: NDArray[Any], seeds: Sequence[int]
) -> list[ClaimResult]:
    """agreed [methods, items]; groups, instructions [items]."""
    runs = [_one_seed(agreed, groups, instructions, HALVES[name], seed) for seed in seeds]
    single, shrunk, naive, careful = (np.array([run[place] for run in runs]) for place in range(4))
    ways = (
        ("shrunk choice a category", shrunk),
        ("the paper's choice a category, without shrinking", naive),
        ("choice a category, corrected for all choices,", careful),
    )
    return [
        compare(
            f"{name}, {told}: {way} is no worse than the method best on the development half",
            metric="agreement with annotators on the other half",
            values=[float(one) for one in ours.mean(1)],
            baseline=f"best single method - {MARGIN:.3f}",
            baseline_values=[float(one) - MARGIN for one in single.mean(1)],
            seeds=seeds,
            n=len(groups),
            data=f"{name}, {HALVES[name]} random halves a seed",
            interval=paired_bootstrap(
                np.mean, (ours.mean(0) + MARGIN,), (single.mean(0),), seed=seeds[0], groups=instructions
            ),
        )
        for way, ours in ways
    ]


def _one_seed(
    agreed: Floats, groups: NDArray[Any], instructions: NDArray[Any], halves: int, seed: int
) -> tuple[Floats, ...]:
    """Mean agreement of each item over the halves that judge it: of the single best; of the shrunk choice, the paper's,
    and that corrected for all choices."""
    chance = np.random.default_rng(seed)
    _, place = np.unique(instructions, return_inverse=True)
    total, times = np.zeros((4, len(groups))), np.zeros(len(groups))
    corrected = family_wise(len(set(groups.tolist())), len(agreed))
    for _ in range(halves):
        dev = chance.random(place.max() + 1)[place] < 0.5
        test = np.flatnonzero(~dev)
        known = groups[dev].tolist()
        best, shrunk = pick(agreed[:, dev], known, SHRINK)
        others = [pick(agreed[:, dev], known, one)[1] for one in (0.0, corrected)]
        total[0, test] += agreed[best, test]
        for row, chosen in enumerate((shrunk, *others), 1):
            methods = [chosen[one][0] if one in chosen else best for one in groups[test].tolist()]
            total[row, test] += agreed[methods, test]
        times[test] += 1
    mean = total / times
    return tuple(mean)


def _pandalm(data: Path) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    """Agreement of gpt-3.5, pandalm-7b, the longer answer and their vote with the annotators; app; instruction."""
    recorded = load("pandalm", data)
    rows = {row["id"]: row for row in json_rows(data / "judging" / "pandalm" / "testset.jsonl.gz")}
    items = list(recorded.items)
    votes = votes_table(Development(items, recorded.votes))
    said = [recorded.judge(name).judge(items) for name in recorded.names]
    said.append([_longer(item) for item in items])
    said.append([combine(some, "vote") for some in zip(*said, strict=True)])
    agreed = np.array([agreement(votes, [one.winner for one in some]) for some in said])
    known = {app for app, _ in Counter(row["app"] for row in rows.values()).most_common(APPS)}
    apps = [rows[item.id]["app"] if rows[item.id]["app"] in known else "other" for item in items]
    return agreed, np.array(apps), np.array([rows[item.id]["instruction"] for item in items])


def _longer(item: Item) -> Judgement:
    first, second = (len(one.text) for one in item.responses)
    winner: Winner = "tie" if first == second else "1" if first > second else "2"
    return Judgement(item_id=item.id, judge="longer", winner=winner)


def _llmbar(data: Path) -> tuple[tuple[str, ...], Floats, NDArray[Any]]:
    """Names of the methods; right or wrong [methods, items], the mean of both orders; subset of each item."""
    recorded = load("llmbar_recorded", data)
    items = [item for item in recorded.items if not (item.category or "").startswith("Processed")]
    gold = np.array([recorded.gold[item.id] for item in items])
    found = np.zeros((len(recorded.names), len(items)))
    for row, name in zip(found, recorded.names, strict=True):
        for order in ORDERS:
            asked = [item if order == "given" else item.swapped() for item in items]
            said = np.array([str(one.winner) for one in recorded.judge(name).judge(asked)])
            row += (np.where(said == "tie", 0.5, said == gold)) / len(ORDERS)
    return recorded.names, found, np.array([item.category for item in items])


def _made(seeds: Sequence[int]) -> list[ClaimResult]:
    runs = np.array([_made_once(seed) for seed in seeds])
    single = runs[:, 3]
    return [
        compare(
            f"where each of three methods rules a third of the categories, the {way} gains",
            metric="leave-one-out agreement with annotators on test items",
            values=[float(one) for one in ours.mean(1)],
            baseline=f"method best on the development items + {MADE_MARGIN:.2f}",
            baseline_values=[float(one) + MADE_MARGIN for one in single.mean(1)],
            seeds=seeds,
            n=CATEGORIES * EACH,
            data=f"made: {CATEGORIES} categories of {EACH} development and test items, {ANNOTATORS} annotators",
            interval=bootstrap(np.mean, (ours - single).ravel() - MADE_MARGIN, seed=seeds[0]),
        )
        for way, ours in (
            ("shrunk choice", runs[:, 0]),
            ("paper's choice, without shrinking,", runs[:, 1]),
            ("choice corrected for all choices", runs[:, 2]),
        )
    ]


def _made_once(seed: int) -> tuple[Floats, ...]:
    """Agreement on each test item of the composite (shrunk, not, corrected) and of the best on development items."""
    chance = np.random.default_rng(seed)
    items, votes = [], {}
    said: list[list[Judgement]] = [[], [], []]
    for number in range(2 * CATEGORIES * EACH):
        group = number % CATEGORIES
        item = Item.pair(f"made-{number}", "a request", "one answer", "another answer", category=f"c{group}")
        gold = SIDES[chance.integers(2)]
        items.append(item)
        votes[item.id] = [_right(gold, ANNOTATOR, chance) for _ in range(ANNOTATORS)]
        for method, some in enumerate(said):
            winner = _right(gold, RULES if method == group % 3 else ELSEWHERE, chance)
            some.append(Judgement(item_id=item.id, judge=f"method {method}", winner=winner))
    methods = [RecordedJudge(some) for some in said]
    dev, test = items[: CATEGORIES * EACH], items[CATEGORIES * EACH :]
    ways = (SHRINK, 0.0, family_wise(CATEGORIES, len(methods)))
    made = [href(methods, Development(dev, votes), test, shrink=one, seed=seed) for one in ways]
    best = next(one for one in methods if one.name == made[0].overall)
    table = votes_table(Development(test, votes))
    every = (*(one.judgements for one in made), best.judge(test))
    return tuple(agreement(table, [one.winner for one in said], seed=seed) for said in every)


def _right(gold: Winner, share: float, chance: np.random.Generator) -> Winner:
    return gold if chance.random() < share else OTHER[gold]
