"""Claim check of local routing consistency (2505.16056): are SRP and SCH the optima they are said to be, are models
whose experts know domains more consistent than models whose experts know bytes, and is a cache of 2k experts the knee?

The two kinds of model are made: the same small model is trained with a loss that draws each token's router to two
experts of its document's domain, or to two experts of its byte; everything else is equal. The knee is measured on the
shared base model, which nothing was done to. Everything is told on the test split.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.compress.premoe import labelled
from weighup.moe.control.local_consistency import knee_heights, sch, sch_curve, segment_counts, specialisation, srp
from weighup.moe.corpus import Corpus, five_domains
from weighup.moe.tiny import VOCABULARY, TinyConfig, TinyMoELM
from weighup.moe.trace import RoutingTrace

MADE = TinyConfig(width=32, layers=2, heads=4, n_experts=8, k=2, hidden=32, context=64)
TRAINING = lab.Training(steps=150, batch=16)
M = 16
"""Tokens of a segment."""
PULL = 0.3
"""Weight of the loss that specialises."""
TOYS, EXACT = 40, 1e-9
Target = Callable[[Tensor, Tensor], Tensor]
"""(tokens [batch, length], domains [batch]) -> two experts [batch, length, 2]."""


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Brute force on toys, specialised models, the base model's knee."""
    corpus = five_domains(data)
    by_domain = [traced(specialised(corpus, "domain", seed), corpus) for seed in seeds]
    by_byte = [traced(specialised(corpus, "vocabulary", seed), corpus) for seed in seeds]
    bits = _bits(by_domain), _bits(by_byte)
    told = (
        f"(bits on the domain {bits[0][0]:.2f} and {bits[1][0]:.2f}, on the byte {bits[0][1]:.2f} and {bits[1][1]:.2f})"
    )
    scores = {
        f"SRP, m={M}, ρ=1": [[srp(one, M).value for one in some] for some in (by_domain, by_byte)],
        f"SCH, m={M}, one cache of 2k a layer": [
            [sch(one, M, 2 * MADE.k, scope="model").value for one in some] for some in (by_domain, by_byte)
        ],
    }
    found = [_toys(seeds)]
    found += [
        compare(
            f"domain-specialised models score higher than vocabulary-specialised ones {told}",
            metric=name,
            values=ours,
            baseline="vocabulary-specialised + 0.00",
            baseline_values=theirs,
            seeds=seeds,
            n=len(by_domain[0]),
            data="five domains, test",
        )
        for name, (ours, theirs) in scores.items()
    ]
    return [*found, _knee(data, seeds)]


def specialised(corpus: Corpus, kind: str, seed: int) -> TinyMoELM:
    """A model whose router was drawn to experts by "domain" or by "vocabulary"."""
    training = replace(TRAINING, seed=seed)
    chance = np.random.default_rng(seed)
    n, rows = MADE.n_experts, {"domain": len(corpus.domains), "vocabulary": VOCABULARY}[kind]
    # Two experts for each; in turn, so that every expert is wanted about equally often.
    table = torch.from_numpy(
        np.stack([np.arange(rows) * 2 % n, (np.arange(rows) * 2 + 1) % n], 1)[chance.permutation(rows)]
    )

    def loss(model: TinyMoELM, tokens: Tensor, targets: Tensor, progress: float) -> Tensor:
        out = model(tokens, targets, progress=progress)
        labels = tokens
        if kind == "domain":
            # The batch of a step is drawn by (seed, step); drawing it again gives its domains.
            step = round(progress * training.steps)
            again = corpus.batch(np.random.default_rng((training.seed, step)), training.batch, model.config.context)
            labels = torch.from_numpy(again.domains)[:, None].expand(tokens.shape)
        wanted = table[labels.reshape(-1)]
        pulls = [-torch.log_softmax(one.logits.float(), -1).gather(1, wanted).mean() for one in out.routings]
        return out.total + PULL * torch.stack(pulls).mean()

    return lab.trained(
        MADE,
        corpus,
        training,
        kind=f"local consistency {kind} {PULL}",
        fit=lambda m: lab.train(m, corpus, training, loss=loss),
    )


def traced(model: TinyMoELM, corpus: Corpus) -> RoutingTrace:
    """On the test split, labelled by domain."""
    return labelled(model, corpus.batches("test", 32, model.config.context), corpus.domains)


def _bits(traces: Sequence[RoutingTrace]) -> tuple[float, float]:
    """What experts tell of the domain and of the byte, mean over layers and seeds."""
    labels = [(one.labels, one.tokens) for one in traces]
    return tuple(  # type: ignore[return-value]
        float(np.mean([specialisation(one, some[n]).mean() for one, some in zip(traces, labels, strict=True)]))  # type: ignore[arg-type]
        for n in range(2)
    )


def _toys(seeds: Sequence[int]) -> ClaimResult:
    worst = [max(_difference(np.random.default_rng((seed, n))) for n in range(TOYS)) for seed in seeds]
    return compare(
        "SRP and SCH equal the best over all sets, tried one by one, on random toys (6 experts, 2 layers)",
        metric="largest difference",
        values=worst,
        baseline=f"{EXACT}",
        baseline_values=[EXACT] * len(seeds),
        lower_is_better=True,
        seeds=seeds,
        n=TOYS,
        data="made",
    )


def _difference(chance: np.random.Generator) -> float:
    n, k, m = 6, 2, 4
    indices = chance.random((2, 12, n)).argsort(-1)[..., :k].astype(np.int16)
    trace = RoutingTrace(indices, np.full(indices.shape, 0.5, np.float16), None, n, np.zeros(12, np.int32))
    used = np.zeros((2, 12, n))
    np.put_along_axis(used, indices.astype(int), 1.0, 2)
    segments = used.reshape(2, 3, m, n).sum(2)
    alone = sum(
        max(segments[layer, s, list(some)].sum() for some in combinations(range(n), k))
        for layer in range(2)
        for s in range(3)
    )
    flat = segments.transpose(1, 0, 2).reshape(3, -1)
    shared = sum(max(row[list(some)].sum() for some in combinations(range(2 * n), 2 * k)) for row in flat)
    total = float(segment_counts(trace, m).sum())
    return max(abs(srp(trace, m).value - alone / total), abs(sch(trace, m, k, scope="model").value - shared / total))


def _knee(data: Path, seeds: Sequence[int]) -> ClaimResult:
    at, others, n, curves = [], [], 0, []
    for seed in seeds:
        model, corpus = lab.base(data, seed)
        trace = traced(model, corpus)
        curve = sch_curve(trace, M)
        heights = knee_heights(curve)
        place, n = 2 * model.config.k - 1, len(trace)
        at.append(float(heights[place]))
        others.append(float(np.delete(heights, place).max()))
        curves.append(curve)
    shown = ", ".join(f"{one:.2f}" for one in np.mean(curves, 0))
    return compare(
        f"a cache of 2k=4 experts is the knee of the base model's SCH (m={M}; caches of 1 to 8: {shown})",
        metric="height of the hit-rate curve above its chord",
        values=at,
        baseline="the greatest height at any other size + 0.00",
        baseline_values=others,
        seeds=seeds,
        n=n,
        data="five domains, test",
    )
