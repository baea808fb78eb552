"""Self-contrast mixture of experts: what the experts that were not chosen say tells what to avoid.

Shi et al. 2024, "Unchosen Experts Can Contribute Too" (arXiv 2405.14507, section 3). Faithful: strong activation is
the model's own top-k, weak activation another choice (rank-r: only the expert at place r of the router's order);
`V = {v : z_s(v) >= log α + max z_s}` and the token is `argmax (1 + β) z_s − β z_w` in V, α = 0.1 and β = 0.5 by
default. Ours: strong and weak are the two halves of one batch (`policy.Rows`), so that a step is one forward pass; each
half keeps its own cache. `z` are logits of the vocabulary; log-probabilities would choose the same token.

Shapes: tokens [batch, n]; `z_s`, `z_w` [..., vocabulary].
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.generate import Pick, greedy, prefill, step
from weighup.moe.policy import Policy, Rows, control
from weighup.moe.running import logits_of
from weighup.moe.tiny import END
from weighup.registry import Method

METHOD = Method(
    name="scmoe",
    room="moe",
    paper="Unchosen Experts Can Contribute Too: Unleashing MoE Models' Power by Self-Contrast (Shi et al. 2024)",
    arxiv="2405.14507",
    command="weighup moe generate --control scmoe",
    claim_check="weighup.moe.control.scmoe_claim:check",
)


@dataclass(frozen=True)
class SelfContrast:
    """`alpha` in (0, 1] how likely, against the likeliest, a token must be; `beta` >= 0 how strongly to contrast;
    `strong` experts a token (None: the model's own k); `weak`: the places in the router's order, from 1, that the weak
    activation takes, (2,) for the second expert alone."""

    alpha: float = 0.1
    beta: float = 0.5
    strong: int | None = None
    weak: tuple[int, ...] = (2,)

    def __post_init__(self) -> None:
        checked_strengths(self.alpha, self.beta)

    @property
    def rows(self) -> Rows:
        """First half of a batch strong, second half weak."""
        return Rows((None if self.strong is None else Policy(k=self.strong), Policy(ranks=self.weak)))


def contrasted(strong: Tensor, weak: Tensor, *, alpha: float = 0.1, beta: float = 0.5) -> Tensor:
    """Scores `(1 + β) z_s − β z_w` of the tokens in V, -inf outside; logits and scores [..., vocabulary].

    Raises InvalidInput for shapes that differ, NaN, alpha outside (0, 1] or a negative beta.
    """
    checked_strengths(alpha, beta)
    if strong.shape != weak.shape or not strong.numel():
        raise InvalidInput(f"scmoe: strong and weak logits have shapes {list(strong.shape)} and {list(weak.shape)}")
    if torch.isnan(strong.sum() + weak.sum()) and bool(torch.isnan(strong).any() | torch.isnan(weak).any()):
        raise InvalidInput("scmoe: the model's logits are not numbers (NaN); its weights or the input are broken")
    outside = strong < strong.amax(-1, keepdim=True) + math.log(alpha)
    return ((1 + beta) * strong - beta * weak).masked_fill(outside, float("-inf"))


def generate_with(
    model: nn.Module,
    tokens: Tensor,
    length: int,
    *,
    alpha: float = 0.1,
    beta: float = 0.5,
    strong: int | None = None,
    weak: tuple[int, ...] = (2,),
    pick: Pick = greedy,
    end: int = END,
) -> Tensor:
    """[batch, up to length] what comes after tokens [batch, n]; stops when all have ended (`end`)."""
    if length < 1:
        raise InvalidInput(f"length: 1 or more tokens, not {length}")
    if tokens.dim() != 2 or not tokens.numel():
        raise InvalidInput(f"scmoe: tokens of shape [batch, length] are needed, not {list(tokens.shape)}")
    contrast = SelfContrast(alpha, beta, strong, weak)
    out: list[Tensor] = []
    ended = torch.zeros(len(tokens), dtype=torch.bool)
    with control(model, contrast.rows):
        state = prefill(model, torch.cat((tokens, tokens)))
        for n in range(length):
            scores = contrasted(*state.logits.chunk(2), alpha=alpha, beta=beta)
            chosen = torch.where(ended, torch.full_like(ended, end, dtype=torch.int64), pick(scores))
            out.append(chosen)
            ended = ended | (chosen == end)
            if bool(ended.all()) or n == length - 1:
                break
            state = step(model, state, torch.cat((chosen, chosen)))
    return torch.stack(out, 1)


@torch.no_grad()
def strong_and_weak(model: nn.Module, tokens: Tensor, contrast: SelfContrast) -> tuple[Tensor, Tensor]:
    """Logits [batch, n, vocabulary] under both activations of what follows each of tokens [batch, n], in one pass."""
    with control(model, contrast.rows):
        strong, weak = logits_of(model, torch.cat((tokens, tokens))).chunk(2)
    return strong, weak


def checked_strengths(alpha: float, beta: float) -> None:
    """Raises InvalidInput unless alpha is in (0, 1] and beta is 0 or more."""
    if not 0 < alpha <= 1:
        raise InvalidInput(f"scmoe: alpha is above 0 and at most 1, not {alpha}")
    if not (beta >= 0 and math.isfinite(beta)):
        raise InvalidInput(f"scmoe: beta is 0 or more, not {beta}")
