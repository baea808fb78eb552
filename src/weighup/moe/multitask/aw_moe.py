"""AW-MoE: a ranker whose experts are weighed by attention over a user's behaviours, made steady by contrast.

Paper: Attention Weighted Mixture of Experts with Contrastive Learning for Personalized Ranking in E-commerce (Gong et
al. 2023, arXiv 2306.05011). Faithful, as we read it †: input network (behaviours summed with the weights of an
activation unit that sees behaviour and target), K experts on it, gate network: for every behaviour a gate unit gives K
numbers and an activation unit its weight, `g = Σ_j a_j g_j` without a softmax; score = Σ_k g_k s_k; the loss adds
`weight · InfoNCE` between the gate vectors of a sequence and of its copy with behaviours masked at random, the other
rows' vectors being the negatives. Ours †: cosine similarity with a temperature (the paper leaves its similarity open),
all rows of a batch as negatives except those of equal behaviours, a learned vector g_0 added to g, which is what a
user without behaviours gets (theirs have a behaviour at least), and gate units that start small.

Behaviours: [n, L] item numbers, 0 where there is none; target [n]; item features [items + 1, f]; logits [n].
`MoERanker` is the same with an ordinary gate: softmax of a small network on mean behaviour and target.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weighup.errors import InvalidInput
from weighup.moe.multitask.baselines import ExpertBank, checked_sizes
from weighup.registry import Method

METHOD = Method(
    name="aw_moe",
    room="moe",
    paper=(
        "Attention Weighted Mixture of Experts with Contrastive Learning for Personalized Ranking in E-commerce "
        "(Gong et al. 2023)"
    ),
    arxiv="2306.05011",
    command="weighup claims --room moe",
    claim_check="weighup.moe.multitask.aw_moe_claim:check",
)


class Items(nn.Module):
    """An item's vector: its embedding and a linear map of what is known of it. Item 0 is none."""

    def __init__(self, features: Tensor, width: int) -> None:
        super().__init__()
        if features.dim() != 2 or len(features) < 2 or torch.isnan(features).any():
            raise InvalidInput(f"aw_moe: item features of shape [items + 1, f] are needed, not {list(features.shape)}")
        self.register_buffer("features", features)
        self.embedding = nn.Embedding(len(features), width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.known = nn.Linear(features.shape[1], width)

    def forward(self, items: Tensor) -> Tensor:
        """Any shape of item numbers -> the same shape and [width]."""
        return self.embedding(items) + self.known(self.features[items])


class Ranker(nn.Module, ABC):
    """Input network, experts, and a gate that subclasses give: logits [n] = Σ_k gate_k · expert_k."""

    def __init__(self, features: Tensor, *, experts: int = 4, width: int = 16, hidden: int = 16) -> None:
        """Raises InvalidInput for sizes below 1 or features that are not [items + 1, f]."""
        super().__init__()
        checked_sizes(experts=experts, width=width, hidden=hidden)
        self.experts = experts
        self.items = Items(features, width)
        self.attention = _unit(3 * width, hidden, 1)
        self.bank = ExpertBank(experts, 2 * width, 2 * hidden, normalise=False)
        self.last = nn.Parameter(torch.randn(experts, 2 * hidden) * (2 * hidden) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, behaviours: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """behaviours [n, L], target [n] -> logits [n] and gate vectors [n, experts].

        Raises InvalidInput for other shapes, no rows or an item that is not there.
        """
        self.check(behaviours, target)
        past, item = self.items(behaviours), self.items(target)
        present = (behaviours > 0)[..., None]
        weights = self.attention(_pair(past, item)) * present
        pooled = (weights * past).sum(1)
        inner = self.bank(torch.cat((pooled, item), 1))
        scores = torch.einsum("nkh,kh->nk", inner, self.last)
        gate = self.gate(past, item, present)
        return (gate * scores).sum(1) + self.bias, gate

    @abstractmethod
    def gate(self, past: Tensor, item: Tensor, present: Tensor) -> Tensor:
        """past [n, L, width], item [n, width], present [n, L, 1] -> [n, experts]."""

    def check(self, behaviours: Tensor, target: Tensor) -> None:
        """Raises InvalidInput for what cannot be ranked."""
        if behaviours.dim() != 2 or not behaviours.numel() or target.shape != behaviours.shape[:1]:
            raise InvalidInput(
                "aw_moe: behaviours [n, L] and target [n] of one row or more are needed, not "
                f"{list(behaviours.shape)} and {list(target.shape)}"
            )
        least, most, known = int(behaviours.min()), int(behaviours.max()), len(self.items.features) - 1
        if least < 0 or max(most, int(target.max())) > known or int(target.min()) < 1:
            raise InvalidInput(f"aw_moe: items are numbered 1 to {known}, 0 for none (never as the target)")


class AWMoE(Ranker):
    """The gate is a sum over behaviours: activation unit times gate unit, and g_0."""

    def __init__(self, features: Tensor, *, experts: int = 4, width: int = 16, hidden: int = 16) -> None:
        super().__init__(features, experts=experts, width=width, hidden=hidden)
        self.gate_unit = _unit(3 * width, hidden, experts)
        self.activation_unit = _unit(3 * width, hidden, 1)
        self.default = nn.Parameter(torch.full((experts,), 1.0 / experts))
        # A sum over many behaviours would start as noise far above g_0: gates begin close to the plain mean of experts.
        with torch.no_grad():
            self.gate_unit[-1].weight.mul_(0.1)
            self.gate_unit[-1].bias.zero_()

    def gate(self, past: Tensor, item: Tensor, present: Tensor) -> Tensor:
        pairs = _pair(past, item)
        return self.default + (self.activation_unit(pairs) * self.gate_unit(pairs) * present).sum(1)

    def gates(self, behaviours: Tensor, target: Tensor) -> Tensor:
        """Gate vectors alone, [n, experts]."""
        self.check(behaviours, target)
        return self.gate(self.items(behaviours), self.items(target), (behaviours > 0)[..., None])


class MoERanker(Ranker):
    """The baseline: a softmax gate on the mean behaviour and the target."""

    def __init__(self, features: Tensor, *, experts: int = 4, width: int = 16, hidden: int = 16) -> None:
        super().__init__(features, experts=experts, width=width, hidden=hidden)
        self.gate_network = _unit(2 * width, 2 * hidden, experts)

    def gate(self, past: Tensor, item: Tensor, present: Tensor) -> Tensor:
        mean = (past * present).sum(1) / present.sum(1).clamp_min(1)
        return torch.softmax(self.gate_network(torch.cat((mean, item), 1)), -1)


def ranking_loss(
    model: Ranker,
    behaviours: Tensor,
    target: Tensor,
    labels: Tensor,
    *,
    weight: float = 0.05,
    share: float = 0.3,
    temperature: float = 0.2,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Binary cross-entropy, and for AW-MoE `weight` times the contrast. A scalar."""
    logits, gate = model(behaviours, target)
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    if not isinstance(model, AWMoE) or not weight:
        return loss
    other = model.gates(masked(behaviours, share, generator), target)
    return loss + weight * info_nce(gate, other, temperature, same=equal_rows(behaviours))


def masked(behaviours: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """A copy in which each behaviour [n, L] is left out (0) with probability `share`, in [0, 1).

    Raises InvalidInput for another share.
    """
    if not 0 <= share < 1:
        raise InvalidInput(f"aw_moe: a masked share in [0, 1) is needed, not {share}")
    return behaviours * (torch.rand(behaviours.shape, generator=generator) >= share)


def info_nce(a: Tensor, b: Tensor, temperature: float = 0.2, *, same: Tensor | None = None) -> Tensor:
    """-mean_i log( exp(cos(a_i, b_i)/t) / Σ_j exp(cos(a_i, b_j)/t) ), a and b [n, k]; van den Oord et al. 2018.

    `same` [n, n]: pairs that are no negatives. Raises InvalidInput for other shapes, no rows, a temperature of 0 or
    below, or NaN.
    """
    if a.shape != b.shape or a.dim() != 2 or not len(a):
        raise InvalidInput(f"InfoNCE: two arrays of one shape [n, k] are needed, not {list(a.shape)}, {list(b.shape)}")
    if not temperature > 0:
        raise InvalidInput(f"InfoNCE: a positive temperature is needed, not {temperature}")
    if torch.isnan(a.detach().sum() + b.detach().sum()):
        raise InvalidInput("InfoNCE: the vectors are not all numbers (NaN)")
    near = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
    if same is not None:
        own = torch.eye(len(a), dtype=torch.bool, device=a.device)
        near = near.masked_fill(same & ~own, float("-inf"))
    return F.cross_entropy(near, torch.arange(len(a), device=a.device))


def equal_rows(behaviours: Tensor) -> Tensor:
    """[n, n] whether two rows [n, L] are the same."""
    _, group = torch.unique(behaviours, dim=0, return_inverse=True)
    return group[:, None] == group[None]


def _pair(past: Tensor, item: Tensor) -> Tensor:
    """[n, L, 3 width]: behaviour, target, their product."""
    wide = item[:, None].expand_as(past)
    return torch.cat((past, wide, past * wide), -1)


def _unit(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))
