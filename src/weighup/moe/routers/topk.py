"""Top-k softmax routing: the baseline everywhere.

Shazeer et al. 2017 (arXiv 1701.06538); load-balance loss N Σ f_i P_i: Fedus et al. 2021 (Switch, arXiv 2101.03961,
equations 4 to 6); z-loss, mean squared log-sum-exp of the logits: Zoph et al. 2022 (ST-MoE, arXiv 2202.08906, equation
5). Faithful: both losses and their usual weights (1e-2, 1e-3). Ours: weights are renormalised over the chosen, as in
Mixtral.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.types import Router
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

METHOD = Method(
    name="topk",
    room="moe",
    paper="Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer (Shazeer et al. 2017)",
    arxiv="1701.06538",
    command="weighup moe train --router topk",
    claim_check="weighup.moe.routers.topk_claim:check",
)


class BalancedRouter(Router):
    """A router with load-balance and z-loss. `balance`, `z`: their weights."""

    def __init__(
        self,
        width: int,
        n_experts: int,
        k: int = 2,
        *,
        balance: float = 1e-2,
        z: float = 1e-3,
        renormalise: bool = True,
    ) -> None:
        super().__init__(width, n_experts, k, renormalise=renormalise)
        self.balance, self.z = balance, z

    def aux_loss(self, probs: Tensor, indices: Tensor, logits: Tensor) -> Tensor:
        """balance · N Σ f_i P_i + z · mean(logsumexp²)."""
        return self.balance * load_balance(probs, indices) + self.z * z_loss(logits)


class TopK(BalancedRouter):
    """The k largest softmax probabilities: the only router that Mixtral has."""


def load_balance(probs: Tensor, indices: Tensor, mask: Tensor | None = None) -> Tensor:
    """N Σ f_i P_i: f the share of assignments that expert i got, P its mean probability. 1 where both are even.

    probs [T, N], indices [T, k], mask [T, k] or None -> scalar.
    """
    n = probs.shape[1]
    chosen = indices.reshape(-1) if mask is None else indices[mask]
    share = torch.bincount(chosen, minlength=n).to(probs.dtype) / max(1, len(chosen))
    return n * (share * probs.mean(0)).sum()


def z_loss(logits: Tensor) -> Tensor:
    """Mean over tokens of the squared log-sum-exp of logits [T, N]."""
    return torch.logsumexp(logits.float(), dim=-1).square().mean()


def layer(config: TinyConfig, layer: int, shared: dict[str, Any], **options: Any) -> MoELayer:
    """For `TinyMoELM`."""
    experts = Experts(config.n_experts, config.width, config.hidden)
    return MoELayer(experts, TopK(config.width, config.n_experts, config.k, **options))
