"""Dynamic experts search: how many experts are active is one more thing to search over.

Han et al. 2025, "Dynamic Experts Search" (arXiv 2509.22572). Faithful: trajectories of one prompt are sampled with
different numbers k of active experts; k stays the same inside a trajectory and is inherited by its descendants, so that
a verifier that keeps good trajectories keeps good numbers of experts; best-of-n and beam search over steps. Our
reading: a step of the beam is a fixed number of tokens (`stride`), and every k begins with an equal share of the n
trajectories. Ours: the prompt is read once for each k and its cache shared by that k's trajectories; batches.

Shapes: tokens [batch, n_prompt]; trajectories [batch, n, length], best first.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.control.rewire import next_token_losses
from weighup.moe.generate import Pick, State, prefill, sampler, step
from weighup.moe.policy import Policy, control
from weighup.moe.running import logits_of
from weighup.moe.sites import sites
from weighup.moe.tiny import END, Cache
from weighup.moe.types import checked_k
from weighup.registry import Method

METHOD = Method(
    name="des",
    room="moe",
    paper="Dynamic Experts Search: Enhancing Reasoning in Mixture-of-Experts LLMs at Test Time (Han et al. 2025)",
    arxiv="2509.22572",
    command="weighup moe generate --control des",
    claim_check="weighup.moe.control.des_claim:check",
)
Verifier = Callable[[Tensor, Tensor], Tensor]
"""(prompts [rows, n_prompt], continuations so far [rows, length]) -> how good each is, float [rows]."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """`tokens` [batch, n, length], best first; `ks` [batch, n] the experts active in each; `scores` [batch, n]."""

    tokens: Tensor
    ks: Tensor
    scores: Tensor

    @property
    def best(self) -> Tensor:
        """[batch, length] the one that the verifier likes most."""
        return self.tokens[:, 0]


@dataclass(frozen=True, eq=False)
class _Group:
    """The trajectories of one k: `owner` [rows] whose prompt, `tokens` [rows, length so far], `ended` [rows]."""

    k: int
    state: State
    owner: Tensor
    tokens: Tensor
    ended: Tensor


def best_of_n(
    model: nn.Module,
    tokens: Tensor,
    length: int,
    *,
    ks: Sequence[int] = (1, 2, 3, 4),
    n: int = 8,
    verifier: Verifier | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    end: int = END,
) -> Trajectories:
    """n whole trajectories of each prompt, the k's taking turns, scored at the end. `verifier` None: `likelihood`.

    Raises InvalidInput for a k that the model has not, fewer trajectories than k's, or scores that are not numbers.
    """
    groups = _begin(model, tokens, length, ks, n)
    pick = sampler(seed, temperature)
    groups = [_extended(model, group, length, pick, end, last=True) for group in groups]
    return _ranked(groups, tokens, verifier or likelihood(model), n)


def beam(
    model: nn.Module,
    tokens: Tensor,
    length: int,
    *,
    ks: Sequence[int] = (1, 2, 3, 4),
    n: int = 8,
    keep: int = 2,
    stride: int = 8,
    verifier: Verifier | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    end: int = END,
) -> Trajectories:
    """Beam search: after every `stride` tokens the verifier keeps `keep` of a prompt's n trajectories, and each goes on
    as n / keep that inherit its k. Raises InvalidInput as `best_of_n`, and unless n is a multiple of keep."""
    if keep < 1 or n % keep:
        raise InvalidInput(f"des: {n} trajectories are not a multiple of the {keep} that are kept")
    if stride < 1:
        raise InvalidInput(f"des: a stride of 1 or more tokens is needed, not {stride}")
    judge = verifier or likelihood(model)
    groups, pick, done = _begin(model, tokens, length, ks, n), sampler(seed, temperature), 0
    while True:
        count = min(stride, length - done)
        done += count
        groups = [_extended(model, group, count, pick, end, last=done == length) for group in groups]
        if done == length or all(bool(group.ended.all()) for group in groups):
            return _ranked(groups, tokens, judge, n)
        groups = _kept(groups, _scores(groups, tokens, judge), n, keep)


def generate_with(
    model: nn.Module, tokens: Tensor, length: int, *, search: str = "best_of_n", **options: object
) -> Tensor:
    """[batch, length] the best trajectory of each prompt by `best_of_n` or `beam`, whose options may be given."""
    if search not in ("best_of_n", "beam"):
        raise InvalidInput(f"des: the search is best_of_n or beam, not {search!r}")
    run: Callable[..., Trajectories] = beam if search == "beam" else best_of_n
    return run(model, tokens, length, **options).best


def likelihood(model: nn.Module) -> Verifier:
    """A verifier for want of a better one: mean log-probability of the continuation as the model routes by itself."""

    @torch.no_grad()
    def scored(prompts: Tensor, continuations: Tensor) -> Tensor:
        text = torch.cat((prompts, continuations), 1)
        return -next_token_losses(logits_of(model, text), text)[:, prompts.shape[1] - 1 :].mean(1)

    return scored


def pass_at(scores: Tensor, least: float = 1.0) -> float:
    """Share of prompts for which one of the n trajectories or more has a score of `least`; scores [batch, n]."""
    return float((scores >= least).any(1).float().mean())


def _begin(model: nn.Module, tokens: Tensor, length: int, ks: Sequence[int], n: int) -> list[_Group]:
    if length < 1:
        raise InvalidInput(f"length: 1 or more tokens, not {length}")
    if tokens.dim() != 2 or not tokens.numel():
        raise InvalidInput(f"des: prompts of shape [batch, length] are needed, not {list(tokens.shape)}")
    if not ks or len(set(ks)) < len(ks):
        raise InvalidInput(f"des: different numbers of experts are needed, not {tuple(ks)}")
    for site in sites(model):
        for k in ks:
            checked_k(k, site.n_experts)
    if n < len(ks):
        raise InvalidInput(f"des: {n} trajectories are fewer than the {len(ks)} numbers of experts")
    groups = []
    for place, k in enumerate(ks):
        share = n // len(ks) + (place < n % len(ks))
        with control(model, Policy(k=k)):
            state = prefill(model, tokens, repeat=share)
        owner = torch.arange(len(tokens)).repeat_interleave(share)
        nothing = torch.zeros(len(owner), 0, dtype=torch.int64)
        groups.append(_Group(k, state, owner, nothing, torch.zeros(len(owner), dtype=torch.bool)))
    return groups


def _extended(model: nn.Module, group: _Group, count: int, pick: Pick, end: int, *, last: bool) -> _Group:
    """With `count` more tokens; after the `last` the model need not be asked again."""
    state, ended, out = group.state, group.ended, [group.tokens]
    with control(model, Policy(k=group.k)):
        for n in range(count):
            chosen = pick(state.logits)
            chosen = torch.where(ended, torch.full_like(chosen, end), chosen)
            out.append(chosen[:, None])
            ended = ended | (chosen == end)
            if not (last and n == count - 1):
                state = step(model, state, chosen)
    return _Group(group.k, state, group.owner, torch.cat(out, 1), ended)


def _scores(groups: Sequence[_Group], prompts: Tensor, verifier: Verifier) -> Tensor:
    """[rows of all groups]."""
    owner = torch.cat([group.owner for group in groups])
    scores = verifier(prompts[owner], torch.cat([group.tokens for group in groups]))
    if scores.shape != owner.shape or torch.isnan(scores).any():
        raise InvalidInput(
            f"des: the verifier must give {len(owner)} numbers, one a trajectory, and gave {scores.shape}"
        )
    return scores.float()


def _order(groups: Sequence[_Group], scores: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Rows [batch, n] of all groups by prompt, best first, and their scores."""
    owner = torch.cat([group.owner for group in groups])
    rows = torch.argsort(owner, stable=True).view(-1, n)
    found, order = torch.sort(scores[rows], dim=1, descending=True, stable=True)
    return rows.gather(1, order), found


def _ranked(groups: Sequence[_Group], prompts: Tensor, verifier: Verifier, n: int) -> Trajectories:
    rows, scores = _order(groups, _scores(groups, prompts, verifier), n)
    ks = torch.cat([torch.full((len(group.owner),), group.k) for group in groups])
    return Trajectories(torch.cat([group.tokens for group in groups])[rows], ks[rows], scores)


def _kept(groups: Sequence[_Group], scores: Tensor, n: int, keep: int) -> list[_Group]:
    """The best `keep` of each prompt, n / keep times each; a k without any is given up."""
    rows = _order(groups, scores, n)[0][:, :keep].reshape(-1).repeat_interleave(n // keep)
    found, first = [], 0
    for group in groups:
        local = rows[(rows >= first) & (rows < first + len(group.owner))] - first
        first += len(group.owner)
        if len(local):
            state = _chosen(group.state, local)
            found.append(_Group(group.k, state, group.owner[local], group.tokens[local], group.ended[local]))
    return found


def _chosen(state: State, rows: Tensor) -> State:
    cache = state.cache
    if isinstance(cache, Cache):
        cache = cache.chosen(rows)
    else:
        cache.batch_select_indices(rows)
    return State(state.logits[rows], cache, state.length)
