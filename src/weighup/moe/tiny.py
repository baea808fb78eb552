"""TinyMoELM: a byte-level decoder whose every layer takes any router here.

The blocks are Mixtral's (Jiang et al. 2024, arXiv 2401.04088): RMSNorm, rotary attention, RMSNorm, SwiGLU experts; so
a model with the plain router is written as a Hugging Face checkpoint that gives the same logits (`moe.export`).
Tokens are bytes, with PAD, BEGIN and END above them.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.registry import make_layer
from weighup.moe.types import Context, Routing

PAD, BEGIN, END = 256, 257, 258
VOCABULARY = 260
"""Bytes, three marks, and one to make it even."""
_THETA, _EPS = 10_000.0, 1e-6


@dataclass(frozen=True)
class TinyConfig:
    """Sizes, and which router. `options` go to the router (`moe.registry`). About 2.9 million parameters by default."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    n_experts: int = 8
    k: int = 2
    hidden: int = 192
    context: int = 128
    router: str = "topk"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "n_experts", "k", "hidden", "context"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"model: {name} of 1 or more is needed, not {getattr(self, name)}")
        if self.width % (2 * self.heads):
            raise InvalidInput(f"model: a width of {self.width} does not split into {self.heads} heads of even width")

    def dump(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "options": dict(self.options)}


@dataclass(frozen=True, eq=False)
class Output:
    """`logits` [batch, length, vocabulary]; `loss` mean nats a byte where targets were given; `aux_loss` the routers'
    own; `routings` one a layer; `cache` to go on with."""

    logits: Tensor
    loss: Tensor | None
    aux_loss: Tensor
    routings: tuple[Routing, ...]
    cache: Cache | None = None

    @property
    def total(self) -> Tensor:
        """What training minimises."""
        return self.aux_loss if self.loss is None else self.loss + self.aux_loss


class Cache:
    """Keys and values of every layer, of the tokens so far."""

    def __init__(self) -> None:
        self.layers: list[tuple[Tensor, Tensor]] = []

    @property
    def length(self) -> int:
        """How many tokens it holds."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def repeated(self, times: int) -> Cache:
        """The same for `times` continuations of each sequence: row n·times + j goes on from row n."""
        other = Cache()
        other.layers = [(k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.layers]
        return other

    def chosen(self, rows: Tensor) -> Cache:
        """That of these rows, in this order."""
        other = Cache()
        other.layers = [(k.index_select(0, rows), v.index_select(0, rows)) for k, v in self.layers]
        return other

    def extended(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's keys and values with new ones behind."""
        if layer == len(self.layers):
            self.layers.append((k, v))
        else:
            old_k, old_v = self.layers[layer]
            self.layers[layer] = (torch.cat((old_k, k), 2), torch.cat((old_v, v), 2))
        return self.layers[layer]


class RMSNorm(nn.Module):
    """x / rms(x) · weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, _EPS)


class Attention(nn.Module):
    """Causal, rotary, without biases. Keeps its weights (mean over heads) only where a router asks for them."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.heads, self.size = config.heads, config.width // config.heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(config.width, config.width, bias=False) for _ in range(4)
        )

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: Cache | None, layer: int, keep: bool
    ) -> tuple[Tensor, Tensor | None]:
        """x [batch, length, d] -> the same, and attention [batch, length, length] if `keep`."""
        b, n, _ = x.shape
        q, k, v = (
            p(x).view(b, n, self.heads, self.size).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = turned(q, *angles), turned(k, *angles)
        if cache is not None:
            k, v = cache.extended(layer, k, v)
        before = k.shape[2] - n
        weights = None
        if keep or (before and n > 1):
            mask = torch.ones(n, before + n, dtype=torch.bool, device=x.device).tril(before)
            scores = (q @ k.transpose(2, 3) * self.size**-0.5).masked_fill(~mask, float("-inf"))
            weights = torch.softmax(scores, dim=-1)
            y = weights @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=n > 1)
        y = self.o_proj(y.transpose(1, 2).reshape(b, n, -1))
        return y, weights.mean(1)[..., before:] if keep and weights is not None else None


class Block(nn.Module):
    """Attention, then experts, each on what RMSNorm makes of the stream."""

    def __init__(self, config: TinyConfig, layer: int, shared: dict[str, Any]) -> None:
        super().__init__()
        self.input_norm, self.post_norm = RMSNorm(config.width), RMSNorm(config.width)
        self.attention = Attention(config)
        self.moe: MoELayer = make_layer(config, layer, shared)


class TinyMoELM(nn.Module):
    """The model. Output logits are of the next byte. `seconds`: what its training took, where that is known."""

    seconds: float = math.nan

    def __init__(self, config: TinyConfig | None = None) -> None:
        """Raises InvalidInput for sizes or a router that cannot be."""
        super().__init__()
        self.config = config = config or TinyConfig()
        self.embedding = nn.Embedding(VOCABULARY, config.width)
        shared: dict[str, Any] = {}  # what the layers' routers have in common
        self.blocks = nn.ModuleList(Block(config, layer, shared) for layer in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = nn.Linear(config.width, VOCABULARY, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        for block in self.blocks:
            for projection in (block.attention.o_proj,):
                nn.init.normal_(projection.weight, std=(2 * config.layers * config.width) ** -0.5)
        size = config.width // config.heads
        turns = _THETA ** (-torch.arange(0, size, 2).float() / size)
        self.register_buffer("turns", turns, persistent=False)

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        *,
        cache: Cache | None = None,
        progress: float = 1.0,
    ) -> Output:
        """tokens [batch, length] of 0 to 259; targets the same shape, PAD where nothing is to be told.

        With a cache the tokens come after those that it holds. Raises InvalidInput for no or too many tokens.
        """
        if tokens.dim() != 2 or not tokens.numel():
            raise InvalidInput(f"model: tokens of shape [batch, length] are needed, not {list(tokens.shape)}")
        b, n = tokens.shape
        before = cache.length if cache is not None else 0
        if cache is None and n > 8 * self.config.context:
            raise InvalidInput(f"model: {n} tokens are more than eight times its context of {self.config.context}")
        x = self.embedding(tokens)
        angles = _angles(self.turns, before, n)
        memory, routings, aux = None, [], x.new_zeros(())
        for layer, block in enumerate(self.blocks):
            keep = getattr(block.moe.router, "wants_attention", False)
            attended, attention = block.attention(block.input_norm(x), angles, cache, layer, keep)
            x = x + attended
            context = Context(b, n, attention, memory, progress, layer)
            y, routing = block.moe(block.post_norm(x).reshape(b * n, -1), context)
            x = x + y.view(b, n, -1)
            memory = routing.memory
            routings.append(routing)
            aux = aux + routing.aux_loss
        logits = self.head(self.norm(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, VOCABULARY), targets.reshape(-1), ignore_index=PAD)
        return Output(logits, loss, aux, tuple(routings), cache)

    @property
    def experts(self) -> list[Experts]:
        """The experts of each layer."""
        return [block.moe.experts for block in self.blocks]


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, halves paired as in Llama (Su et al. 2021, arXiv 2104.09864)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def _angles(turns: Tensor, before: int, n: int) -> tuple[Tensor, Tensor]:
    angles = torch.outer(torch.arange(before, before + n, device=turns.device).float(), turns)
    return angles.cos(), angles.sin()
