"""Union of Experts: a dense MLP and dense attention cut into experts that together are the same model again.

Yang et al. 2025, "Union of Experts: Adapting Hierarchical Routing to Equivalently Decomposed Transformer" (arXiv
2503.02495). Faithful: experts are made by the matrix partition of tensor parallelism (rows of the first maps, columns
of the last; heads for attention), outputs are added up, so that all experts together equal the dense block; routing
has two levels, patch-wise data selection and then expert selection; attention is selected as well (SMHA) beside the
union of MLP experts (UoME).

Our reading (†), since the routing could be checked by the abstract only: patch-wise data selection gives each patch of
consecutive tokens to the `candidates` experts that score its mean highest; each token then takes the k candidates of
highest summed score (patch and token). An active expert counts in full, as its part of the dense product does; the
router learns through a straight-through weight (1 in the forward pass, N·softmax in the backward pass). In SMHA a
token's query goes to k groups of heads, with the keys and values of all earlier tokens. Ours: the mean of a patch runs
over its tokens so far, so no token's choice uses later ones. When generating with a cache, a patch begins at the first
new token, since the layer does not see the tokens before it. A load-balance loss is added (`balance`).

Shapes: tokens [T, d] (T = batch·length), logits [T, N] with −inf outside a patch's candidates, Experts of width H/n.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.routers.topk import load_balance
from weighup.moe.types import Context, Router, Routing, checked_k
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.tiny import Cache, TinyConfig, TinyMoELM

METHOD = Method(
    name="uoe",
    room="moe",
    paper="Union of Experts: Adapting Hierarchical Routing to Equivalently Decomposed Transformer (Yang et al. 2025)",
    arxiv="2503.02495",
    command="weighup moe train --router uoe",
    claim_check="weighup.moe.routers.uoe_claim:check",
)


def decompose(gate: Tensor, up: Tensor, down: Tensor, n: int) -> Experts:
    """A SwiGLU MLP as n experts whose outputs add up to its own: gate, up [H, d], down [d, H] -> Experts of H/n.

    Raises InvalidInput for shapes that do not fit or an n that does not divide H.
    """
    if gate.dim() != 2 or gate.shape != up.shape or down.shape != gate.shape[::-1]:
        raise InvalidInput(
            f"decompose: gate and up [H, d] and down [d, H] are needed, not {list(gate.shape)}, {list(up.shape)}, "
            f"{list(down.shape)}"
        )
    total, width = gate.shape
    if n < 1 or total % n:
        raise InvalidInput(f"decompose: {total} hidden units do not split into {n} equal experts")
    experts = Experts(n, width, total // n).to(gate.device, gate.dtype)
    with torch.no_grad():
        parts = (one.reshape(n, total // n, width) for one in (gate, up))
        experts.gate_up_proj.copy_(torch.cat(tuple(parts), 1))
        experts.down_proj.copy_(down.reshape(width, n, total // n).transpose(0, 1))
    return experts


class UnionRouter(Router):
    """Patches to candidates, then tokens to k of them. `patch`: tokens a patch; `candidates`: experts that a patch
    keeps, by default half of what k leaves; `balance`: weight of the load-balance loss."""

    def __init__(
        self,
        width: int,
        n_experts: int,
        k: int = 2,
        *,
        patch: int = 8,
        candidates: int | None = None,
        balance: float = 1e-2,
    ) -> None:
        """Raises InvalidInput for k outside 1 to N, candidates outside k to N, or a patch below 1."""
        super().__init__(width, n_experts, k)
        self.candidates = (k + n_experts + 1) // 2 if candidates is None else candidates
        if not k <= self.candidates <= n_experts:
            raise InvalidInput(f"candidates: between k = {k} and the {n_experts} experts is needed, not {candidates}")
        if patch < 1:
            raise InvalidInput(f"patch: 1 token or more is needed, not {patch}")
        self.patch, self.balance = patch, balance
        self.patch_weight = nn.Parameter(torch.empty(n_experts, width).normal_(std=width**-0.5))

    def score(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """Patch plus token scores [T, N], −inf where the patch does not keep the expert."""
        means = patch_means(x, context, self.patch)
        patch = F.linear(means, self.patch_weight)
        kept = torch.zeros_like(patch, dtype=torch.bool).scatter_(1, torch.topk(patch, self.candidates, -1)[1], True)
        # NaN stays visible for `forward` to refuse: it must not be covered by the mask.
        masked = (F.linear(x, self.weight) + patch).masked_fill(~kept & ~torch.isnan(patch), float("-inf"))
        return masked, None

    def choose(self, logits: Tensor, context: Context, *, k: int | None = None) -> Routing:
        """The k largest with weight 1; experts at −inf are masked."""
        probs = torch.softmax(logits.float(), dim=-1)
        values, indices = torch.topk(logits, self.k if k is None else checked_k(k, self.n_experts), dim=-1)
        mask = ~torch.isneginf(values)
        soft = self.n_experts * probs.gather(1, indices).to(logits.dtype)
        # The sum is kept apart from 1 so that the forward weight is exactly 1 in floating point.
        weights = mask.to(logits.dtype) + (soft - soft.detach())
        aux = self.balance * load_balance(probs, indices, mask)
        return Routing(indices, weights, probs, logits, aux, mask)

    def describe(self) -> dict[str, Any]:
        """What decides what it does."""
        return {**super().describe(), "patch": self.patch, "candidates": self.candidates}


def patch_means(x: Tensor, context: Context, patch: int) -> Tensor:
    """x [T, d] -> [T, d]: the mean of each token's patch up to and with itself.

    Raises InvalidInput where T is not batch · length of the context.
    """
    if context.batch * context.length != len(x):
        raise InvalidInput(f"router: {len(x)} tokens are not {context.batch} sequences of {context.length}")
    filled = F.pad(x.view(context.batch, context.length, -1), (0, 0, 0, -context.length % patch))
    patches = filled.view(context.batch, -1, patch, x.shape[1])
    counts = torch.arange(1, patch + 1, device=x.device, dtype=x.dtype)[:, None]
    return (patches.cumsum(2) / counts).flatten(1, 2)[:, : context.length].reshape(x.shape)


class AttentionExperts(nn.Module):
    """Causal attention as n experts of heads/n heads each: `q`, `k`, `v` [n, d/n, d], `o` [n, d, d/n]."""

    def __init__(self, n: int, width: int, heads: int) -> None:
        """Raises InvalidInput where heads do not split into n experts or the width into heads."""
        super().__init__()
        if n < 1 or heads % n or width % heads:
            raise InvalidInput(
                f"attention experts: a width of {width} in {heads} heads does not split into {n} experts"
            )
        self.n, self.width, self.heads = n, width, heads
        self.q, self.k, self.v = (
            nn.Parameter(torch.empty(n, width // n, width).normal_(std=width**-0.5)) for _ in range(3)
        )
        self.o = nn.Parameter(torch.empty(n, width, width // n).normal_(std=width**-0.5))

    def forward(
        self,
        x: Tensor,
        routing: Routing | None = None,
        angles: tuple[Tensor, Tensor] | None = None,
        cache: Cache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """x [batch, length, d] -> the same. `routing` of the batch·length tokens; None: every expert in full.

        `angles` (cos, sin) turn queries and keys; with a cache the tokens come after those that it holds.
        """
        from weighup.moe.tiny import turned

        b, length, d = x.shape
        q, k, v = (
            F.linear(x, one.reshape(d, d)).view(b, length, self.heads, -1).transpose(1, 2)
            for one in (self.q, self.k, self.v)
        )
        if angles is not None:
            q, k = turned(q, *angles), turned(k, *angles)
        if cache is not None:
            k, v = cache.extended(layer, k, v)
        seen = torch.ones(length, k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - length)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        y = y.transpose(1, 2).reshape(b * length, self.n, d // self.n)
        if routing is not None:
            y = y * routing.dense().to(y.dtype)[..., None]
        return torch.einsum("tne,nde->td", y, self.o).view(b, length, d)


def decompose_attention(q: Tensor, k: Tensor, v: Tensor, o: Tensor, heads: int, n: int) -> AttentionExperts:
    """Attention of `heads` heads, all maps [d, d], as n experts whose outputs add up to its own.

    Raises InvalidInput for other shapes or heads that do not split into n.
    """
    width = len(q)
    if any(one.shape != (width, width) for one in (q, k, v, o)):
        raise InvalidInput(
            f"decompose_attention: four maps [d, d] are needed, not {[list(one.shape) for one in (q, k, v, o)]}"
        )
    experts = AttentionExperts(n, width, heads).to(q.device, q.dtype)
    with torch.no_grad():
        for own, given in ((experts.q, q), (experts.k, k), (experts.v, v)):
            own.copy_(given.reshape(own.shape))
        experts.o.copy_(o.reshape(width, n, width // n).transpose(0, 1))
    return experts


class SelectiveAttention(nn.Module):
    """SMHA in place of `TinyMoELM`'s attention: queries are routed to groups of heads. Called like `tiny.Attention`."""

    def __init__(self, experts: AttentionExperts, router: UnionRouter) -> None:
        """Raises InvalidInput where router and experts do not fit."""
        super().__init__()
        if (router.n_experts, router.width) != (experts.n, experts.width):
            raise InvalidInput(f"attention: the router chooses among {router.n_experts}, there are {experts.n} experts")
        self.experts, self.router = experts, router

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: Cache | None, layer: int, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        """x [batch, length, d] -> the same, and None. Raises InvalidInput if the weights are to be kept."""
        if keep:
            raise InvalidInput(
                "attention: selective attention does not keep its weights; take a router that needs none"
            )
        routing = self.router(x.reshape(-1, x.shape[-1]), Context(*x.shape[:2], layer=layer))
        return self.experts(x, routing, angles, cache, layer), None


