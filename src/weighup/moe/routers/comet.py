"""COMET: k binary trees over the experts, so that at most k of them are chosen and yet every gate has a gradient.

Ibrahim et al. 2023, "COMET: Learning Cardinality Constrained Mixture of Experts with Trees and Local Search" (KDD,
arXiv 2306.02824). Faithful: each of k trees has a hyperplane a split with the smooth-step gate (Hazimeh et al. 2020,
arXiv 2002.07772: 0 up to −γ/2, 1 from γ/2 on, a cubic between), so gates become exactly 0 or 1; a leaf's probability
is the product of the gates on its path; one softmax runs over the leaves of all trees, and leaves of the same expert
are summed; the entropy of the leaf probabilities is added to the loss and drives gates hard; permutation-based local
search learns early in training, by a Sinkhorn relaxation whose temperature falls, which expert stands at which leaf,
and then keeps the nearest permutation (linear assignment).

Our reading (†): "path probability × leaf logits" under a softmax is weight ∝ v · exp(aᵀx), since only so does a leaf
that is not reached get nothing. Ours: outside training gates are rounded to 0 or 1, so that no token uses more than k
experts whatever the regularisation reached (`extra["soft"]` is the share of gates that are not yet hard); the
temperature falls geometrically over the first `search` of training. Where N is no power of two, splits above leaves
that hold no expert always go the other way.

Shapes: tokens [T, d]; leaf probabilities v [T, k, N]; permutations [k, N leaves, N experts]; gates [T, N].
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.types import Context, Router, Routing, checked_k, checked_logits, checked_tokens
from weighup.registry import Method

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

METHOD = Method(
    name="comet",
    room="moe",
    paper="COMET: Learning Cardinality Constrained Mixture of Experts with Trees and Local Search "
    "(Ibrahim et al. 2023)",
    arxiv="2306.02824",
    command="weighup moe train --router comet",
    claim_check="weighup.moe.routers.comet_claim:check",
)
_HOT, _COLD = 1.0, 0.05
"""Temperature of the relaxed permutations at the beginning and at the end of the search."""
_SINKHORN = 20


class GateRouter(Router, ABC):
    """A router whose gates [T, N] sum to 1 and are exactly 0 for what is not chosen; logits are their logarithms.

    Subclasses give `gates`. `gamma`: width of the smooth step; `entropy`: weight of the regularisation.
    """

    def __init__(self, width: int, n_experts: int, k: int, *, gamma: float, entropy: float) -> None:
        """Raises InvalidInput for k outside 1 to N, gamma not above 0, or a negative entropy weight."""
        super().__init__(width, n_experts, k)
        if not gamma > 0:
            raise InvalidInput(f"gamma: a width above 0 is needed, not {gamma}")
        if not entropy >= 0:
            raise InvalidInput(f"entropy: a weight of 0 or more is needed, not {entropy}")
        self.gamma, self.entropy = gamma, entropy
        del self.weight  # the base's linear scores are not used

    @abstractmethod
    def gates(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Gates [T, N], the mean entropy of the selectors, and the share of soft splits (scalars)."""

    def forward(self, x: Tensor, context: Context | None = None) -> Routing:
        """x [T, d] -> Routing; slots beyond what a token uses are masked."""
        checked_tokens(x, self.width)
        context = context or Context(1, len(x))
        gates, entropy, soft = self.gates(x, context)
        checked_logits(gates)
        routing = self.choose(logged(gates), context)
        return routing.with_(aux_loss=self.entropy * entropy, extra={"soft": float(soft)})

    def score(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """Log gates [T, N], −inf for experts that are not chosen."""
        return logged(self.gates(x, context)[0]), None

    def choose(self, logits: Tensor, context: Context, *, k: int | None = None) -> Routing:
        """All experts whose logit is above −inf, or the k largest of them.

        Raises InvalidInput where a token has no expert left.
        """
        if torch.isneginf(logits.detach()).all(-1).any():
            raise InvalidInput("router: a token has no expert left; allow one of those that its trees reach")
        probs = torch.softmax(logits.float(), dim=-1)
        most = int((probs > 0).sum(-1).max()) if k is None else checked_k(k, self.n_experts)
        values, indices = torch.topk(probs, most, dim=-1)
        weights = (values / values.sum(-1, keepdim=True)).to(logits.dtype)
        return Routing(indices, weights, probs, logits, logits.new_zeros(()), values > 0)


class Comet(GateRouter):
    """k trees. `search`: learn permutations until this share of training is done, 0 for none."""

    order: Tensor
    settled: Tensor
    left_only: Tensor

    def __init__(
        self, width: int, n_experts: int, k: int = 2, *, gamma: float = 1.0, entropy: float = 1e-2, search: float = 0.2
    ) -> None:
        """Raises InvalidInput for k outside 1 to N, gamma not above 0, entropy below 0, search outside 0 to 1."""
        super().__init__(width, n_experts, k, gamma=gamma, entropy=entropy)
        if not 0 <= search <= 1:
            raise InvalidInput(f"search: a share of training between 0 and 1 is needed, not {search}")
        self.search, self.depth = search, max(0, math.ceil(math.log2(n_experts)))
        size = 2**self.depth
        # Splits as in a heap: split s has splits or leaves 2s + 1 (left) and 2s + 2 (right) below it.
        self.splits = nn.Parameter(torch.empty(k, size - 1, width).normal_(std=width**-0.5 * gamma / 4))
        self.leaves = nn.Parameter(torch.empty(k, n_experts, width).normal_(std=width**-0.5 / 4))
        self.register_buffer("left_only", _left_only(n_experts, self.depth), persistent=False)
        self.register_buffer("order", torch.arange(n_experts).repeat(k, 1))
        self.register_buffer("settled", torch.tensor(search == 0))
        if search:
            self.placing = nn.Parameter(torch.empty(k, n_experts, n_experts).normal_(std=0.1))

    def gates(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Gates [T, N], mean entropy of a tree's leaf probabilities, share of splits that are neither 0 nor 1."""
        left = smooth_step(torch.einsum("td,ksd->tks", x, self.splits), self.gamma)
        soft = ((left > 0) & (left < 1)).detach().float().mean() if left.numel() else left.new_zeros(())
        if not self.training:
            left = (left >= 0.5).to(left.dtype)
        reached = leaf_probabilities(left.masked_fill(self.left_only, 1.0))[..., : self.n_experts]
        scores = torch.einsum("td,knd->tkn", x, self.leaves)
        highest = scores.detach().masked_fill(reached.detach() <= 0, float("-inf")).amax((1, 2), keepdim=True)
        # A leaf that is not reached may lie far above those that are: it is 0 times a number that must stay finite.
        weighted = reached * torch.exp((scores - highest).clamp_max(0.0))
        by_expert = torch.einsum("tkl,kle->te", weighted, self.permutations(context.progress))
        entropy = -(reached * reached.clamp_min(1e-12).log()).sum(-1).mean()
        return by_expert / by_expert.sum(-1, keepdim=True), entropy, soft

    def permutations(self, progress: float) -> Tensor:
        """[k, N leaves, N experts]: doubly stochastic during the search, then and outside training permutations."""
        if bool(self.settled):
            return self._as_matrices(self.order)
        if self.training and progress < self.search:
            heat = _HOT * (_COLD / _HOT) ** (progress / self.search)
            return sinkhorn(self.placing / heat)
        order = nearest_permutation(self.placing)
        if self.training:
            self.order.copy_(order)
            self.settled.fill_(True)
        return self._as_matrices(order)

    def _as_matrices(self, order: Tensor) -> Tensor:
        return nn.functional.one_hot(order, self.n_experts).to(self.leaves.dtype)

    def describe(self) -> dict[str, Any]:
        """What decides what it does."""
        return {**super().describe(), "gamma": self.gamma, "entropy": self.entropy, "search": self.search}


def smooth_step(x: Tensor, gamma: float = 1.0) -> Tensor:
    """0 for x <= −γ/2, 1 for x >= γ/2, and −2x³/γ³ + 3x/(2γ) + 1/2 between. Same shape as x."""
    inside = x.clamp(-gamma / 2, gamma / 2)
    # At the ends rounding may leave 1 − 1e-8: there the value is set, since it is exact zeros that make it sparse.
    value = -2 * inside**3 / gamma**3 + 1.5 * inside / gamma + 0.5
    return torch.where(x >= gamma / 2, 1.0, torch.where(x <= -gamma / 2, 0.0, value))


def leaf_probabilities(left: Tensor) -> Tensor:
    """Gates [..., 2^D − 1] of the way left, in heap order -> [..., 2^D] probabilities of the leaves, summing to 1."""
    depth = (left.shape[-1] + 1).bit_length() - 1
    reached = left.new_ones(*left.shape[:-1], 1)
    for level in range(depth):
        gate = left[..., 2**level - 1 : 2 ** (level + 1) - 1]
        reached = torch.stack((reached * gate, reached * (1 - gate)), -1).flatten(-2)
    return reached


def sinkhorn(scores: Tensor, rounds: int = _SINKHORN) -> Tensor:
    """Scores [..., N, N] -> nearly doubly stochastic matrices (Mena et al. 2018, arXiv 1802.08665); rows sum to 1."""
    for _ in range(rounds):
        scores = scores - torch.logsumexp(scores, -2, keepdim=True)
        scores = scores - torch.logsumexp(scores, -1, keepdim=True)
    return scores.exp()


@torch.no_grad()
def nearest_permutation(scores: Tensor) -> Tensor:
    """Scores [k, N, N] -> [k, N]: the column of each row in the assignment of greatest total score."""
    from scipy.optimize import linear_sum_assignment

    found = [linear_sum_assignment(one, maximize=True)[1].tolist() for one in scores.detach().cpu().numpy()]
    return torch.tensor(found, device=scores.device)


def logged(gates: Tensor) -> Tensor:
    """log of gates [T, N], −inf where they are 0, with gradients that are numbers."""
    there = gates > 0
    return torch.where(there, gates, 1.0).log().masked_fill(~there, float("-inf"))


def _left_only(n_experts: int, depth: int) -> Tensor:
    """[2^D − 1]: splits with no expert to the right."""
    found = []
    for level in range(depth):
        below = 2 ** (depth - level)  # leaves under each split of this level
        found += [at * below + below // 2 >= n_experts for at in range(2**level)]
    return torch.tensor(found, dtype=torch.bool)


def layer(config: TinyConfig, layer: int, shared: dict[str, Any], **options: Any) -> MoELayer:
    """For `TinyMoELM`. Options: `gamma`, `entropy`, `search`."""
    experts = Experts(config.n_experts, config.width, config.hidden)
    return MoELayer(experts, Comet(config.width, config.n_experts, config.k, **options))
