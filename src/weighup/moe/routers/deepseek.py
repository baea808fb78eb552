"""DeepSeekMoE: experts cut into m smaller ones, and some that are always on.

Dai et al. 2024, "DeepSeekMoE: Towards Ultimate Expert Specialization in Mixture-of-Experts Language Models" (arXiv
2401.06066, section 3). N experts of width h become mN of width h/m; K_s of them are shared, on for every token with
weight 1; of the mN - K_s others, mK - K_s are chosen, so that the experts' total and active parameters are those of
top-K of N (the router alone has more rows: mN - K_s in place of N). Faithful: segmentation, shared experts, and the
losses of expert-level and device-level balance, with the weights 1e-2 of the paper's small models and 5e-2 of its
largest. Ours: weights are renormalised over the chosen and there is a z-loss, as in `topk`, so that m = 1 and K_s = 0
is exactly that and only the cut differs (`renormalise=False, z=0` is the paper); devices are equal runs of neighbouring
experts, to within one.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.routers.topk import TopK
from weighup.moe.types import checked_k
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

METHOD = Method(
    name="deepseek",
    room="moe",
    paper="DeepSeekMoE: Towards Ultimate Expert Specialization in Mixture-of-Experts Language Models (Dai et al. 2024)",
    arxiv="2401.06066",
    command="weighup moe train --router deepseek",
    claim_check="weighup.moe.routers.deepseek_claim:check",
)


class DeepSeekMoE(TopK):
    """Top-k among the routed experts, with expert- and device-level balance.

    `balance`, `device_balance`, `z`: weights of the losses. `devices`: groups of experts; with one there is nothing to
    balance among them and no device-level loss.
    """

    def __init__(
        self,
        width: int,
        n_experts: int,
        k: int = 2,
        *,
        devices: int = 1,
        balance: float = 1e-2,
        device_balance: float = 5e-2,
        z: float = 1e-3,
        renormalise: bool = True,
    ) -> None:
        """Raises InvalidInput unless 1 <= k <= n_experts and 1 <= devices <= n_experts."""
        super().__init__(width, n_experts, k, balance=balance, z=z, renormalise=renormalise)
        _checked_devices(devices, n_experts)
        self.devices, self.device_balance = devices, device_balance

    def aux_loss(self, probs: Tensor, indices: Tensor, logits: Tensor) -> Tensor:
        """Expert-level balance and z-loss of `TopK`, and device_balance · Σ f' P'."""
        found = super().aux_loss(probs, indices, logits)
        if self.devices == 1:
            return found
        return found + self.device_balance * device_load_balance(probs, indices, self.devices)

    def describe(self) -> dict[str, Any]:
        """With its devices."""
        return {**super().describe(), "devices": self.devices}


def device_load_balance(probs: Tensor, indices: Tensor, devices: int) -> Tensor:
    """Σ_i f'_i P'_i over devices: f' the mean load of a device's experts (1 where all are even), P' the sum of their
    mean probabilities. 1 where devices are even, whatever goes on inside one.

    probs [T, N], indices [T, k] -> scalar. Raises InvalidInput unless 1 <= devices <= N.
    """
    n = probs.shape[1]
    _checked_devices(devices, n)
    place = torch.arange(n, device=probs.device) * devices // n
    load = n * torch.bincount(indices.reshape(-1), minlength=n).to(probs.dtype) / indices.numel()
    empty = probs.new_zeros(devices)
    mean_load = empty.index_add(0, place, load) / torch.bincount(place, minlength=devices)
    return (mean_load * empty.index_add(0, place, probs.mean(0))).sum()


class SharedExperts(nn.Module):
    """K_s experts that are on for every token: the sum of their outputs."""

    def __init__(self, n: int, width: int, hidden: int) -> None:
        super().__init__()
        self.experts = Experts(n, width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, d] -> [T, d]."""
        return self.experts.all(x).sum(0)


def layer(
    config: TinyConfig,
    layer: int,
    shared: dict[str, Any],
    *,
    m: int = 2,
    shared_experts: int = 1,
    devices: int = 1,
    **options: Any,
) -> MoELayer:
    """For `TinyMoELM`: `m` parts of each of the config's experts, `shared_experts` (K_s) of all parts always on.

    Further options: balance, device_balance, z, renormalise. Raises InvalidInput for an m that does not divide the
    experts' width, a K_s that leaves no expert to choose, or more devices than routed experts.
    """
    checked_k(config.k, config.n_experts)
    if m < 1 or config.hidden % m:
        raise InvalidInput(f"deepseek: experts of width {config.hidden} do not split into m={m} equal parts")
    if not 0 <= shared_experts < m * config.k:
        raise InvalidInput(
            f"deepseek: of {m * config.k} active experts (m={m} times k={config.k}), 0 to {m * config.k - 1} may be "
            f"shared, not {shared_experts}"
        )
    routed, hidden = m * config.n_experts - shared_experts, config.hidden // m
    experts = Experts(routed, config.width, hidden)
    router = DeepSeekMoE(config.width, routed, m * config.k - shared_experts, devices=devices, **options)
    always = SharedExperts(shared_experts, config.width, hidden) if shared_experts else None
    return MoELayer(experts, router, always)


def _checked_devices(devices: int, n_experts: int) -> None:
    if not 1 <= devices <= n_experts:
        raise InvalidInput(f"devices: between 1 and the {n_experts} routed experts is needed, not {devices}")
