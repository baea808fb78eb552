"""Claim check of C3PO (2504.07964): are experts that are mixed anew for each sample more often right?

Task: a small model reads ten bytes and tells from which of the five domains they are, as the next byte. The reference
set comes from split "train", of which the model solves a part; settings of each way are chosen on split "valid",
accuracy is measured on "test". Ceiling: the oracle's pathway, found with the
answer known.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.control.c3po import Reference, Remixing, Way, logits_with, oracle, read, reference, remix
from weighup.moe.corpus import Batch, Corpus, Split, five_domains
from weighup.moe.tiny import TinyMoELM

SEEDS = range(6)
LENGTH, REFERENCE, ITEMS, CHOOSING = 10, 1_500, 500, 300
LABELS = np.frombuffer(b"ABCDE", np.uint8).astype(np.int64)
CONFIG = replace(lab.SMALL, context=LENGTH)
TRAINING = lab.Training(steps=400, batch=96)
GRID: dict[Way, tuple[Remixing, ...]] = {
    "mode": tuple(Remixing("mode", stay=stay) for stay in (0.9, 0.5)),
    "kernel": tuple(Remixing("kernel", stay=stay) for stay in (0.75, 0.5, 0.0)),
    "gradient": tuple(Remixing("gradient", rate=rate) for rate in (0.3, 1.0, 3.0)),
}
DATA = "five domains, windows of ten bytes, split test"


class Labelled(Corpus):
    """Windows whose last target is the letter of their domain."""

    def batch(
        self, chance: np.random.Generator, size: int, length: int, split: Split = "train", domain: str | None = None
    ) -> Batch:
        """As the plain corpus's, the letter in place of the byte after the window."""
        plain = super().batch(chance, size, length, split, domain)
        targets = plain.targets.copy()
        targets[:, -1] = LABELS[plain.domains]
        return Batch(plain.tokens, targets, plain.domains)


def label_loss(model: TinyMoELM, tokens: Tensor, targets: Tensor, progress: float) -> Tensor:
    """The letter's loss and a tenth of the text's, so that most of what is learnt is the task."""
    out = model(tokens, targets, progress=progress)
    letter = torch.nn.functional.cross_entropy(out.logits[:, -1], targets[:, -1])
    return letter + 0.1 * out.loss + out.aux_loss


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """The gradient against base routing, gradient against kernel, kernel against mode."""
    rows = [_measure(data, seed) for seed in seeds]
    base, mode, kernel, gradient, ceiling = zip(*rows, strict=True)
    told = f"oracle pathway {np.mean(ceiling):.3f}, base {np.mean(base):.3f}"
    pairs = [
        ("gradient descent on neighbours against base routing", gradient, "base routing", base),
        ("gradient descent against kernel regression", gradient, "kernel regression", kernel),
        ("kernel regression against mode finding", kernel, "mode finding", mode),
    ]
    return [
        compare(
            f"{claim} ({told})", metric="accuracy", values=ours, baseline=f"{name} + 0.00", baseline_values=theirs,
            seeds=seeds, n=ITEMS, data=DATA,
        )
        for claim, ours, name, theirs in pairs
    ]  # fmt: skip


def classifier(data: Path, seed: int) -> tuple[TinyMoELM, Labelled]:
    """The model of a seed, from the store or trained now, and its corpus."""
    plain = five_domains(data)
    corpus = Labelled(plain.domains, plain.streams, plain.name)

    def fit(model: TinyMoELM) -> None:
        lab.train(model, corpus, replace(TRAINING, seed=seed), loss=label_loss)

    return lab.trained(CONFIG, corpus, replace(TRAINING, seed=seed), kind="c3po letters", fit=fit), corpus


def windows(corpus: Labelled, split: Split, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens [count, 10] and the letter of each."""
    batch = corpus.batch(np.random.default_rng((seed, count)), count, LENGTH, split)
    return torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets[:, -1])


def accuracy(model: TinyMoELM, tokens: Tensor, answers: Tensor, pathways: Tensor, known: Reference) -> float:
    """Share of letters right with these pathways."""
    return float((logits_with(model, tokens, pathways, known.layers).argmax(-1) == answers).float().mean())


def _measure(data: Path, seed: int) -> tuple[float, ...]:
    """Accuracy of base, mode, kernel, gradient, oracle."""
    model, corpus = classifier(data, seed)
    known = reference(model, *windows(corpus, "train", REFERENCE, seed))
    tokens, answers = windows(corpus, "test", ITEMS, seed)
    choose_on = windows(corpus, "valid", CHOOSING, seed)
    found = [accuracy(model, tokens, answers, read(model, tokens).pathways, known)]
    for grid in GRID.values():
        best = max(grid, key=lambda one: _of(model, *choose_on, known, one))
        found.append(_of(model, tokens, answers, known, best))
    found.append(accuracy(model, tokens, answers, oracle(model, tokens, answers, GRID["gradient"][-1]), known))
    return tuple(found)


def _of(model: TinyMoELM, tokens: Tensor, answers: Tensor, known: Reference, remixing: Remixing) -> float:
    return accuracy(model, tokens, answers, remix(model, tokens, known, remixing), known)
