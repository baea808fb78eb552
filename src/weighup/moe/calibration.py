"""One pass over a calibration set: every statistic that the compression methods need.

Taken by hooks, on our models and Hugging Face's. With gradients (`gradients=True`), a backward pass of the loss follows
each forward pass, and the outer products of the experts' output gradients are kept as well (HEAPr, arXiv 2509.22299).
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import Activation, activated
from weighup.moe.running import frozen, logits_of
from weighup.moe.sites import Site, sites
from weighup.moe.tiny import TinyMoELM

LEAST = 256
"""Tokens below which a calibration set says too little."""


@dataclass(frozen=True, eq=False)
class LayerStats:
    """Of one layer: N experts of h hidden units, width d. Sums are over the calibration tokens.

    `tokens` how many; `counts` [N] assignments; `weight_sums` [N] of routing weights; `prob_sums` [N] of softmax
    probabilities; `logit_sums` [N] and `logit_products` [N, N] of router logits; `together` [N, N] tokens of both;
    `activation_squares` [N, h] of hidden activations, over each expert's own tokens; `output_squares` [N], of the
    squared norm of each expert's unweighted outputs; `gradient_products` [N, d, d], of outer products of the loss's
    gradient by each expert's (unweighted) output, None without gradients; `inputs` [M, d], a sample of the layer's
    inputs.
    """

    tokens: int
    counts: Tensor
    weight_sums: Tensor
    prob_sums: Tensor
    logit_sums: Tensor
    logit_products: Tensor
    together: Tensor
    activation_squares: Tensor
    output_squares: Tensor
    inputs: Tensor
    gradient_products: Tensor | None = None

    @property
    def frequency(self) -> Tensor:
        """[N] the share of tokens that used each expert."""
        return self.counts / self.tokens

    @property
    def logit_correlation(self) -> Tensor:
        """[N, N] of the experts' router logits over tokens."""
        mean = self.logit_sums / self.tokens
        cov = self.logit_products / self.tokens - torch.outer(mean, mean)
        spread = cov.diagonal().clamp_min(1e-12).sqrt()
        return cov / torch.outer(spread, spread)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Statistics of every layer that routes, in order, and the mean loss (nats a token) where one was computed."""

    layers: tuple[LayerStats, ...]
    loss: float | None = None

    @property
    def tokens(self) -> int:
        """How many tokens it rests on."""
        return self.layers[0].tokens

    def write(self, path: Path) -> None:
        """As .npz."""
        arrays: dict[str, Any] = {"layers": len(self.layers), "loss": np.nan if self.loss is None else self.loss}
        for n, one in enumerate(self.layers):
            for each in fields(one):
                value = getattr(one, each.name)
                if value is not None:
                    arrays[f"{n}.{each.name}"] = value.numpy() if isinstance(value, Tensor) else value
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Raises InvalidInput for a file that is no calibration."""
        try:
            with np.load(path, allow_pickle=False) as found:
                layers = []
                for n in range(int(found["layers"])):
                    told: dict[str, Any] = {}
                    for each in fields(LayerStats):
                        key = f"{n}.{each.name}"
                        if key in found.files:
                            told[each.name] = torch.from_numpy(found[key]) if found[key].ndim else int(found[key])
                    layers.append(LayerStats(**told))
                loss = float(found["loss"])
        except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
            raise InvalidInput(f"{path}: is no calibration: {error}") from error
        return cls(tuple(layers), None if np.isnan(loss) else loss)


Loss = Callable[[nn.Module, Any], Tensor]
"""(model, batch) -> mean loss of the batch."""


def calibrate(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    loss: Loss | None = None,
    gradients: bool = False,
    least: int = LEAST,
    sample: int = 2_048,
) -> Calibration:
    """Run the model over `batches`: of a corpus (`Batch`), or tensors of token ids [batch, length].

    `loss`: else the next-token loss of the model. `sample`: inputs of each layer that are kept. The model's weights,
    gradients and mode are as before afterwards. Raises InvalidInput for a model that is not known, for gradients of an
    architecture whose experts lie otherwise, or for fewer than `least` tokens.
    """
    found = sites(model)
    if gradients:
        for site in found:
            site.weights()
    takers = [_Taker(site, gradients, sample) for site in found]
    handles = [handle for taker in takers for handle in taker.hooked()]
    total, seen = 0.0, 0
    try:
        with frozen(model, evaluate=True), torch.set_grad_enabled(gradients):
            for batch in batches:
                size = _size(batch)
                value = (loss or next_token_loss)(model, batch)
                if gradients:
                    # Of the sum over tokens: so that batches of different sizes add up.
                    (value * size).backward()
                for taker in takers:
                    taker.take()
                total, seen = total + float(value.detach()) * size, seen + size
    finally:
        for handle in handles:
            handle.remove()
    if seen < least:
        raise InvalidInput(f"calibration: {seen} tokens are too few; {least} or more are needed")
    return Calibration(tuple(taker.stats(seen) for taker in takers), total / seen)


