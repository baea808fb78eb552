"""Claim check of self-contrast (2405.14507): is the next byte of school maths more often right, and what does it cost?

The weak activation (which place in the router's order) and β are chosen on split "valid", measured on "test". Accuracy
is that of the likeliest next byte with the true text before it, at the 48 places of a window after the first 16; exact
match is of four bytes generated after 32. Overhead is the ratio of median wall times of
generating one text of 40 bytes, in turns.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.control.scmoe import SelfContrast, contrasted, generate_with, strong_and_weak
from weighup.moe.corpus import Corpus, Split
from weighup.moe.generate import generate

SEEDS = range(6)
ALPHA, OVERHEAD = 0.1, 1.4
WEAK, BETAS = ((1,), (2,), (3,), (4,)), (0.1, 0.25, 0.5)
WINDOWS, READ, PROMPT, TOLD = 300, 16, 32, 4
TIMED, REPEATS = 40, 7
DATA = "five domains, maths (GSM8K), split test"


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Next-byte accuracy, exact match of four bytes, and overhead."""
    chosen, rows = [], []
    for seed in seeds:
        model, corpus = lab.base(data, seed)
        contrast = _choose(model, corpus)
        chosen.append(contrast)
        tokens, targets = _maths(corpus, "test")
        ours, theirs = _accuracy(model, tokens, targets, contrast)
        rows.append((ours, theirs, *_matches(model, tokens, contrast), _overhead(model, tokens, contrast), 1.0))
    told = "; ".join(f"rank {one.weak[0]}, β={one.beta}" for one in chosen)
    columns = list(zip(*rows, strict=True))
    n = WINDOWS * (lab.SMALL.context - READ)
    return [
        compare(
            f"self-contrast against greedy, next byte of school maths (chosen on valid: {told})",
            metric="next-byte accuracy",
            values=columns[0], baseline="greedy + 0.00", baseline_values=columns[1], seeds=seeds, n=n, data=DATA,
        ),
        compare(
            f"self-contrast against greedy, {TOLD} bytes of school maths exactly as they go on",
            metric="exact match",
            values=columns[2], baseline="greedy + 0.00", baseline_values=columns[3], seeds=seeds, n=WINDOWS, data=DATA,
        ),
        compare(
            "self-contrast takes at most 1.4 times as long as greedy decoding, one text, one core",
            metric="wall time over greedy's, medians",
            values=columns[4], baseline=f"{OVERHEAD} × greedy", baseline_values=[OVERHEAD] * len(rows),
            seeds=seeds, n=REPEATS, data=DATA, lower_is_better=True,
        ),
    ]  # fmt: skip


def _maths(corpus: Corpus, split: Split) -> tuple[Tensor, Tensor]:
    batch = next(corpus.batches(split, WINDOWS, lab.SMALL.context, windows=WINDOWS, domain="maths"))
    return torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)


def _choose(model: nn.Module, corpus: Corpus) -> SelfContrast:
    tokens, targets = _maths(corpus, "valid")
    grid = [SelfContrast(ALPHA, beta, weak=weak) for weak in WEAK for beta in BETAS]
    return max(grid, key=lambda one: _accuracy(model, tokens, targets, one)[0])


def _accuracy(model: nn.Module, tokens: Tensor, targets: Tensor, contrast: SelfContrast) -> tuple[float, float]:
    """Share of next bytes that self-contrast and greedy get right."""
    strong, weak = strong_and_weak(model, tokens, contrast)
    scores = contrasted(strong, weak, alpha=contrast.alpha, beta=contrast.beta)
    ours, theirs = (float((one.argmax(-1) == targets)[:, READ:].float().mean()) for one in (scores, strong))
    return ours, theirs


def _matches(model: nn.Module, tokens: Tensor, contrast: SelfContrast) -> tuple[float, float]:
    prompts, true = tokens[:, :PROMPT], tokens[:, PROMPT : PROMPT + TOLD]
    ours = generate_with(model, prompts, TOLD, alpha=contrast.alpha, beta=contrast.beta, weak=contrast.weak)
    theirs = generate(model, prompts, TOLD)
    return float((ours == true).all(1).float().mean()), float((theirs == true).all(1).float().mean())


def _overhead(model: nn.Module, tokens: Tensor, contrast: SelfContrast) -> float:
    prompt = tokens[:1, :READ]

    def ours() -> Tensor:
        return generate_with(model, prompt, TIMED, alpha=contrast.alpha, beta=contrast.beta, weak=contrast.weak)

    def theirs() -> Tensor:
        return generate(model, prompt, TIMED)

    took: dict[Callable[[], Tensor], list[float]] = {ours: [], theirs: []}
    for one in took:
        one()  # the first run of each allocates
    for _ in range(REPEATS):
        for one, times in took.items():
            started = time.perf_counter()
            one()
            times.append(time.perf_counter() - started)
    return statistics.median(took[ours]) / statistics.median(took[theirs])
