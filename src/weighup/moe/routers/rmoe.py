"""RMoE: a router that remembers what the layers below decided for a token.

Qiu et al. 2024, "Layerwise Recurrent Router for Mixture-of-Experts" (arXiv 2408.06793). For layer l and each token:
`h_l = GRU(W_in,l x_l, h_{l-1})`, logits `W_l h_l`; one GRU cell for all layers, W_in and W of each layer its own, h
before the first layer 0. The recurrence runs over layers, not over tokens: no token sees another.

Faithful: the above, with a router width far below the model's (128 for some 1,000 in the paper, 16 for 64 to 128
here). Ours: W_in has no bias; balance and z-loss are those of `topk`; chosen weights are renormalised.

Shapes: x [T, d], memory h [T, r], logits [T, N]. The memory travels by `Context.memory` and `Routing.memory`; the
cell stands in the dict that a model's layers share, under `rmoe`. A checkpoint names the cell once for every layer;
all are the same tensors.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.routers.topk import BalancedRouter
from weighup.moe.types import Context
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

METHOD = Method(
    name="rmoe",
    room="moe",
    paper="Layerwise Recurrent Router for Mixture-of-Experts (Qiu et al. 2024)",
    arxiv="2408.06793",
    command="weighup moe train --router rmoe",
    claim_check="weighup.moe.routers.rmoe_claim:check",
)


class RecurrentRouter(BalancedRouter):
    """Top-k of logits from a GRU state. `gru`: the cell of all layers, r -> r; `balance`, `z`: weights of the losses.

    `weight` is [N, r] here, `project` d -> r.
    """

    def __init__(
        self,
        width: int,
        n_experts: int,
        k: int,
        gru: nn.GRUCell,
        *,
        balance: float = 1e-2,
        z: float = 1e-3,
        renormalise: bool = True,
    ) -> None:
        """Raises InvalidInput for a k that cannot be or a cell whose input is not as wide as its state."""
        super().__init__(width, n_experts, k, balance=balance, z=z, renormalise=renormalise)
        if gru.input_size != gru.hidden_size:
            raise InvalidInput(f"rmoe: a cell of one width is needed, not {gru.input_size} to {gru.hidden_size}")
        self.gru = gru
        self.router_width = gru.hidden_size
        self.project = nn.Linear(width, self.router_width, bias=False)
        self.weight = nn.Parameter(torch.empty(n_experts, self.router_width))
        nn.init.normal_(self.weight, std=self.router_width**-0.5)

    def score(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """Logits [T, N] and h_l [T, r]. Raises InvalidInput where the layer below left no memory, or one of another
        shape."""
        memory = context.memory
        if memory is None and context.layer > 0:
            raise InvalidInput(f"rmoe: layer {context.layer} needs the memory of the layer below; its router left none")
        if memory is None:
            memory = x.new_zeros(len(x), self.router_width)
        if memory.shape != (len(x), self.router_width):
            raise InvalidInput(f"rmoe: memory of [{len(x)}, {self.router_width}] is needed, not {list(memory.shape)}")
        state = self.gru(self.project(x), memory)
        return nn.functional.linear(state, self.weight), state

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "router_width": self.router_width}


def layer(
    config: TinyConfig, layer: int, shared: dict[str, Any], *, router_width: int = 16, **options: Any
) -> MoELayer:
    """For `TinyMoELM`. The first layer makes the cell. Raises InvalidInput for a router width below 1."""
    if router_width < 1:
        raise InvalidInput(f"rmoe: a router width of 1 or more is needed, not {router_width}")
    if "rmoe" not in shared:
        shared["rmoe"] = nn.GRUCell(router_width, router_width)
    experts = Experts(config.n_experts, config.width, config.hidden)
    return MoELayer(experts, RecurrentRouter(config.width, config.n_experts, config.k, shared["rmoe"], **options))
