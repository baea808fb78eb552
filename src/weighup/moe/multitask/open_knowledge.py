"""K-shot experts: a few labelled examples choose LoRA experts and instructions from what is openly there.

Yang, Qin et al. 2024, "Leveraging Open Knowledge for Advancing Task Expertise in Large Language Models" (arXiv
2408.15915). From a pool of LoRA experts, choose by three things at once: how well an expert answers the K shots, the
perplexity that it gives their reasoning, and how little the parameters of the chosen are alike. An expert that answers
well though it finds the reasoning unlikely is a blind guesser. Then instructions like the K shots are taken from open
data, without near duplicates; the chosen experts begin a mixture, whose router is trained on shots and instructions.

Our reading (†): perplexity bounds the choice (`limit`, by default the median of the pool) and its rank counts beside
that of performance; diversity enters as maximal marginal relevance (Carbonell & Goldstein 1998), rank minus the
greatest similarity to one already chosen. Ours: shots have several answers to choose among, the one with the lowest
loss a byte is the expert's; only the router is trained, from zero, so that the mixture begins as the mean of its
experts. Shapes: M experts in the pool, n chosen, d the width of a module.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.models import Encoder
from weighup.moe.corpus import Corpus
from weighup.moe.lab import Training
from weighup.moe.multitask.lora import SHORT, Adapter, Gate, attached, fit_tensors, places, similarity
from weighup.moe.tiny import PAD, TinyMoELM
from weighup.moe.types import checked_k, top_k
from weighup.registry import Method

METHOD = Method(
    name="open_knowledge",
    room="moe",
    paper="Leveraging Open Knowledge for Advancing Task Expertise in Large Language Models (Yang et al. 2024)",
    arxiv="2408.15915",
    command="weighup claims --room moe",
    claim_check="weighup.moe.multitask.open_knowledge_claim:check",
)

Floats = NDArray[np.float64]
ROUTER = replace(SHORT, steps=40, rate=3e-2)
"""How the router is trained."""


@dataclass(frozen=True)
class Shot:
    """One labelled example: `reasoning`, the bytes before the answer; `choices`, answers of which `answer` is right."""

    reasoning: bytes
    choices: tuple[bytes, ...]
    answer: int

    def __post_init__(self) -> None:
        if len(self.reasoning) < 2 or not self.choices or not all(self.choices):
            raise InvalidInput("shot: reasoning of two bytes or more and answers that are not empty are needed")
        if not 0 <= self.answer < len(self.choices):
            raise InvalidInput(f"shot: answer {self.answer} is none of the {len(self.choices)} choices")

    @property
    def text(self) -> bytes:
        """Reasoning and the right answer."""
        return self.reasoning + self.choices[self.answer]


@dataclass(frozen=True, eq=False)
class Scores:
    """Of M experts on K shots: `performance` [M] share answered rightly; `perplexity` [M] a byte, of reasoning and
    right answer; `alike` [M, M] cosines of their parameters."""

    performance: Floats
    perplexity: Floats
    alike: Floats

    def __post_init__(self) -> None:
        m = len(self.performance)
        if not m or self.perplexity.shape != (m,) or self.alike.shape != (m, m):
            raise InvalidInput(
                f"scores: of the same experts are needed, not {self.performance.shape}, {self.perplexity.shape}, "
                f"{self.alike.shape}"
            )
        for name in ("performance", "perplexity", "alike"):
            if np.isnan(getattr(self, name)).any():
                raise InvalidInput(f"scores: {name} is not a number for an expert")


@dataclass(frozen=True)
class Choice:
    """`experts`: the places of the chosen, best first; `guessers`: of those who answered no worse than the median but
    found the reasoning too unlikely."""

    experts: tuple[int, ...]
    guessers: tuple[int, ...]


def examined(model: TinyMoELM, pool: Sequence[Adapter], shots: Sequence[Shot]) -> Scores:
    """Every expert of the pool on the shots. Raises InvalidInput for no shots or no experts."""
    if not shots or not pool:
        raise InvalidInput(f"open knowledge: shots and experts are needed, not {len(shots)} and {len(pool)}")
    found = []
    for adapter in pool:
        with attached(model, [adapter]):
            found.append(exam(model, shots))
    performance, perplexity = np.array(found, float).T
    return Scores(performance, perplexity, similarity(pool).double().numpy())


@torch.no_grad()
def exam(model: TinyMoELM, shots: Sequence[Shot]) -> tuple[float, float]:
    """Share of shots answered rightly, and the perplexity of reasoning with the right answer, of a model as it is."""
    rows = [(shot.reasoning + choice, len(shot.reasoning)) for shot in shots for choice in shot.choices]
    length = max(len(row) for row, _ in rows)
    tokens = torch.full((len(rows), length), PAD)
    answers = torch.zeros(len(rows), length - 1, dtype=torch.bool)
    for n, (row, start) in enumerate(rows):
        tokens[n, : len(row)] = torch.tensor(list(row))
        answers[n, start - 1 : len(row) - 1] = True
    logits = model(tokens[:, :-1]).logits
    told = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], ignore_index=PAD, reduction="none")
    real = tokens[:, 1:] != PAD
    by_answer = ((told * answers).sum(1) / answers.sum(1)).tolist()
    right, first, rights = 0, 0, []
    for shot in shots:
        own = by_answer[first : first + len(shot.choices)]
        right += own.index(min(own)) == shot.answer
        rights.append(first + shot.answer)
        first += len(shot.choices)
    mean = float(told[rights].sum() / real[rights].sum())
    return right / len(shots), float(np.exp(mean))


def choose_experts(scores: Scores, n: int, *, limit: float | None = None, diversity: float = 1.0) -> Choice:
    """n experts by performance, perplexity and diversity (weight `diversity`).

    `limit`: the highest perplexity that may be chosen; by default the pool's median. Between equals the lower
    perplexity decides. Raises InvalidInput where fewer than n are left, or for a negative `diversity`.
    """
    m = len(scores.performance)
    if not 1 <= n <= m or not diversity >= 0:
        raise InvalidInput(f"open knowledge: 1 to {m} experts, diversity >= 0 are needed, not {n}, {diversity}")
    bound = float(np.median(scores.perplexity)) if limit is None else limit
    fluent = scores.perplexity <= bound
    if int(fluent.sum()) < n:
        raise InvalidInput(f"open knowledge: {int(fluent.sum())} experts have a perplexity up to {bound:.4g}, not {n}")
    able = scores.performance >= np.median(scores.performance)
    quality = 1 - (_ranks(-scores.performance) + _ranks(scores.perplexity)) / (2 * max(1, m - 1))
    chosen: list[int] = []
    for _ in range(n):
        nearest = scores.alike[:, chosen].max(1) if chosen else np.zeros(m)
        gain = np.where(fluent, quality - diversity * nearest, -np.inf)
        gain[chosen] = -np.inf
        chosen.append(int(np.lexsort((scores.perplexity, -gain))[0]))
    return Choice(tuple(chosen), tuple(int(one) for one in np.flatnonzero(able & ~fluent)))


def _ranks(values: Floats) -> Floats:
    """0 for the lowest; equal values share their mean."""
    below = (values[None] < values[:, None]).sum(1)
    return below + ((values[None] == values[:, None]).sum(1) - 1) / 2


def select_instructions(shots: Floats, pool: Floats, n: int, *, duplicate: float = 0.9) -> list[int]:
    """Places of n instructions of the pool [P, dim], most like the shots [K, dim] first (by the nearest shot), each
    less than `duplicate` like all before it; unit rows.

    Raises InvalidInput for shapes that do not fit, `duplicate` outside (0, 1], or where fewer than n are left.
    """
    if shots.ndim != 2 or pool.ndim != 2 or shots.shape[1] != pool.shape[1] or not len(shots):
        raise InvalidInput(f"instructions: embeddings {shots.shape} of shots, {pool.shape} of the pool do not fit")
    if not 0 < duplicate <= 1 or n < 1:
        raise InvalidInput(f"instructions: duplicate in (0, 1], n >= 1 are needed, not {duplicate}, {n}")
    likeness = (pool @ shots.T).max(1)
    nearest = np.full(len(pool), -np.inf)  # of those taken so far
    taken: list[int] = []
    for place in np.argsort(-likeness, kind="stable"):
        if nearest[place] >= duplicate:
            continue
        taken.append(int(place))
        if len(taken) == n:
            return taken
        np.maximum(nearest, pool @ pool[place], out=nearest)
    raise InvalidInput(f"instructions: {len(taken)} of {len(pool)} are left without duplicates, not {n}")


@dataclass(frozen=True, eq=False)
class Mixture:
    """Experts and the router [n, d] of every module; k of them active for a token (all by default)."""

    experts: tuple[Adapter, ...]
    routers: Mapping[str, Tensor]
    k: int

    def gate(self) -> Gate:
        """What `lora.attached` asks for every module."""
        return _gate(self.routers, self.k)

    @contextmanager
    def attached(self, model: TinyMoELM) -> Iterator[None]:
        """The model with the mixture while open."""
        with attached(model, self.experts, self.gate()):
            yield


def mixture(
    model: TinyMoELM,
    experts: Sequence[Adapter],
    texts: Sequence[bytes],
    training: Training = ROUTER,
    *,
    k: int | None = None,
) -> Mixture:
    """The chosen experts as a mixture, its router trained on texts (shots and instructions); all else is as it was.

    Raises InvalidInput for no experts, k outside 1 to their number, or texts shorter in all than the model's context.
    """
    if not experts:
        raise InvalidInput("open knowledge: a mixture needs an expert or more")
    active = len(experts) if k is None else checked_k(k, len(experts))
    stream = np.frombuffer(b"\n\n".join(texts), np.uint8)
    if len(stream) <= model.config.context:
        raise InvalidInput(f"open knowledge: {len(stream)} bytes to train on are not more than the model's context")
    there = places(model)
    start = {
        name: torch.zeros(len(experts), int(getattr(there[name], "width", 0) or there[name].in_features))
        for name in there
        if any(name in one.parts for one in experts)
    }

    def attach(to: TinyMoELM, routers: Mapping[str, Tensor]) -> AbstractContextManager[Any]:
        return attached(to, experts, _gate(routers, active))

    corpus = Corpus(("task",), {("task", "train"): stream}, "task")
    return Mixture(tuple(experts), fit_tensors(model, corpus, training, start, attach), active)


def _gate(routers: Mapping[str, Tensor], k: int) -> Gate:
    def weigh(name: str, x: Tensor) -> Tensor:
        probs = torch.softmax(x @ routers[name].T, -1)
        if k == probs.shape[1]:
            return probs
        best, values = top_k(probs, k)
        return torch.zeros_like(probs).scatter(1, best, values)

    return weigh


def open_knowledge(
    model: TinyMoELM,
    pool: Sequence[Adapter],
    shots: Sequence[Shot],
    instructions: Sequence[str],
    encoder: Encoder,
    *,
    n_experts: int = 3,
    n_instructions: int = 32,
    training: Training = ROUTER,
) -> tuple[Mixture, Choice]:
    """All of it: choose experts on the shots, instructions like the shots, and train the mixture's router on both."""
    choice = choose_experts(examined(model, pool, shots), n_experts)
    near = encoder.encode([shot.text.decode("utf-8", "ignore") for shot in shots]).astype(np.float64)
    taken = select_instructions(near, encoder.encode(instructions).astype(np.float64), n_instructions)
    texts = [*(shot.text for shot in shots), *(instructions[place].encode() for place in taken)]
    return mixture(model, [pool[place] for place in choice.experts], texts, training), choice
