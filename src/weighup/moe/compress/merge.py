"""Merging experts: what MC-SMoE and its baselines have in common.

An expert of h hidden units is a set of h units in any order: each is one row of 3d numbers, its gate row, up row and
down column ("units" [h, 3d]), so that permuting the expert is permuting rows. `to` [N] says, of every expert of a
layer, which expert's place its group's weights are kept at.

Weight matching: Ainsworth et al. 2022 (Git Re-Basin, arXiv 2209.04836, section 3.2); ZipIt: Stoica et al. 2023 (arXiv
2305.03053). Ours: for both the form that fits two-layer gated experts, "-style" and no more; ZipIt's matching is
average-linkage clustering of the units' activation correlations, in place of greedy pairs.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import activated
from weighup.moe.policy import Policy
from weighup.moe.sites import sites

Merge = Callable[[Tensor, Tensor, int, int], Tensor]
"""(units [m, h, 3d] of a group, weights [m] that sum to 1, which of them is dominant, layer) -> units [h, 3d]."""


@dataclass(frozen=True, eq=False)
class Merged:
    """`model`: a copy in which every expert of a group holds the group's weights, so that it needs no policy and is
    saved like any other; `to`: one int [N] a layer, where each group's weights are kept; `stored`: numbers that all
    experts need when each group is kept once; `before`: the same without merging."""

    model: nn.Module
    to: tuple[Tensor, ...]
    stored: int
    before: int

    @property
    def experts(self) -> list[int]:
        """How many different experts each layer has."""
        return [len(one.unique()) for one in self.to]

    @property
    def policy(self) -> Policy:
        """Sends every choice to the one copy that a group needs: the same outputs, and only those weights are read."""
        return Policy(to=dict(enumerate(self.to)))


def units_of(first: Tensor, last: Tensor) -> Tensor:
    """Weights [N, 2h, d] and [N, d, h] -> units [N, h, 3d]."""
    return torch.cat((*first.chunk(2, dim=1), last.transpose(1, 2)), dim=2)


def weights_of(units: Tensor) -> tuple[Tensor, Tensor]:
    """Units [..., h, 3d] -> weights [..., 2h, d] and [..., d, h]."""
    gate, up, down = units.chunk(3, dim=-1)
    return torch.cat((gate, up), dim=-2), down.transpose(-1, -2)


def match(reference: Tensor, other: Tensor) -> Tensor:
    """[h] the order in which `other`'s units [h, 3d] lie most along the reference's: other[order] is aligned.

    The permutation of greatest sum of inner products, exact (linear assignment). Raises InvalidInput for other shapes
    or weights that are not numbers.
    """
    from scipy.optimize import linear_sum_assignment

    if reference.shape != other.shape or reference.dim() != 2:
        raise InvalidInput(
            f"match: units of one shape [h, 3d] are needed, not {list(reference.shape)} and {list(other.shape)}"
        )
    alike = (reference.double() @ other.double().T).detach()
    if torch.isnan(alike).any():
        raise InvalidInput("match: some weights are not numbers (NaN)")
    return torch.from_numpy(linear_sum_assignment(alike.numpy(), maximize=True)[1])


def aligned(units: Tensor, dominant: int) -> Tensor:
    """Units [m, h, 3d], all but the dominant's permuted to lie along its."""
    return torch.stack([one if n == dominant else one[match(units[dominant], one)] for n, one in enumerate(units)])


def weighted(units: Tensor, weights: Tensor, dominant: int, layer: int) -> Tensor:
    """MC-SMoE's: aligned, then averaged by `weights`."""
    return (aligned(units, dominant) * weights[:, None, None]).sum(0)


def average(units: Tensor, weights: Tensor, dominant: int, layer: int) -> Tensor:
    """A baseline: the plain mean of weights as they lie."""
    return units.mean(0)


def git_rebasin(units: Tensor, weights: Tensor, dominant: int, layer: int) -> Tensor:
    """A baseline: aligned by weight matching, then the plain mean."""
    return aligned(units, dominant).mean(0)


