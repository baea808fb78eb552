"""N feed-forward experts as batched weights, and how tokens get to them and back.

Two strategies give the same output (to 1e-5): `dense` runs every expert on every token as one batched product and
keeps what was chosen, for few tokens; `sorted` puts the tokens in the order of their experts and runs each expert once
on its own rows, with gradients written straight into the batched weights. Weights are laid out as in `transformers`:
`gate_up_proj` [N, 2h, d] (gate first) and `down_proj` [N, d, h]. SwiGLU: Shazeer 2020 (arXiv 2002.05202).
"""

# mypy: disable-error-code="misc,no-any-return,no-untyped-call"

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.moe.types import Routing

Activation = Literal["swiglu", "gelu"]
Strategy = Literal["auto", "dense", "sorted"]
_DENSE_PRODUCTS, _DENSE_WEIGHTS = 20_000_000, 1_000_000
"""Multiplications, and weights that are read, up to which running everything is cheaper than sorting (measured)."""


class Experts(nn.Module):
    """N experts d -> h -> d. `gate_up_proj` is [N, 2h, d] for SwiGLU, gate and up, and [N, h, d] for GELU."""

    def __init__(self, n: int, width: int, hidden: int, activation: Activation = "swiglu") -> None:
        """Raises InvalidInput for a size below 1 or an activation that is not there."""
        super().__init__()
        if min(n, width, hidden) < 1:
            raise InvalidInput(f"experts: sizes of 1 or more are needed, not n={n}, width={width}, hidden={hidden}")
        if activation not in ("swiglu", "gelu"):
            raise InvalidInput(f"experts: swiglu or gelu, not {activation!r}")
        self.n, self.width, self.hidden, self.activation = n, width, hidden, activation
        rows = 2 * hidden if activation == "swiglu" else hidden
        self.gate_up_proj = nn.Parameter(torch.empty(n, rows, width))
        self.down_proj = nn.Parameter(torch.empty(n, width, hidden))
        nn.init.normal_(self.gate_up_proj, std=width**-0.5)
        nn.init.normal_(self.down_proj, std=hidden**-0.5)

    def forward(self, x: Tensor, routing: Routing, strategy: Strategy = "auto") -> Tensor:
        """x [T, d] -> [T, d], the weighted sum of the chosen experts' outputs."""
        if strategy == "auto":
            weights = 3 * self.n * self.width * self.hidden
            small = weights <= _DENSE_WEIGHTS and len(x) * weights <= _DENSE_PRODUCTS
            strategy = "dense" if small else "sorted"
        if strategy == "dense":
            z = F.linear(x, self.gate_up_proj.reshape(-1, self.width)).view(len(x), self.n, -1)
            inner = activated(z, self.activation) * routing.dense().to(x.dtype)[:, :, None]
            return torch.bmm(inner.transpose(0, 1), self.down_proj.transpose(1, 2)).sum(0)
        return grouped(x, routing, self.gate_up_proj, self.down_proj, self.activation)

    def all(self, x: Tensor) -> Tensor:
        """[N, T, d]: every expert's output on every token."""
        return torch.bmm(self.inner_all(x), self.down_proj.transpose(1, 2))

    def inner_all(self, x: Tensor) -> Tensor:
        """[N, T, h]: every expert's hidden activations on every token."""
        return activated(torch.matmul(x, self.gate_up_proj.transpose(1, 2)), self.activation)

    def one(self, expert: int, x: Tensor) -> Tensor:
        """[T, d]: one expert's output."""
        return F.linear(self.inner(expert, x), self.down_proj[expert])

    def inner(self, expert: int, x: Tensor) -> Tensor:
        """[T, h]: one expert's hidden activations."""
        return activated(F.linear(x, self.gate_up_proj[expert]), self.activation)

    def describe(self) -> dict[str, Any]:
        """Sizes, for cards."""
        return {"n": self.n, "width": self.width, "hidden": self.hidden, "activation": self.activation}


def activated(z: Tensor, activation: Activation) -> Tensor:
    """silu(gate) · up of the two halves of the last axis, or gelu."""
    if activation == "gelu":
        return F.gelu(z)
    gate, up = z.chunk(2, dim=-1)
    return F.silu(gate) * up


def grouped(x: Tensor, routing: Routing, first: Tensor, last: Tensor, activation: Activation = "swiglu") -> Tensor:
    """The `sorted` strategy: x [T, d], first [N, 2h or h, d], last [N, d, h] -> [T, d].

    Slots that the mask switches off cost nothing.
    """
    k = routing.indices.shape[1]
    experts = routing.indices.reshape(-1)
    weights = routing.weights.reshape(-1)
    if routing.mask is None:
        order = torch.argsort(experts, stable=True)
    else:
        used = routing.mask.reshape(-1).nonzero().squeeze(-1)
        order = used[torch.argsort(experts[used], stable=True)]
    ends = torch.bincount(experts[order], minlength=len(first)).cumsum(0).tolist()
    return _Grouped.apply(x, weights, order, k, ends, first, last, activation)


