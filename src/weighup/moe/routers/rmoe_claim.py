"""Claim check of RMoE (2408.06793): is a recurrent router better than a linear one of a model with no fewer
parameters, and does it spread its choices more?

Both are trained alike on the five domains. RMoE's model has experts one unit narrower (63 for 64) and a router of
width 18, which makes it some 200 parameters smaller in total; what is active for a token is about 2 % more, since a
router is always active. Read from the test split: next-byte loss; mean entropy of the router's probabilities;
effective number of expert pairs, exp of the entropy of how often each pair is chosen in a layer (at most 28).
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from weighup.claims import ClaimResult, compare
from weighup.errors import InvalidInput
from weighup.moe.corpus import Corpus, five_domains
from weighup.moe.lab import RACE, SMALL, mean_loss, trained
from weighup.moe.tiny import Output, TinyMoELM

SEEDS = range(6)
RECURRENT = replace(SMALL, router="rmoe", hidden=SMALL.hidden - 1, options={"router_width": 18})
WINDOWS = 120  # of a domain
DATA = "five domains, test split"


@dataclass(frozen=True, slots=True)
class _Measured:
    """`loss` nats a byte, `entropy` nats, `pairs` effective number; means over layers."""

    loss: float
    entropy: float
    pairs: float


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Loss, entropy and diversity of choices."""
    corpus = five_domains(data)
    ours, theirs, sizes = [], [], set()
    for seed in seeds:
        models = [trained(config, corpus, replace(RACE, seed=seed)) for config in (RECURRENT, SMALL)]
        sizes.add(tuple(sum(p.numel() for p in model.parameters()) for model in models))
        ours.append(_measured(models[0], corpus))
        theirs.append(_measured(models[1], corpus))
    ((own, linear),) = sizes
    if own > linear:
        raise InvalidInput(f"rmoe: its {own} parameters are more than the {linear} of the baseline")
    told = f"{own:,} parameters, linear router {linear:,}"
    n = len(corpus.domains) * WINDOWS * SMALL.context
    common: dict[str, Any] = {"seeds": seeds, "n": n, "data": DATA}
    return [
        compare(
            f"lower loss than a linear router with no fewer parameters ({told})",
            metric="next-byte loss, nats",
            values=[one.loss for one in ours],
            baseline="linear router, top-2, + 0.00",
            baseline_values=[one.loss for one in theirs],
            lower_is_better=True,
            **common,
        ),
        compare(
            "higher entropy of the router's probabilities",
            metric="mean entropy over tokens and layers, nats",
            values=[one.entropy for one in ours],
            baseline="linear router, top-2, + 0.00",
            baseline_values=[one.entropy for one in theirs],
            **common,
        ),
        compare(
            "more diverse choices",
            metric="effective number of expert pairs in a layer, of 28",
            values=[one.pairs for one in ours],
            baseline="linear router, top-2, + 0.0",
            baseline_values=[one.pairs for one in theirs],
            **common,
        ),
    ]


def _measured(model: TinyMoELM, corpus: Corpus) -> _Measured:
    layers, n = model.config.layers, model.config.n_experts
    counts, entropies, sizes = np.zeros((layers, n * n)), [], []

    def seen(out: Output, domains: Any) -> None:
        for layer, routing in enumerate(out.routings):
            entropies.append(float(-(routing.probs * routing.probs.clamp_min(1e-12).log()).sum(-1).mean()))
            sizes.append(len(routing.probs))
            low, high = routing.indices.sort(-1).values.T.numpy()
            counts[layer] += np.bincount(low * n + high, minlength=n * n)

    loss = mean_loss(model, corpus, "test", windows=WINDOWS, each=seen)
    share = counts / counts.sum(1, keepdims=True)
    pairs = np.exp(-(share * np.log(np.maximum(share, 1e-12))).sum(1))
    return _Measured(loss, float(np.average(entropies, weights=sizes)), float(pairs.mean()))
