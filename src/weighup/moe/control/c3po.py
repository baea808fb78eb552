"""C3PO: a test sample's experts are mixed again, towards those of similar samples that were solved.

Li et al. 2025, "Critical-Layer, Core-Expert, Collaborative Pathway Optimization" (arXiv 2504.07964). A sample's pathway
is the routers' distribution over the N experts at its last token, layer by layer. Faithful: reference samples are only
those that the model solves; k = 3 neighbours; mode finding (mean shift in the space of pathways), kernel regression
`ω ← a ω + (1 − a) Σ K(x_i, x) ω_i / Σ K` and neighbourhood gradient descent on `Σ K(x_i, x) ℓ(f(x_i, ω), y_i) / Σ K`,
10 steps; only the last five layers, the 20 likeliest experts and the last token change; as in the authors' code the
model then takes its top-k of the new distribution. Our reading: K is Gaussian with the mean squared distance to the k
neighbours as its width squared times two; `a` is fixed (`stay`); mean shift takes its neighbours anew in each step.
Ours: the gradient is by log ω, which keeps ω a distribution; the default embedding is the mean over tokens of the last
router's input, where the paper has a sentence encoder; batches.

Shapes: tokens [B, n], right-padded where `lengths` [B] are given (a causal model does not see what comes after);
pathways [B, L, N] with L critical layers, rows of them sum to 1; answers [B], the token that should come next.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.moe.generate import Pick, generate, greedy, prefill
from weighup.moe.policy import control
from weighup.moe.running import frozen, logits_of
from weighup.moe.sites import Decision, Site, sites
from weighup.moe.tiny import END
from weighup.registry import Method

METHOD = Method(
    name="c3po",
    room="moe",
    paper="C3PO: Critical-Layer, Core-Expert, Collaborative Pathway Optimization for Test-Time Expert Re-Mixing "
    "(Li et al. 2025)",
    arxiv="2504.07964",
    command="weighup moe generate --control c3po",
    claim_check="weighup.moe.control.c3po_claim:check",
)
Way = Literal["mode", "kernel", "gradient"]
LAST, CORE, NEIGHBOURS, STEPS = 5, 20, 3, 10
_LEAST = 1e-10  # of a probability, before its logarithm
_AT_ONCE = 256  # samples of one forward pass


@dataclass(frozen=True, eq=False)
class Read:
    """What one pass says: `logits` [B, vocabulary] of the next token, `embeddings` [B, e], `pathways` [B, L, N]."""

    logits: Tensor
    embeddings: Tensor
    pathways: Tensor


@dataclass(frozen=True, eq=False)
class Reference:
    """Solved samples: tokens [R, n], lengths [R], answers [R], embeddings [R, e], pathways [R, L, N] of `layers`."""

    tokens: Tensor
    lengths: Tensor
    answers: Tensor
    embeddings: Tensor
    pathways: Tensor
    layers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Remixing:
    """`way` of the three; `k` neighbours; `core` experts that may change; `steps` of mode or gradient; `rate` of a
    gradient step; `stay` in [0, 1]: the share of the old pathway that mode and kernel keep in a step."""

    way: Way = "gradient"
    k: int = NEIGHBOURS
    core: int = CORE
    steps: int = STEPS
    rate: float = 1.0
    stay: float = 0.5

    def __post_init__(self) -> None:
        if self.way not in get_args(Way):
            raise InvalidInput(f"c3po: way is {', '.join(get_args(Way))}, not {self.way!r}")
        if min(self.k, self.core) < 1 or self.steps < 0 or not self.rate > 0:
            raise InvalidInput(f"c3po: positive k, core and rate and steps of 0 or more are needed, not {self}")
        if not 0 <= self.stay <= 1:
            raise InvalidInput(f"c3po: stay is from 0 to 1, not {self.stay}")


@dataclass(frozen=True, eq=False)
class LastToken:
    """A policy for `control`: these pathways [B, L, N] at the last token (`ends` [B]) of each sequence, in `layers`."""

    pathways: Tensor
    layers: tuple[int, ...]
    ends: Tensor

    def __call__(self, site: Site, decision: Decision) -> Decision | None:
        if site.layer not in self.layers:
            return None
        old, rows = decision.logits, len(self.pathways)
        if len(old) % rows:
            raise InvalidInput(f"c3po: {len(old)} tokens are not those of {rows} sequences of one length")
        places = torch.arange(rows) * (len(old) // rows) + self.ends
        # The old sum keeps the logits' level, which a sigmoid router reads as well.
        level = torch.logsumexp(old[places].float(), -1, keepdim=True)
        new = self.pathways[:, self.layers.index(site.layer)].clamp_min(_LEAST).log() + level
        logits = old.index_copy(0, places, new.to(old.dtype))
        indices, weights = site.choose(logits)
        return Decision(logits, indices, weights)


def critical(model: nn.Module, last: int = LAST) -> tuple[int, ...]:
    """The last layers that route, all where there are fewer."""
    count = len(sites(model))
    return tuple(range(max(0, count - last), count))


@torch.no_grad()
def read(
    model: nn.Module, tokens: Tensor, *, lengths: Tensor | None = None, layers: Sequence[int] | None = None
) -> Read:
    """One pass over tokens [B, n], in parts. Raises InvalidInput for shapes that do not fit."""
    found, lengths = sites(model), checked(tokens, lengths)
    layers = critical(model) if layers is None else layers
    seen: dict[str, list[Tensor]] = {"logits": [], "embeddings": [], "pathways": []}
    now: dict[int, Tensor] = {}

    def keep(site: Site) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Any) -> None:
            now[site.layer] = site.read(output).logits
            now[-1] = args[0].reshape(-1, args[0].shape[-1])

        return hook

    handles = [site.router.register_forward_hook(keep(site)) for site in found]
    try:
        for at in range(0, len(tokens), _AT_ONCE):
            part, size = tokens[at : at + _AT_ONCE], lengths[at : at + _AT_ONCE]
            rows, ends = torch.arange(len(part)), size - 1
            seen["logits"].append(logits_of(model, part)[rows, ends])
            there = (torch.arange(part.shape[1]) < size[:, None]).float()[..., None]
            inputs = now[-1].view(*part.shape, -1).float()
            seen["embeddings"].append((inputs * there).sum(1) / size[:, None])
            each = [now[layer].view(*part.shape, -1)[rows, ends].float().softmax(-1) for layer in layers]
            seen["pathways"].append(torch.stack(each, 1))
    finally:
        for handle in handles:
            handle.remove()
    return Read(**{name: torch.cat(some) for name, some in seen.items()})


def reference(
    model: nn.Module,
    tokens: Tensor,
    answers: Tensor,
    *,
    lengths: Tensor | None = None,
    layers: Sequence[int] | None = None,
    embeddings: Tensor | None = None,
) -> Reference:
    """Of samples [R, n] with answers [R] those that the model solves (greedily). `embeddings` [R, e]: one's own.

    Raises InvalidInput where shapes differ or none is solved.
    """
    lengths = checked(tokens, lengths)
    if answers.shape != lengths.shape:
        raise InvalidInput(f"c3po: {len(tokens)} samples need as many answers, not {list(answers.shape)}")
    chosen = critical(model) if layers is None else tuple(layers)
    found = read(model, tokens, lengths=lengths, layers=chosen)
    solved = found.logits.argmax(-1) == answers
    if not bool(solved.any()):
        raise InvalidInput(f"c3po: the model solves none of the {len(tokens)} samples, so that there is no reference")
    known = found.embeddings if embeddings is None else embeddings
    if len(known) != len(tokens):
        raise InvalidInput(f"c3po: {len(tokens)} samples need as many embeddings, not {len(known)}")
    return Reference(tokens[solved], lengths[solved], answers[solved], known[solved], found.pathways[solved], chosen)


def remix(
    model: nn.Module,
    tokens: Tensor,
    known: Reference,
    remixing: Remixing | None = None,
    *,
    lengths: Tensor | None = None,
    embeddings: Tensor | None = None,
) -> Tensor:
    """New pathways [B, L, N] for samples tokens [B, n]. `embeddings` [B, e]: one's own, as the reference's.

    Raises InvalidInput for fewer solved reference samples than neighbours, or shapes that do not fit.
    """
    remixing = remixing or Remixing()
    if len(known) < remixing.k:
        raise InvalidInput(f"c3po: {len(known)} solved reference samples are fewer than the {remixing.k} neighbours")
    found = read(model, tokens, lengths=lengths, layers=known.layers)
    places = found.embeddings if embeddings is None else embeddings
    if places.shape != (len(tokens), known.embeddings.shape[1]):
        raise InvalidInput(
            f"c3po: embeddings [{len(tokens)}, {known.embeddings.shape[1]}] are needed, not {list(places.shape)}"
        )
    core = _core(found.pathways, remixing.core)
    if remixing.way == "gradient":
        near, kernel = neighbours(places, known.embeddings, remixing.k)
        return _descended(model, found.pathways, core, known, near, kernel, remixing)
    new = found.pathways
    if remixing.way == "kernel":
        near, kernel = neighbours(places, known.embeddings, remixing.k)
        return _towards(new, core, known.pathways[near], kernel, remixing.stay)
    for _ in range(remixing.steps):
        near, kernel = neighbours(new.flatten(1), known.pathways.flatten(1), remixing.k)
        new = _towards(new, core, known.pathways[near], kernel, remixing.stay)
    return new


def oracle(
    model: nn.Module,
    tokens: Tensor,
    answers: Tensor,
    remixing: Remixing | None = None,
    *,
    lengths: Tensor | None = None,
    layers: Sequence[int] | None = None,
) -> Tensor:
    """The ceiling: pathways [B, L, N] by gradient descent on each sample's own loss, its answer known."""
    remixing, lengths = remixing or Remixing(), checked(tokens, lengths)
    chosen = critical(model) if layers is None else tuple(layers)
    found = read(model, tokens, lengths=lengths, layers=chosen)
    own = Reference(tokens, lengths, answers, found.embeddings, found.pathways, chosen)
    near = torch.arange(len(tokens))[:, None]
    return _descended(
        model, found.pathways, _core(found.pathways, remixing.core), own, near, torch.ones(near.shape), remixing
    )


