"""Drop whole experts from a trained model: what is left is a smaller model of the same kind.

Every method that says which experts to keep (frequency, PreMoe, merging) hands its choice to `prune`. The pruned model
gives the logits that the whole one gives under `Policy(allowed=...)`, and a Hugging Face model is written by
`save_pretrained` and read by `from_pretrained` as ever: router rows and biases (`e_score_correction_bias` too), batched
expert weights and biases, and the counts in modules and config are all cut.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.policy import Policy
from weighup.moe.sites import Site, sites
from weighup.moe.tiny import TinyMoELM
from weighup.moe.types import Router

Keep = Sequence[Sequence[int]]
"""For each layer that routes, the experts that stay."""
_ROUTER_ARRAYS = ("weight", "bias", "e_score_correction_bias")
_EXPERT_ARRAYS = ("gate_up_proj", "down_proj", "gate_up_proj_bias", "down_proj_bias")
_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "n_experts", "n")


def prune(model: nn.Module, keep: Keep, *, in_place: bool = False) -> nn.Module:
    """The model with only the experts `keep[layer]` in each layer that routes, numbered anew in ascending order.

    A copy unless `in_place`. Our models may keep different numbers in different layers, but only one number fits into
    a checkpoint's config; Hugging Face's must keep the same number everywhere. Raises InvalidInput for experts that are
    not there or named twice, fewer than a token uses, groups (DeepSeek) that would become unequal or too small, or a
    router with weights of its own beside one row an expert. Nothing is changed where it raises.
    """
    rows = checked_keep(sites(model), keep)
    if not in_place:
        model = copy.deepcopy(model)
    found = sites(model)
    for site, kept in zip(found, rows, strict=True):
        _cut(site, torch.tensor(kept))
    size = len(rows[0])
    if isinstance(model, TinyMoELM):
        if len({len(one) for one in rows}) == 1:
            model.config = replace(model.config, n_experts=size)
    else:
        before = found[0].n_experts
        for module in model.modules():  # the head's and each block's own count
            _count(module, before, size)
        for config in _configs(model.config):
            _count(config, before, size)
    return model


def allowing(keep: Keep, n_experts: int) -> Policy:
    """The policy under which only the experts `keep[layer]` of N are chosen. Raises InvalidInput for one not there."""
    masks = {}
    for layer, one in enumerate(keep):
        wrong = [expert for expert in one if not 0 <= expert < n_experts]
        if wrong:
            raise InvalidInput(f"keep: layer {layer} has experts 0 to {n_experts - 1}, not {wrong[0]}")
        mask = torch.zeros(n_experts, dtype=torch.bool)
        mask[list(one)] = True
        masks[layer] = mask
    return Policy(allowed=masks)


def checked_keep(found: Sequence[Site], keep: Keep) -> list[list[int]]:
    """The experts of each layer in ascending order. Raises InvalidInput as `prune` does."""
    if len(keep) != len(found):
        raise InvalidInput(f"keep: {len(keep)} layers are given, the model has {len(found)} that route")
    rows = []
    for site, one in zip(found, keep, strict=True):
        kept = sorted(int(expert) for expert in one)
        at = f"keep: layer {site.layer}"
        if len(set(kept)) != len(kept):
            raise InvalidInput(f"{at} names an expert twice: {kept}")
        if kept and not 0 <= kept[0] <= kept[-1] < site.n_experts:
            raise InvalidInput(
                f"{at} has experts 0 to {site.n_experts - 1}, not {kept[0] if kept[0] < 0 else kept[-1]}"
            )
        if len(kept) < site.k:
            raise InvalidInput(f"{at} leaves {len(kept)} experts, a token uses {site.k}")
        _check_router(site)
        _check_groups(site, kept)
        rows.append(kept)
    if found[0].architecture != "weighup" and len({len(one) for one in rows}) > 1:
        raise InvalidInput(
            f"keep: {found[0].architecture} has the same number of experts in every layer, "
            f"not {', '.join(str(len(one)) for one in rows)}"
        )
    return rows


def _check_router(site: Site) -> None:
    router = site.router
    held = {name for name, _ in (*router.named_parameters(), *router.named_buffers())}
    own = isinstance(router, Router) and type(router).score is not Router.score
    more = sorted(held - set(_ROUTER_ARRAYS))
    if own or more:
        raise InvalidInput(
            f"prune: the router {type(router).__name__} of layer {site.layer} has more than one row an expert"
            f"{' (' + ', '.join(more) + ')' if more else ''}; only linear routers can be cut"
        )


def _check_groups(site: Site, kept: Sequence[int]) -> None:
    groups = int(getattr(site.router, "num_group", None) or 1)
    limited = getattr(site.router, "topk_method", "group_limited_greedy") == "group_limited_greedy"
    if groups == 1 or not limited:
        return
    each = site.n_experts // groups
    sizes = [sum(expert // each == group for expert in kept) for group in range(groups)]
    at = f"keep: layer {site.layer} chooses among {groups} groups of {each} experts"
    if len(set(sizes)) > 1:
        raise InvalidInput(f"{at}; keep the same number in each, not {', '.join(map(str, sizes))}")
    open_groups = int(site.router.topk_group)
    if sizes[0] * open_groups < site.k or (site.architecture == "DeepSeek-V3" and sizes[0] < 2):
        raise InvalidInput(
            f"{at}, {open_groups} of them for a token; {sizes[0]} a group are too few for {site.k} experts a token"
        )


def _cut(site: Site, kept: Tensor) -> None:
    for module, names in ((site.router, _ROUTER_ARRAYS), (site.experts, _EXPERT_ARRAYS)):
        for name in names:
            old = getattr(module, name, None)
            if not isinstance(old, Tensor):
                continue
            new = old.detach().index_select(0, kept.to(old.device)).clone()
            if isinstance(old, nn.Parameter):
                setattr(module, name, nn.Parameter(new, requires_grad=old.requires_grad))
            else:
                module.register_buffer(name, new)
        _count(module, site.n_experts, len(kept))


def _count(thing: Any, before: int, size: int) -> None:
    for name in _COUNTS:
        if getattr(thing, name, None) == before and not callable(getattr(thing, name)):
            setattr(thing, name, size)


def _configs(config: Any) -> list[Any]:
    return [config, *(one for one in vars(config).values() if hasattr(one, "num_experts_per_tok"))]
