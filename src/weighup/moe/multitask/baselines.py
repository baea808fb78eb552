"""What multi-task models with experts are made from, and the two that HoME is measured against.

MMoE: Ma et al. 2018 (KDD, "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts").
PLE: Tang et al. 2020 (RecSys, "Progressive Layered Extraction"), two levels of customised gate control. Both with ReLU
experts as published. Experts are batched weights; a gate's mask says which experts it may weigh.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Prediction:
    """`logits` [n, tasks]; of each level the experts' outputs [n, experts, width] and `gates` [n, gates, experts]."""

    logits: Tensor
    experts: tuple[Tensor, ...]
    gates: tuple[Tensor, ...]


class Inputs(nn.Module):
    """Identities and counts to one vector: an embedding for every field, `log(1 + count)` of the counts."""

    def __init__(self, sizes: Sequence[int], width: int, counts: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        for one in self.embeddings:
            nn.init.normal_(one.weight, std=0.1)
        self.out = len(sizes) * width + counts

    def forward(self, fields: Tensor, counts: Tensor) -> Tensor:
        """fields [n, fields], counts [n, counts] of 0 or more -> [n, out]."""
        embedded = [embedding(fields[:, n]) for n, embedding in enumerate(self.embeddings)]
        return torch.cat([*embedded, torch.log1p(counts)], 1)


class ExpertBank(nn.Module):
    """n one-layer experts side by side: `act(norm(x W_i + b_i))`, ReLU without norm or SiLU behind batch norm."""

    def __init__(self, n: int, width: int, out: int, *, normalise: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, width, out))
        self.bias = nn.Parameter(torch.zeros(n, out))
        nn.init.normal_(self.weight, std=(2 / width) ** 0.5)
        self.norm = nn.BatchNorm1d(n * out) if normalise else None

    def forward(self, x: Tensor) -> Tensor:
        """x [n_rows, width], or [n_rows, n, width] with an own input for each -> [n_rows, n, out]."""
        z = torch.einsum("rd,ndo->rno" if x.dim() == 2 else "rnd,ndo->rno", x, self.weight) + self.bias
        if self.norm is None:
            return torch.relu(z)
        return nn.functional.silu(self.norm(z.flatten(1)).view(z.shape))


class Towers(nn.Module):
    """One small network for each task: [n, tasks, width] -> [n, tasks]."""

    def __init__(self, tasks: int, width: int, hidden: int) -> None:
        super().__init__()
        self.first = ExpertBank(tasks, width, hidden, normalise=False)
        self.last = nn.Parameter(torch.randn(tasks, hidden) * hidden**-0.5)
        self.bias = nn.Parameter(torch.zeros(tasks))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("rth,th->rt", self.first(x), self.last) + self.bias


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the experts that each gate may weigh: logits [n, gates, experts], mask [gates, experts]."""
    return torch.softmax(logits.masked_fill(~mask, float("-inf")), -1)


class MMoE(nn.Module):
    """All tasks share all experts, each with an own softmax gate."""

    def __init__(self, width: int, tasks: int, *, experts: int = 8, out: int = 16, tower: int = 8) -> None:
        super().__init__()
        checked_sizes(width=width, tasks=tasks, experts=experts, out=out, tower=tower)
        self.width = width
        self.bank = ExpertBank(experts, width, out, normalise=False)
        self.gate = nn.Linear(width, tasks * experts)
        self.towers = Towers(tasks, out, tower)
        self.shape = (tasks, experts)

    def forward(self, v: Tensor) -> Prediction:
        """v [n, width]."""
        checked_rows(v, self.width)
        found = self.bank(v)
        gates = torch.softmax(self.gate(v).view(len(v), *self.shape), -1)
        return Prediction(self.towers(gates @ found), (found,), (gates,))


class PLE(nn.Module):
    """Shared experts and experts of each task, two levels; between them the shared ones' gate sees all."""

    def __init__(
        self, width: int, tasks: int, *, shared: int = 2, per_task: int = 1, out: int = 16, tower: int = 8
    ) -> None:
        super().__init__()
        checked_sizes(width=width, tasks=tasks, shared=shared, per_task=per_task, out=out, tower=tower)
        self.width, self.tasks, n = width, tasks, shared + tasks * per_task
        owner = torch.tensor([tasks] * shared + [task for task in range(tasks) for _ in range(per_task)])
        rows = torch.arange(tasks + 1)[:, None]
        self.register_buffer("owner", owner)
        self.register_buffer("mask", (owner == rows) | (owner == tasks) | (rows == tasks))
        self.first = ExpertBank(n, width, out, normalise=False)
        self.second = ExpertBank(n, out, out, normalise=False)
        self.first_gate = nn.Linear(width, (tasks + 1) * n)
        self.second_gate = nn.ModuleList(nn.Linear(out, n) for _ in range(tasks))
        self.towers = Towers(tasks, out, tower)

    def forward(self, v: Tensor) -> Prediction:
        """v [n, width]."""
        checked_rows(v, self.width)
        first = self.first(v)
        gates = masked_softmax(self.first_gate(v).view(len(v), *self.mask.shape), self.mask)
        between = gates @ first
        second = self.second(between[:, self.owner])
        logits = torch.stack([gate(between[:, task]) for task, gate in enumerate(self.second_gate)], 1)
        last = masked_softmax(logits, self.mask[: self.tasks])
        return Prediction(self.towers(last @ second), (first, second), (gates, last))


def zero_share(experts: Sequence[Tensor], *, within: float = 0.01) -> float:
    """Share of expert activations that are as good as zero: below `within` of the root mean square of their level.

    experts: [n, experts, width] of each level. 0 to 1. Raises InvalidInput without activations.
    """
    if not experts or not all(one.numel() for one in experts):
        raise InvalidInput("zero share: there are no activations")
    counted = [(one.abs() <= within * one.square().mean().sqrt()).float().mean() for one in experts]
    sizes = torch.tensor([one.numel() for one in experts], dtype=torch.float32)
    return float((torch.stack(counted) * sizes).sum() / sizes.sum())


def multi_task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, summed over tasks, mean over rows: logits and labels [n, tasks]."""
    return nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1).mean()


def checked_sizes(**sizes: int) -> None:
    """Raises InvalidInput naming a size below 1."""
    for name, value in sizes.items():
        if value < 1:
            raise InvalidInput(f"multi-task model: {name} of 1 or more is needed, not {value}")


def checked_rows(v: Tensor, width: int) -> None:
    """Raises InvalidInput unless v is [n, width] with a row or more, all of it numbers."""
    if v.dim() != 2 or v.shape[1] != width or not len(v):
        raise InvalidInput(f"multi-task model: rows of shape [n, {width}] are needed, not {list(v.shape)}")
    if torch.isnan(v.detach()).any():
        row = int(torch.isnan(v).any(1).nonzero()[0, 0])
        raise InvalidInput(f"multi-task model: row {row} of the input is not all numbers (NaN)")
