"""GLIDER: LoRA experts routed by what the task is and by what each token needs.

Li, Yadav, Yoon, Peng, Sung, Bansal & Chen 2024 (arXiv 2410.07172). Global router: an instruction that describes the
query's task is embedded and compared (cosine) with the instruction embedding kept for each expert. Local router: in
each adapted module, a gate vector of each expert, trained with everything else frozen by `W x + sigmoid(v · x) B A x`,
as in PHATGOOSE (Muqeet et al. 2024, arXiv 2402.05859), and compared with the token at unit norm. Score of expert m:
`α · global_m + local_m`, the k best by softmax; `α = γ` where the best global score passes a threshold β, so where
some expert knows the task, else 0; γ = 100, β = 0.8 and k = 2 in the paper.

Our reading (†): the local score is √d · cos(v, x), the scale of PHATGOOSE's standardised product over √d; and both
scores are combined before the softmax. Ours: the writer of instructions is any function of the few examples of a
task; without a language model it is the examples themselves (`as_instruction`), whose embedding tells the task's
subject though not its wording. β depends on the encoder: `known_from` finds it from held-in queries alone.

Shapes: M experts, b queries, T tokens (those of query 0 first), embeddings [.., dim] with rows of unit length.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.models import Encoder
from weighup.moe.corpus import Corpus
from weighup.moe.lab import Training
from weighup.moe.multitask.lora import SHORT, Adapter, Gate, attached, fit_tensors, places
from weighup.moe.tiny import TinyMoELM
from weighup.moe.types import checked_k, checked_logits, top_k
from weighup.registry import Method

METHOD = Method(
    name="glider",
    room="moe",
    paper="Glider: Global and Local Instruction-Driven Expert Router (Li et al. 2024)",
    arxiv="2410.07172",
    command="weighup claims --room moe",
    claim_check="weighup.moe.multitask.glider_claim:check",
)

GAMMA, KNOWN, K = 100.0, 0.8, 2
GATES = replace(SHORT, steps=40)
"""How gates are trained; they are few numbers."""
Writer = Callable[[Sequence[str]], str]
"""The examples of a task -> an instruction that describes it."""


def as_instruction(examples: Sequence[str]) -> str:
    """The examples themselves, one a line: what stands for an instruction where no language model writes one."""
    return "\n".join(" ".join(one.split()) for one in examples)


def embedded(encoder: Encoder, tasks: Sequence[Sequence[str]], writer: Writer = as_instruction) -> Tensor:
    """[b, dim] unit rows: the embedded instruction of each task, from its few examples.

    Raises InvalidInput for no task, or one without an example.
    """
    if not tasks:
        raise InvalidInput("glider: there is no task to write an instruction for")
    for n, examples in enumerate(tasks):
        if not any(one.strip() for one in examples):
            raise InvalidInput(f"glider: task {n} has no example to write an instruction from")
    return torch.from_numpy(encoder.encode([writer(examples) for examples in tasks])).float()


@dataclass(frozen=True, eq=False)
class Specialist:
    """A LoRA expert with what routes to it: `gates` [d] of every module that it adapts, `embedding` [dim] of its
    instruction, unit length."""

    adapter: Adapter
    gates: Mapping[str, Tensor]
    embedding: Tensor


def specialist(adapter: Adapter, gates: Mapping[str, Tensor], instructions: Tensor) -> Specialist:
    """With the mean of embedded instructions [n, dim], scaled to unit length. Raises InvalidInput for none, or a gate
    that is missing."""
    if instructions.dim() != 2 or not len(instructions):
        raise InvalidInput(f"glider: embedded instructions [n, dim] are needed, not {list(instructions.shape)}")
    missing = sorted(adapter.parts.keys() - gates.keys())
    if missing:
        raise InvalidInput(f"glider: expert {adapter.name} has no gate for {missing[0]}")
    return Specialist(adapter, gates, F.normalize(instructions.mean(0), dim=0))


def fit_gates(
    model: TinyMoELM, adapter: Adapter, corpus: Corpus, training: Training = GATES, *, keep: bool = False
) -> dict[str, Tensor]:
    """The gate vector [d] of each module of an expert, trained on its own task while all else is frozen.

    They begin at zero: half of the adapter everywhere. `keep` them in the store of `moe.lab`.
    """
    there = places(model)
    start = {name: torch.zeros(_width(there[name])) for name in adapter.parts}

    def attach(to: TinyMoELM, gates: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        return attached(to, [adapter], lambda name, x: torch.sigmoid(x @ gates[name])[:, None])

    kind = f"glider gates {adapter.fingerprint}" if keep else ""
    return fit_tensors(model, corpus, training, start, attach, keep=kind)


def global_scores(queries: Tensor, experts: Tensor) -> Tensor:
    """[b, M] cosines of queries [b, dim] and experts' instructions [M, dim]."""
    if queries.dim() != 2 or experts.dim() != 2 or queries.shape[1] != experts.shape[1]:
        raise InvalidInput(f"glider: embeddings {list(queries.shape)} and {list(experts.shape)} do not fit")
    return F.normalize(queries, dim=-1) @ F.normalize(experts, dim=-1).T