@torch.no_grad()
def logits_with(
    model: nn.Module, tokens: Tensor, pathways: Tensor, layers: Sequence[int], *, lengths: Tensor | None = None
) -> Tensor:
    """[B, vocabulary] of the next token of tokens [B, n] with these pathways at the last."""
    lengths, out = checked(tokens, lengths), []
    for at in range(0, len(tokens), _AT_ONCE):
        part = slice(at, at + _AT_ONCE)
        ends = lengths[part] - 1
        with control(model, LastToken(pathways[part], tuple(layers), ends)):
            out.append(logits_of(model, tokens[part])[torch.arange(len(ends)), ends])
    return torch.cat(out)


def generate_with(
    model: nn.Module,
    tokens: Tensor,
    length: int,
    *,
    reference: Reference,
    pick: Pick = greedy,
    end: int = END,
    **options: Any,
) -> Tensor:
    """[batch, up to length] what comes after tokens [batch, n], read with remixed experts at their last token.

    `options` are those of `Remixing`. What is generated routes as the model does by itself."""
    pathways = remix(model, tokens, reference, Remixing(**options))
    ends = torch.full((len(tokens),), tokens.shape[1] - 1)
    with control(model, LastToken(pathways, reference.layers, ends)):
        state = prefill(model, tokens)
    return generate(model, tokens, length, pick=pick, state=state, end=end)


