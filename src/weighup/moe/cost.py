"""What a model costs under a policy: parameters that are active, FLOPs a token, bytes moved.

Counted from the shapes: a multiplication and an addition are two FLOPs; attention over `context` tokens. Experts that a
token uses are counted by what the routers really choose (a trace) or by k.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from weighup.errors import InvalidInput
from weighup.moe.sites import sites
from weighup.moe.trace import RoutingTrace


@dataclass(frozen=True)
class CostModel:
    """`total` and `active` parameters; `expert` those of one expert (mean); `routed` those of all routed experts;
    `experts_a_token` mean over layers; `flops` a token, forward; `bytes_a_token` weights that a token reads."""

    total: int
    active: float
    expert: float
    routed: int
    experts_a_token: float
    flops: float
    bytes_a_token: float

    def row(self) -> dict[str, float]:
        """For tables."""
        return {
            "total parameters": float(self.total),
            "active parameters": self.active,
            "experts a token": self.experts_a_token,
            "FLOPs a token": self.flops,
        }


def cost(
    model: nn.Module, *, trace: RoutingTrace | None = None, k: float | None = None, context: int | None = None
) -> CostModel:
    """The cost of a model; `trace` tells how many experts its tokens used, or `k`, or the model's own k.

    Raises InvalidInput for a model that is not known or a trace of other layers.
    """
    found = sites(model)
    if trace is not None and trace.layers != len(found):
        raise InvalidInput(f"cost: the trace has {trace.layers} layers that route, the model {len(found)}")
    used = [
        float((trace.indices[n] >= 0).sum(1).mean()) if trace is not None and len(trace) else k or site.k
        for n, site in enumerate(found)
    ]
    each = [sum(p.numel() for p in site.experts.parameters()) / site.n_experts for site in found]
    embedded = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    parameters = {id(p): p for p in model.parameters()}
    total = sum(p.numel() for p in parameters.values())
    routed = sum(p.numel() for site in found for p in site.experts.parameters())
    looked_up = sum(p.numel() for key, p in parameters.items() if key in embedded)
    active = total - routed + float(np.dot(used, each))
    config = getattr(model, "config", None)
    layers = int(getattr(config, "num_hidden_layers", getattr(config, "layers", len(found))))
    length = context or int(getattr(config, "context", 0) or 1)
    attended = 4.0 * layers * length * found[0].width / 2  # half of the places come later and are not seen
    flops = 2.0 * (active - looked_up) + attended
    size = next(iter(parameters.values())).element_size()
    return CostModel(
        total, active, float(np.mean(each)), routed, float(np.mean(used)), flops, size * (active - looked_up)
    )
