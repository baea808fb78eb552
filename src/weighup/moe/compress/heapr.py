"""HEAPr: prune atomic experts by what their loss would cost.

HEAPr: Hessian-based Efficient Atomic Expert Pruning in Output Space (Li et al. 2025, arXiv 2509.22299). An atomic
expert ("atom") is one hidden unit of an expert: gate row, up row and down column `w`; it adds `a(x) w` to the expert's
output. Optimal Brain Surgeon in the output space: removing atom j changes the loss by about ½ Σ_t (a_tj w_j)ᵀ H_t
(a_tj w_j) (a trained model has no first-order term in the mean), with the Hessian taken as the Fisher matrix: outer
products of the gradient by the expert's output, averaged over the expert's tokens to one d × d matrix G, which is
what makes the score cheap:

    S_j = ½ · mean_t(a_tj²) · w_jᵀ G w_j

Faithful: the atoms, the score, one G an expert, one ranking over all layers and experts, no retraining. Ours, where
the normalisation matters for a ranking across experts: the mean of a² runs over ALL calibration tokens (a is 0 where
the expert was not chosen), that of G over the expert's OWN tokens, gradients are of the loss summed over tokens and
by the unweighted expert output (so the routing weight is in G). S_j is then the estimated rise, in nats a token, of
the model's mean loss, and a rarely chosen expert counts as little as it matters. An expert that no calibration token
chose scores 0 and goes first. One forward and backward pass (`calibrate(gradients=True)`) gives both factors.

Shapes: L layers, N experts, h atoms each, width d; scores and masks are one [N, h] a layer.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.calibration import Calibration, Loss, calibrate
from weighup.moe.policy import Policy
from weighup.moe.sites import Site, sites
from weighup.moe.tiny import TinyMoELM
from weighup.registry import Method

METHOD = Method(
    name="heapr",
    room="moe",
    paper="HEAPr: Hessian-based Efficient Atomic Expert Pruning in Output Space (Li et al. 2025)",
    arxiv="2509.22299",
    command="weighup moe compress MODEL --method heapr",
    claim_check="weighup.moe.compress.heapr_claim:check",
)

_STEP = 8
"""Widths are multiples of this: grouped matrix kernels want rows of whole 16-byte words."""
# The one number of a config that says how wide the routed experts are. DeepSeek's shared experts are cut by the same
# number, so there it must stay.
_WIDTH = {
    "Mixtral": "intermediate_size",
    "OLMoE": "intermediate_size",
    "Qwen2-MoE": "moe_intermediate_size",
    "Qwen3-MoE": "moe_intermediate_size",
}


@dataclass(frozen=True, eq=False)
class Pruned:
    """`model` the pruned copy; `kept` one bool [N, h] a layer, in the atoms' old order."""

    model: nn.Module
    kept: tuple[Tensor, ...]

    @property
    def removed(self) -> float:
        """The share of atoms that are gone."""
        return 1 - sum(int(one.sum()) for one in self.kept) / sum(one.numel() for one in self.kept)

    @property
    def widths(self) -> list[list[int]]:
        """By layer and expert, how many atoms are left."""
        return [one.sum(1).tolist() for one in self.kept]


def heapr(model: nn.Module, batches: Iterable[Any], *, ratio: float = 0.25, loss: Loss | None = None) -> Pruned:
    """Calibrate on `batches` (as `calibrate` takes them), score, prune a share of `ratio` of all atoms; a copy.

    Raises InvalidInput for a ratio outside [0, 1), too few tokens, or a model whose experts lie otherwise.
    """
    _checked(ratio)
    scores = atom_scores(model, calibrate(model, batches, loss=loss, gradients=True))
    kept = kept_atoms(scores, ratio)
    return Pruned(remove(model, kept), kept)


def atom_scores(model: nn.Module, calibration: Calibration) -> tuple[Tensor, ...]:
    """The score of every atom, one float [N, h] a layer, nats a token, 0 or more (see the top of this file).

    Raises InvalidInput for a calibration without gradients, or of other sizes than the model's.
    """
    found = []
    for site, stats in _paired(model, calibration.layers):
        if stats.gradient_products is None:
            raise InvalidInput("heapr: the calibration holds no gradients; run calibrate(..., gradients=True)")
        w = site.weights()[1].detach().float()
        if stats.activation_squares.shape != (w.shape[0], w.shape[2]):
            raise InvalidInput(
                f"heapr: layer {site.layer} has {w.shape[0]} experts of {w.shape[2]} atoms, the calibration "
                f"{list(stats.activation_squares.shape)}"
            )
        # clamp_min: an unused expert has sums of 0, and 0 / 1 leaves them so.
        fisher = stats.gradient_products / stats.counts.clamp_min(1)[:, None, None]
        curvature = (w * (fisher @ w)).sum(1)
        found.append(0.5 * stats.activation_squares / stats.tokens * curvature)
    return tuple(found)


def magnitude_scores(model: nn.Module) -> tuple[Tensor, ...]:
    """A baseline: the L2 norm of all of an atom's weights, one float [N, h] a layer."""
    found = []
    for site in sites(model):
        first, last = (one.detach().float().square() for one in site.weights())
        gate, up = first.sum(2).chunk(2, dim=1)
        found.append((gate + up + last.sum(1)).sqrt())
    return tuple(found)