def neighbours(of: Tensor, among: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of among [R, e] for each of [B, e]: places and Gaussian weights that sum to 1, both [B, k]."""
    distances, near = torch.cdist(of.float(), among.float()).topk(k, dim=1, largest=False)
    squares = distances.square()
    width = squares.mean(1, keepdim=True).clamp_min(1e-12)
    return near, torch.softmax(-squares / (2 * width), dim=1)


def checked(tokens: Tensor, lengths: Tensor | None) -> Tensor:
    """Lengths [B]. Raises InvalidInput unless they and tokens [B, n] fit each other."""
    if tokens.dim() != 2 or not tokens.numel():
        raise InvalidInput(f"c3po: tokens of shape [batch, length] are needed, not {list(tokens.shape)}")
    if lengths is None:
        return torch.full((len(tokens),), tokens.shape[1])
    if lengths.shape != (len(tokens),) or int(lengths.min()) < 1 or int(lengths.max()) > tokens.shape[1]:
        raise InvalidInput(
            f"c3po: {len(tokens)} lengths from 1 to {tokens.shape[1]} are needed, not {lengths.tolist()}"
        )
    return lengths


def _core(pathways: Tensor, core: int) -> Tensor:
    """[B, L, N] whether an expert is among the `core` likeliest; all are where there are no more."""
    n = pathways.shape[-1]
    places = pathways.topk(min(core, n), -1).indices
    return torch.zeros_like(pathways, dtype=torch.bool).scatter_(-1, places, True)


def _towards(old: Tensor, core: Tensor, theirs: Tensor, kernel: Tensor, stay: float) -> Tensor:
    """Core experts go towards the kernel mean of theirs [B, k, L, N]; rows sum to 1 again."""
    mean = torch.einsum("bk,bkln->bln", kernel, theirs)
    new = torch.where(core, stay * old + (1 - stay) * mean, old)
    return new / new.sum(-1, keepdim=True)


def _descended(
    model: nn.Module, old: Tensor, core: Tensor, known: Reference, near: Tensor, kernel: Tensor, remixing: Remixing
) -> Tensor:
    """Gradient descent on the neighbours' weighted loss, near and kernel [B, k], a part of the samples at a time."""
    out, k = [], near.shape[1]
    each = max(1, _AT_ONCE // k)
    with frozen(model, evaluate=True), torch.enable_grad():
        for at in range(0, len(old), each):
            rows = near[at : at + each].reshape(-1)
            tokens, ends = known.tokens[rows], known.lengths[rows] - 1
            first = old[at : at + each].clamp_min(_LEAST).log()
            change = torch.zeros_like(first, requires_grad=True)
            for _ in range(remixing.steps):
                now = torch.softmax(first + change * core[at : at + each], -1)
                with control(model, LastToken(now.repeat_interleave(k, 0), known.layers, ends)):
                    logits = logits_of(model, tokens)[torch.arange(len(rows)), ends].float()
                losses = F.cross_entropy(logits, known.answers[rows], reduction="none")
                (slope,) = torch.autograd.grad((losses * kernel[at : at + each].reshape(-1)).sum(), change)
                change = (change - remixing.rate * slope).detach().requires_grad_()
            out.append(torch.softmax(first + change.detach() * core[at : at + each], -1))
    return torch.cat(out)
