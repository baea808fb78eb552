"""MC-SMoE: merge experts by hints of the routing, then compress what was merged.

Merge, Then Compress: Demystify Efficient SMoE with Hints from Its Routing Policy (Li et al. 2023, arXiv 2310.01334).
In order: experts are permuted to lie along one another (weight matching, `merge.match`); those chosen most often, one
ranking over all layers, are dominant, with one or more in every layer; every other expert joins the dominant one of
its layer whose router logits are most like its own; a group becomes the average of its members, weighted by how often
each is chosen; then each matrix of a merged expert becomes low-rank plus structured-sparse, W ≈ U V + S, S nonzero in
some columns only.

Faithful: these steps. Ours: similarity of router logits is their cosine over the calibration tokens; the columns of S
are those of the residual's greatest norm (the paper learns which from gradients while it fine-tunes by distillation;
here nothing is trained unless you do, see `merge.tie`).

How a merged model routes. The router keeps all N rows and chooses k of N experts as before; a choice of expert e is
sent to its group's weights. Where both choices of a token fall in one group, that expert's weights sum. So the experts
of a layer may be any number, different from layer to layer, merging equal experts changes nothing at all, and it works
for every architecture (a router with summed probabilities would choose k different groups instead, which is another
model even if all experts of a group are equal). `Merged.model` holds the group's weights at every member's place, so
it runs and is saved as it is; `Merged.policy` reads one copy of each, and `Merged.stored` counts one.

Shapes: `to` int [N] a layer; h hidden units of width d an expert.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.calibration import Calibration, LayerStats
from weighup.moe.compress.merge import Merged, merge
from weighup.moe.sites import sites
from weighup.registry import Method

METHOD = Method(
    name="mc_smoe",
    room="moe",
    paper="Merge, Then Compress: Demystify Efficient SMoE with Hints from Its Routing Policy (Li et al. 2023)",
    arxiv="2310.01334",
    command="weighup moe merge MODEL --method mc_smoe",
    claim_check="weighup.moe.compress.mc_smoe_claim:check",
)


def mc_smoe(
    model: nn.Module, calibration: Calibration, *, experts: int, rank: int | None = None, columns: int = 0
) -> Merged:
    """Merge to `experts` in all (over all layers, one or more a layer); with `rank`, also decompose every expert that
    is left into that rank and `columns` sparse columns. Works on a copy.

    Raises InvalidInput for a number of experts that cannot be, or a calibration of another model.
    """
    found = sites(model)
    if len(found) != len(calibration.layers):
        raise InvalidInput(f"mc_smoe: {len(found)} layers route, the calibration has {len(calibration.layers)}")
    for site, stats in zip(found, calibration.layers, strict=True):
        if len(stats.counts) != site.n_experts:
            raise InvalidInput(
                f"mc_smoe: layer {site.layer} has {site.n_experts} experts, the calibration {len(stats.counts)}"
            )
    frequency = [stats.frequency for stats in calibration.layers]
    dominant = dominant_experts(frequency, experts)
    to = [grouped(logit_similarity(stats), one) for stats, one in zip(calibration.layers, dominant, strict=True)]
    merged = merge(model, to, frequency)
    return merged if rank is None else decomposed(merged, rank, columns)


def dominant_experts(frequency: Sequence[Tensor], experts: int) -> list[Tensor]:
    """The most often chosen, one ranking over all layers after each layer's first: one sorted int tensor a layer.

    `frequency`: float [N] a layer. Raises InvalidInput unless L <= experts <= the number there is.
    """
    every = sum(len(one) for one in frequency)
    if not len(frequency) <= experts <= every:
        raise InvalidInput(f"experts: {len(frequency)} (one a layer) to {every} may be left, not {experts}")
    first = {(layer, int(one.argmax())) for layer, one in enumerate(frequency)}
    order = sorted(
        ((layer, e) for layer, one in enumerate(frequency) for e in range(len(one))),
        key=lambda at: (at not in first, -float(frequency[at[0]][at[1]])),
    )
    chosen = sorted(order[:experts])
    return [torch.tensor([e for at, e in chosen if at == layer]) for layer in range(len(frequency))]


def logit_similarity(stats: LayerStats) -> Tensor:
    """[N, N] cosine of the experts' router logits over the calibration tokens."""
    norms = stats.logit_products.diagonal().clamp_min(1e-12).sqrt()
    return stats.logit_products / torch.outer(norms, norms)


def grouped(similarity: Tensor, dominant: Tensor) -> Tensor:
    """[N] the dominant expert that each expert of a layer joins: the most similar, itself for a dominant one.

    similarity [N, N], dominant: int, those of this layer. Raises InvalidInput for NaN.
    """
    if torch.isnan(similarity).any():
        raise InvalidInput("mc_smoe: some similarities are not numbers (NaN)")
    to = dominant[similarity[:, dominant].argmax(1)]
    to[dominant] = dominant
    return to


@dataclass(frozen=True, eq=False)
class LowRankSparse:
    """A matrix [a, b] as `left` [a, r] times `right` [r, b], plus `values` [a, c] in `columns` [c]."""

    left: Tensor
    right: Tensor
    columns: Tensor
    values: Tensor

    def dense(self) -> Tensor:
        """[a, b]."""
        made = self.left @ self.right
        made[:, self.columns] += self.values
        return made

    @property
    def stored(self) -> int:
        """Numbers that it needs, the columns' places among them."""
        return self.left.numel() + self.right.numel() + self.columns.numel() + self.values.numel()


def low_rank_sparse(matrix: Tensor, rank: int, columns: int = 0) -> LowRankSparse:
    """The best `rank` (truncated SVD), and the `columns` of the residual that have the greatest norm.

    matrix [a, b]. Raises InvalidInput unless 1 <= rank <= min(a, b) and 0 <= columns <= b.
    """
    a, b = matrix.shape
    if not 1 <= rank <= min(a, b):
        raise InvalidInput(f"rank: 1 to {min(a, b)} for a matrix of {a} x {b}, not {rank}")
    if not 0 <= columns <= b:
        raise InvalidInput(f"columns: 0 to {b} for a matrix of {a} x {b}, not {columns}")
    u, s, vh = torch.linalg.svd(matrix.float(), full_matrices=False)
    left, right = u[:, :rank] * s[:rank], vh[:rank]
    rest = matrix.float() - left @ right
    chosen = torch.topk(rest.norm(dim=0), columns).indices.sort().values
    return LowRankSparse(left, right, chosen, rest[:, chosen])


def decomposed(merged: Merged, rank: int, columns: int = 0) -> Merged:
    """Gate, up and down matrix of every expert that is left, as `low_rank_sparse` makes them; a copy."""
    model = copy.deepcopy(merged.model)
    stored = 0
    with torch.no_grad():
        for site, to in zip(sites(model), merged.to, strict=True):
            first, last = site.weights()
            for expert in to.unique().tolist():
                parts = [low_rank_sparse(one, rank, columns) for one in (*first[expert].chunk(2), last[expert])]
                gate, up, down = (part.dense().to(first.dtype) for part in parts)
                first[to == expert], last[to == expert] = torch.cat((gate, up)), down
                stored += sum(part.stored for part in parts)
    return replace(merged, model=model, stored=stored)


def stable_rank(matrix: Tensor) -> float:
    """‖W‖²_F / ‖W‖²₂, from 1 to the rank. Raises InvalidInput for a matrix of zeros."""
    values = torch.linalg.svdvals(matrix.float())
    if not float(values[0]) > 0:
        raise InvalidInput("stable rank: a matrix that is not all zeros is needed")
    return float((values / values[0]).square().sum())
