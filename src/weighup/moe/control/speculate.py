"""Speculative prefetch: which experts will the next layer want? And what a model means for the offloading simulator.

The next layer's router reads this layer's router input (Eliseev and Mazur 2023, arXiv 2312.17238, section 3.2): the
stream between two layers changes little, so the guess is known one layer ahead of its use. Ours: the input is that of
this layer's router, after this layer's norm.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.calibration import tensors
from weighup.moe.control.offload import Hardware
from weighup.moe.cost import cost
from weighup.moe.sites import sites
from weighup.moe.tiny import TinyMoELM
from weighup.moe.trace import RoutingTrace, tracing
from weighup.moe.types import Context, Router, checked_k


@torch.no_grad()
def speculate(model: TinyMoELM, batches: Iterable[Any], p: int) -> tuple[RoutingTrace, NDArray[np.int16]]:
    """Run one of our models over batches (of a corpus, or token ids [batch, length + 1]): its trace, and predictions
    [L, T, p] for `offload.replay`: p experts of each layer by its router on the input of the layer before; -1 for the
    first layer.

    Raises InvalidInput for another model, p outside 1 to N, or no batch.
    """
    if not isinstance(model, TinyMoELM):
        raise InvalidInput(f"speculate: predictions are made for weighup's models, not {type(model).__name__}")
    found = sites(model)
    checked_k(p, found[0].n_experts)
    guesses: list[list[NDArray[np.int16]]] = [[] for _ in found]
    last: list[Tensor] = []

    def before(router: nn.Module, args: tuple[Tensor, Context]) -> None:
        assert isinstance(router, Router)
        x, context = args
        if context.layer == 0:
            guess = np.full((len(x), p), -1, np.int16)
        else:
            logits, _ = router.score(last[0], context)
            guess = torch.topk(logits, p, dim=-1)[1].numpy().astype(np.int16)
        guesses[context.layer].append(guess)
        last[:] = [x]

    was = model.training
    model.eval()
    handles = [site.router.register_forward_pre_hook(before) for site in found]
    try:
        with tracing(model) as recorder:
            for batch in batches:
                tokens, _ = tensors(batch)
                recorder.tokens = tokens.numpy()
                model(tokens)
        trace = recorder.trace
    finally:
        for handle in handles:
            handle.remove()
        model.train(was)
    return trace, np.stack([np.concatenate(one) for one in guesses])


def hardware_of(model: nn.Module, *, bandwidth: float, flops: float, bytes_a_weight: float = 2.0) -> Hardware:
    """What a model's experts weigh and how long a layer computes, on a machine of `bandwidth` bytes a second to where
    experts are kept and `flops` operations a second. Raises InvalidInput unless all are positive."""
    if not (bandwidth > 0 and flops > 0 and bytes_a_weight > 0):
        raise InvalidInput(f"hardware: positive bandwidth, flops and bytes, not {bandwidth}, {flops}, {bytes_a_weight}")
    told = cost(model)
    return Hardware(told.expert * bytes_a_weight, bandwidth, told.flops / flops / len(sites(model)))
