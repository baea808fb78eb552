"""Top-p dynamic routing: a token gets the fewest experts whose probabilities, from the largest down, sum to p or more.

Huang et al. 2024, "Harder Tasks Need More Experts: Dynamic Routing in MoE Models" (arXiv 2403.07652, section 2).
Faithful: the rule, p = 0.4, and the extra loss, the mean entropy of the router's probabilities (weight 1e-4), beside
the load-balance loss (1e-2). Our reading: an expert's weight is its probability as it is, so that the weights of a
token sum to p or a little more; `renormalise=True` makes them sum to 1. Ours: the load of an expert is its share of the
assignments, as in `topk`, so that the loss is 1 at an even load however many experts a token uses; and p = 1 takes
every expert, also one whose probability is too small for the sum in floating point to need it.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.routers.topk import load_balance
from weighup.moe.trace import RoutingTrace
from weighup.moe.types import Context, Router, Routing, checked_k
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

METHOD = Method(
    name="topp",
    room="moe",
    paper="Harder Tasks Need More Experts: Dynamic Routing in MoE Models (Huang et al. 2024)",
    arxiv="2403.07652",
    command="weighup moe train --router topp",
    claim_check="weighup.moe.routers.topp_claim:check",
)

_LEAST_LOG = -80.0
"""exp(-80) is nothing beside the other terms of an entropy; below it, masked experts (-inf) would give 0 · inf."""


class TopP(Router):
    """The fewest experts whose sorted probabilities sum to `p` or more, at least one.

    `most`: no token gets more than this (None: all N; it is the router's `k`). `balance`, `entropy`: weights of the two
    losses.
    """

    variable = True
    """A token may get any number of experts from 1 to k."""

    def __init__(
        self,
        width: int,
        n_experts: int,
        p: float = 0.4,
        *,
        most: int | None = None,
        balance: float = 1e-2,
        entropy: float = 1e-4,
        renormalise: bool = False,
    ) -> None:
        """Raises InvalidInput for a p outside (0, 1], or `most` outside 1 to n_experts."""
        super().__init__(width, n_experts, n_experts if most is None else most, renormalise=renormalise)
        if not 0 < p <= 1:
            raise InvalidInput(f"top-p: a p above 0 and up to 1 is needed, not {p}")
        self.p, self.balance, self.entropy = p, balance, entropy

    def choose(self, logits: Tensor, context: Context, *, k: int | None = None) -> Routing:
        """From logits [T, N]: as many slots as the token with the most experts needs, the rest masked. `k` in place of
        `most`. Raises InvalidInput for a token whose experts are all masked (-inf)."""
        probs = torch.softmax(logits.float(), dim=-1)
        values, indices = torch.topk(probs, self.k if k is None else checked_k(k, self.n_experts), dim=-1)
        # An expert is needed where those before it do not reach p.
        before = F.pad(values.detach().cumsum(-1)[:, :-1], (1, 0))
        mask = ~torch.isneginf(logits.gather(1, indices))
        if self.p < 1:
            mask &= before < self.p
        active = mask.sum(-1)
        if not bool(active.all()):
            raise InvalidInput(f"top-p: all experts of token {int(active.argmin())} are masked; leave one or more")
        slots = int(active.max())
        indices, mask = indices[:, :slots], mask[:, :slots]
        weights = values[:, :slots] * mask
        if self.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        aux = self.balance * load_balance(probs, indices, mask) + self.entropy * mean_entropy(logits)
        return Routing(indices, weights.to(logits.dtype), probs, logits, aux, mask=mask)

    def describe(self) -> dict[str, Any]:
        """With its p."""
        return {**super().describe(), "p": self.p}


def mean_entropy(logits: Tensor) -> Tensor:
    """Mean over tokens of -Σ P log P, in nats, P the softmax of logits [T, N] -> scalar from 0 to log N."""
    log_probs = torch.log_softmax(logits.float(), dim=-1).clamp_min(_LEAST_LOG)
    return -(log_probs.exp() * log_probs).sum(-1).mean()


@dataclass(frozen=True, eq=False)
class ExpertsPerToken:
    """How many experts a token uses on average: `by_layer` float [L] over all tokens, `by_domain` the same of each
    label that has tokens (empty for a trace without labels)."""

    by_layer: NDArray[np.float64]
    by_domain: Mapping[str, NDArray[np.float64]]

    @property
    def mean(self) -> float:
        """Over layers and tokens."""
        return float(self.by_layer.mean())


def experts_per_token(trace: RoutingTrace) -> ExpertsPerToken:
    """Experts per token, by layer and by domain, of any model's trace. Raises InvalidInput for one without tokens."""
    if not len(trace):
        raise InvalidInput("experts per token: the trace has no tokens")
    used = (trace.indices >= 0).sum(-1)  # [L, T]
    by_domain = {}
    if trace.labels is not None:
        for place, name in enumerate(trace.names):
            own = trace.labels == place
            if own.any():
                by_domain[name] = used[:, own].mean(1)
    return ExpertsPerToken(used.mean(1), by_domain)


def layer(config: TinyConfig, layer: int, shared: dict[str, Any], **options: Any) -> MoELayer:
    """For `TinyMoELM`; the config's k is not used. Options: p, most, balance, entropy, renormalise."""
    experts = Experts(config.n_experts, config.width, config.hidden)
    return MoELayer(experts, TopP(config.width, config.n_experts, **options))
