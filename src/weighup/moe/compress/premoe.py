"""PreMoe: keep only the experts that a task needs, and find the task by the query's own router logits.

"PreMoe: Proactive Inference for Efficient Mixture-of-Experts" (Wang et al. 2025, arXiv 2505.17639). TCESS, the
task-conditioned expected selection score of an expert: the mean over a task's tokens of the router's value where the
expert is among the token's top K_a, else 0; only tokens of which the router is sure (threshold r) count. PEP,
probabilistic expert pruning: the M experts of the highest score stay in each layer. TAER, task-adaptive expert
retrieval: one score pattern is stored for each task; a query's pattern, made from its own logits, finds the nearest,
and only that task's experts are loaded.

Faithful: the score with K_a = 1 by default, the choice of M a layer, retrieval of the nearest stored pattern. † Ours:
the value is the probability (softmax over all N) by default; `value="logit"` takes logits less the token's mean, which
softmax does not see, so that a chosen expert is not scored below one that is never chosen. A token is sure if its
highest probability is r or more. Nearest is by Euclidean distance over all layers.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from weighup.errors import InvalidInput
from weighup.moe.compress.prune import allowing
from weighup.moe.corpus import Batch
from weighup.moe.policy import Policy
from weighup.moe.running import logits_of
from weighup.moe.tiny import TinyMoELM
from weighup.moe.trace import RoutingTrace, tracing
from weighup.registry import Method

METHOD = Method(
    name="premoe",
    room="moe",
    paper="PreMoe: Proactive Inference for Efficient Mixture-of-Experts (Wang et al. 2025)",
    arxiv="2505.17639",
    command="weighup moe prune MODEL --method premoe",
    claim_check="weighup.moe.compress.premoe_claim:check",
)

Value = Literal["probability", "logit"]
Floats = NDArray[np.float64]
LEAST = 256
"""Tokens below which a task's pattern says too little (a query may be shorter)."""
_PIECE = 65_536


@dataclass(frozen=True)
class Scoring:
    """`ka`: how many of a token's experts count; `r`: probability that its first must have, 0 to 1; `value`: what is
    averaged."""

    ka: int = 1
    r: float = 0.0
    value: Value = "probability"

    def __post_init__(self) -> None:
        if self.ka < 1 or not 0 <= self.r <= 1:
            raise InvalidInput(f"premoe: ka of 1 or more and r from 0 to 1 are needed, not ka={self.ka}, r={self.r}")
        if self.value not in ("probability", "logit"):
            raise InvalidInput(f"premoe: probability or logit, not {self.value!r}")


def tcess(trace: RoutingTrace, scoring: Scoring = Scoring(), *, least: int = LEAST) -> Floats:
    """[L, N] the task-conditioned expected selection score of every expert, on a trace of the task's tokens.

    Raises InvalidInput for a trace without logits or with NaN in them, of fewer than `least` tokens, K_a > N, or a
    layer in which no token is sure.
    """
    if trace.logits is None:
        raise InvalidInput("premoe: the trace has no logits; record it with logits=True")
    if len(trace) < max(1, least):
        raise InvalidInput(f"premoe: {len(trace)} tokens are too few; {max(1, least)} or more are needed")
    if scoring.ka > trace.n_experts:
        raise InvalidInput(f"premoe: ka={scoring.ka} where there are {trace.n_experts} experts")
    found = np.zeros((trace.layers, trace.n_experts))
    for layer in range(trace.layers):
        sure = 0
        for at in range(0, len(trace), _PIECE):
            logits = trace.logits[layer, at : at + _PIECE].astype(np.float64)
            if np.isnan(logits).any():
                raise InvalidInput(f"premoe: logits of layer {layer} are not numbers (NaN)")
            powers = np.exp(logits - logits.max(1, keepdims=True))
            probs = powers / powers.sum(1, keepdims=True)
            kept = probs.max(1) >= scoring.r
            sure += int(kept.sum())
            values = probs if scoring.value == "probability" else logits - logits.mean(1, keepdims=True)
            best = np.argpartition(-logits[kept], scoring.ka - 1, axis=1)[:, : scoring.ka]
            chosen = np.take_along_axis(values[kept], best, 1)
            found[layer] += np.bincount(best.ravel(), chosen.ravel(), minlength=trace.n_experts)
        if not sure:
            raise InvalidInput(f"premoe: no token of layer {layer} reaches r={scoring.r}; take a lower threshold")
        found[layer] /= sure
    return found


