"""Claim check of contextual judging: does an order of criteria beat one blended score, and what do recorded judges lose
when they must be right in both orders?

Made pairs (`contextual_pairs`) from sources of `summ_human`: the worse response fails a criterion, the better one a
less important one. Scripted detectors find each planted defect with chance .8, drawn anew for each order. The
sequential judge asks them criterion by criterion; the blended one counts all that they find. A tie counts half.

`judgebench`: right in both orders against right in the given order. That the former is never larger follows from the
definition; that prompted judges lose 10 points and reward models almost nothing does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weighup.claims import ClaimResult, compare
from weighup.judge.contextual import CONTEXTUAL, ContextualJudge
from weighup.judge.contextual_pairs import SENTENCES, PlantedPairs, planted_pairs
from weighup.judge.corrupt import still_there
from weighup.judge.orders import both_orders
from weighup.judge.sets import JudgingSet, load
from weighup.judge.types import Item, Judge, Judgement, Rubric, answered, by_scores
from weighup.metrics.intervals import bootstrap, paired_bootstrap
from weighup.rowfile import json_rows
from weighup.texts import sentences

Floats = NDArray[np.float64]
RECALL, MARGIN, GAP, NOTHING = 0.8, 0.10, 0.10, 0.02
SOURCES = ("newsroom", "summeval")
PROMPTED, REWARD = "arena_hard/", "reward_model/"


class Detectors:
    """Finds each planted defect, of the criteria that it is asked about, with chance `recall`; the response with fewer
    found wins."""

    name = "detectors"

    def __init__(self, pairs: PlantedPairs, *, recall: float, seed: int) -> None:
        self._planted, self._recall, self._seed = pairs.planted, recall, seed

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """Verdicts and minus the number of defects found, by response."""
        asked = [one.id for one in (rubric or CONTEXTUAL).criteria]
        return [self._one(item, asked) for item in items]

    def _one(self, item: Item, asked: Sequence[str]) -> Judgement:
        there = self._planted[item.id]
        found = [
            sum(self._finds(item, place, one) for one in asked if one in defects and still_there(defects[one], text))
            for place, (defects, text) in enumerate(zip(there, (one.text for one in item.responses), strict=True))
        ]
        scores = tuple(-float(one) for one in (found[::-1] if item.order == "swapped" else found))
        return answered(item, self.name, scores=scores, winner=by_scores(scores))

    def _finds(self, item: Item, place: int, criterion: str) -> bool:
        told = f"{self._seed}\n{item.id}\n{item.order}\n{place}\n{criterion}"
        digest = hashlib.sha256(told.encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < self._recall


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Order of criteria against one score; what prompted judges and reward models lose over both orders."""
    recorded = load("judgebench", data)
    prompted = [name for name in recorded.names if name.startswith(PROMPTED)]
    return [
        _sequential(_contexts(data), seeds),
        *(_prompted(recorded, name, seeds) for name in prompted),
        _reward(recorded, [name for name in recorded.names if name.startswith(REWARD)], seeds),
    ]


def _contexts(data: Path) -> list[str]:
    found = []
    for name in SOURCES:
        path = data / "judging" / "summ_human" / f"{name}_docs.jsonl.gz"
        found += [row["source"] for row in json_rows(path)]
    return [text for text in found if len(sentences(text)) >= SENTENCES]


def _sequential(contexts: Sequence[str], seeds: Sequence[int]) -> ClaimResult:
    ordered, blended = [], []
    source: list[int] = []
    for seed in seeds:
        pairs = planted_pairs(contexts, seed=seed, conflict=True)
        detectors = Detectors(pairs, recall=RECALL, seed=seed)
        ordered.append(_right(ContextualJudge(detectors), pairs))
        blended.append(_right(detectors, pairs))
        source = [pairs.source[item.id] for item in pairs.items]
    ours, theirs = np.array(ordered), np.array(blended)
    return compare(
        "criteria in their order judge better than one blended score where a less important one pulls the other way",
        metric="accuracy over both orders, a tie counts half",
        values=[float(one) for one in ours.mean(1)],
        baseline=f"count of all defects found + {MARGIN:.2f}",
        baseline_values=[float(one) + MARGIN for one in theirs.mean(1)],
        seeds=seeds,
        n=len(source),
        data=f"summ_human/{' and '.join(SOURCES)} sources, planted defects, detectors of recall {RECALL}",
        interval=bootstrap(np.mean, (ours - theirs).mean(0) - MARGIN, seed=seeds[0], groups=source),
    )


def _right(judge: Judge, pairs: PlantedPairs) -> Floats:
    """Mean over both orders of right (1), tie (0.5) and wrong [items]."""
    both = both_orders(judge, pairs.items)
    return np.array([(_credit(given, pairs) + _credit(swapped, pairs)) / 2 for given, swapped in both])


def _credit(one: Judgement, pairs: PlantedPairs) -> float:
    return 0.5 if one.winner == "tie" else float(one.winner == pairs.gold[one.item_id])


def _prompted(recorded: JudgingSet, name: str, seeds: Sequence[int]) -> ClaimResult:
    given, both = _both(recorded, name)
    return compare(
        f"{name.removeprefix(PROMPTED)} loses 10 points when it must be right in both orders",
        metric="accuracy in the given order",
        values=[float(given.mean())],
        baseline=f"right in both orders + {GAP:.2f}",
        baseline_values=[float(both.mean()) + GAP],
        seeds=list(seeds)[:1],
        n=len(given),
        data="judgebench",
        interval=paired_bootstrap(np.mean, (given,), (both + GAP,), seed=seeds[0]),
    )


def _reward(recorded: JudgingSet, names: Sequence[str], seeds: Sequence[int]) -> ClaimResult:
    found = [_both(recorded, name) for name in names]
    asked = [item.id for name in names for item in recorded.asked(name)]
    given, both = (np.concatenate(some) for some in zip(*found, strict=True))
    return compare(
        f"{len(names)} reward models lose almost nothing when they must be right in both orders",
        metric="right in both orders, mean over models and pairs",
        values=[float(both.mean())],
        baseline=f"accuracy in the given order - {NOTHING:.2f}",
        baseline_values=[float(given.mean()) - NOTHING],
        seeds=list(seeds)[:1],
        n=len(given),
        data="judgebench",
        interval=paired_bootstrap(np.mean, (both + NOTHING,), (given,), seed=seeds[0], groups=asked),
    )


def _both(recorded: JudgingSet, name: str) -> tuple[Floats, Floats]:
    """Right in the given order, and in both, of the pairs that the judge was asked [items]; unusable is not right."""
    items = recorded.asked(name)
    right = np.array(
        [
            [one.usable and one.winner == recorded.gold[one.item_id] for one in some]
            for some in both_orders(recorded.judge(name), items)
        ]
    )
    return right[:, 0].astype(float), right.all(1).astype(float)
