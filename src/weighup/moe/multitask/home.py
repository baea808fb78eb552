"""HoME: hierarchy of multi-gate experts for many tasks of different density.

Paper: HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou (Wang et al. 2024, arXiv 2408.05430).
It names three failures of MMoE and PLE in production (experts whose ReLU is nearly always 0, shared experts that one
task keeps for itself, sparse tasks whose own experts do not learn) and answers with four parts:

- expert normalisation: `SiLU(BatchNorm(x W + b))`;
- hierarchy mask: experts of all, of a group of tasks, of a task; a first level abstracts for all and for each group,
  the second gives a task the experts of all, of its group and its own;
- feature gate: an expert's input times `Σ_j softmax(v W)_j · 2 sigmoid(v B_j A_j)`, small matrices B_j A_j;
- self gate: `+ Σ gate · own experts`, a softmax, or a sigmoid where there is one expert only.

Faithful: these four and what feeds what, as we read the paper †. Ours †: experts are one layer; all LoRA-like gates of
an expert are of one rank (it may be several); A starts at 0, so that a feature gate starts as 1; the shared first level
has a self gate too. Rows v: [n, width]; logits [n, tasks].
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.multitask.baselines import (
    ExpertBank,
    Prediction,
    Towers,
    checked_rows,
    checked_sizes,
    masked_softmax,
)
from weighup.registry import Method

METHOD = Method(
    name="home",
    room="moe",
    paper="HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou (Wang et al. 2024)",
    arxiv="2408.05430",
    command="weighup claims --room moe",
    claim_check="weighup.moe.multitask.home_claim:check",
)


class HoME(nn.Module):
    """The whole model after the embeddings. Each of the four parts can be switched off.

    `groups`: the group of each task, 0 to G-1. `shared`, `per_group`, `per_task`: how many experts each has.
    """

    def __init__(
        self,
        width: int,
        groups: Sequence[int],
        *,
        shared: int = 2,
        per_group: int = 1,
        per_task: int = 1,
        out: int = 16,
        tower: int = 8,
        loras: int = 2,
        rank: int = 4,
        normalise: bool = True,
        hierarchy: bool = True,
        feature_gate: bool = True,
        self_gate: bool = True,
    ) -> None:
        """Raises InvalidInput for sizes below 1 or groups that are not 0 to G-1."""
        super().__init__()
        checked_sizes(width=width, shared=shared, per_group=per_group, per_task=per_task, out=out, tower=tower)
        checked_sizes(loras=loras, rank=rank)
        self.width, self.groups, n_groups = width, checked_groups(groups), max(groups) + 1
        first, second = hierarchy_masks(groups, shared, per_group, per_task)
        if not hierarchy:
            first, second = torch.ones_like(first), torch.ones_like(second)
        common = shared + n_groups * per_group
        # Whose output of the first level each expert of the second gets: a group's, or (last) everybody's.
        of_common = [n_groups] * shared + [group for group in range(n_groups) for _ in range(per_group)]
        of_tasks = [group for group in groups for _ in range(per_task)]
        self.register_buffer("source", torch.tensor(of_common + of_tasks))
        self.register_buffer("group", torch.tensor(list(groups)))
        self.meta = _Level(common, width, out, normalise, loras if feature_gate else 0, rank)
        self.level = _Level(common + len(of_tasks), out, out, normalise, loras if feature_gate else 0, rank)
        self.meta_gate = _Gates(width, first)
        self.gate = _Gates(2 * out, second)
        owner = torch.tensor(of_common)
        own_first = owner == torch.tensor([*range(n_groups), n_groups])[:, None]
        own_second = torch.zeros_like(second)
        own_second[:, common:] = torch.eye(len(groups), dtype=torch.bool).repeat_interleave(per_task, 1)
        self.meta_self = _Gates(width, own_first, alone=True) if self_gate else None
        self.self_gate = _Gates(2 * out, own_second, alone=True) if self_gate else None
        self.towers = Towers(len(groups), out, tower)

    def forward(self, v: Tensor) -> Prediction:
        """v [n, width]. Raises InvalidInput for another width, no rows, or NaN."""
        checked_rows(v, self.width)
        meta = self.meta(v[:, None].expand(-1, self.meta.n, -1))
        at = v[:, None].expand(-1, self.meta_gate.gates, -1)
        first = self.meta_gate(at)
        z = first @ meta
        if self.meta_self is not None:
            z = z + self.meta_self(at) @ meta
        found = self.level(z[:, self.source])
        # A task's gate sees its group's abstraction and everybody's.
        at = torch.cat((z[:, self.group], z[:, -1:].expand(-1, len(self.groups), -1)), -1)
        second = self.gate(at)
        y = second @ found
        if self.self_gate is not None:
            y = y + self.self_gate(at) @ found
        return Prediction(self.towers(y), (meta, found), (first, second))


class FeatureGate(nn.Module):
    """For each of n experts an elementwise gate on its input, in (0, 2): [rows, n, width] -> the same shape."""

    def __init__(self, n: int, width: int, loras: int, rank: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(n, width, loras) * width**-0.5)
        self.b = nn.Parameter(torch.randn(n, loras, width, rank) * width**-0.5)
        self.a = nn.Parameter(torch.zeros(n, loras, rank, width))

    def forward(self, x: Tensor) -> Tensor:
        """Gates, not yet applied."""
        weights = torch.softmax(torch.einsum("rnd,ndl->rnl", x, self.mix), -1)
        inner = torch.einsum("rnd,nldk->rnlk", x, self.b)
        gates = 2 * torch.sigmoid(torch.einsum("rnlk,nlkd->rnld", inner, self.a))
        return torch.einsum("rnl,rnld->rnd", weights, gates)


class _Level(nn.Module):
    """Experts behind their feature gates: [rows, n, width] -> [rows, n, out]."""

    def __init__(self, n: int, width: int, out: int, normalise: bool, loras: int, rank: int) -> None:
        super().__init__()
        self.n = n
        self.feature = FeatureGate(n, width, loras, rank) if loras else None
        self.bank = ExpertBank(n, width, out, normalise=normalise)

    def forward(self, x: Tensor) -> Tensor:
        return self.bank(x if self.feature is None else x * self.feature(x))


class _Gates(nn.Module):
    """Gates over the experts that a mask [gates, experts] allows: softmax, or with `alone` a sigmoid for one."""

    def __init__(self, width: int, mask: Tensor, *, alone: bool = False) -> None:
        super().__init__()
        self.gates = len(mask)
        self.weight = nn.Parameter(torch.randn(len(mask), width, mask.shape[1]) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(mask.shape))
        self.register_buffer("mask", mask)
        self.register_buffer("single", (mask.sum(1) == 1)[:, None] & mask if alone else torch.zeros_like(mask))

    def forward(self, x: Tensor) -> Tensor:
        """x [rows, gates, width] -> [rows, gates, experts], 0 where masked."""
        logits = torch.einsum("rgd,gde->rge", x, self.weight) + self.bias
        return torch.where(self.single, torch.sigmoid(logits), masked_softmax(logits, self.mask))


def hierarchy_masks(groups: Sequence[int], shared: int, per_group: int, per_task: int) -> tuple[Tensor, Tensor]:
    """Which experts a gate may weigh: [groups + 1, common experts] of the first level (everybody's row comes last and
    sees all), [tasks, all experts] of the second. Experts stand in the order: everybody's, groups', tasks'."""
    n_groups = max(checked_groups(groups)) + 1
    owner = torch.tensor([-1] * shared + [g for g in range(n_groups) for _ in range(per_group)])
    rows = torch.arange(n_groups + 1)[:, None]
    first = (owner == -1) | (owner == rows) | (rows == n_groups)
    of_group = (owner == -1) | (owner == torch.tensor(list(groups))[:, None])
    own = torch.eye(len(groups), dtype=torch.bool).repeat_interleave(per_task, 1)
    return first, torch.cat((of_group, own), 1)


def checked_groups(groups: Sequence[int]) -> tuple[int, ...]:
    """The groups as a tuple. Raises InvalidInput unless they are 0 to G-1, each with a task."""
    if not groups or sorted(set(groups)) != list(range(max(groups) + 1)):
        raise InvalidInput(f"home: groups numbered from 0 without gaps are needed, one a task, not {list(groups)}")
    return tuple(groups)
