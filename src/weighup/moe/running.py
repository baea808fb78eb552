"""Running a model as it is: logits of ours and Hugging Face's alike, and no gradients for its parameters."""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from weighup.moe.tiny import TinyMoELM


def logits_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """[batch, length, vocabulary] of our models and Hugging Face's, with gradients where they are on."""
    out = model(tokens) if isinstance(model, TinyMoELM) else model(input_ids=tokens, use_cache=False)
    return out.logits


@contextmanager
def frozen(model: nn.Module, but: Iterable[nn.Parameter] = (), *, evaluate: bool = False) -> Iterator[None]:
    """No parameter of the model gets a gradient while open, except those in `but`; afterwards each may again as before.
    `evaluate`: with the model in evaluation mode meanwhile."""
    # Without this a backward pass would compute, and store, gradients of all experts' weights.
    kept = {id(one) for one in but}
    flags = [(p, p.requires_grad) for p in model.parameters() if id(p) not in kept]
    training = model.training
    try:
        if evaluate:
            model.eval()
        for p, _ in flags:
            p.requires_grad_(False)
        yield
    finally:
        for p, flag in flags:
            p.requires_grad_(flag)
        if evaluate:
            model.train(training)
