"""Claim check of dynamic experts search (2509.22572): do different numbers of experts solve more than chance alone?

Made task: put eight digits in order, which a small model trained with k = 2 for a short time gets only partly right;
the verifier is exact. Both ways sample the same number of answers a prompt; the temperature of each is chosen on split
"valid", pass@n measured on "test", strings that were not trained on.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.control.des import beam, best_of_n, pass_at
from weighup.moe.corpus import Batch, Corpus, Split
from weighup.moe.tiny import PAD, TinyMoELM

SEEDS = range(6)
DIGITS = 8  # after "40712265>" comes "01224567"
PROMPT, ANSWER = DIGITS + 1, DIGITS
SAMPLES, HELD_OUT = 8, 400
KS, FIXED = (1, 2, 3, 4), (2,)
TEMPERATURES = (0.4, 0.7, 1.0, 1.5)
CONFIG = replace(lab.SMALL, context=PROMPT + ANSWER - 1)
TRAINING = lab.Training(steps=100, batch=64)
DATA = "made: eight digits to sort, split test"


class Sorting(Corpus):
    """Rows of 17 bytes, a prompt and its answer each; only the answer is to be told."""

    def batch(
        self, chance: np.random.Generator, size: int, length: int, split: Split = "train", domain: str | None = None
    ) -> Batch:
        """Whole rows, not windows at random places."""
        rows = self.streams["sorting", split].reshape(-1, length + 1).astype(np.int64)
        rows = rows[chance.integers(len(rows), size=size)]
        targets = rows[:, 1:].copy()
        targets[:, : PROMPT - 1] = PAD
        return Batch(rows[:, :-1], targets, np.zeros(size, np.int64))


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """pass@8 of best-of-n, and the share solved by a beam whose verifier counts right digits."""
    corpus = sorting()
    test = rows_of(corpus, "test")
    told: list[float] = []
    values: list[tuple[float, ...]] = []
    for seed in seeds:
        model = lab.trained(CONFIG, corpus, replace(TRAINING, seed=seed), kind="des sorting")
        ways = {}
        for ks in (KS, FIXED):
            warm = _choose(model, rows_of(corpus, "valid"), ks, seed)
            told.append(warm)
            ways[ks] = (passed(model, test, ks, warm, seed), _beamed(model, test, ks, warm, seed))
        values.append((*ways[KS], *ways[FIXED]))
    ours, our_beam, theirs, their_beam = zip(*values, strict=True)
    shown = f"temperatures chosen on valid: {told[::2]} against {told[1::2]}"
    return [
        compare(
            f"best of {SAMPLES} over k in 1 to 4 against k = 2 alone ({shown})",
            metric=f"pass@{SAMPLES}", values=ours, baseline="k = 2 + 0.00", baseline_values=theirs,
            seeds=seeds, n=len(test), data=DATA,
        ),
        compare(
            f"beam of {SAMPLES} over k in 1 to 4 against k = 2 alone, a verifier of the digits so far",
            metric="share solved", values=our_beam, baseline="k = 2 + 0.00", baseline_values=their_beam,
            seeds=seeds, n=len(test), data=DATA,
        ),
    ]  # fmt: skip


def sorting() -> Sorting:
    """6,000 different strings of digits: 400 to choose on, 400 to test on, the rest to train on."""
    drawn = np.random.default_rng(7).choice(10**DIGITS, 6_000, replace=False)
    digits = drawn[:, None] // 10 ** np.arange(DIGITS) % 10
    arrow = np.full((len(digits), 1), ord(">"))
    rows = np.concatenate((48 + digits, arrow, 48 + np.sort(digits, 1)), 1).astype(np.uint8)
    parts: dict[Split, NDArray[np.uint8]] = {
        "test": rows[:HELD_OUT],
        "valid": rows[HELD_OUT : 2 * HELD_OUT],
        "train": rows[2 * HELD_OUT :],
    }
    return Sorting(("sorting",), {("sorting", split): part.reshape(-1) for split, part in parts.items()}, "sorting")


def rows_of(corpus: Corpus, split: Split) -> Tensor:
    """[prompts, 17] bytes."""
    return torch.from_numpy(corpus.streams["sorting", split].reshape(-1, PROMPT + ANSWER).astype(np.int64))


def passed(model: TinyMoELM, rows: Tensor, ks: Sequence[int], temperature: float, seed: int) -> float:
    """pass@8 of prompts and answers [n, 17]."""
    found = best_of_n(
        model, rows[:, :PROMPT], ANSWER, ks=ks, n=SAMPLES, verifier=Digits(rows), temperature=temperature, seed=seed
    )
    return pass_at(found.scores)


class Digits:
    """Share of the digits so far that are right: 1 only if all are."""

    def __init__(self, rows: Tensor) -> None:
        self.answers = {tuple(row[:PROMPT].tolist()): row[PROMPT:] for row in rows}

    def __call__(self, prompts: Tensor, made: Tensor) -> Tensor:
        true = torch.stack([self.answers[tuple(one)] for one in prompts.tolist()])
        return (made == true[:, : made.shape[1]]).float().mean(1)


def _choose(model: TinyMoELM, rows: Tensor, ks: Sequence[int], seed: int) -> float:
    return max(TEMPERATURES, key=lambda one: passed(model, rows, ks, one, seed))


def _beamed(model: TinyMoELM, rows: Tensor, ks: Sequence[int], temperature: float, seed: int) -> float:
    found = beam(
        model, rows[:, :PROMPT], ANSWER, ks=ks, n=SAMPLES, keep=2, stride=1, verifier=Digits(rows),
        temperature=temperature, seed=seed,
    )  # fmt: skip
    return pass_at(found.scores)
