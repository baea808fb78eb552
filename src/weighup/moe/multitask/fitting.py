"""Fit a small model to rows: shuffled batches, AdamW, and the state that was best on what it is validated on."""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput, JobFailed


def fit(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    rows: int,
    *,
    seed: int,
    steps: int = 400,
    batch: int = 256,
    rate: float = 3e-3,
    decay: float = 1e-4,
    valid: Callable[[], float] | None = None,
    every: int = 100,
) -> float:
    """Train in place; `loss(rows [batch])` of some of `rows` rows.

    With `valid`, a score (higher is better), it is taken every so many steps and the best state is kept; that score
    comes back, else NaN. The model is in eval mode while it is scored and afterwards.
    Raises InvalidInput without rows or steps, JobFailed where the loss is no number any more.
    """
    if rows < 1 or steps < 1 or batch < 1 or every < 1:
        raise InvalidInput(
            f"fit: rows, steps, batch and every of 1 or more are needed, not {rows}, {steps}, {batch}, {every}"
        )
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    chance = torch.Generator().manual_seed(seed)
    best, state = -math.inf, None
    model.train()
    for step in range(1, steps + 1):
        chosen = torch.randint(rows, (batch,), generator=chance)
        value = loss(chosen)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        if not math.isfinite(float(value.detach())):
            raise JobFailed(f"fit: the loss of step {step} is {float(value.detach())}; take a lower rate")
        if valid is not None and (step % every == 0 or step == steps):
            model.eval()
            score = valid()
            model.train()
            if score > best:
                best, state = score, copy.deepcopy(model.state_dict())
    if state is not None:
        model.load_state_dict(state)
    model.eval()
    return best if valid is not None else math.nan
