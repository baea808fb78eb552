"""Claim check of similarity- and attention-aware routing (2505.00792): steadier, surer, no worse, sturdier?

Three routers trained alike on the five domains, two layers. Read from the test split: fluctuation, the share of
choices (token and layer) that are another set of experts than a tenth of the training earlier; the mean entropy of the
probabilities that a choice is made from; next-byte loss; how much it rises when 10 % of the bytes that are read (not
of those that are to be told) are replaced by random ones.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from weighup.claims import ClaimResult, compare
from weighup.moe.corpus import Corpus, five_domains
from weighup.moe.lab import SMALL, Training, train, trained
from weighup.moe.tiny import Output, TinyConfig, TinyMoELM

MODEL = replace(SMALL, layers=2, hidden=32)
TRAINING = Training(steps=480)
EARLIER = 432  # steps after which the last checkpoint but one is kept
WINDOWS = 80  # of a domain
NOISE = 0.1  # share of bytes
SLACK = 0.005  # of the baseline's loss: what counts as equal
DATA = "five domains, test split"


@dataclass(frozen=True, slots=True)
class _Measured:
    """`fluctuation` share, `entropy` nats, `loss` nats a byte, `rise` of it under noise."""

    fluctuation: float
    entropy: float
    loss: float
    rise: float


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Four claims for each of the two routers."""
    corpus = five_domains(data)
    found = {
        router: [_measured(*_checkpoints(router, corpus, seed), corpus, seed) for seed in seeds]
        for router in ("topk", "similarity", "attention")
    }
    n = len(corpus.domains) * WINDOWS * MODEL.context
    return [one for router in ("similarity", "attention") for one in _claims(router, found, seeds, n)]


def _claims(router: str, found: dict[str, list[_Measured]], seeds: Sequence[int], n: int) -> list[ClaimResult]:
    told = (
        ("routing fluctuates less", "share of choices changed between the last two checkpoints", "fluctuation", 1.0),
        ("choices are surer", "mean entropy of the routing probabilities, nats", "entropy", 1.0),
        ("the loss is equal or lower", "next-byte loss, nats", "loss", 1 + SLACK),
        (f"the loss rises less when {NOISE:.0%} of bytes are random", "rise of the next-byte loss, nats", "rise", 1.0),
    )
    return [
        compare(
            f"{router}: {claim}",
            metric=metric,
            values=[getattr(one, name) for one in found[router]],
            baseline="top-2 + 0.00" if slack == 1 else f"top-2 + {slack - 1:.1%}",
            baseline_values=[slack * getattr(one, name) for one in found["topk"]],
            lower_is_better=True,
            seeds=seeds,
            n=n,
            data=DATA,
        )
        for claim, metric, name, slack in told
    ]


def _checkpoints(router: str, corpus: Corpus, seed: int) -> tuple[TinyMoELM, TinyMoELM]:
    """The last model and the one before it; the store keeps one module, so the second travels inside the first."""
    config: TinyConfig = replace(MODEL, router=router)
    training = replace(TRAINING, seed=seed)

    def make() -> TinyMoELM:
        model = TinyMoELM(config)
        model.earlier = TinyMoELM(config).requires_grad_(False)
        return model

    def keep(model: TinyMoELM, done: int) -> None:
        if done == EARLIER:
            now = {name: one for name, one in model.state_dict().items() if not name.startswith("earlier.")}
            model.earlier.load_state_dict(now)

    model = trained(
        config,
        corpus,
        training,
        kind=f"with the checkpoint at {EARLIER}",
        make=make,
        fit=lambda model: train(model, corpus, training, on_step=keep),
    )
    earlier: TinyMoELM = model.earlier
    del model.earlier
    return model, earlier


def _measured(model: TinyMoELM, earlier: TinyMoELM, corpus: Corpus, seed: int) -> _Measured:
    chance = torch.Generator().manual_seed(seed)
    sums, count = [0.0] * 4, 0
    # Every domain has as many windows, so the mean over bytes is the mean over domains.
    for batch in corpus.batches("test", 32, MODEL.context, windows=WINDOWS):
        tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
        hit = torch.rand(tokens.shape, generator=chance) < NOISE
        noisy = torch.where(hit, torch.randint(256, tokens.shape, generator=chance), tokens)
        with torch.no_grad():
            out, before, hurt = model(tokens, targets), earlier(tokens), model(noisy, targets)
        values = (
            float((_sets(out) != _sets(before)).any(-1).float().mean()),
            float(torch.stack([_entropy(routing.probs) for routing in out.routings]).mean()),
            float(out.loss),
            float(hurt.loss - out.loss),
        )
        sums = [total + value * tokens.numel() for total, value in zip(sums, values, strict=True)]
        count += tokens.numel()
    return _Measured(*(total / count for total in sums))


def _sets(out: Output) -> Tensor:
    """[L, T, k] the chosen experts, in the order of their numbers."""
    return torch.stack([routing.indices.sort(-1).values for routing in out.routings])


def _entropy(probs: Tensor) -> Tensor:
    return -(probs * probs.clamp_min(1e-12).log()).sum(-1).mean()
