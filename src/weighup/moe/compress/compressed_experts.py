"""Compressed Experts: keep a token's most important experts whole, and a small vector in place of each of its others.

Efficiently Editing Mixture-of-Experts Models with Compressed Experts (He et al. 2025, arXiv 2503.00634). Of a token's
k active experts those with the greatest routing weights stay ("main"); each of the others ("auxiliary") is replaced
by a compressed expert, a learned vector of its own that acts on the main experts' hidden activations; the vectors are
then fine-tuned briefly. With half of the experts main, about a third of the active parameters goes.

The form of that action is our reading: the paper's formula and code could not be checked. A compressed expert is a
vector c_e in R^h, and a token with main experts M and auxiliary experts A gets

    y = Σ_{m in M} w_m · down_m( act_m(x) * s ),   s = 1 + Σ_{e in A} w_e c_e / Σ_{m in M} w_m

with * the elementwise product. Vectors begin at 1: s is then the factor that gives the main experts the whole token's
routing weight, so the start is plain routing to fewer experts, renormalised, and every step of training is gain.
Ours too: only the vectors are trained (the paper fine-tunes the model with them).

Shapes: T tokens, N experts, h hidden units; vectors are [N, h] a layer.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.moe.calibration import activation_of
from weighup.moe.cost import cost
from weighup.moe.experts import activated
from weighup.moe.sites import Site, sites
from weighup.moe.types import Routing
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.corpus import Corpus
    from weighup.moe.lab import Log, Training
    from weighup.moe.tiny import TinyMoELM

METHOD = Method(
    name="compressed_experts",
    room="moe",
    paper="Efficiently Editing Mixture-of-Experts Models with Compressed Experts (He et al. 2025)",
    arxiv="2503.00634",
    command="weighup moe compress MODEL --method compressed_experts",
    claim_check="weighup.moe.compress.compressed_experts_claim:check",
)


class CompressedExperts(nn.Module):
    """Stands where a layer's experts stood, ours or Hugging Face's. `whole`: those experts; `keep`: how many of a
    token's experts are main; `vectors` [N, h]: the compressed ones."""

    def __init__(self, site: Site, keep: int) -> None:
        """Raises InvalidInput unless 1 <= keep < k, or where experts lie otherwise."""
        super().__init__()
        if not 1 <= keep < site.k:
            raise InvalidInput(
                f"keep: layer {site.layer} uses {site.k} experts a token; 1 to {site.k - 1} may stay, not {keep}"
            )
        n, _, hidden = site.weights()[1].shape
        self.whole, self.keep, self.activation = site.experts, keep, activation_of(site)
        self.n, self.width, self.hidden = n, site.width, hidden
        self.vectors = nn.Parameter(torch.ones(n, hidden))

    @property
    def gate_up_proj(self) -> nn.Parameter:
        """Of the whole experts, [N, 2h, d]."""
        return self.whole.gate_up_proj

    @property
    def down_proj(self) -> nn.Parameter:
        """Of the whole experts, [N, d, h]."""
        return self.whole.down_proj

    def forward(self, x: Tensor, chosen: Routing | Tensor, *rest: Any) -> Tensor:
        """x [T, d], and a Routing or (indices, weights) [T, k] -> [T, d]."""
        if isinstance(chosen, Routing):
            indices, weights, mask = chosen.indices, chosen.weights, chosen.mask
        else:
            indices, weights, mask = chosen, rest[0], None
        if mask is not None:
            weights = weights * mask
        # Routers need not give their choice in order. Unused slots have weight 0: last, and of no effect.
        order = weights.argsort(dim=1, descending=True, stable=True)
        indices, weights = indices.gather(1, order), weights.gather(1, order)
        main, others = weights[:, : self.keep], weights[:, self.keep :]
        share = (others / main.sum(1, keepdim=True).clamp_min(1e-9)).to(self.vectors.dtype)
        scale = 1 + (share[:, :, None] * self.vectors[indices[:, self.keep :]]).sum(1)
        first, last = self.gate_up_proj, self.down_proj
        y = torch.zeros_like(x)
        chosen_main = indices[:, : self.keep]
        for expert in chosen_main.unique().tolist():
            token, slot = torch.nonzero(chosen_main == expert, as_tuple=True)
            inner = activated(F.linear(x[token], first[expert]), self.activation) * scale[token].to(x.dtype)
            out = F.linear(inner, last[expert]) * main[token, slot, None].to(x.dtype)
            y = y.index_add(0, token, out)
        return y


def compress(model: nn.Module, *, keep: int | None = None) -> nn.Module:
    """A copy of the model whose layers keep `keep` of a token's experts whole (half of k, rounded down, if None).

    Its checkpoint has the vectors beside the experts' weights; plain transformers does not know them. Raises
    InvalidInput for a keep that is not below k, experts that lie otherwise, or a model compressed before.
    """
    made = copy.deepcopy(model)
    for site in sites(made):
        if isinstance(site.experts, CompressedExperts):
            raise InvalidInput("compressed_experts: the model is compressed already")
        site.block.experts = CompressedExperts(site, site.k // 2 if keep is None else keep)
    return made


def compressed(model: nn.Module) -> list[CompressedExperts]:
    """A compressed model's layers. Raises InvalidInput where there are none."""
    found = [module for module in model.modules() if isinstance(module, CompressedExperts)]
    if not found:
        raise InvalidInput(f"compressed_experts: {type(model).__name__} is not compressed; use compress(model)")
    return found


def active_parameters(model: nn.Module) -> float:
    """Parameters of a compressed model that a token uses (`CostModel.active`): its main experts, the vectors of its
    others, and everything that is not an expert."""
    layers = compressed(model)
    total = cost(model).active
    for layer, site in zip(layers, sites(model), strict=True):
        each = sum(p.numel() for p in layer.whole.parameters()) / layer.n
        # `cost` takes k experts, each with its vector; main experts do without their own.
        total -= (site.k - layer.keep) * each + layer.keep * layer.hidden
    return total


def fine_tune(model: TinyMoELM, corpus: Corpus, training: Training, **more: Any) -> Log:
    """Train the vectors alone, in place, on the corpus's "train" split (`lab.train`); the rest stays bit for bit."""
    from weighup.moe import lab

    vectors = [layer.vectors for layer in compressed(model)]
    own = {id(one) for one in vectors}
    flags = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for p, _ in flags:
            p.requires_grad_(id(p) in own)
        return lab.train(model, corpus, training, parameters=vectors, **more)
    finally:
        for p, flag in flags:
            p.requires_grad_(flag)
