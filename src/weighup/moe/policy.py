"""`control(model, policy)`: other routing while a context is open, and the model bit for bit as before after it.

A policy is anything called with (site, decision) that returns a decision; `Policy` holds the usual changes, `Rows`
gives the sequences of one batch different ones. Works on our models and on those of `moe.sites`, by forward hooks.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.sites import Decision, Site, sites
from weighup.moe.types import checked_k

Policies = Callable[[Site, Decision], Decision | None]
"""None: as it was."""


@dataclass(frozen=True, eq=False)
class Policy:
    """The usual changes; each may be given for all layers or as {layer: …}, layers that route counted from 0.

    - `k`: how many experts.
    - `allowed`: bool [N]: which experts may be chosen.
    - `add`: float [N] or [T, N]: added to the router's logits before it chooses.
    - `ranks`: only the experts at these places of the router's order, from 1; ranks=(2,) takes the second alone.
    - `mix`: float [N] or [T, N]: these weights in place of the router's; experts at 0 are not run.
    - `to`: expert numbers [N]: what was chosen as expert e goes to `to[e]` (merged experts).
    """

    k: int | Mapping[int, int] | None = None
    allowed: Tensor | Mapping[int, Tensor] | None = None
    add: Tensor | Mapping[int, Tensor] | None = None
    ranks: Sequence[int] | Mapping[int, Sequence[int]] | None = None
    mix: Tensor | Mapping[int, Tensor] | None = None
    to: Tensor | Mapping[int, Tensor] | None = None

    def __call__(self, site: Site, decision: Decision) -> Decision | None:
        k, allowed, add, ranks, mix, to = (
            _of(one, site.layer) for one in (self.k, self.allowed, self.add, self.ranks, self.mix, self.to)
        )
        if all(one is None for one in (k, allowed, add, ranks, mix, to)):
            return None
        if mix is not None:
            decision = mixed(decision, mix)
        elif any(one is not None for one in (k, allowed, add, ranks)):
            logits = decision.logits
            if add is not None:
                logits = logits + add.to(logits.dtype)
            if allowed is not None:
                logits = logits.masked_fill(~allowed, float("-inf"))
            if ranks is not None:
                indices, weights = ranked(site, logits, ranks, decision.weights)
            elif add is None and allowed is None and k == site.k:
                indices, weights = decision.indices, decision.weights
            else:
                indices, weights = site.choose(logits, k)
            same = k is None and add is None and allowed is None and ranks is None
            decision = Decision(logits, indices, weights, decision.mask if same else None)
        if to is not None:
            decision = decision.with_(indices=to[decision.indices])
        return decision

    def check(self, found: Sequence[Site]) -> None:
        """Raises InvalidInput naming what does not fit the layers."""
        for name in ("k", "allowed", "add", "ranks", "mix", "to"):
            given = getattr(self, name)
            if isinstance(given, Mapping):
                unknown = sorted(set(given) - {site.layer for site in found})
                if unknown:
                    raise InvalidInput(f"{name}: layer {unknown[0]} does not route; there are {len(found)} that do")
        for site in found:
            self._check_one(site)

    def _check_one(self, site: Site) -> None:
        n, at = site.n_experts, f"layer {site.layer}"
        k, allowed, ranks = (_of(one, site.layer) for one in (self.k, self.allowed, self.ranks))
        if k is not None:
            checked_k(k, n)
        for name in ("allowed", "add", "mix", "to"):
            one = _of(getattr(self, name), site.layer)
            if one is not None and one.shape[-1] != n:
                raise InvalidInput(f"{name}: {at} has {n} experts, not {one.shape[-1]}")
            if one is not None and one.is_floating_point() and torch.isnan(one).any():
                raise InvalidInput(f"{name}: holds NaN for {at}")
        to = _of(self.to, site.layer)
        if to is not None and not 0 <= int(to.min()) <= int(to.max()) < n:
            raise InvalidInput(f"to: {at} has experts 0 to {n - 1}, not {int(to.min())} to {int(to.max())}")
        if allowed is not None and int(allowed.sum()) < (k or site.least if ranks is None else max(ranks)):
            raise InvalidInput(f"allowed: {at} leaves {int(allowed.sum())} experts, fewer than are to be chosen")
        if ranks is not None and not (
            ranks and all(1 <= rank <= n for rank in ranks) and len(set(ranks)) == len(ranks)
        ):
            raise InvalidInput(f"ranks: different places from 1 to {n} are needed, not {tuple(ranks)}")


@dataclass(frozen=True, eq=False)
class Rows:
    """Different policies for equal parts of one batch: the first for the first sequences, and so on (None: as it is).
    All must be followed with any k: the smaller choices are filled up with experts of weight 0."""

    parts: tuple[Policies | None, ...]

    def __call__(self, site: Site, decision: Decision) -> Decision:
        if len(decision.logits) % len(self.parts):
            raise InvalidInput(f"rows: {len(decision.logits)} tokens do not split into {len(self.parts)} equal parts")
        size = len(decision.logits) // len(self.parts)
        ranks = [_only_ranks(policy, site, decision) for policy in self.parts]
        if decision.mask is None and site.sorted and None not in ranks:
            # What is asked for is among what the model chose: its weights are moved, and nothing is chosen again.
            weights = decision.weights.clone()
            for n, places in enumerate(ranks):
                if places:
                    _moved(weights[n * size : (n + 1) * size], places)
            return Decision(decision.logits, decision.indices, weights)
        made = []
        for n, policy in enumerate(self.parts):
            part = Decision(*(None if one is None else one[n * size : (n + 1) * size] for one in _parts(decision)))
            made.append(part if policy is None else policy(site, part) or part)
        widest = max(part.indices.shape[1] for part in made)
        filled = [_widened(part, widest, site.n_experts) for part in made]
        return Decision(
            *(torch.cat([getattr(one, name) for one in filled]) for name in ("logits", "indices", "weights", "mask"))
        )

    def check(self, found: Sequence[Site]) -> None:
        """Raises InvalidInput naming what does not fit the layers."""
        for policy in self.parts:
            if isinstance(policy, Policy | Rows):
                policy.check(found)


@contextmanager
def control(model: nn.Module, policy: Policies | None) -> Iterator[list[Site]]:
    """Route by `policy` while open. Raises InvalidInput for a model that is not known or a policy that does not fit."""
    found = sites(model)
    if isinstance(policy, Policy | Rows):
        policy.check(found)
    if policy is None or (isinstance(policy, Policy) and all(one is None for one in vars(policy).values())):
        yield found
        return
    handles = []
    try:
        for site in found:
            handles.append(site.router.register_forward_hook(_hook(site, policy)))
        yield found
    finally:
        for handle in handles:
            handle.remove()


def mixed(decision: Decision, weights: Tensor) -> Decision:
    """The decision with these mixing weights [N] or [T, N] for its experts."""
    count, n = decision.logits.shape
    weights = weights.expand(count, n)
    k = max(1, int((weights != 0).sum(-1).max()))
    values, indices = torch.topk(weights.abs(), k, dim=-1)
    return Decision(decision.logits, indices, weights.gather(1, indices).to(decision.weights.dtype), values > 0)


def ranked(site: Site, logits: Tensor, ranks: Sequence[int], own: Tensor) -> tuple[Tensor, Tensor]:
    """Indices and weights [T, len(ranks)] of the experts at these places of the router's order; their weights sum to
    what `own` [T, k], those of the model's own choice, sum to."""
    indices, weights = site.choose(logits, max(ranks))
    if not site.sorted:  # the order is that of the weights
        weights, order = weights.sort(-1, descending=True)
        indices = indices.gather(1, order)
    places = [rank - 1 for rank in ranks]
    return indices[:, places], _share(weights[:, places], own.sum(-1, keepdim=True))