def layer(config: TinyConfig, layer: int, shared: dict[str, Any], **options: Any) -> MoELayer:
    """For `TinyMoELM`: a dense MLP of n_experts · hidden units, cut. Options: `patch`, `candidates`, `balance`."""
    n, total = config.n_experts, config.n_experts * config.hidden
    gate, up = torch.randn(2, total, config.width) * config.width**-0.5
    experts = decompose(gate, up, torch.randn(config.width, total) * total**-0.5, n)
    return MoELayer(experts, UnionRouter(config.width, n, config.k, **options))


def union_model(config: TinyConfig, attention_k: int, **options: Any) -> TinyMoELM:
    """A `TinyMoELM` of a config whose router is `uoe`, with one attention expert a head, `attention_k` of them active.

    `options` go to the attention's routers. Raises InvalidInput for another router or an attention_k above the heads.
    """
    from weighup.moe.tiny import TinyMoELM

    if config.router != "uoe":
        raise InvalidInput(f"union_model: a config with the router uoe is needed, not {config.router}")
    model = TinyMoELM(config)
    for block in model.blocks:
        old = block.attention
        q, k, v, o = (one.weight for one in (old.q_proj, old.k_proj, old.v_proj, old.o_proj))
        experts = decompose_attention(q, k, v, o, config.heads, config.heads)
        block.attention = SelectiveAttention(experts, UnionRouter(config.width, config.heads, attention_k, **options))
    return model
