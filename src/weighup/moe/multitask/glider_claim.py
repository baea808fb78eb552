"""Claim check of GLIDER (2410.07172): does knowing the task route LoRA experts better than tokens alone?

The tiny model of a seed gets an adapter for each of five domains. Each domain is held out in turn: the other four are
the experts, queries of their domains are held-in, those of the held-out domain have no expert. A query is a window of
the test split; its task's examples are the three windows before it. Token-only routing is the same router with the
same gates and α = 0. The threshold β is found on queries of the valid split of held-in domains. Beside: a router that
hears every query's own domain, on held-in tasks (what a global router could reach).
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weighup.claims import ClaimResult, compare
from weighup.models import encoder
from weighup.moe.corpus import Corpus, Split
from weighup.moe.lab import base
from weighup.moe.multitask.glider import GATES, Glider, Specialist, embedded, fit_gates, known_from, specialist
from weighup.moe.multitask.lora import SHORT, fitted
from weighup.moe.tiny import TinyMoELM

WINDOWS, EXAMPLES, INSTRUCTIONS = 32, 3, 8
NO_WORSE = 0.005
"""What of the loss counts as no worse."""
DATA = "five domains of bytes (liar, ced_weibo, screening, gsm8k, cranfield), test split"


@dataclass(frozen=True, eq=False)
class Queries:
    """Of one domain: tokens and targets [n, length], embedded instructions [n, dim]."""

    tokens: Tensor
    targets: Tensor
    instructions: Tensor


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Held-in and held-out loss, nats a byte, mean over five rotations."""
    rows = [_measured(data, seed) for seed in seeds]
    told = {name: [row[name] for row in rows] for name in rows[0]}
    held_in = compare(
        "held-in tasks: instructions and tokens together, against tokens alone",
        metric=f"loss, nats a byte (the own expert always: {np.mean(told['own']):.4f}; "
        f"no expert: {np.mean(told['none']):.4f})",
        values=told["in"],
        baseline="token-only routing",
        baseline_values=told["token in"],
        seeds=seeds,
        n=20 * WINDOWS,
        data=DATA,
        lower_is_better=True,
    )
    held_out = compare(
        "held-out tasks: no worse than tokens alone",
        metric=f"loss, nats a byte (no expert: {np.mean(told['none']):.4f}; "
        f"{np.mean(told['known']):.1%} of its queries taken for a known task)",
        values=told["out"],
        baseline="token-only routing + 0.5 % of its loss",
        baseline_values=[one * (1 + NO_WORSE) for one in told["token out"]],
        seeds=seeds,
        n=5 * WINDOWS,
        data=DATA,
        lower_is_better=True,
    )
    return [held_in, held_out]


def _measured(data: Path, seed: int) -> Mapping[str, float]:
    model, corpus = base(data, seed)
    experts = {domain: _expert(model, corpus, domain, seed) for domain in corpus.domains}
    valid, test = ({one: _queries(corpus, one, split) for one in corpus.domains} for split in ("valid", "test"))
    alone = {domain: _loss(model, test[domain], Glider((experts[domain],), k=1)) for domain in corpus.domains}
    plain = {domain: _loss(model, test[domain], None) for domain in corpus.domains}
    found: dict[str, list[float]] = {"own": list(alone.values()), "none": list(plain.values())}

    def add(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for out in corpus.domains:
        there = [domain for domain in corpus.domains if domain != out]
        router = Glider(tuple(experts[domain] for domain in there))
        scores = torch.cat([router.scores(valid[domain].instructions) for domain in there])
        router = replace(router, known=known_from(scores, torch.arange(len(there)).repeat_interleave(WINDOWS)))
        tokens_only = replace(router, gamma=0.0)
        for domain in there:
            add("in", _loss(model, test[domain], router))
            add("token in", _loss(model, test[domain], tokens_only))
        add("out", _loss(model, test[out], router))
        add("token out", _loss(model, test[out], tokens_only))
        add("known", float((router.scores(test[out].instructions).amax(-1) > router.known).float().mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _expert(model: TinyMoELM, corpus: Corpus, domain: str, seed: int) -> Specialist:
    own = corpus.only(domain)
    adapter = fitted(model, own, replace(SHORT, seed=seed), keep=True)
    gates = fit_gates(model, adapter, own, replace(GATES, seed=seed), keep=True)
    length, chance = model.config.context, np.random.default_rng(seed)
    rows = own.batch(chance, INSTRUCTIONS * EXAMPLES, length).tokens
    examples = [_text(row) for row in rows]
    tasks = [examples[n : n + EXAMPLES] for n in range(0, len(examples), EXAMPLES)]
    return specialist(adapter, gates, embedded(encoder(), tasks))


def _queries(corpus: Corpus, domain: str, split: Split) -> Queries:
    """Evenly spread windows that do not overlap their examples."""
    length = 64
    stream = corpus.streams[domain, split].astype(np.int64)
    starts = np.linspace(EXAMPLES * length, len(stream) - length - 1, WINDOWS).astype(int)
    windows = torch.from_numpy(np.stack([stream[at : at + length + 1] for at in starts]))
    tasks = [[_text(stream[at - n * length : at - (n - 1) * length]) for n in range(EXAMPLES, 0, -1)] for at in starts]
    return Queries(windows[:, :-1], windows[:, 1:], embedded(encoder(), tasks))


def _text(row: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> str:
    return bytes(row.astype(np.uint8)).decode("utf-8", "ignore")


@torch.no_grad()
def _loss(model: TinyMoELM, queries: Queries, router: Glider | None) -> float:
    if router is None:
        return float(model(queries.tokens, queries.targets).loss)
    with router.routed(model, queries.instructions):
        return float(model(queries.tokens, queries.targets).loss)