def zipit(inputs: Sequence[Tensor]) -> Merge:
    """A baseline: merge the units whose activations go together, of one expert or of several.

    `inputs`: a sample of each layer's inputs [M, d] (`LayerStats.inputs`). All m·h units of a group are clustered to h;
    a cluster's gate and up rows are its units' mean, its down column their sum over m: the merged expert gives the
    mean of the group's outputs. Raises InvalidInput for fewer than two inputs.
    """

    def merged(units: Tensor, weights: Tensor, dominant: int, layer: int) -> Tensor:
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

        m, h, _ = units.shape
        x = inputs[layer].to(units.dtype)
        if len(x) < 2:
            raise InvalidInput(f"zipit: layer {layer} needs two inputs or more to correlate units, not {len(x)}")
        every = units.reshape(m * h, -1)
        gate, up, _ = every.chunk(3, dim=-1)
        acts = activated(x @ torch.cat((gate, up)).T, "swiglu")
        acts = acts - acts.mean(0)
        acts = (acts / acts.norm(dim=0).clamp_min(1e-12)).double()
        apart = (1 - acts.T @ acts).clamp_min(0)
        tree = linkage(squareform(apart.numpy(), checks=False), "average")
        cluster = torch.from_numpy(fcluster(tree, h, "maxclust")).long() - 1
        sums = torch.zeros(h, every.shape[1], dtype=units.dtype).index_add_(0, cluster, every)
        sizes = torch.bincount(cluster, minlength=h).clamp_min(1)[:, None]
        d = x.shape[1]
        return torch.cat((sums[:, : 2 * d] / sizes, sums[:, 2 * d :] / m), dim=1)

    return merged


def merge(model: nn.Module, to: Sequence[Tensor], weights: Sequence[Tensor], how: Merge = weighted) -> Merged:
    """A copy of the model with the groups of every layer merged.

    `to`: one int [N] a layer, the dominant expert of each expert's group (its own number for a dominant); `weights`:
    one float [N] a layer, what each expert counts (normalised in its group). Groups of one are left as they are.
    Raises InvalidInput for other sizes, a dominant that is not its own, or a group whose weights sum to 0.
    """
    made = copy.deepcopy(model)
    found = sites(made)
    if not len(found) == len(to) == len(weights):
        raise InvalidInput(
            f"merge: {len(found)} layers route, groups are given for {len(to)}, weights for {len(weights)}"
        )
    stored = before = 0
    for site, own, counts in zip(found, to, weights, strict=True):
        first, last = site.weights()
        n = site.n_experts
        if own.shape != (n,) or counts.shape != (n,) or not 0 <= int(own.min()) <= int(own.max()) < n:
            raise InvalidInput(f"merge: layer {site.layer} has {n} experts; groups {own.tolist()} do not fit")
        if not torch.equal(own[own], own):
            raise InvalidInput(
                f"merge: layer {site.layer}: groups {own.tolist()} name experts that are in other groups"
            )
        units = units_of(first.detach(), last.detach()).float()
        for dominant in own.unique().tolist():
            members = (own == dominant).nonzero().squeeze(1)
            if len(members) == 1:
                continue
            total = float(counts[members].sum())
            if not total > 0:
                raise InvalidInput(
                    f"merge: layer {site.layer}: experts {members.tolist()} were never chosen; calibrate on more tokens"
                )
            place = members.tolist().index(dominant)
            one = how(units[members], counts[members].float() / total, place, site.layer)
            _write(first, last, members, one)
        size = (first.numel() + last.numel()) // n
        stored, before = stored + size * len(own.unique()), before + size * n
    return Merged(made, tuple(to), stored, before)


def tie(model: nn.Module, to: Sequence[Tensor]) -> None:
    """Give every member of a group the weights at its group's place, in place: after training under `Merged.policy`."""
    with torch.no_grad():
        for site, own in zip(sites(model), to, strict=True):
            for weights in site.weights():
                weights.copy_(weights[own])


def _write(first: Tensor, last: Tensor, members: Tensor, units: Tensor) -> None:
    with torch.no_grad():
        a, b = weights_of(units)
        first[members], last[members] = a.to(first.dtype), b.to(last.dtype)
