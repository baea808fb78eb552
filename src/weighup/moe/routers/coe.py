"""Chain-of-Experts: the experts of a layer work on one another's output.

Wang et al. 2025, "Chain-of-Experts: Unlocking the Communication Power of Mixture-of-Experts Models" (arXiv
2506.18945). A layer is C iterations over the same experts, each with a router of its own and k/C experts a token:
`x_t = x_{t-1} + Σ g_{t,i}(x_{t-1}) E_i(x_{t-1})`, so that expert computation is that of one pass with k.

Faithful: separate routers, shared experts, the residual inside. Ours: the layer gives `x_C − x_0`, since the model adds
the layer's input of its own, and C = 1 is then exactly top-k; balance and z-loss are those of `topk`, summed over the
iterations; chosen weights are renormalised, except where an iteration chooses a single expert: its weight would
always be 1 and its router would learn nothing from the loss. Experts that are always on see the layer's input once.

What others see. `CoELayer.router` is the first iteration's router and `CoELayer.later` holds the rest; `tracing`
records and `control` changes the *first* iteration alone, and its k is k/C (give `cost` the layer's k). The `Routing`
that the layer returns has all: indices and weights [T, k], iteration by iteration; probs and logits [T, N] are means
over iterations; aux_loss is the sum.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts, Strategy
from weighup.moe.layer import MoELayer
from weighup.moe.routers.topk import BalancedRouter
from weighup.moe.types import Context, Router, Routing
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

METHOD = Method(
    name="coe",
    room="moe",
    paper="Chain-of-Experts: Unlocking the Communication Power of Mixture-of-Experts Models (Wang et al. 2025)",
    arxiv="2506.18945",
    command="weighup moe train --router coe",
    claim_check="weighup.moe.routers.coe_claim:check",
)


class IterationRouter(BalancedRouter):
    """Top-k softmax of one iteration.

    No subclass of `TopK`: a chain's router must not pass for that of a layer with one iteration.
    """


class CoELayer(MoELayer):
    """C = 1 + len(later) iterations over the same experts."""

    def __init__(
        self,
        experts: Experts,
        router: Router,
        later: Sequence[Router] = (),
        shared: nn.Module | None = None,
        *,
        strategy: Strategy = "auto",
    ) -> None:
        """Raises InvalidInput where a router and the experts do not fit."""
        super().__init__(experts, router, shared, strategy=strategy)
        for one in later:
            if one.n_experts != experts.n or one.width != experts.width:
                raise InvalidInput(
                    f"coe: a later router chooses among {one.n_experts} experts of width {one.width}, there are "
                    f"{experts.n} of width {experts.width}"
                )
        self.later = nn.ModuleList(later)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Routing]:
        """x [T, d], or [batch, length, d] -> the same shape, what the iterations added, and all their choices."""
        flat = x.reshape(-1, x.shape[-1])
        if context is None:
            context = Context(*x.shape[:2]) if x.dim() == 3 else Context(1, len(flat))
        routings = [self.router(flat, context)]
        added = self.experts(flat, routings[0], self.strategy)
        for router in self.later:
            state = flat + added
            routings.append(router(state, context))
            added = added + self.experts(state, routings[-1], self.strategy)
        if self.shared is not None:
            added = added + self.shared(flat)
        return added.view(x.shape), chained(routings)


def chained(routings: Sequence[Routing]) -> Routing:
    """One routing that tells of several on the same tokens: choices side by side, scores averaged, losses summed."""
    if len(routings) == 1:
        return routings[0]
    mask = None
    if any(one.mask is not None for one in routings):
        every = [torch.ones_like(one.indices, dtype=torch.bool) if one.mask is None else one.mask for one in routings]
        mask = torch.cat(every, -1)
    return Routing(
        torch.cat([one.indices for one in routings], -1),
        torch.cat([one.weights for one in routings], -1),
        torch.stack([one.probs for one in routings]).mean(0),
        torch.stack([one.logits for one in routings]).mean(0),
        torch.stack([one.aux_loss for one in routings]).sum(),
        mask,
    )


def layer(
    config: TinyConfig,
    layer: int,
    shared: dict[str, Any],
    *,
    iterations: int = 2,
    renormalise: bool | None = None,
    **options: Any,
) -> MoELayer:
    """For `TinyMoELM`; `config.k` experts a token in all. `renormalise` None: as the file's head says.

    Raises InvalidInput unless k is a multiple of the iterations.
    """
    if iterations < 1 or config.k % iterations:
        raise InvalidInput(f"coe: k = {config.k} experts do not split evenly over {iterations} iterations")
    k = config.k // iterations
    if renormalise is None:
        renormalise = k > 1 or iterations == 1
    experts = Experts(config.n_experts, config.width, config.hidden)
    routers = [
        IterationRouter(config.width, config.n_experts, k, renormalise=renormalise, **options)
        for _ in range(iterations)
    ]
    return CoELayer(experts, routers[0], routers[1:])