def kept_atoms(scores: Sequence[Tensor], ratio: float) -> tuple[Tensor, ...]:
    """What stays when the lowest `ratio` of all atoms goes: one bool [N, h] a layer, one ranking over everything.

    Raises InvalidInput for a ratio outside [0, 1) or scores that are not numbers.
    """
    _checked(ratio)
    flat = torch.cat([one.reshape(-1) for one in scores])
    if torch.isnan(flat).any():
        raise InvalidInput("heapr: some scores are not numbers (NaN); the weights or the calibration are broken")
    stays = torch.ones(len(flat), dtype=torch.bool)
    stays[torch.argsort(flat, stable=True)[: round(ratio * len(flat))]] = False
    parts = stays.split([one.numel() for one in scores])
    return tuple(part.view(one.shape) for part, one in zip(parts, scores, strict=True))


def prune_atoms(model: nn.Module, scores: Sequence[Tensor], ratio: float, *, even: bool = True) -> nn.Module:
    """A copy of the model without the lowest-scored `ratio` of its atoms (`kept_atoms`, `remove`)."""
    return remove(model, kept_atoms(scores, ratio), even=even)


def remove(model: nn.Module, kept: Sequence[Tensor], *, even: bool = True) -> nn.Module:
    """A copy of the model with only these atoms (`kept`: one bool [N, h] a layer).

    Experts end up with different widths, batched weights have one: kept atoms move to the front, removed ones become
    zero, and the weights are cut to the widest expert that is left (a multiple of 8). `even`: the same width in all
    layers, the one that the config then says, so that the checkpoint loads in plain transformers (or ours); False
    (our models only): every layer its own. Where the config has no number of its own for this width (DeepSeek),
    atoms become zero and nothing is cut. Raises InvalidInput for masks of another shape.
    """
    made = copy.deepcopy(model)
    found = _paired(made, kept)
    ours = isinstance(made, TinyMoELM)
    if not even and not ours:
        raise InvalidInput(f"heapr: {type(made).__name__} has one width for all layers; even=False is for our models")
    for site, mask in found:
        shape = (site.n_experts, site.weights()[1].shape[2])
        if tuple(mask.shape) != shape:
            raise InvalidInput(f"heapr: layer {site.layer} needs a mask of {list(shape)}, not {list(mask.shape)}")
    widths = [-(-max(1, int(mask.sum(1).max())) // _STEP) * _STEP for _, mask in found]
    if even:
        widths = [max(widths)] * len(widths)
    name = _width_name(made, [site for site, _ in found])
    with torch.no_grad():
        for (site, mask), width in zip(found, widths, strict=True):
            old = mask.shape[1]
            _repack(site, mask, old if name is None else min(width, old))
    if name is not None and even:
        hidden = int(found[0][0].weights()[1].shape[2])
        if ours:
            made.config = replace(made.config, hidden=hidden)
        else:
            setattr(made.config, name, hidden)
    return made


def kept_experts(importance: Sequence[Tensor], ratio: float, *, least: int = 1) -> Policy:
    """A baseline, whole experts: keep all but the least important `ratio` (rounded down), one ranking over all layers.

    `importance`: float [N] a layer. The policy bars the others from being chosen, so their tokens go to the next
    best; at least `least` (the model's k) stay in a layer. Raises InvalidInput for a ratio outside [0, 1).
    """
    _checked(ratio)
    allowed = {layer: torch.ones(len(one), dtype=torch.bool) for layer, one in enumerate(importance)}
    order = sorted((float(v), layer, e) for layer, one in enumerate(importance) for e, v in enumerate(one))
    left = int(ratio * len(order))
    for _, layer, expert in order:
        if left and int(allowed[layer].sum()) > least:
            allowed[layer][expert] = False
            left -= 1
    return Policy(allowed=allowed)


def _checked(ratio: float) -> None:
    if not 0 <= ratio < 1:
        raise InvalidInput(f"ratio: a share of 0 or more and below 1 is needed, not {ratio}")


def _paired(model: nn.Module, given: Sequence[Any]) -> list[tuple[Site, Any]]:
    found = sites(model)
    if len(found) != len(given):
        raise InvalidInput(f"heapr: the model has {len(found)} layers that route, {len(given)} are given")
    return list(zip(found, given, strict=True))


def _width_name(model: nn.Module, found: Sequence[Site]) -> str | None:
    """The config's name for the width of the routed experts, None where it has none of their own."""
    if isinstance(model, TinyMoELM):
        # A router may cut its experts finer than the config says.
        return "hidden" if all(site.experts.hidden == model.config.hidden for site in found) else None
    return _WIDTH.get(found[0].architecture)


def _repack(site: Site, mask: Tensor, width: int) -> None:
    """Kept atoms first, zeros behind, cut to `width`, in place."""
    first, last = site.weights()
    order = torch.argsort((~mask).int(), dim=1, stable=True)[:, :width]
    stays = mask.gather(1, order)
    rows = order[:, :, None].expand(-1, -1, first.shape[2])
    gate, up = (one.gather(1, rows) * stays[:, :, None] for one in first.chunk(2, dim=1))
    down = last.gather(2, order[:, None, :].expand(-1, last.shape[1], -1)) * stays[:, None, :]
    site.experts.gate_up_proj = nn.Parameter(torch.cat((gate, up), 1), requires_grad=first.requires_grad)
    site.experts.down_proj = nn.Parameter(down.contiguous(), requires_grad=last.requires_grad)
    for name in ("hidden", "intermediate_dim"):  # ours, theirs
        if hasattr(site.experts, name):
            setattr(site.experts, name, width)
