"""Claim checks of the methods in this room, run by `weighup claims --run` (see `weighup.claims`).

Protocol: claims with evidence from five labelled test sets, each evidence item kept with probability q, checked as a
user would check them (own evidence only, nothing written). Whatever is compared sees exactly the same items.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weighup.claims import ClaimResult, compare
from weighup.errors import JobFailed
from weighup.retrieve.types import Evidence
from weighup.verify.contract import PerspectiveView, Verdict
from weighup.verify.types import KINDS, Claim

SETS = ("healthver", "covid_fact", "climate_fever", "check_covid", "fool_me_twice")
KEPT = (1.0, 0.5, 0.0)
CLAIMS = 60  # a set and seed


def ease(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Selecting by assessed reliability against always believing one perspective, and against averaging them.

    Value: macro-F1 of P(fake) ≥ 0.5 on real and fake claims, averaged over the sets and q. Each baseline takes a
    perspective's own verdict (even odds where it is not available); "best single" is the best of the three per seed,
    chosen with the labels in view, which favours the baseline.
    """
    from weighup.verify.verifier import Verifier

    ours: list[float] = []
    single: dict[str, list[float]] = {kind: [] for kind in KINDS}
    mean: list[float] = []
    with Verifier(offline=True, search=False, brief=True) as verifier:
        for seed in seeds:
            scores: dict[str, list[float]] = {way: [] for way in ("ease", "mean", *KINDS)}
            for name in SETS:
                rows = _draw(data, name, random.Random(seed))
                fake = [row["label3"] == "fake" for row in rows]
                for kept in KEPT:
                    chance = random.Random(seed * 1000 + int(kept * 100))
                    verdicts = verifier.check([_claim(row, kept, chance) for row in rows])
                    for way, called in _calls(verdicts).items():
                        scores[way].append(macro_f1(fake, called))
            ours.append(_mean(scores["ease"]))
            mean.append(_mean(scores["mean"]))
            for kind in KINDS:
                single[kind].append(_mean(scores[kind]))
    best = [max(single[kind][i] for kind in KINDS) for i in range(len(seeds))]
    shared: dict[str, Any] = {
        "metric": f"macro-F1, mean over five sets and q in {{{', '.join(f'{kept:g}' for kept in KEPT)}}}",
        "values": ours,
        "seeds": seeds,
        "n": CLAIMS * len(SETS) * len(KEPT),
        "data": ", ".join(f"{name} (test)" for name in SETS),
    }
    return [
        compare("selection beats the best single perspective", baseline="best single", baseline_values=best, **shared),
        compare("selection beats the average of perspectives", baseline="average", baseline_values=mean, **shared),
        compare(
            "selection beats always believing the evidence",
            baseline="evidence always",
            baseline_values=single["evidence"],
            **shared,
        ),
    ]


def macro_f1(truth: Sequence[bool], called: Sequence[bool]) -> float:
    """Mean of the F1 of both classes, in [0, 1]; a class that neither occurs nor is called counts as 0."""
    total = 0.0
    for side in (True, False):
        hit = sum(t is side and c is side for t, c in zip(truth, called, strict=True))
        either = sum(t is side for t in truth) + sum(c is side for c in called)
        total += 2 * hit / either if either else 0.0
    return total / 2


def _calls(verdicts: Sequence[Verdict]) -> dict[str, list[bool]]:
    """Per way of deciding, whether each claim is called fake."""
    leanings = [{kind: _leaning(v.perspectives[kind]) for kind in KINDS} for v in verdicts]
    calls = {str(kind): [row[kind] >= 0.5 for row in leanings] for kind in KINDS}
    calls["mean"] = [sum(row.values()) / len(row) >= 0.5 for row in leanings]
    calls["ease"] = [v.probability_fake >= 0.5 for v in verdicts]
    return calls


def _leaning(view: PerspectiveView) -> float:
    """P(fake) among real and fake by a perspective's own verdict; 0.5 where it says nothing."""
    decided = view.probability_fake + view.probability_real
    return view.probability_fake / decided if view.available and decided > 0 else 0.5


def _draw(data: Path, name: str, chance: random.Random) -> list[dict[str, Any]]:
    path = data / "news" / name / "test.jsonl.gz"
    if not path.is_file():
        raise JobFailed(f"{path} is not there; name the folder with the labelled sets with --data")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["label3"] in ("real", "fake") and row["evidence"]]
    return chance.sample(rows, min(CLAIMS, len(rows)))


def _claim(row: dict[str, Any], kept: float, chance: random.Random) -> Claim:
    texts = dict.fromkeys(item["text"] for item in row["evidence"])  # some sets list a sentence twice
    evidence = tuple(Evidence(text=text, origin="row") for text in texts if chance.random() < kept)
    return Claim(text=row["text"], evidence=evidence)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
