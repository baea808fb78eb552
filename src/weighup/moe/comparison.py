"""Routers side by side: same sizes, same data, same training, several seeds; one table."""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from weighup.errors import InvalidInput
from weighup.moe.corpus import Corpus
from weighup.moe.cost import cost
from weighup.moe.lab import Training, losses, trained
from weighup.moe.registry import ROUTERS
from weighup.moe.report import report
from weighup.moe.tiny import Output, TinyConfig
from weighup.moe.trace import tracing

_TOP = re.compile(r"top(\d+)")


@dataclass(frozen=True)
class Compared:
    """One router: means over seeds; `spread` is the standard deviation of the loss over them (0 for one seed)."""

    router: str
    loss: float
    spread: float
    active: float
    flops: float
    parameters: int
    evenness: float
    seconds: float
    by_domain: Mapping[str, float]

    def row(self) -> dict[str, Any]:
        """For tables."""
        return {
            "router": self.router,
            "test loss": round(self.loss, 4),
            "± over seeds": round(self.spread, 4),
            "experts a token": round(self.active, 2),
            "MFLOPs a token": round(self.flops / 1e6, 3),
            "parameters": self.parameters,
            "evenness": round(self.evenness, 3),
            "s to train": round(self.seconds, 1),
            **{f"loss: {name}": round(value, 3) for name, value in self.by_domain.items()},
        }


def compare_routers(
    routers: Sequence[str],
    corpus: Corpus,
    *,
    config: TinyConfig,
    training: Training,
    seeds: Sequence[int] = (0, 1, 2),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    show: bool | None = None,
) -> list[Compared]:
    """Train each router (or take it from the store) with each seed and measure on the test split, in the given order.

    Seconds are those that each model's training took when it was trained. Raises InvalidInput for a router that is not
    known, before anything is trained.
    """
    unknown = [name for name in routers if name not in ROUTERS and not _TOP.fullmatch(name)]
    if unknown or not routers:
        raise InvalidInput(
            f"routers: {', '.join(unknown) or 'none given'}; there are {', '.join(ROUTERS)}, top1, top2 …"
        )
    configs = [routed(config, name, (options or {}).get(name, {})) for name in routers]
    return [_measured(name, corpus, one, training, seeds, show) for name, one in zip(routers, configs, strict=True)]


def routed(config: TinyConfig, router: str, options: Mapping[str, Any]) -> TinyConfig:
    """The config with a router by name; `top2` is top-k with k = 2. Raises InvalidInput where that cannot be."""
    named = _TOP.fullmatch(router)
    if named is not None:
        return replace(config, router="topk", k=int(named[1]), options=dict(options))
    return replace(config, router=router, options=dict(options))


def _measured(
    name: str, corpus: Corpus, config: TinyConfig, training: Training, seeds: Sequence[int], show: bool | None
) -> Compared:
    found: list[dict[str, float]] = []
    active, flops, evenness, seconds = [], [], [], []
    parameters = 0
    for seed in seeds:
        model = trained(config, corpus, replace(training, seed=seed), show=show)
        used: list[float] = []

        def counted(out: Output, _: Any, used: list[float] = used) -> None:
            # Of what layers did, not of their routers: a chain of experts asks several a layer.
            used.append(float(torch.stack([one.active.float().mean() for one in out.routings]).mean()))

        with torch.no_grad(), tracing(model, logits=False) as recorder:
            found.append(losses(model, corpus, "test", each=counted))
        told = report(recorder.trace)
        spent = cost(model, k=math.fsum(used) / len(used), context=config.context)
        active.append(spent.experts_a_token)
        flops.append(spent.flops)
        evenness.append(float(told.evenness.mean()))
        seconds.append(model.seconds)
        parameters = spent.total
    means = [math.fsum(one.values()) / len(one) for one in found]
    loss = math.fsum(means) / len(means)
    spread = math.sqrt(math.fsum((one - loss) ** 2 for one in means) / max(1, len(means) - 1))
    return Compared(
        name,
        loss,
        spread,
        math.fsum(active) / len(active),
        math.fsum(flops) / len(flops),
        parameters,
        math.fsum(evenness) / len(evenness),
        math.fsum(seconds) / len(seconds),
        {domain: math.fsum(one[domain] for one in found) / len(found) for domain in corpus.domains},
    )