def local_scores(x: Tensor, gates: Tensor) -> Tensor:
    """[T, M] of tokens x [T, d] and gate vectors [M, d], both at unit norm, times √d (†)."""
    return x.shape[-1] ** 0.5 * (F.normalize(x, dim=-1) @ F.normalize(gates, dim=-1).T)


def alpha(scores: Tensor, gamma: float = GAMMA, known: float = KNOWN) -> Tensor:
    """[b, 1] the weight of the global scores [b, M]: gamma where some expert knows the task, else 0."""
    return gamma * (scores.amax(-1, keepdim=True) > known).to(scores.dtype)


def known_from(scores: Tensor, own: Tensor) -> float:
    """The threshold β from held-in queries: scores [n, M], `own` [n] each query's own expert.

    A query with its own expert is a known task, the same query without it an unknown one (each expert is held out in
    turn). The threshold has the highest balanced accuracy between the two; in the middle of those that are equal.
    Raises InvalidInput for fewer than two experts or no query.
    """
    if scores.dim() != 2 or scores.shape[1] < 2 or not len(scores) or own.shape != scores.shape[:1]:
        raise InvalidInput(f"glider: scores of queries by two or more experts are needed, not {list(scores.shape)}")
    with_own = scores.amax(-1)
    without = scores.scatter(1, own[:, None], float("-inf")).amax(-1)
    edges = torch.cat((with_own, without)).unique()
    tried = torch.cat((edges[:1] - 1e-6, (edges[1:] + edges[:-1]) / 2))
    right = (with_own[None] > tried[:, None]).float().mean(1) + (without[None] <= tried[:, None]).float().mean(1)
    best = tried[right >= right.max() - 1e-9]
    return float(best[(len(best) - 1) // 2])


@dataclass(frozen=True, eq=False)
class Glider:
    """The router over specialists. `gamma` 0: token-only routing, by the local gates alone."""

    specialists: tuple[Specialist, ...]
    k: int = K
    gamma: float = GAMMA
    known: float = KNOWN

    def __post_init__(self) -> None:
        if not self.specialists:
            raise InvalidInput("glider: there are no experts to route among")
        checked_k(self.k, len(self.specialists))
        if self.gamma < 0 or not -1 <= self.known <= 1:
            raise InvalidInput(f"glider: gamma >= 0 and known in [-1, 1] are needed, not {self.gamma}, {self.known}")

    def scores(self, queries: Tensor) -> Tensor:
        """[b, M] global scores of embedded instructions [b, dim]."""
        found = global_scores(queries, torch.stack([one.embedding for one in self.specialists]))
        checked_logits(found)
        return found

    def gate(self, queries: Tensor) -> Gate:
        """What `lora.attached` asks for every module: weights [T, M], k of them not 0, of tokens of b queries."""
        scores = self.scores(queries)
        whole = alpha(scores, self.gamma, self.known) * scores

        def weigh(name: str, x: Tensor) -> Tensor:
            if len(x) % len(whole):
                raise InvalidInput(f"glider: {len(x)} tokens are not those of {len(whole)} queries of one length")
            # An expert that does not adapt this module has nothing to add here, whatever its gate.
            there = [name in one.gates for one in self.specialists]
            vectors = torch.stack([one.gates.get(name, x.new_zeros(x.shape[1])) for one in self.specialists])
            score = whole.repeat_interleave(len(x) // len(whole), 0) + local_scores(x, vectors)
            checked_logits(score)
            score = score.masked_fill(~torch.tensor(there), float("-inf"))
            best, values = top_k(score, self.k, renormalise=False)
            return torch.zeros_like(score).scatter(1, best, torch.softmax(values, -1))

        return weigh

    @contextmanager
    def routed(self, model: TinyMoELM, queries: Tensor) -> Iterator[None]:
        """The model with the specialists while open, for batches of b sequences; queries [b, dim], one a sequence."""
        with attached(model, [one.adapter for one in self.specialists], self.gate(queries)):
            yield


def _width(module: torch.nn.Module) -> int:
    return int(getattr(module, "width", 0) or module.in_features)
