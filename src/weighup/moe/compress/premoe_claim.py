"""Claim check of PreMoe (2505.17639): with half the experts of each layer dropped for a domain, does a model keep
97 % of its quality there, more than when the least frequent are dropped, and does a query find its domain?

Quality is the loss reduction from the unigram loss: (unigram − loss) / (unigram − loss of the whole model), nats a
byte, mean over the five domains. Scores are made on the train split, how to score is chosen on valid, all is told on
test.
A query is 1,024 bytes of one domain in a row, read as sequences of the model's context.

The base has sixteen experts and is hardly balanced: what the method drops is experts that a domain does not use, and a
load that is even over five domains leaves none (of the base that other checks share, half the experts kept 67 %).
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.compress.premoe import Patterns, Scoring, frequency, keep_top, labelled, patterns
from weighup.moe.compress.prune import Keep, allowing
from weighup.moe.corpus import Corpus, Split, five_domains
from weighup.moe.policy import control
from weighup.moe.tiny import TinyMoELM
from weighup.moe.trace import RoutingTrace, tracing

SEEDS = range(6)
SCORINGS = (Scoring(), Scoring(ka=2), Scoring(value="logit"), Scoring(ka=2, value="logit"), Scoring(r=0.4))
CONFIG = replace(lab.SMALL, n_experts=16, options={"balance": 2e-4})
TRAINING = replace(lab.BASE, steps=1000)
KEPT, RIGHT = 0.97, 0.90
QUERY, QUERIES = 1024, 20
"""Bytes of a query; queries of each domain."""


@dataclass(frozen=True)
class _Found:
    """Of one seed: quality kept by PreMoe and by frequency, share of queries whose domain was found."""

    premoe: float
    frequency: float
    retrieved: float


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Quality kept, against frequency, and retrieval."""
    corpus = five_domains(data)
    found = [_measured(lab.trained(CONFIG, corpus, replace(TRAINING, seed=seed)), corpus) for seed in seeds]
    kept = [one.premoe for one in found]
    half = "half the experts dropped, in-domain"
    rows: list[tuple[str, str, list[float], str, list[float], int]] = [
        (half, "loss reduction from unigram, share of the whole model's", kept, f"{KEPT:.0%} of full quality",
         [KEPT] * len(seeds), 5 * 40 * CONFIG.context),
        (f"{half}, against frequency pruning", "loss reduction from unigram, share of the whole model's", kept,
         "frequency pruning + 0.00", [one.frequency for one in found], 5 * 40 * CONFIG.context),
        (f"a query of {QUERY} bytes finds its domain's pattern", "share found", [one.retrieved for one in found],
         f"{RIGHT:.0%}", [RIGHT] * len(seeds), 5 * QUERIES),
    ]  # fmt: skip
    return [
        compare(
            claim,
            metric=metric,
            values=values,
            baseline=baseline,
            baseline_values=theirs,
            seeds=seeds,
            n=n,
            data="five domains, test",
        )
        for claim, metric, values, baseline, theirs, n in rows
    ]


def _measured(model: TinyMoELM, corpus: Corpus) -> _Found:
    trace = labelled(model, corpus.batches("train", 32, model.config.context, windows=100), corpus.domains)
    m = model.config.n_experts // 2
    whole = {split: lab.losses(model, corpus, split) for split in ("valid", "test")}

    def kept(choose: Callable[[str], Keep], split: Split) -> float:
        return _kept(model, corpus, split, whole[split], choose)

    stores = [patterns(trace, scoring) for scoring in SCORINGS]
    best = max(stores, key=lambda store: kept(lambda domain: keep_top(store.scores[domain], m), "valid"))
    return _Found(
        kept(lambda domain: keep_top(best.scores[domain], m), "test"),
        kept(lambda domain: keep_top(frequency(trace.of(domain)), m), "test"),
        _retrieved(model, corpus, best),
    )


def _kept(
    model: TinyMoELM, corpus: Corpus, split: Split, whole: dict[str, float], choose: Callable[[str], Keep]
) -> float:
    shares = []
    for domain in corpus.domains:
        policy = allowing(choose(domain), model.config.n_experts)
        now = lab.losses(model, corpus.only(domain), split, within=lambda policy=policy: control(model, policy))[domain]
        least = _unigram(corpus, domain, split, model.config.context)
        shares.append((least - now) / (least - whole[domain]))
    return math.fsum(shares) / len(shares)


def _unigram(corpus: Corpus, domain: str, split: Split, length: int) -> float:
    """Mean nats a byte of a split's windows under the byte frequencies of the domain's train split (one added)."""
    counts = np.bincount(corpus.streams[domain, "train"], minlength=256) + 1.0
    told = -np.log(counts / counts.sum())
    targets = np.concatenate([one.targets for one in corpus.batches(split, 32, length, domain=domain)])
    return float(told[targets].mean())


def _retrieved(model: TinyMoELM, corpus: Corpus, store: Patterns) -> float:
    right = [store.nearest(query) == domain for domain in corpus.domains for query in _queries(model, corpus, domain)]
    return float(np.mean(right))


def _queries(model: TinyMoELM, corpus: Corpus, domain: str) -> Iterator[RoutingTrace]:
    stream = corpus.streams[domain, "test"]
    starts = np.linspace(0, len(stream) - QUERY, QUERIES).astype(int)
    tokens = np.stack([stream[at : at + QUERY] for at in starts]).astype(np.int64).reshape(-1, model.config.context)
    with torch.no_grad(), tracing(model) as recorder:
        model(torch.from_numpy(tokens))
    for n in range(QUERIES):
        yield recorder.trace.at(np.arange(n * QUERY, (n + 1) * QUERY))
