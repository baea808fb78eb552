"""Claim check of Open Knowledge, K-shot experts (2408.15915): do a few shots find the experts and data a task needs?

A task needs two skills: its texts are of two of the five domains, half each. The pool holds an adapter trained on each
domain, a near copy of each, and blind guessers: adapters drawn at random, of which those are kept that happened to
answer the most shots. A shot is 64 bytes of the train split, cut before the last 16, with another ending of its domain
to choose from. Three experts and 32 instructions (of 400 texts, a quarter of them said twice) make the mixture.
Measured on the task's test split. Two tasks a seed. The best single expert is the one that is best on the test split
itself. The random pick gets the same training on the same instructions.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weighup.claims import ClaimResult, compare
from weighup.models import encoder
from weighup.moe.corpus import Corpus
from weighup.moe.lab import base, mean_loss
from weighup.moe.multitask.lora import SHORT, Adapter, attached, drawn, fitted
from weighup.moe.multitask.open_knowledge import (
    ROUTER,
    Shot,
    choose_experts,
    exam,
    examined,
    mixture,
    select_instructions,
)
from weighup.moe.tiny import TinyMoELM

SHOTS, ENDING, EXPERTS, INSTRUCTIONS, TEXTS = 8, 16, 3, 32, 320
GUESSERS, DRAWN = 4, 40
WINDOWS = 24
DATA = "five domains of bytes (liar, ced_weibo, screening, gsm8k, cranfield), test split"


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Loss of the mixture against each baseline, and the share of guessers among the chosen."""
    rows = [_seed(data, seed) for seed in seeds]
    told = {name: [row[name] for row in rows] for name in rows[0]}
    baselines = (
        ("beats the best single expert", "best single", "the pool's best on the test split"),
        ("beats a uniform merge", "merge", "mean of the whole pool but the guessers"),
        ("beside the claim: beats a uniform merge of the same experts", "own merge", "mean of the chosen"),
        ("beats a random pick", "random", "three at random but no guesser, same training"),
    )
    found = [
        compare(
            claim,
            metric=f"loss, nats a byte (no expert: {np.mean(told['none']):.4f})",
            values=told["mixture"],
            baseline=baseline,
            baseline_values=told[name],
            seeds=seeds,
            n=4 * WINDOWS,
            data=DATA,
            lower_is_better=True,
        )
        for claim, name, baseline in baselines
    ]
    found.append(
        compare(
            "blind guessers are excluded",
            metric=f"share of guessers among the chosen (they answer {np.mean(told['luck']):.2f} of the shots rightly, "
            f"{np.mean(told['luck later']):.2f} of others)",
            values=told["guessers"],
            baseline="choice by performance on the shots alone",
            baseline_values=told["guessers by performance"],
            seeds=seeds,
            n=2 * EXPERTS,
            data=DATA,
            lower_is_better=True,
        )
    )
    return found


