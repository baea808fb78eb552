"""SMoE-Dropout: a router that stays as it was drawn, and more and more experts while training.

Chen et al. 2023, "Sparse MoE as the New Dropout: Scaling Dense and Self-Slimmable Transformers" (arXiv 2303.01610,
section 3). Faithful: the router is drawn at random and never trained; the number of active experts grows linearly over
training up to all N, so the experts do not collapse onto what a learned router prefers; the trained model is
self-slimmable, any k works at inference. Ours: growth starts from `least` (2 in the paper) and is rounded to the
nearest k; weights are the softmax over the chosen experts, so k = N is the dense mixture with softmax weights over all
N; there is no balance loss, since there is nothing to train in the router.

Shapes: tokens [T, d], logits and probs [T, N], indices and weights [T, k].
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.types import Context, Router, Routing, checked_k
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

METHOD = Method(
    name="smoe_dropout",
    room="moe",
    paper="Sparse MoE as the New Dropout: Scaling Dense and Self-Slimmable Transformers (Chen et al. 2023)",
    arxiv="2303.01610",
    command="weighup moe train --router smoe_dropout",
    claim_check="weighup.moe.routers.smoe_dropout_claim:check",
)


class SMoEDropout(Router):
    """A fixed random router. In training k follows `scheduled_k` of `Context.progress`; otherwise it is `k`, which may
    be set to any number from 1 to N at any time.

    `least`: k at the start of training. `seed`: draws the router by itself, None takes torch's own chance.
    """

    def __init__(self, width: int, n_experts: int, k: int = 2, *, least: int = 2, seed: int | None = None) -> None:
        """Raises InvalidInput unless 1 <= k, least <= n_experts."""
        super().__init__(width, n_experts, k)
        self.least = checked_k(least, n_experts)
        if seed is not None:
            torch.nn.init.normal_(self.weight, std=width**-0.5, generator=torch.Generator().manual_seed(seed))
        self.weight.requires_grad_(False)

    def choose(self, logits: Tensor, context: Context, *, k: int | None = None) -> Routing:
        """From logits [T, N]; a `k` that is given is taken, in training too."""
        if k is None and self.training:
            k = scheduled_k(context.progress, self.least, self.n_experts)
        return super().choose(logits, context, k=k)

    def describe(self) -> dict[str, Any]:
        """What decides what it does."""
        return {**super().describe(), "least": self.least}


def scheduled_k(progress: float, least: int, n_experts: int) -> int:
    """How many experts are active when `progress` (0 to 1) of the training is done: from `least` linearly to all.

    Raises InvalidInput for a progress outside 0 to 1 or a least outside 1 to n_experts.
    """
    checked_k(least, n_experts)
    if not 0 <= progress <= 1:
        raise InvalidInput(f"progress: between 0 and 1 is needed, not {progress}")
    return int(least + (n_experts - least) * progress + 0.5)


def layer(config: TinyConfig, layer: int, shared: dict[str, Any], **options: Any) -> MoELayer:
    """For `TinyMoELM`; `config.k` is the k of inference. Options: `least`, `seed` (each layer draws its own)."""
    if options.get("seed") is not None:
        options["seed"] += layer
    options.setdefault("least", min(2, config.n_experts))
    experts = Experts(config.n_experts, config.width, config.hidden)
    return MoELayer(experts, SMoEDropout(config.width, config.n_experts, config.k, **options))
