"""Generating from our models and Hugging Face's alike: prefill once, then one token at a time with the cache."""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.models.torch_backend import cache_name
from weighup.moe.tiny import END, Cache, TinyMoELM


def bytes_of(text: str) -> Tensor:
    """[1, length] the bytes of a text. Raises InvalidInput for an empty one."""
    told = text.encode("utf-8", "replace")
    if not told:
        raise InvalidInput("text: is empty")
    return torch.tensor([list(told)])


def text_of(tokens: Tensor | Sequence[int]) -> str:
    """The text of bytes; marks are left out."""
    return bytes(int(one) for one in tokens if int(one) < 256).decode("utf-8", "replace")


@dataclass(frozen=True, eq=False)
class State:
    """`logits` [batch, vocabulary] of the next token, and the cache of the tokens so far."""

    logits: Tensor
    cache: Any
    length: int


@torch.no_grad()
def prefill(model: nn.Module, tokens: Tensor, *, repeat: int = 1) -> State:
    """Read tokens [batch, length]; `repeat` continuations of each share the reading."""
    if isinstance(model, TinyMoELM):
        out = model(tokens, cache=Cache())
        cache = out.cache if repeat == 1 else out.cache.repeated(repeat)
        logits = out.logits[:, -1]
    else:
        from transformers import DynamicCache

        cache = DynamicCache(config=model.config)
        logits = _read_on(model, tokens, cache)
        if repeat > 1:
            cache.batch_repeat_interleave(repeat)
    return State(logits.repeat_interleave(repeat, 0), cache, tokens.shape[1])


@torch.no_grad()
def step(model: nn.Module, state: State, tokens: Tensor) -> State:
    """Go on with tokens [batch], one a sequence."""
    if isinstance(model, TinyMoELM):
        out = model(tokens[:, None], cache=state.cache)
        return State(out.logits[:, -1], out.cache, state.length + 1)
    return State(_read_on(model, tokens[:, None], state.cache), state.cache, state.length + 1)


def _read_on(model: nn.Module, tokens: Tensor, cache: Any) -> Tensor:
    """[batch, vocabulary] of a transformers model that reads tokens [batch, length] on from a cache, which grows."""
    return model(input_ids=tokens, use_cache=True, **{cache_name(model): cache}).logits[:, -1]


Pick = Callable[[Tensor], Tensor]
"""Logits [batch, vocabulary] -> tokens [batch]."""


def greedy(logits: Tensor) -> Tensor:
    """The most likely."""
    return logits.argmax(-1)


def sampler(seed: int, temperature: float = 1.0) -> Pick:
    """Draws from the softmax at a temperature. Raises InvalidInput unless it is positive."""
    if not temperature > 0:
        raise InvalidInput(f"temperature: more than 0 is needed, not {temperature}")
    chance = torch.Generator().manual_seed(seed)

    def pick(logits: Tensor) -> Tensor:
        return torch.multinomial(torch.softmax(logits.float() / temperature, -1), 1, generator=chance)[:, 0]

    return pick


def generate(
    model: nn.Module, tokens: Tensor, length: int, *, pick: Pick = greedy, state: State | None = None, end: int = END
) -> Tensor:
    """[batch, up to length] what comes after tokens [batch, n]; stops when all have ended."""
    if length < 1:
        raise InvalidInput(f"length: 1 or more tokens, not {length}")
    state = state or prefill(model, tokens)
    out: list[Tensor] = []
    ended = torch.zeros(len(state.logits), dtype=torch.bool)
    for n in range(length):
        chosen = pick(state.logits)
        chosen = torch.where(ended, torch.full_like(chosen, end), chosen)
        out.append(chosen)
        ended = ended | (chosen == end)
        if bool(ended.all()) or n == length - 1:
            break
        state = step(model, state, chosen)
    return torch.stack(out, 1)