class _Grouped(torch.autograd.Function):
    """An expert at a time, so that its rows stay in the processor's cache from gathering to adding up; the backward
    pass writes each expert's gradient in its place.

    Autograd on slices of batched weights would make a gradient of the full size for every expert.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weights: Tensor,
        order: Tensor,
        k: int,
        ends: list[int],
        first: Tensor,
        last: Tensor,
        activation: Activation,
    ) -> Tensor:
        tokens = torch.div(order, k, rounding_mode="floor")
        scale = weights.index_select(0, order).to(x.dtype)
        needed = any(ctx.needs_input_grad)
        count, wide, h = len(order), first.shape[1], last.shape[2]
        most = _longest(ends)
        z = x.new_empty(count if needed else most, wide)
        inner = x.new_empty(count if needed else most, h)
        y = torch.zeros_like(x)
        out = x.new_empty(most, x.shape[1])
        at = 0
        for expert, end in enumerate(ends):
            if end == at:
                continue
            own = slice(at, end) if needed else slice(0, end - at)
            here = tokens[at:end]
            torch.mm(x.index_select(0, here), first[expert].T, out=z[own])
            _activate(z[own], inner[own], activation)
            got = torch.mm(inner[own], last[expert].T, out=out[: end - at])
            y.index_add_(0, here, got.mul_(scale[at:end, None]))
            at = end
        if needed:
            ctx.save_for_backward(x, z, inner, scale, tokens, order, first, last)
            ctx.told = (ends, activation, weights.dtype, weights.shape)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        x, z, inner, scale, tokens, order, first, last = ctx.saved_tensors
        ends, activation, dtype, shape = ctx.told
        need_x, need_weights, _, _, _, need_first, need_last, _ = ctx.needs_input_grad
        dy = grads[0].contiguous()
        dx = torch.zeros_like(x) if need_x else None
        dscale = torch.empty_like(scale) if need_weights else None
        dfirst = torch.empty_like(first) if need_first else None
        dlast = torch.empty_like(last) if need_last else None
        most = _longest(ends)
        dinner_all, dz_all = inner.new_empty(most, inner.shape[1]), z.new_empty(most, z.shape[1])
        at = 0
        for expert, end in enumerate(ends):
            if end == at:
                for empty in (dfirst, dlast):
                    if empty is not None:
                        empty[expert].zero_()
                continue
            here, some = tokens[at:end], slice(at, end)
            own = dy.index_select(0, here)
            dinner = dinner_all[: end - at]
            if dscale is not None:
                # Of the unweighted output: <dy, E(x)> = <dy W, inner>.
                torch.mm(own, last[expert], out=dinner)
                torch.sum(
                    torch.mul(dinner, inner[some], out=dz_all[: end - at, : inner.shape[1]]), -1, out=dscale[some]
                )
                dinner.mul_(scale[some, None])
                own.mul_(scale[some, None])
            else:
                torch.mm(own.mul_(scale[some, None]), last[expert], out=dinner)
            if dlast is not None:
                torch.mm(own.T, inner[some], out=dlast[expert])
            if dx is not None or dfirst is not None:
                dz = _inner_backward(z[some], dinner, activation, dz_all[: end - at])
                if dfirst is not None:
                    torch.mm(dz.T, x.index_select(0, here), out=dfirst[expert])
                if dx is not None:
                    dx.index_add_(0, here, torch.mm(dz, first[expert], out=own))
            at = end
        dweights = None
        if dscale is not None:
            dweights = torch.zeros(shape, dtype=dtype, device=dy.device).index_copy_(0, order, dscale.to(dtype))
        return dx, dweights, None, None, None, dfirst, dlast, None


def _longest(ends: list[int]) -> int:
    return max((end - at for at, end in zip([0, *ends], ends, strict=False)), default=0)


def _activate(z: Tensor, out: Tensor, activation: Activation) -> None:
    if activation == "gelu":
        torch.ops.aten.gelu.out(z, out=out)
        return
    gate, up = z.chunk(2, dim=-1)
    torch.ops.aten.silu.out(gate, out=out)
    out.mul_(up)


def _inner_backward(z: Tensor, grad: Tensor, activation: Activation, out: Tensor) -> Tensor:
    """The gradient by z, written to `out`; `grad` is used up."""
    if activation == "gelu":
        return torch.ops.aten.gelu_backward.grad_input(grad, z, grad_input=out)
    gate, up = z.chunk(2, dim=-1)
    dgate, dup = out.chunk(2, dim=-1)
    torch.ops.aten.silu.out(gate, out=dup)
    dup.mul_(grad)
    torch.ops.aten.silu_backward.grad_input(grad.mul_(up), gate, grad_input=dgate)
    return out