def _seed(data: Path, seed: int) -> Mapping[str, float]:
    model, corpus = base(data, seed)
    domains = corpus.domains
    own = [fitted(model, corpus.only(domain), replace(SHORT, seed=seed), keep=True) for domain in domains]
    pool = [*own, *(_near(one, seed) for one in own)]
    rows = [
        _task(model, corpus, (domains[seed % 5], domains[(seed + step) % 5]), pool, 10 * seed + step) for step in (1, 2)
    ]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _task(
    model: TinyMoELM, corpus: Corpus, pair: tuple[str, str], experts: Sequence[Adapter], seed: int
) -> Mapping[str, float]:
    chance = np.random.default_rng(seed)
    task = corpus.only(*pair)
    shots, others = (_shots(task, SHOTS // 2, chance, model.config.context) for _ in range(2))
    guessers = _guessers(model, shots, seed)
    pool = [*experts, *guessers]
    scores = examined(model, pool, shots)
    choice = choose_experts(scores, EXPERTS)
    # Ties are broken by chance.
    by_performance = np.lexsort((chance.random(len(pool)), -scores.performance))[:EXPERTS]
    texts = _instructions(corpus, shots, chance, model.config.context)
    training = replace(ROUTER, seed=seed)

    def measured(adapters: Sequence[Adapter], weights: Tensor | None = None) -> float:
        return mean_loss(model, task, "test", windows=WINDOWS, within=lambda: attached(model, adapters, weights))

    def trained(places: Sequence[int]) -> float:
        made = mixture(model, [pool[place] for place in places], texts, training)
        return mean_loss(model, task, "test", windows=WINDOWS, within=lambda: made.attached(model))

    chosen = [pool[place] for place in choice.experts]
    lucky = [_performance(model, one, others) for one in guessers]
    first = len(experts)
    return {
        "none": mean_loss(model, task, "test", windows=WINDOWS),
        "mixture": trained(choice.experts),
        "best single": min(measured([one]) for one in pool),
        "merge": measured(experts, _even(len(experts))),
        "own merge": measured(chosen, _even(EXPERTS)),
        "random": trained([int(one) for one in chance.choice(first, EXPERTS, replace=False)]),
        "guessers": float(np.mean([place >= first for place in choice.experts])),
        "guessers by performance": float(np.mean(by_performance >= first)),
        "luck": float(scores.performance[first:].mean()),
        "luck later": float(np.mean(lucky)),
    }


def _even(count: int) -> Tensor:
    return torch.full((count,), 1 / count)


def _performance(model: TinyMoELM, adapter: Adapter, shots: Sequence[Shot]) -> float:
    with attached(model, [adapter]):
        return exam(model, shots)[0]


def _near(adapter: Adapter, seed: int) -> Adapter:
    """A near copy: a twentieth of noise on every factor."""
    chance = torch.Generator().manual_seed(seed)
    parts = {
        name: tuple((_noisy(a, chance), _noisy(b, chance)) for a, b in pairs) for name, pairs in adapter.parts.items()
    }
    return Adapter(f"{adapter.name} again", parts, adapter.scale)


def _noisy(factor: Tensor, chance: torch.Generator) -> Tensor:
    return factor + 0.05 * factor.std() * torch.randn(factor.shape, generator=chance)


def _guessers(model: TinyMoELM, shots: Sequence[Shot], seed: int) -> list[Adapter]:
    found = [drawn(model, f"guesser {n}", seed=1_000 * seed + n, noise=1.0) for n in range(DRAWN)]
    lucky = np.argsort([-_performance(model, one, shots) for one in found], kind="stable")
    return [found[place] for place in lucky[:GUESSERS]]


def _shots(task: Corpus, each: int, chance: np.random.Generator, length: int) -> list[Shot]:
    shots = []
    for domain in task.domains:
        rows = [bytes(row.astype(np.uint8)) for row in task.batch(chance, 2 * each, length, domain=domain).tokens]
        for row, other in zip(rows[:each], rows[each:], strict=True):
            answer = int(chance.integers(2))
            endings = [row[-ENDING:], other[-ENDING:]]
            shots.append(Shot(row[:-ENDING], tuple(endings[:: 1 - 2 * answer]), answer))
    return shots


def _instructions(corpus: Corpus, shots: Sequence[Shot], chance: np.random.Generator, length: int) -> list[bytes]:
    """The shots, and the texts of all domains that are like them."""
    rows = corpus.batch(chance, TEXTS, 3 * length).tokens.astype(np.uint8)
    texts = [bytes(row).decode("utf-8", "ignore") for row in rows]
    texts += texts[: TEXTS // 4]
    model = encoder()
    near = model.encode([shot.text.decode("utf-8", "ignore") for shot in shots]).astype(np.float64)
    taken = select_instructions(near, model.encode(texts).astype(np.float64), INSTRUCTIONS)
    return [*(shot.text for shot in shots), *(texts[place].encode() for place in taken)]