def next_token_loss(model: nn.Module, batch: Any) -> Tensor:
    """Mean nats a token, of ours or of a causal model of `transformers`."""
    tokens, targets = tensors(batch)
    if isinstance(model, TinyMoELM):
        value = model(tokens, targets).loss
        assert value is not None
        return value
    logits = logits_of(model, tokens)
    return nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1))


def tensors(batch: Any) -> tuple[Tensor, Tensor]:
    """Tokens and targets [batch, length] of a `Batch` or of ids [batch, length + 1]."""
    if hasattr(batch, "targets"):
        return torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
    ids = torch.as_tensor(batch)
    if ids.dim() != 2 or ids.shape[1] < 2:
        raise InvalidInput(f"calibration: token ids of shape [batch, length] are needed, not {list(ids.shape)}")
    return ids[:, :-1], ids[:, 1:]


def _size(batch: Any) -> int:
    return int(tensors(batch)[1].numel())


class _Taker:
    """Hooks of one layer, and its sums."""

    def __init__(self, site: Site, gradients: bool, sample: int) -> None:
        n, d = site.n_experts, site.width
        self.site, self.gradients, self.sample = site, gradients, sample
        self.h = 0 if site.lacks else int(site.weights()[1].shape[2])
        zero = torch.zeros
        self.counts, self.weight_sums, self.prob_sums, self.logit_sums = (zero(n) for _ in range(4))
        self.logit_products, self.together = zero(n, n), zero(n, n)
        self.activation_squares, self.output_squares = zero(n, self.h), zero(n)
        self.products = zero(n, d, d) if gradients else None
        self.inputs: list[Tensor] = []
        self.kept = 0
        self.now: dict[str, Tensor] = {}

    def hooked(self) -> list[Any]:
        site = self.site
        return [
            site.router.register_forward_hook(self._router),
            site.experts.register_forward_hook(self._experts),
        ]

    def _router(self, module: nn.Module, args: Sequence[Any], output: Any) -> None:
        decision = self.site.read(output)
        self.now["logits"] = decision.logits.detach().float()
        self.now["indices"] = decision.indices.detach()
        weights = decision.weights.detach().float()
        self.now["weights"] = weights if decision.mask is None else weights * decision.mask
        self.now["used"] = torch.ones_like(weights, dtype=torch.bool) if decision.mask is None else decision.mask

    def _experts(self, module: nn.Module, args: Sequence[Any], output: Tensor) -> Tensor | None:
        self.now["x"] = args[0].detach().reshape(-1, self.site.width)
        if not self.gradients:
            return None
        if not output.requires_grad:  # nothing before it needs a gradient: begin here
            output = output.detach().requires_grad_()
        output.register_hook(self._gradient)
        return output

    def _gradient(self, gradient: Tensor) -> None:
        self.now["gradient"] = gradient.detach().reshape(-1, self.site.width).float()

    def take(self) -> None:
        now, n = self.now, self.site.n_experts
        logits, indices, weights, used = (now[name] for name in ("logits", "indices", "weights", "used"))
        ones = torch.zeros(len(indices), n).scatter_add_(1, indices, used.float()).clamp_max_(1)
        self.counts += ones.sum(0)
        self.weight_sums += torch.zeros(n).index_add_(0, indices.reshape(-1), weights.reshape(-1))
        self.prob_sums += torch.softmax(logits, -1).sum(0)
        self.logit_sums += logits.sum(0)
        self.logit_products += logits.T @ logits
        self.together += ones.T @ ones
        x = now["x"]
        if self.kept < self.sample:
            some = x[:: max(1, len(x) // 256)][: self.sample - self.kept]
            self.inputs.append(some.clone())
            self.kept += len(some)
        if not self.site.lacks:
            self._by_expert(x, indices, weights, used)
        self.now = {}

    def _by_expert(self, x: Tensor, indices: Tensor, weights: Tensor, used: Tensor) -> None:
        first, last = (one.detach() for one in self.site.weights())
        for expert in range(self.site.n_experts):
            token, slot = torch.nonzero((indices == expert) & used, as_tuple=True)
            if not len(token):
                continue
            inner = activated(nn.functional.linear(x[token], first[expert]).float(), activation_of(self.site))
            self.activation_squares[expert] += inner.square().sum(0)
            self.output_squares[expert] += (inner @ last[expert].T.float()).square().sum()
            if self.products is not None:
                own = self.now["gradient"][token] * weights[token, slot, None]
                self.products[expert] += own.T @ own

    def stats(self, tokens: int) -> LayerStats:
        return LayerStats(
            tokens,
            self.counts,
            self.weight_sums,
            self.prob_sums,
            self.logit_sums,
            self.logit_products,
            self.together,
            self.activation_squares,
            self.output_squares,
            torch.cat(self.inputs) if self.inputs else torch.zeros(0, self.site.width),
            self.products,
        )


def activation_of(site: Site) -> Activation:
    """Which activation the experts of a layer have. Raises InvalidInput for one that is neither SwiGLU nor GELU."""
    own = getattr(site.experts, "activation", None)
    if own is not None:
        return own
    name = type(getattr(site.experts, "act_fn", None)).__name__.lower()
    if name.startswith("silu"):
        return "swiglu"
    raise InvalidInput(f"{site.architecture}: experts with the activation {name} are not handled; gated SiLU is")