def frequency(trace: RoutingTrace) -> Floats:
    """[L, N] the share of tokens that used each expert: what frequency pruning ranks by."""
    if not len(trace):
        raise InvalidInput("frequency: the trace holds no token")
    return np.stack([trace.chosen(layer).mean(0) for layer in range(trace.layers)]).astype(np.float64)


def keep_top(scores: Floats, m: int) -> list[list[int]]:
    """PEP: the m experts of the highest score [L, N] in each layer, ascending; of equals the first.

    Raises InvalidInput unless 1 <= m <= N.
    """
    if not 1 <= m <= scores.shape[1]:
        raise InvalidInput(f"premoe: between 1 and the {scores.shape[1]} experts may be kept, not {m}")
    order = np.argsort(-scores, axis=1, kind="stable")[:, :m]
    return [sorted(int(expert) for expert in row) for row in order]


@dataclass(frozen=True, eq=False)
class Patterns:
    """TAER's store: a score pattern [L, N] of each task, and how they were scored."""

    scores: Mapping[str, Floats]
    scoring: Scoring = Scoring()

    def __post_init__(self) -> None:
        if not self.scores or len({one.shape for one in self.scores.values()}) > 1:
            raise InvalidInput("premoe: patterns of one shape [L, N] are needed, at least one")

    def nearest(self, query: RoutingTrace) -> str:
        """The task whose pattern is nearest to that of a query's own tokens. Raises InvalidInput for another shape."""
        own = tcess(query, self.scoring, least=1)
        shape = next(iter(self.scores.values())).shape
        if own.shape != shape:
            raise InvalidInput(f"premoe: the query's layers and experts are {own.shape}, the patterns' {shape}")
        return min(self.scores, key=lambda task: float(np.square(self.scores[task] - own).sum()))

    def policy(self, task: str, m: int) -> Policy:
        """Only the m experts a layer that a task needs. Raises InvalidInput for a task that is not there, or m."""
        if task not in self.scores:
            raise InvalidInput(f"premoe: no pattern of {task!r}; there are {', '.join(self.scores)}")
        scores = self.scores[task]
        return allowing(keep_top(scores, m), scores.shape[1])

    def write(self, path: Path) -> None:
        """As .npz."""
        told = {"ka": self.scoring.ka, "r": self.scoring.r, "value": self.scoring.value, "tasks": list(self.scores)}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(file, scores=np.stack(list(self.scores.values())), told=np.array(json.dumps(told)))

    @classmethod
    def read(cls, path: Path) -> Patterns:
        """Raises InvalidInput for a file that holds no patterns."""
        try:
            with np.load(path, allow_pickle=False) as found:
                told, scores = json.loads(str(found["told"])), found["scores"]
            tasks = dict(zip(told.pop("tasks"), scores, strict=True))
            return cls(tasks, Scoring(**told))
        except (OSError, KeyError, ValueError, TypeError, EOFError) as error:
            raise InvalidInput(f"{path}: holds no patterns of premoe: {error}") from error


def patterns(trace: RoutingTrace, scoring: Scoring = Scoring(), *, least: int = LEAST) -> Patterns:
    """A pattern for each label of a trace. Raises InvalidInput for a trace without labels, or as `tcess`."""
    if trace.labels is None or not trace.names:
        raise InvalidInput("premoe: the trace has no labels; a task name for each token is needed")
    return Patterns({name: tcess(trace.of(name), scoring, least=least) for name in trace.names}, scoring)


@torch.no_grad()
def retrieve(model: nn.Module, store: Patterns, tokens: torch.Tensor, m: int) -> tuple[str, Policy]:
    """TAER: read a query's tokens [batch, length] once with all experts; the task that is nearest, and the policy that
    keeps its m experts a layer (for `control`; `prune` makes a smaller model of the same choice)."""
    with tracing(model) as recorder:
        logits_of(model, tokens)
    task = store.nearest(recorder.trace)
    return task, store.policy(task, m)


@torch.no_grad()
def labelled(model: TinyMoELM, batches: Iterable[Batch], names: Sequence[str]) -> RoutingTrace:
    """The trace of a corpus's batches, each token labelled by its domain. Raises InvalidInput for no batch."""
    with tracing(model, names=names) as recorder:
        for batch in batches:
            recorder.labels, recorder.tokens = batch.domains, batch.tokens
            model(torch.from_numpy(batch.tokens))
    return recorder.trace
