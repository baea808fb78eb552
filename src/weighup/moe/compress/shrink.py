"""Making a model smaller by a method's name: what the commands `weighup moe prune|merge|compress` run.

Calibrates on windows of texts, applies the method, measures the loss before and after on other windows. What comes out
is saved as a checkpoint that plain transformers loads (compressed experts, which it does not know, as our own state).
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from weighup.errors import InvalidInput, JobFailed
from weighup.moe.calibration import calibrate, next_token_loss
from weighup.moe.compress import compressed_experts, heapr, mc_smoe, merge, premoe
from weighup.moe.compress.prune import prune
from weighup.moe.cost import cost
from weighup.moe.export import save_hugging_face
from weighup.moe.sites import sites
from weighup.moe.tiny import TinyMoELM
from weighup.moe.trace import RoutingTrace, tracing

PRUNING = ("premoe", "frequency", "heapr", "magnitude")
MERGING = ("mc_smoe", "average", "git_rebasin", "zipit")
COMPRESSING = ("heapr", "magnitude", "compressed_experts")
Ids = NDArray[np.int64]
"""Token ids [rows, length + 1]."""


@dataclass(frozen=True, eq=False)
class Shrunk:
    """`model` the smaller one; `before` and `after` the mean loss (nats a token); `total` and `active` parameters then
    and now; `told` what else is to be said."""

    model: nn.Module
    before: float
    after: float
    total: tuple[int, int]
    active: tuple[float, float]
    told: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """For tables."""
        return {
            "loss before": round(self.before, 4),
            "loss after": round(self.after, 4),
            "rise": f"{self.after / self.before - 1:+.2%}",
            "parameters": f"{self.total[1]:,} of {self.total[0]:,}",
            "active": f"{self.active[1]:,.0f} of {self.active[0]:,.0f}",
        }


def shrink(
    model: nn.Module, method: str, ratio: float, calibration: Sequence[Ids], test: Sequence[Ids], *, domain: str = ""
) -> Shrunk:
    """Apply a method at a ratio: the share of experts (premoe, frequency, merging) or of their hidden units (heapr,
    magnitude) that goes. For compressed_experts it is the share of a token's experts that vectors replace.

    Raises InvalidInput for a method that is not known, a ratio outside (0, 1), or no windows.
    """
    method = method.replace("-", "_")
    if not 0 < ratio < 1:
        raise InvalidInput(f"--ratio {ratio}: a share between 0 and 1 is needed")
    if not calibration or not test:
        raise InvalidInput("data: windows to calibrate on and others to measure on are needed")
    before, costs = loss_of(model, test), cost(model)
    made, told = _applied(model, method, ratio, calibration, domain)
    after = cost(made)
    active = after.active
    if method == "compressed_experts":
        active = compressed_experts.active_parameters(made)
    return Shrunk(made, before, loss_of(made, test), (costs.total, after.total), (costs.active, active), told)


def _applied(
    model: nn.Module, method: str, ratio: float, windows: Sequence[Ids], domain: str
) -> tuple[nn.Module, tuple[str, ...]]:
    found = sites(model)
    n, k = found[0].n_experts, max(site.k for site in found)
    if method in ("premoe", "frequency"):
        trace = traced(model, windows)
        kept = max(k, round(n * (1 - ratio)))
        scores = premoe.tcess(trace) if method == "premoe" else premoe.frequency(trace)
        told = f"{kept} of {n} experts a layer are kept{f' for {domain}' if domain else ''}"
        return prune(model, premoe.keep_top(scores, kept)), (told,)
    if method in ("heapr", "magnitude"):
        if method == "heapr":
            scores_ = heapr.atom_scores(model, calibrate(model, windows, gradients=True))
        else:
            scores_ = heapr.magnitude_scores(model)
        atoms = heapr.kept_atoms(scores_, ratio)
        pruned = heapr.Pruned(heapr.remove(model, atoms), atoms)
        widths = [max(own) for own in pruned.widths]
        return pruned.model, (f"{pruned.removed:.1%} of the hidden units are gone; widest experts by layer: {widths}",)
    if method in MERGING:
        stats = calibrate(model, windows)
        experts = max(len(found), round(sum(site.n_experts for site in found) * (1 - ratio)))
        if method == "mc_smoe":
            merged = mc_smoe.mc_smoe(model, stats, experts=experts)
        else:
            how = {
                "average": merge.average,
                "git_rebasin": merge.git_rebasin,
                "zipit": merge.zipit([one.inputs for one in stats.layers]),
            }[method]
            often = [one.frequency for one in stats.layers]
            to = [
                mc_smoe.grouped(mc_smoe.logit_similarity(one), dominant)
                for one, dominant in zip(stats.layers, mc_smoe.dominant_experts(often, experts), strict=True)
            ]
            merged = merge.merge(model, to, often, how)
        told = f"different experts by layer: {merged.experts}; {merged.stored:,} of {merged.before:,} weights to keep"
        return merged.model, (told,)
    if method == "compressed_experts":
        keep = max(1, round(k * (1 - ratio)))
        if keep >= k:
            raise InvalidInput(f"--ratio {ratio}: of {k} active experts {keep} would stay whole; take a greater share")
        return compressed_experts.compress(model, keep=keep), (
            f"{keep} of {k} active experts stay whole; the vectors of the others are untrained: fine-tune them",
        )
    known = ", ".join(dict.fromkeys((*PRUNING, *MERGING, *COMPRESSING)))
    raise InvalidInput(f"--method {method}: is not known; there are {known}")


@torch.no_grad()
def loss_of(model: nn.Module, windows: Sequence[Ids]) -> float:
    """Mean nats a token over windows."""
    total = sum(float(next_token_loss(model, ids)) * ids[:, 1:].size for ids in windows)
    return total / sum(ids[:, 1:].size for ids in windows)


@torch.no_grad()
def traced(model: nn.Module, windows: Sequence[Ids]) -> RoutingTrace:
    """The routing of windows."""
    with tracing(model) as recorder:
        for ids in windows:
            recorder.tokens = ids[:, :-1]
            next_token_loss(model, ids)
    return recorder.trace


def write(shrunk: Shrunk, method: str, folder: Path) -> str:
    """Save the model; returns how it is loaded. Raises JobFailed where it cannot be written."""
    if method.replace("-", "_") == "compressed_experts":
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(shrunk.model.state_dict(), folder / "compressed.pt")
        except OSError as error:
            raise JobFailed(f"{folder}: cannot be written: {error}") from error
        return "a state for `compressed_experts.compress(model)`; transformers has no such layer"
    save_hugging_face(shrunk.model, folder)
    kind = "MixtralForCausalLM" if isinstance(shrunk.model, TinyMoELM) else type(shrunk.model).__name__
    return f"transformers' {kind}"
