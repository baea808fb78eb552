"""LoRA adapters on a TinyMoELM: trained for one domain each, applied alone, mixed by weights or by gates a token.

Hu et al. 2021 (arXiv 2106.09685): W x + scale · B A x, with A [r, in] drawn and B [out, r] zero at the beginning.
Adapters sit on attention projections and on the experts' batched weights, where each expert has factors of its own:
A [N, r, in], B [N, out, r]. A mix of adapters is `Σ_m g_m B_m A_m x`, so that with constant g it equals the model
whose weights are W + Σ g_m B_m A_m. The model itself is as before when `attached` is left.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.moe.corpus import Corpus
from weighup.moe.experts import Experts, activated
from weighup.moe.lab import Training, train, trained
from weighup.moe.running import frozen
from weighup.moe.tiny import TinyMoELM
from weighup.moe.types import Routing

Where = Literal["attention", "experts"]
EVERYWHERE: tuple[Where, ...] = ("attention", "experts")
SHORT = Training(steps=80, batch=16, rate=1e-2, warmup=8, decay=0.0)
"""Enough for an adapter of a tiny model to know its domain."""
Pair = tuple[Tensor, Tensor]
Gate = Callable[[str, Tensor], Tensor]
"""(module's name, its inputs [T, d]) -> how much of each of M adapters every token gets [T, M]."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """Low-rank factors (A, B) by module: one pair for a projection, two (first and last weights) for experts."""

    name: str
    parts: Mapping[str, tuple[Pair, ...]]
    scale: float = 1.0

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return sum(one.numel() for pairs in self.parts.values() for pair in pairs for one in pair)

    @property
    def fingerprint(self) -> str:
        """A hash of its factors."""
        made = hashlib.sha256(repr(self.scale).encode())
        for name, one in sorted(_flat(self).items()):
            made.update(name.encode() + one.detach().contiguous().numpy().tobytes())
        return made.hexdigest()[:16]


def places(model: TinyMoELM, where: Sequence[Where] = EVERYWHERE) -> dict[str, nn.Module]:
    """The modules that can be adapted, by name. Raises InvalidInput for a kind of place that there is not."""
    unknown = set(where) - set(EVERYWHERE)
    if unknown or not where:
        raise InvalidInput(f"adapter: places are attention and experts, not {sorted(unknown) or 'none'}")
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        attention = isinstance(module, nn.Linear) and ".attention." in name
        kind = "attention" if attention else "experts" if isinstance(module, Experts) else ""
        if kind in where:
            found[name] = module
    return found


def drawn(
    model: TinyMoELM,
    name: str,
    *,
    rank: int = 4,
    where: Sequence[Where] = EVERYWHERE,
    seed: int = 0,
    noise: float = 0.0,
) -> Adapter:
    """An adapter that changes nothing yet; with `noise`, one that is no better than chance: B is drawn, so that the
    change has `noise` times the size (root mean square) of a freshly drawn weight. Raises InvalidInput for a rank
    below 1 or above the smallest width."""
    chance = torch.Generator().manual_seed(seed)
    parts: dict[str, tuple[Pair, ...]] = {}
    for place, module in places(model, where).items():
        weights = _weights(module)
        if not 1 <= rank <= min(min(one.shape[-2:]) for one in weights):
            raise InvalidInput(f"adapter: a rank from 1 to the width of {place} is needed, not {rank}")
        pairs = []
        for weight in weights:
            *batch, out, size = weight.shape
            a = torch.randn(*batch, rank, size, generator=chance) * size**-0.5
            b = torch.randn(*batch, out, rank, generator=chance) * (noise * rank**-0.5)
            pairs.append((a, b))
        parts[place] = tuple(pairs)
    return Adapter(name, parts)


def fitted(
    model: TinyMoELM,
    corpus: Corpus,
    training: Training = SHORT,
    *,
    rank: int = 4,
    where: Sequence[Where] = EVERYWHERE,
    keep: bool = False,
) -> Adapter:
    """An adapter trained on a corpus (for a domain: `corpus.only(domain)`); `keep` it in the store of `moe.lab`."""
    name = "+".join(corpus.domains)
    start = drawn(model, name, rank=rank, where=where, seed=training.seed)

    def attach(to: TinyMoELM, tensors: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        return attached(to, [_unflat(name, start, tensors)])

    tensors = fit_tensors(model, corpus, training, _flat(start), attach, keep=f"lora {rank} {where}" if keep else "")
    return _unflat(name, start, tensors)


def fit_tensors(
    model: TinyMoELM,
    corpus: Corpus,
    training: Training,
    start: Mapping[str, Tensor],
    attach: Callable[[TinyMoELM, Mapping[str, Tensor]], AbstractContextManager[Any]],
    *,
    keep: str = "",
) -> dict[str, Tensor]:
    """Train tensors that `attach` puts to work in a model, which stays as it is.

    With `keep`, the name of what is trained, from the store where it was trained before on the same model and data.
    """
    was = model.training

    def fit(to: TinyMoELM, tensors: Mapping[str, nn.Parameter]) -> None:
        with frozen(to, tensors.values()), attach(to, tensors):
            train(to, corpus, training, parameters=list(tensors.values()))
        to.train(was)

    if not keep:
        tensors = {name: nn.Parameter(one.clone()) for name, one in start.items()}
        fit(model, tensors)
        return {name: one.detach() for name, one in tensors.items()}

    def make() -> TinyMoELM:
        holder = copy.deepcopy(model)
        # Dots are not allowed in the names of parameters.
        holder.extra = nn.ParameterDict({name.replace(".", "/"): one.clone() for name, one in start.items()})
        return holder

    def fit_holder(holder: TinyMoELM) -> None:
        fit(holder, {name: holder.extra[name.replace(".", "/")] for name in start})

    kind = f"{keep} {fingerprint(model)} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"
    holder = trained(model.config, corpus, training, kind=kind, make=make, fit=fit_holder)
    return {name: holder.extra[name.replace(".", "/")].detach() for name in start}


@contextmanager
def attached(model: TinyMoELM, adapters: Sequence[Adapter], gates: Tensor | Gate | None = None) -> Iterator[None]:
    """The model with adapters while open: each in full (None), by weights [M], or as a gate says for every token.

    Raises InvalidInput for no adapters, one of another model, weights of another number, or adapters on adapters.
    """
    if not adapters:
        raise InvalidInput("adapters: there are none to attach")
    if gates is None:
        gates = torch.ones(len(adapters))
    if isinstance(gates, Tensor):
        _check_weights(gates, len(adapters))
    there = places(model)
    for adapter in adapters:
        _check(adapter, there)
    handles, changed = [], []
    try:
        for name, module in there.items():
            using = [n for n, one in enumerate(adapters) if name in one.parts]
            if not using:
                continue
            weigh = _weigher(name, adapters, using, gates)
            stacks = [_Stack([adapters[n].parts[name][m] for n in using]) for m in range(len(_weights(module)))]
            if isinstance(module, Experts):
                if "forward" in module.__dict__:
                    raise InvalidInput(f"adapters: {name} has adapters already; attach all of them at once")
                # Of this one object: a hook could only come after the experts have run in vain.
                module.__dict__["forward"] = _experts_forward(module, stacks, weigh)
                changed.append(module)
            else:
                handles.append(module.register_forward_hook(_linear_hook(stacks[0], weigh)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in changed:
            del module.__dict__["forward"]


def similarity(adapters: Sequence[Adapter]) -> Tensor:
    """[M, M] cosines of the changes B A that adapters make, over all modules; computed from their factors."""
    count = len(adapters)
    products = torch.zeros(count, count, dtype=torch.float64)
    for i, one in enumerate(adapters):
        for j in range(i, count):
            products[i, j] = products[j, i] = _product(one, adapters[j])
    size = products.diagonal().clamp_min(1e-24).sqrt()
    return (products / torch.outer(size, size)).float()


def added(model: TinyMoELM, adapter: Adapter, weight: float = 1.0) -> TinyMoELM:
    """A copy of the model with the adapter in its weights."""
    made, there = copy.deepcopy(model), places(model)
    _check(adapter, there)
    with torch.no_grad():
        for name, pairs in adapter.parts.items():
            for target, (a, b) in zip(_weights(made.get_submodule(name)), pairs, strict=True):
                target += weight * adapter.scale * (b @ a)
    return made


def fingerprint(model: nn.Module) -> str:
    """A hash of its weights."""
    made = hashlib.sha256()
    for name, one in model.state_dict().items():
        made.update(name.encode() + one.detach().contiguous().numpy().tobytes())
    return made.hexdigest()[:16]


class _Stack:
    """The factors of several adapters for one weight, joined along the rank at every use (they may be trained)."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs
        self.owner = torch.cat([torch.full((a.shape[-2],), n) for n, (a, _) in enumerate(pairs)])

    def joined(self) -> Pair:
        """A [.., R, in] and B [.., out, R] of all."""
        return torch.cat([a for a, _ in self.pairs], -2), torch.cat([b for _, b in self.pairs], -1)

    def of(self, x: Tensor, gates: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """x [T, in], gates [T, M] -> Σ_m g_m B_m A_m x [T, out]."""
        return F.linear(F.linear(x, a) * gates[:, self.owner], b)


def _weigher(
    name: str, adapters: Sequence[Adapter], using: Sequence[int], gates: Tensor | Gate
) -> Callable[[Tensor], Tensor]:
    scales = torch.tensor([adapters[n].scale for n in using])

    def weigh(x: Tensor) -> Tensor:
        if isinstance(gates, Tensor):
            found = gates.to(x.dtype).expand(len(x), -1)
        else:
            found = gates(name, x)
            if found.shape != (len(x), len(adapters)):
                raise InvalidInput(f"gate of {name}: [{len(x)}, {len(adapters)}] is needed, not {list(found.shape)}")
        return found[:, using] * scales

    return weigh


def _linear_hook(stack: _Stack, weigh: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def more(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        x = args[0].reshape(-1, args[0].shape[-1])
        return output + stack.of(x, weigh(x), *stack.joined()).view(output.shape)

    return more


def _experts_forward(
    module: Experts, stacks: Sequence[_Stack], weigh: Callable[[Tensor], Tensor]
) -> Callable[..., Tensor]:
    def forward(x: Tensor, routing: Routing, strategy: str = "auto") -> Tensor:
        first, last = stacks
        gates, (a1, b1), (a2, b2) = weigh(x), first.joined(), last.joined()
        used = torch.ones_like(routing.indices, dtype=torch.bool) if routing.mask is None else routing.mask
        y = torch.zeros_like(x)
        for expert in range(module.n):
            token, slot = torch.nonzero((routing.indices == expert) & used, as_tuple=True)
            rows, own = x[token], gates[token]
            z = F.linear(rows, module.gate_up_proj[expert]) + first.of(rows, own, a1[expert], b1[expert])
            inner = activated(z, module.activation)
            out = F.linear(inner, module.down_proj[expert]) + last.of(inner, own, a2[expert], b2[expert])
            y = y.index_add(0, token, out * routing.weights[token, slot, None].to(x.dtype))
        return y

    return forward


def _weights(module: nn.Module) -> tuple[Tensor, ...]:
    return (module.gate_up_proj, module.down_proj) if isinstance(module, Experts) else (module.weight,)


def _check(adapter: Adapter, there: Mapping[str, nn.Module]) -> None:
    for name, pairs in adapter.parts.items():
        if name not in there:
            raise InvalidInput(f"adapter {adapter.name}: the model has no {name}")
        for weight, (a, b) in zip(_weights(there[name]), pairs, strict=True):
            if (*b.shape[:-1], a.shape[-1]) != weight.shape or a.shape[-2] != b.shape[-1]:
                raise InvalidInput(
                    f"adapter {adapter.name}: factors {list(b.shape)} and {list(a.shape)} do not fit {name}, which is "
                    f"{list(weight.shape)}"
                )


def _check_weights(weights: Tensor, count: int) -> None:
    if weights.shape != (count,) or not bool(torch.isfinite(weights).all()):
        raise InvalidInput(f"adapters: {count} finite weights are needed, not {weights.tolist()}")


def _product(one: Adapter, other: Adapter) -> float:
    total = []
    for name in one.parts.keys() & other.parts.keys():
        for (a, b), (c, d) in zip(one.parts[name], other.parts[name], strict=True):
            total.append(float(((b.transpose(-1, -2) @ d) * (a @ c.transpose(-1, -2))).double().sum()))
    return math.fsum(total) * one.scale * other.scale


def _flat(adapter: Adapter) -> dict[str, Tensor]:
    return {
        f"{name}.{n}{letter}": one
        for name, pairs in adapter.parts.items()
        for n, pair in enumerate(pairs)
        for letter, one in zip("ab", pair, strict=True)
    }


def _unflat(name: str, like: Adapter, tensors: Mapping[str, Tensor]) -> Adapter:
    parts = {
        place: tuple((tensors[f"{place}.{n}a"], tensors[f"{place}.{n}b"]) for n in range(len(pairs)))
        for place, pairs in like.parts.items()
    }
    return Adapter(name, parts, like.scale)
