"""Two routers to compare with: hash routing and DSelect-k.

Hash routing (Roller et al. 2021, "Hash Layers For Large Sparse Models", arXiv 2106.04426): which experts a token gets
is a fixed hash, nothing is learned. Theirs hashes the token's id (`Hash.by_id`); a plain layer sees vectors without
ids, so there (ours) the signs of a fixed random projection of the vector are its hash, and near vectors share
experts. With k > 1 the hash gives k different experts of equal weight.

DSelect-k (Hazimeh et al. 2021, arXiv 2106.03760, section 3): k selectors, each of log2 N smooth-step bits whose product
picks one of N experts, mixed by a softmax. Faithful: binary codes, smooth step, entropy regularisation, gates that
depend on the example. Ours: outside training bits are rounded, so at most k experts are used. N must be a power of
two (the paper's penalty for codes without an expert is left out).

Shapes: tokens [T, d], gates [T, N].
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.routers.comet import GateRouter, smooth_step
from weighup.moe.types import Context, Router, Routing, checked_k

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

_PRIME = 2_147_483_647


class Hash(Router):
    """k experts by a fixed hash into 2^bits buckets, each bucket with its own k. `seed` draws both."""

    planes: Tensor
    table: Tensor

    def __init__(self, width: int, n_experts: int, k: int = 2, *, bits: int = 8, seed: int = 0) -> None:
        """Raises InvalidInput for k outside 1 to N or bits outside 1 to 16."""
        super().__init__(width, n_experts, k)
        if not 1 <= bits <= 16:
            raise InvalidInput(f"bits: between 1 and 16 are needed, not {bits}")
        del self.weight  # nothing is learned
        chance = torch.Generator().manual_seed(seed)
        self.bits = bits
        self.register_buffer("planes", torch.randn(bits, width, generator=chance))
        # Random scores a bucket: their k largest are k different experts, each equally likely.
        self.register_buffer("table", torch.randn(2**bits, n_experts, generator=chance))
        self.factors = torch.randint(1, _PRIME, (2,), generator=chance).tolist()

    def score(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """The scores [T, N] of each vector's bucket."""
        # NaN has no sign and would silently fall into a bucket: it is handed on for `forward` to refuse.
        broken = torch.isnan(x).any(-1, keepdim=True)
        signs = (nn.functional.linear(x, self.planes.to(x.dtype)) > 0).long()
        buckets = (signs << torch.arange(self.bits, device=x.device)).sum(-1)
        return self.table[buckets].masked_fill(broken, float("nan")), None

    def by_id(self, ids: Tensor) -> Routing:
        """Routing of ids, int64 [T] of 0 to 2^31. Raises InvalidInput for other ids."""
        if ids.dim() != 1 or not len(ids) or ids.is_floating_point() or bool((ids < 0).any() | (ids > _PRIME).any()):
            raise InvalidInput(
                f"ids: whole numbers from 0 to 2^31 of shape [T] are needed, not {ids.dtype} {list(ids.shape)}"
            )
        factor, shift = self.factors
        buckets = ((ids * factor + shift) % _PRIME) % len(self.table)
        return self.choose(self.table[buckets], Context(1, len(ids)))

    def choose(self, logits: Tensor, context: Context, *, k: int | None = None) -> Routing:
        """The k largest scores with equal weights; experts at −inf are masked."""
        values, indices = torch.topk(logits, self.k if k is None else checked_k(k, self.n_experts), dim=-1)
        mask = ~torch.isneginf(values)
        weights = mask.to(logits.dtype) / mask.sum(-1, keepdim=True).clamp_min(1)
        probs = torch.zeros_like(logits).scatter_(1, indices, weights)
        return Routing(indices, weights, probs, logits, logits.new_zeros(()), mask)


class DSelectK(GateRouter):
    """k selectors by binary codes. `gamma`: width of the smooth step; `entropy`: weight of the regularisation."""

    def __init__(self, width: int, n_experts: int, k: int = 2, *, gamma: float = 1.0, entropy: float = 1e-2) -> None:
        """Raises InvalidInput for k outside 1 to N, a number of experts that is no power of two, gamma not above 0."""
        super().__init__(width, n_experts, k, gamma=gamma, entropy=entropy)
        bits = n_experts.bit_length() - 1
        if 2**bits != n_experts:
            raise InvalidInput(f"dselect_k: a power of two of experts is needed, not {n_experts}; `comet` takes any")
        self.codes = nn.Parameter(torch.empty(k, bits, width).normal_(std=width**-0.5 * gamma / 4))
        self.mixing = nn.Parameter(torch.empty(k, width).normal_(std=width**-0.5 / 4))

    def gates(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Gates [T, N], mean entropy of a selector, share of bits that are neither 0 nor 1."""
        on = smooth_step(torch.einsum("td,kbd->tkb", x, self.codes), self.gamma)
        soft = ((on > 0) & (on < 1)).detach().float().mean() if on.numel() else on.new_zeros(())
        if not self.training:
            on = (on >= 0.5).to(on.dtype)
        picked = on.new_ones(*on.shape[:2], 1)
        for bit in on.unbind(-1):
            picked = torch.stack((picked * bit[..., None], picked * (1 - bit[..., None])), -1).flatten(-2)
        mixed = torch.softmax(nn.functional.linear(x, self.mixing), -1)
        entropy = -(picked * picked.clamp_min(1e-12).log()).sum(-1).mean()
        return torch.einsum("tk,tkn->tn", mixed, picked), entropy, soft


def hash_layer(config: TinyConfig, layer: int, shared: dict[str, Any], **options: Any) -> MoELayer:
    """For `TinyMoELM`. Options: `bits`, `seed` (each layer draws its own)."""
    options["seed"] = options.get("seed", 0) + layer
    experts = Experts(config.n_experts, config.width, config.hidden)
    return MoELayer(experts, Hash(config.width, config.n_experts, config.k, **options))


def dselect_k_layer(config: TinyConfig, layer: int, shared: dict[str, Any], **options: Any) -> MoELayer:
    """For `TinyMoELM`. Options: `gamma`, `entropy`."""
    experts = Experts(config.n_experts, config.width, config.hidden)
    return MoELayer(experts, DSelectK(config.width, config.n_experts, config.k, **options))
