"""Claim check of the offloading simulator (2412.14219; SCH of 2505.16056): is Belady's cache never beaten, and does SCH
rank models as their measured cache hit rates do?

Policies run on the traces of the shared base model. Models to rank: the two specialised ones of the check of
`local_consistency`, and the same small model with no, the usual and a tenfold load-balance loss, and untrained. SCH of
segments is told before any cache is simulated; the hit rate is that of LRU caches of the same size. Test split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.control.local_consistency import sch
from weighup.moe.control.local_consistency_claim import MADE, TRAINING, M, specialised, traced
from weighup.moe.control.offload import POLICIES, replay
from weighup.moe.corpus import Corpus, five_domains
from weighup.moe.tiny import TinyMoELM

CAPACITY = 2 * MADE.k
"""Experts that a layer's cache holds: 2k, half of them."""
RANK = 0.8
"""Spearman correlation that counts as predicting the ranking."""


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Belady against the others; the ranking of models."""
    corpus = five_domains(data)
    return [_belady(data, seeds), _ranking(corpus, seeds)]


def _belady(data: Path, seeds: Sequence[int]) -> ClaimResult:
    found = []
    for seed in seeds:
        trace = traced(*lab.base(data, seed))
        found.append({policy: replay(trace, policy, CAPACITY).hit_rate for policy in POLICIES})
    means = ", ".join(f"{policy} {np.mean([one[policy] for one in found]):.3f}" for policy in POLICIES)
    return compare(
        f"Belady's cache has at least the hit rate of every other (caches of {CAPACITY} of 8 a layer: {means})",
        metric="hit rate",
        values=[one["belady"] for one in found],
        baseline="the best other policy + 0.00",
        baseline_values=[max(rate for policy, rate in one.items() if policy != "belady") for one in found],
        seeds=seeds,
        n=len(trace),
        data="five domains, test",
    )


def _ranking(corpus: Corpus, seeds: Sequence[int]) -> ClaimResult:
    from scipy.stats import spearmanr

    values, shown, n = [], [], 0
    for seed in seeds:
        traces = [traced(model, corpus) for model in _models(corpus, seed)]
        predicted = [sch(trace, M, CAPACITY).value for trace in traces]
        measured = [replay(trace, "lru", CAPACITY).hit_rate for trace in traces]
        values.append(float(spearmanr(predicted, measured).statistic))
        shown.append(f"{min(measured):.2f} to {max(measured):.2f}")
        n = len(traces)
    return compare(
        f"SCH (m={M}) ranks {n} models as their LRU hit rates do (which are {'; '.join(shown)} by seed)",
        metric="Spearman's rank correlation",
        values=values,
        baseline=f"{RANK}",
        baseline_values=[RANK] * len(seeds),
        seeds=seeds,
        n=n,
        data="five domains, test",
    )


def _models(corpus: Corpus, seed: int) -> list[TinyMoELM]:
    training = replace(TRAINING, seed=seed)
    found = [specialised(corpus, kind, seed) for kind in ("domain", "vocabulary")]
    for balance in (0.0, 1e-2, 1e-1):
        found.append(lab.trained(replace(MADE, options={"balance": balance}), corpus, training))
    torch.manual_seed(seed)
    return [*found, TinyMoELM(MADE)]
