"""Generating under a control by its name: what `weighup moe generate` runs."""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weighup.errors import InvalidInput
from weighup.moe.control import c3po, des, rewire, scmoe
from weighup.moe.corpus import Corpus
from weighup.moe.generate import bytes_of, generate, text_of

CONTROLS = ("none", "scmoe", "des", "c3po", "rewire")
_REFERENCE = 256  # windows whose next byte the model is asked for


@dataclass(frozen=True)
class Written:
    """`text` what was generated; `plain` what the model writes greedily by itself; seconds of both."""

    text: str
    plain: str
    seconds: float
    plain_seconds: float


def write_on(
    model: nn.Module,
    text: str,
    length: int,
    *,
    by: str,
    options: Mapping[str, Any] | None = None,
    corpus: Callable[[], Corpus] | None = None,
    seed: int = 0,
) -> Written:
    """Go on from a text by `length` bytes, by itself and under a control (`CONTROLS`). `options` are those of the
    control's `generate_with`; `corpus` gives c3po the windows to refer to.

    Raises InvalidInput for a control or an option that is not known.
    """
    if by not in CONTROLS:
        raise InvalidInput(f"--control {by}: is not known; there are {', '.join(CONTROLS)}")
    tokens = bytes_of(text)
    at = time.perf_counter()
    plain = generate(model, tokens, length)
    plain_seconds = time.perf_counter() - at
    given = dict(options or {})
    ways: dict[str, Callable[..., Tensor]] = {"scmoe": scmoe.generate_with, "des": des.generate_with}
    ways |= {"c3po": c3po.generate_with, "rewire": rewire.generate_with}
    at = time.perf_counter()
    if by == "none":
        found = plain
    else:
        if by == "c3po":
            if corpus is None:
                raise InvalidInput("c3po: needs texts to refer to; give --data or set WEIGHUP_DATA")
            given["reference"] = _reference(model, corpus(), tokens.shape[1], seed)
        if by == "des":
            given.setdefault("seed", seed)
        try:
            found = ways[by](model, tokens, length, **given)
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise
            raise InvalidInput(f"--option: {error}") from error
    return Written(text_of(found[0]), text_of(plain[0]), time.perf_counter() - at, plain_seconds)


def _reference(model: nn.Module, corpus: Corpus, length: int, seed: int) -> c3po.Reference:
    """Windows of the corpus whose next byte the model tells."""
    import numpy as np

    batch = corpus.batch(np.random.default_rng(seed), _REFERENCE, max(8, min(length, 64)), "valid")
    return c3po.reference(model, torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets[:, -1].copy()))
