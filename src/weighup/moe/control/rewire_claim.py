"""Claim check of rewiring on the fly (2510.14853): does a shifted text's beginning help its continuation?

The shift: the English domains in capitals, which the shared small model has hardly seen. Vectors are fitted to 512
bytes of a text, read in windows of the model's context, and judged on the 128 bytes that follow. Steps and rate are
chosen on split "valid": what helps shifted text most of those that leave in-domain text within the bound, or the
gentlest where none does; measured on "test". In-domain text is the same text as it stands.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.control.rewire import Rewiring, next_token_losses, rewire
from weighup.moe.corpus import Corpus, Split
from weighup.moe.policy import control
from weighup.moe.running import logits_of

SEEDS = range(6)
DOMAINS = ("politics", "medicine", "maths", "aeronautics")
WINDOW, READ, NEXT = lab.SMALL.context, 8, 2
TEXTS, CHOOSING = 10, 3  # of a domain
GRID = tuple(Rewiring(steps=steps, rate=rate) for steps, rate in ((5, 0.01), (5, 0.03), (5, 0.05), (10, 0.1)))
"""Gentlest first."""
BOUND = 0.005
DATA = "five domains, English, split test"


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Loss of the continuation of shifted text, and how much that of unshifted text changes."""
    rows, told = [], []
    for seed in seeds:
        model, corpus = lab.base(data, seed)
        best = chosen(model, corpus)
        told.append(f"{best.steps} steps at {best.rate}")
        untouched, shifted = measured(model, corpus, "test", best, TEXTS, shifted=True)
        plain, rewired = measured(model, corpus, "test", best, TEXTS, shifted=False)
        rows.append((shifted, untouched, abs(rewired / plain - 1)))
    after, before, change = zip(*rows, strict=True)
    n = TEXTS * len(DOMAINS)
    return [
        compare(
            f"text in capitals, rewired on the 512 bytes before (chosen on valid: {'; '.join(told)})",
            metric="loss of the next 128 bytes, nats a byte", values=after, baseline="untouched router",
            baseline_values=before, seeds=seeds, n=n, data=f"{DATA}, in capitals", lower_is_better=True,
        ),
        compare(
            "text as it stands, rewired in the same way: its loss stays within 0.5 %",
            metric="relative change of the loss, absolute", values=change, baseline="0.5 %",
            baseline_values=[BOUND] * len(rows), seeds=seeds, n=n, data=DATA, lower_is_better=True,
        ),
    ]  # fmt: skip


def chosen(model: nn.Module, corpus: Corpus) -> Rewiring:
    """Steps and rate, on the valid split."""
    fit = []
    for one in GRID:
        plain, rewired = measured(model, corpus, "valid", one, CHOOSING, shifted=False)
        if abs(rewired / plain - 1) <= BOUND:
            fit.append(one)
    return min(fit or GRID[:1], key=lambda one: measured(model, corpus, "valid", one, CHOOSING, shifted=True)[1])


def measured(
    model: nn.Module, corpus: Corpus, split: Split, rewiring: Rewiring, count: int, *, shifted: bool
) -> tuple[float, float]:
    """Mean loss of the continuations, untouched and rewired."""
    sums = np.zeros(2)
    for context, after in _texts(corpus, split, count, shifted):
        vectors = rewire(model, context, rewiring, shared=True)
        with torch.no_grad():
            untouched = next_token_losses(logits_of(model, after), after).mean()
            with control(model, vectors):
                rewired = next_token_losses(logits_of(model, after), after).mean()
        sums += float(untouched), float(rewired)
    untouched_mean, rewired_mean = (sums / (count * len(DOMAINS))).tolist()
    return untouched_mean, rewired_mean


def _texts(corpus: Corpus, split: Split, count: int, shifted: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows [8, 64] that are read and [2, 64] that follow them, evenly spread over each domain."""
    size = WINDOW * (READ + NEXT)
    for domain in DOMAINS:
        told = corpus.streams[domain, split].tobytes()
        stream = np.frombuffer(told.upper() if shifted else told, np.uint8)
        for at in np.linspace(0, len(stream) - size, count).astype(int):
            text = torch.from_numpy(stream[at : at + size].astype(np.int64)).view(-1, WINDOW)
            yield text[:READ], text[READ:]
