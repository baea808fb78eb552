"""Where a model routes: the same view of our layers and of Hugging Face's mixture-of-experts models.

In `transformers` 5 every such model has a router module that gives (logits, weights, indices) and an experts module
called with (hidden states, indices, weights) over batched weights; so forward hooks on the router read and change what
is chosen, and no class is patched. `sites` finds them; a model whose routers it does not know is refused by name.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.layer import MoELayer
from weighup.moe.types import Context, Router, Routing, checked_k, top_k


@dataclass(frozen=True, eq=False)
class Decision:
    """`logits` [T, N], `indices` and `weights` [T, k], `mask` [T, k] or None: what a layer is about to do."""

    logits: Tensor
    indices: Tensor
    weights: Tensor
    mask: Tensor | None = None

    def with_(self, **changed: Any) -> Decision:
        """The same with some parts changed."""
        return replace(self, **changed)


_NONE = -1e4
"""What a masked expert counts where groups are ranked: below every score with its bias."""
Choose = Callable[[nn.Module, Tensor, int], tuple[Tensor, Tensor]]
"""(router, logits [T, N], k) -> indices and weights [T, k]."""


@dataclass(frozen=True, eq=False)
class Site:
    """One layer that routes. `layer` counts those from 0; `depth`: its place among all of the model's layers.

    `first` [N, 2h, d] and `last` [N, d, h] are its experts' weights where the architecture lays them out so
    (`lacks` says what it has otherwise); `shared`: whether experts are always on beside them.
    """

    layer: int
    depth: int
    name: str
    router: nn.Module
    experts: nn.Module
    block: nn.Module
    k: int
    n_experts: int
    width: int
    architecture: str
    choose_by: Choose
    shared: bool = False
    lacks: str = ""
    sorted: bool = True
    """Whether `choose` gives the best expert first."""

    @property
    def least(self) -> int:
        """The fewest experts that the router can do with."""
        return 1 if getattr(self.router, "variable", False) else self.k

    def choose(self, logits: Tensor, k: int | None = None) -> tuple[Tensor, Tensor]:
        """Indices and weights [T, k] as the model itself would take them from logits [T, N]."""
        return self.choose_by(self.router, logits, self.k if k is None else checked_k(k, self.n_experts))

    def read(self, output: Any) -> Decision:
        """From what the router module returned."""
        if isinstance(output, Routing):
            return Decision(output.logits, output.indices, output.weights, output.mask)
        logits, weights, indices = output
        return Decision(logits, indices, weights)

    def written(self, output: Any, decision: Decision) -> Any:
        """What the router module is to return instead."""
        if isinstance(output, Routing):
            return output.with_(
                logits=decision.logits, indices=decision.indices, weights=decision.weights, mask=decision.mask
            )
        weights = decision.weights if decision.mask is None else decision.weights * decision.mask
        return decision.logits, weights.to(output[1].dtype), decision.indices

    def weights(self) -> tuple[nn.Parameter, nn.Parameter]:
        """`first` [N, 2h, d] (gate, then up) and `last` [N, d, h]. Raises InvalidInput for another layout."""
        if self.lacks:
            raise InvalidInput(f"{self.architecture}: {self.lacks}")
        return self.experts.gate_up_proj, self.experts.down_proj


def sites(model: nn.Module) -> list[Site]:
    """The layers of a model that route, in order. Raises InvalidInput naming the class of a model that has none that
    is known."""
    found: list[Site] = []
    for name, module in model.named_modules():
        if isinstance(module, MoELayer):
            found.append(_ours(len(found), name, module))
            continue
        kind = type(module).__name__
        if kind in _ROUTERS and name:
            found.append(_theirs(model, len(found), name, module, kind))
    if not found:
        raise InvalidInput(
            f"{type(model).__name__}: has no mixture-of-experts layer that is known; known are ours and the models of "
            f"{', '.join(sorted({one for one, *_ in _ROUTERS.values()}))} of transformers"
        )
    return found


def _ours(layer: int, name: str, module: MoELayer) -> Site:
    return Site(
        layer,
        layer,
        name,
        module.router,
        module.experts,
        module,
        module.router.k,
        module.experts.n,
        module.experts.width,
        "weighup",
        _our_choice,
        module.shared is not None,
        "" if module.experts.activation == "swiglu" else "GELU experts have no gate",
    )


def _theirs(model: nn.Module, layer: int, name: str, router: nn.Module, kind: str) -> Site:
    architecture, choose, in_order = _ROUTERS[kind]
    block = model.get_submodule(name.rpartition(".")[0])
    depth = next((int(part) for part in name.split(".") if part.isdigit()), layer)
    experts = getattr(block, "experts", None)
    if experts is None or not hasattr(experts, "gate_up_proj"):
        raise InvalidInput(
            f"{architecture}: {name} has no batched experts beside it; this release lays them out otherwise"
        )
    lacks = ""
    if hasattr(experts, "gate_up_proj_bias"):
        lacks = "its experts have biases and interleaved gates, which this method does not handle"
    return Site(
        layer,
        depth,
        name,
        router,
        experts,
        block,
        int(router.top_k),
        int(router.num_experts),
        int(router.weight.shape[1]),
        architecture,
        choose,
        any(hasattr(block, one) for one in ("shared_expert", "shared_experts")),
        lacks,
        in_order,
    )


def _our_choice(router: nn.Module, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    assert isinstance(router, Router)
    routing = router.choose(logits, Context(1, len(logits)), k=k)
    weights = routing.weights if routing.mask is None else routing.weights * routing.mask
    return routing.indices, weights


def _softmax_first(router: nn.Module, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    # Mixtral has no flag: it always renormalises.
    indices, weights = top_k(torch.softmax(logits.float(), -1), k, bool(getattr(router, "norm_topk_prob", True)))
    return indices, weights.to(logits.dtype)


def _softmax_last(router: nn.Module, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    values, indices = torch.topk(logits, k, dim=-1)
    return indices, torch.softmax(values, dim=-1, dtype=values.dtype)


def _deepseek_v2(router: nn.Module, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    scores = torch.softmax(logits.float(), dim=-1)
    chosen = scores
    if getattr(router, "topk_method", "greedy") == "group_limited_greedy":
        chosen = _limited(scores, scores.view(len(scores), router.num_group, -1).amax(-1), router, 0.0)
    weights, indices = torch.topk(chosen, k, dim=-1, sorted=False)
    return indices, weights * router.routed_scaling_factor


def _deepseek_v3(router: nn.Module, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    scores = logits.sigmoid()
    # A logit of -inf masks an expert; the bias that is added for the choice alone must not bring it back.
    chosen = (scores + router.e_score_correction_bias).masked_fill(torch.isneginf(logits), float("-inf"))
    groups = chosen.view(len(chosen), router.num_group, -1)
    # Finite, so that a group with one expert left is before one with none.
    best = groups.topk(min(2, groups.shape[-1]), -1)[0].clamp_min(_NONE).sum(-1)
    indices = torch.topk(_limited(chosen, best, router, float("-inf")), k, dim=-1, sorted=False)[1]
    weights = scores.gather(1, indices)
    if router.norm_topk_prob:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return indices, weights * router.routed_scaling_factor


def _limited(scores: Tensor, groups: Tensor, router: nn.Module, other: float) -> Tensor:
    """Scores [T, N], those outside the best groups replaced."""
    best = torch.topk(groups, k=router.topk_group, dim=-1, sorted=False)[1]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, best, True)
    return scores.masked_fill(~kept.repeat_interleave(scores.shape[1] // groups.shape[1], dim=1), other)


# Architecture, how it chooses, whether the best comes first.
_ROUTERS: dict[str, tuple[str, Choose, bool]] = {
    "MixtralTopKRouter": ("Mixtral", _softmax_first, True),
    "OlmoeTopKRouter": ("OLMoE", _softmax_first, True),
    "Qwen2MoeTopKRouter": ("Qwen2-MoE", _softmax_first, True),
    "Qwen3MoeTopKRouter": ("Qwen3-MoE", _softmax_first, True),
    "DeepseekV2TopkRouter": ("DeepSeek-V2", _deepseek_v2, False),
    "DeepseekV3TopkRouter": ("DeepSeek-V3", _deepseek_v3, False),
    "GptOssTopKRouter": ("GPT-OSS", _softmax_last, True),
}
