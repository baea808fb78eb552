"""What a router decides, what it may know, and the router that all others are made from.

Notation as in the literature: T tokens (a batch of sequences, one after the other), d their width, N experts, k of
them active for a token. Shazeer et al. 2017 (arXiv 1701.06538); Fedus et al. 2021 (Switch, arXiv 2101.03961).
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Context:
    """What a router may know beside the tokens of its layer.

    `batch`, `length`: the T tokens are this many sequences of this length. `attention`: this layer's own attention,
    mean over heads, [batch, length, length] (rows sum to 1), where the model was asked to keep it. `memory`: what the
    previous layer's router handed on, [T, width]. `progress`: how much of the training is done, 0 to 1 (1 when not
    training). `layer`: which of the model's layers this is.
    """

    batch: int
    length: int
    attention: Tensor | None = None
    memory: Tensor | None = None
    progress: float = 1.0
    layer: int = 0


@dataclass(frozen=True, eq=False)
class Routing:
    """A layer's choice for T tokens.

    `indices` [T, k] experts, best first; `weights` [T, k], 0 where a slot is not used; `mask` [T, k], False for such
    slots, None where all are used; `probs` [T, N] what the router thinks of every expert; `logits` [T, N] before any
    normalisation; `aux_loss` a scalar to add to the loss; `memory` what the next layer's router gets.
    """

    indices: Tensor
    weights: Tensor
    probs: Tensor
    logits: Tensor
    aux_loss: Tensor
    mask: Tensor | None = None
    memory: Tensor | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """What a router wants its report to tell: name to number."""

    @property
    def active(self) -> Tensor:
        """[T] how many experts each token uses."""
        if self.mask is None:
            return torch.full((len(self.indices),), self.indices.shape[1], device=self.indices.device)
        return self.mask.sum(-1)

    def dense(self) -> Tensor:
        """[T, N] the weight that each expert's output gets."""
        weights = self.weights if self.mask is None else self.weights * self.mask
        empty = torch.zeros(self.probs.shape, dtype=weights.dtype, device=weights.device)
        return empty.scatter_add(1, self.indices, weights)

    def with_(self, **changed: Any) -> Routing:
        """The same with some parts changed."""
        return replace(self, **changed)


class Router(nn.Module):
    """Scores N experts for each token and chooses among them: `score`, then `choose`.

    Subclasses override either; `choose` is apart so that scores can be changed on their way (`control`). The base
    scores by one linear map without bias (`weight` [N, d]) and takes the k largest of the softmax, renormalised.
    """

    def __init__(self, width: int, n_experts: int, k: int = 2, *, renormalise: bool = True) -> None:
        """Raises InvalidInput unless 1 <= k <= n_experts and width is positive."""
        super().__init__()
        checked_k(k, n_experts)
        if width < 1:
            raise InvalidInput(f"router: a width of 1 or more is needed, not {width}")
        self.width, self.n_experts, self.k, self.renormalise = width, n_experts, k, renormalise
        self.weight = nn.Parameter(torch.empty(n_experts, width))
        nn.init.normal_(self.weight, std=width**-0.5)

    def forward(self, x: Tensor, context: Context | None = None) -> Routing:
        """x [T, d] -> Routing. Raises InvalidInput for no tokens, another width, or scores that are not numbers."""
        checked_tokens(x, self.width)
        context = context or Context(1, len(x))
        logits, memory = self.score(x, context)
        checked_logits(logits)
        routing = self.choose(logits, context)
        return routing if memory is None else routing.with_(memory=memory)

    def score(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """Logits [T, N], and what the next layer's router is to know."""
        return nn.functional.linear(x, self.weight), None

    def choose(self, logits: Tensor, context: Context, *, k: int | None = None) -> Routing:
        """From logits [T, N]; `k` in place of the router's own."""
        probs = torch.softmax(logits.float(), dim=-1)
        indices, weights = top_k(probs, self.k if k is None else checked_k(k, self.n_experts), self.renormalise)
        # Where nothing is learned nobody adds it to a loss.
        aux = self.aux_loss(probs, indices, logits) if torch.is_grad_enabled() else logits.new_zeros(())
        return Routing(indices, weights.to(logits.dtype), probs, logits, aux)

    def aux_loss(self, probs: Tensor, indices: Tensor, logits: Tensor) -> Tensor:
        """A scalar; nothing in the base."""
        return logits.new_zeros(())

    def describe(self) -> dict[str, Any]:
        """What decides what it does, for cards and reports."""
        return {"router": type(self).__name__, "n_experts": self.n_experts, "k": self.k}


def top_k(probs: Tensor, k: int, renormalise: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest of each row: indices and values [T, k]; values sum to 1 if renormalised."""
    values, indices = torch.topk(probs, k, dim=-1)
    if renormalise:
        values = values / values.sum(-1, keepdim=True).clamp_min(1e-9)
    return indices, values


def checked_k(k: int, n_experts: int) -> int:
    """k itself. Raises InvalidInput unless it is between 1 and the number of experts."""
    if not 1 <= k <= n_experts:
        raise InvalidInput(f"k: between 1 and the {n_experts} experts is needed, not {k}")
    return k


def checked_tokens(x: Tensor, width: int) -> None:
    """Raises InvalidInput unless x is [T, width] with a token or more."""
    if x.dim() != 2 or x.shape[1] != width:
        raise InvalidInput(f"router: tokens of shape [T, {width}] are needed, not {list(x.shape)}")
    if not len(x):
        raise InvalidInput("router: there are no tokens")


def checked_logits(logits: Tensor) -> None:
    """Raises InvalidInput for logits that are NaN (infinite ones mask an expert)."""
    # A sum is NaN if anything in it is; one pass and no array of flags.
    if torch.isnan(logits.detach().sum()) and torch.isnan(logits).any():
        row = int(torch.isnan(logits).any(-1).nonzero()[0, 0])
        raise InvalidInput(
            f"router: the scores of token {row} are not numbers (NaN); the weights or the input are broken"
        )