def _share(weights: Tensor, total: Tensor) -> Tensor:
    """weights [T, m] scaled to sum to total [T, 1]; a single one is all of it, however small it was."""
    return total if weights.shape[1] == 1 else weights * (total / weights.sum(-1, keepdim=True).clamp_min(1e-20))


def _only_ranks(policy: Policies | None, site: Site, decision: Decision) -> Sequence[int] | None:
    """The ranks that are all that a policy asks for, if the model chose that many; () for no policy, else None."""
    if policy is None:
        return ()
    if not isinstance(policy, Policy) or policy.ranks is None:
        return None
    if any(getattr(policy, name) is not None for name in ("k", "allowed", "add", "mix", "to")):
        return None
    ranks: Sequence[int] | None = _of(policy.ranks, site.layer)
    return () if ranks is None else ranks if max(ranks) <= decision.indices.shape[1] else None


def _moved(weights: Tensor, ranks: Sequence[int]) -> None:
    """Give the experts at these places of weights [T, k] all of a token's weight, in place."""
    total = weights.sum(-1, keepdim=True)
    places = [rank - 1 for rank in ranks]
    kept = weights[:, places]
    weights.zero_()
    weights[:, places] = _share(kept, total)


def _hook(site: Site, policy: Policies) -> Callable[..., Any]:
    def changed(module: nn.Module, args: Any, output: Any) -> Any:
        decision = policy(site, site.read(output))
        return None if decision is None else site.written(output, decision)

    return changed


def _of(given: Any, layer: int) -> Any:
    return given.get(layer) if isinstance(given, Mapping) else given


def _parts(decision: Decision) -> tuple[Tensor | None, ...]:
    return decision.logits, decision.indices, decision.weights, decision.mask


def _widened(one: Decision, k: int, n_experts: int) -> Decision:
    mask = torch.ones_like(one.indices, dtype=torch.bool) if one.mask is None else one.mask
    more = k - one.indices.shape[1]
    if not more:
        return one.with_(mask=mask)
    pad = (0, more)
    fill = nn.functional.pad
    return Decision(one.logits, fill(one.indices, pad), fill(one.weights, pad), fill(mask, pad))
