"""Claim check of Compressed Experts (2503.00634): is 90 % of full quality left with 30 % fewer active parameters?

Quality is how far the loss is below that of a unigram model (the bytes' frequencies in "train", domains alike), nats
a byte on "test": 100 % for the whole model, 0 % for a model of bytes alone. In the shared small model experts are too
small a part: with one of two kept, 23 % of its active parameters go. So the claim is measured on a model of two layers
with wider experts (top-2 of 8, hidden 160, `RACE` training), and the shared one is shown beside. One expert of a
token's two is kept; the vectors alone are trained, for 40 steps on "train". Also beside: what the vectors gain over
the kept expert alone with renormalised weight, which is where they start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.compress.compressed_experts import active_parameters, compress, fine_tune
from weighup.moe.corpus import Corpus, five_domains
from weighup.moe.cost import cost
from weighup.moe.tiny import TinyMoELM

WIDE = replace(lab.SMALL, layers=2, hidden=160)
TUNING = lab.Training(steps=40, batch=32, rate=4e-2, warmup=5, decay=0.0)
WINDOWS = 40
Measured = tuple[float, float, float]
"""Quality with the vectors trained, quality as they start (% of the whole model's), active parameters that go (%)."""


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Quality and active parameters of the wide model; beside, both of the shared model, and the vectors' gain."""
    corpus = five_domains(data)
    wide = [_measured(lab.trained(WIDE, corpus, replace(lab.RACE, seed=seed)), corpus, seed) for seed in seeds]
    shared = [_measured(lab.base(data, seed)[0], corpus, seed) for seed in seeds]
    n = sum(one.tokens.size for one in corpus.batches("test", 32, WIDE.context, windows=WINDOWS))
    against = partial(compare, seeds=seeds, n=n, data="five domains, test")
    fewer = sum(one[2] for one in shared) / len(shared)
    return [
        against(
            "90 % or more of full quality is recovered",
            metric="loss reduction from the unigram loss, % of the whole model's",
            values=[one[0] for one in wide],
            baseline="90 % of full quality",
            baseline_values=[90.0] * len(seeds),
        ),
        against(
            "30 % or more of the active parameters go",
            metric="active parameters that go, %",
            values=[one[2] for one in wide],
            baseline="30 %",
            baseline_values=[30.0] * len(seeds),
        ),
        against(
            f"beside the claim: the shared small model, {fewer:.1f} % fewer active parameters",
            metric="loss reduction from the unigram loss, % of the whole model's",
            values=[one[0] for one in shared],
            baseline="90 % of full quality",
            baseline_values=[90.0] * len(seeds),
        ),
        against(
            "beside the claim: trained vectors against dropping the other expert",
            metric="loss reduction from the unigram loss, % of the whole model's",
            values=[one[0] for one in wide],
            baseline="the kept expert alone, renormalised",
            baseline_values=[one[1] for one in wide],
        ),
    ]


def _measured(model: TinyMoELM, corpus: Corpus, seed: int) -> Measured:
    loss = partial(lab.mean_loss, corpus=corpus, split="test", windows=WINDOWS)
    unigram = _unigram(corpus)
    full = unigram - loss(model)
    small = compress(model, keep=1)
    start = unigram - loss(small)
    fine_tune(small, corpus, replace(TUNING, seed=seed))
    quality = unigram - loss(small)
    fewer = 1 - active_parameters(small) / cost(model).active
    return 100 * quality / full, 100 * start / full, 100 * fewer


def _unigram(corpus: Corpus) -> float:
    """Nats a byte of "test" under the frequencies of bytes in "train" (one added to all), domains alike."""
    counts = [np.bincount(corpus.streams[name, "train"], minlength=256) for name in corpus.domains]
    logs = np.log(np.mean([(one + 1) / (one + 1).sum() for one in counts], axis=0))
    return float(np.mean([-logs[corpus.streams[name, "test"]].mean() for name in corpus.domains]))
