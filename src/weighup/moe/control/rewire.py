"""Rewiring experts on the fly: the context itself teaches the routers how to route it.

Su et al. 2025 (arXiv 2510.14853). Faithful: one vector a layer is added to the router's logits of selected layers; the
vectors are fitted to the next-token loss of the context when it is read (prefill) and again after every `every`
generated tokens, by few steps; in between text is generated as usual with the vectors in place; nothing else changes.
Our reading, the paper's code was not checked: the vectors begin at 0 and go on from where the last fit left them; of
the layers, `share` of them are selected, those whose routers are surest on the context (greatest mean probability of
the first choice). Ours: each sequence of a batch has vectors of its own (`shared` fits one set for all of them); after
a fit the whole context is read again, so that the cache is that of the new routing.

Shapes: tokens [batch, length]; a layer's vectors [batch, N], or [1, N] where shared.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weighup.errors import InvalidInput, JobFailed
from weighup.moe.generate import Pick, generate, greedy
from weighup.moe.policy import control
from weighup.moe.running import frozen, logits_of
from weighup.moe.sites import Decision, Site, sites
from weighup.moe.tiny import END
from weighup.registry import Method

METHOD = Method(
    name="rewire",
    room="moe",
    paper="Rewiring Experts on the Fly: Continuous Rerouting for Better Online Adaptation in Mixture-of-Expert Models "
    "(Su et al. 2025)",
    arxiv="2510.14853",
    command="weighup moe generate --control rewire",
    claim_check="weighup.moe.control.rewire_claim:check",
)


@dataclass(frozen=True)
class Rewiring:
    """How to fit. `steps` of the optimiser at `rate` each time; `every`: generated tokens between fits; `layers` those
    that get vectors (None: the `share` of them, above 0 and at most 1, whose routers are surest)."""

    steps: int = 5
    rate: float = 0.05
    optimiser: Literal["adam", "sgd"] = "adam"
    every: int = 32
    share: float = 1.0
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.steps < 0 or self.every < 1 or not self.rate > 0:
            raise InvalidInput(
                f"rewire: steps >= 0, every >= 1 and a positive rate are needed, not steps={self.steps}, "
                f"every={self.every}, rate={self.rate}"
            )
        if self.optimiser not in ("adam", "sgd"):
            raise InvalidInput(f"rewire: the optimiser is adam or sgd, not {self.optimiser!r}")
        if not 0 < self.share <= 1:
            raise InvalidInput(f"rewire: share is above 0 and at most 1, not {self.share}")
        if self.layers is not None and (not self.layers or len(set(self.layers)) < len(self.layers)):
            raise InvalidInput(f"rewire: one or more different layers are needed, not {self.layers}")


@dataclass(frozen=True, eq=False)
class Vectors:
    """A policy for `control`: adds a layer's vector [batch, N] (or [1, N]) to the logits of its sequence's tokens.

    Layers that are not in `by_layer` route as they did. `losses` [steps]: the context's mean loss before each step.
    """

    by_layer: Mapping[int, Tensor] = field(default_factory=dict)
    losses: tuple[float, ...] = ()

    def __call__(self, site: Site, decision: Decision) -> Decision | None:
        vectors = self.by_layer.get(site.layer)
        if vectors is None:
            return None
        count, rows = len(decision.logits), len(vectors)
        if count % rows:
            raise InvalidInput(f"rewire: {count} tokens are not those of {rows} sequences of one length")
        logits = decision.logits + vectors.to(decision.logits.dtype).repeat_interleave(count // rows, 0)
        indices, weights = site.choose(logits)
        return Decision(logits, indices, weights)


def rewire(
    model: nn.Module,
    tokens: Tensor,
    rewiring: Rewiring | None = None,
    *,
    start: Vectors | None = None,
    shared: bool = False,
) -> Vectors:
    """Fit vectors to the next-token loss of tokens [batch, length >= 2]; the model's parameters are not touched.

    `start`: go on from these. `shared`: one vector a layer for all sequences (windows of one text). With 0 steps and
    no start nothing is added anywhere. Raises InvalidInput for tokens or layers that cannot be, JobFailed where the
    loss is no number any more.
    """
    rewiring = rewiring or Rewiring()
    checked_context(tokens)
    found = sites(model)
    if rewiring.layers is not None:
        unknown = [layer for layer in rewiring.layers if not 0 <= layer < len(found)]
        if unknown:
            raise InvalidInput(f"rewire: layer {unknown[0]} does not route; there are {len(found)} that do, from 0")
    if not rewiring.steps:
        return start or Vectors()
    rows = 1 if shared else len(tokens)
    if start is not None and start.by_layer:
        vectors = {layer: one.detach().clone().requires_grad_() for layer, one in start.by_layer.items()}
        if any(len(one) != rows for one in vectors.values()):
            raise InvalidInput(f"rewire: vectors of {rows} sequences are needed to go on from")
    else:
        layers = rewiring.layers if rewiring.layers is not None else surest(model, tokens, rewiring.share)
        like = next(model.parameters())
        vectors = {n: torch.zeros(rows, found[n].n_experts, device=like.device, requires_grad=True) for n in layers}
    kinds: dict[str, Any] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    optimiser = kinds[rewiring.optimiser](list(vectors.values()), lr=rewiring.rate)
    losses = []
    with frozen(model, evaluate=True), torch.enable_grad(), control(model, Vectors(vectors)):
        for _ in range(rewiring.steps):
            optimiser.zero_grad()
            # A sum over sequences, so that the step of one does not depend on how many there are.
            each = next_token_losses(logits_of(model, tokens), tokens).mean(1)
            loss = each.mean() if shared else each.sum()
            losses.append(float(each.detach().mean()))
            if not torch.isfinite(loss):
                raise JobFailed(f"rewire: the context's loss is {losses[-1]}; take a lower rate than {rewiring.rate}")
            loss.backward()
            optimiser.step()
    return Vectors({layer: one.detach() for layer, one in vectors.items()}, tuple(losses))


def generate_with(
    model: nn.Module, tokens: Tensor, length: int, *, pick: Pick = greedy, end: int = END, **options: Any
) -> Tensor:
    """[batch, up to length] what comes after tokens [batch, n], rewired on the context before the first and after every
    `every` tokens; `options` are those of `Rewiring`. Stops when all have ended (`end`)."""
    if length < 1:
        raise InvalidInput(f"length: 1 or more tokens, not {length}")
    rewiring = Rewiring(**options)
    text, vectors, done = tokens, Vectors(), 0
    ended = torch.zeros(len(tokens), 1, dtype=torch.bool)
    while done < length and not bool(ended.all()):
        vectors = rewire(model, text, rewiring, start=vectors)
        with control(model, vectors):
            part = generate(model, text, min(rewiring.every, length - done), pick=pick, end=end)
        part = torch.where(ended, torch.full_like(part, end), part)
        ended = ended | (part == end).any(1, keepdim=True)
        text, done = torch.cat((text, part), 1), done + part.shape[1]
    return text[:, tokens.shape[1] :]


@torch.no_grad()
def surest(model: nn.Module, tokens: Tensor, share: float = 1.0) -> tuple[int, ...]:
    """The layers, at least one, whose routers give their first choice the greatest mean probability on tokens."""
    found = sites(model)
    if share == 1:
        return tuple(range(len(found)))
    sure = torch.zeros(len(found))

    def seen(site: Site, decision: Decision) -> None:
        sure[site.layer] = float(torch.softmax(decision.logits.float(), -1).amax(-1).mean())

    with control(model, seen):
        logits_of(model, tokens)
    count = max(1, round(share * len(found)))
    return tuple(sorted(sure.topk(count).indices.tolist()))


def next_token_losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """[batch, length - 1] nats: what each token but the first cost to those before it."""
    flat = logits[:, :-1].flatten(0, 1).float()
    return F.cross_entropy(flat, tokens[:, 1:].reshape(-1), reduction="none").view(len(tokens), -1)


def checked_context(tokens: Tensor) -> None:
    """Raises InvalidInput unless tokens are [batch, length] with two or more a sequence."""
    if tokens.dim() != 2 or not len(tokens) or tokens.shape[1] < 2:
        raise InvalidInput(f"rewire: a context of shape [batch, 2 or more] is needed, not {list(tokens.shape)}")
