"""Claim check of Union of Experts (2503.02495): is the cut model the same as the dense one, and how much of what the
dense model learns does it learn with half of its experts active?

All are trained on the same batches of the five-domain corpus and measured on its test split. The loss reduction is
from that of the untrained dense model of the seed. The dense model's MLPs have N·h hidden units, the same weights.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from weighup.claims import ClaimResult, compare
from weighup.moe.corpus import five_domains
from weighup.moe.lab import Training, mean_loss, train, trained
from weighup.moe.routers.uoe import decompose, decompose_attention, union_model
from weighup.moe.tiny import TinyConfig, TinyMoELM
from weighup.moe.types import Routing

SEEDS = range(6)
MODEL = TinyConfig(width=48, layers=2, heads=4, n_experts=8, k=4, hidden=32, context=64, router="uoe")
DENSE = replace(
    MODEL, n_experts=1, k=1, hidden=MODEL.n_experts * MODEL.hidden, router="topk", options={"balance": 0.0, "z": 0.0}
)
TRAINING = Training(steps=600, batch=16)
WINDOWS = 30
EXACT, SHARE = 1e-5, 0.95
_TOKENS = 512


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Equality of the cut, and the loss reduction with half of the MLP's experts, and of the heads as well."""
    corpus = five_domains(data)
    differences: list[float] = []
    both: list[float] = []
    only: list[float] = []
    dense: list[float] = []
    for seed in seeds:
        training = replace(TRAINING, seed=seed)
        plain = trained(DENSE, corpus, training)
        differences.append(_difference(plain, seed))
        torch.manual_seed(seed)
        start = mean_loss(TinyMoELM(DENSE), corpus, "test", windows=WINDOWS)
        union = trained(MODEL, corpus, training)
        selective = trained(
            MODEL,
            corpus,
            training,
            kind="selective attention",
            make=lambda: union_model(MODEL, MODEL.heads // 2),
            fit=lambda model, training=training: train(model, corpus, training),
        )
        for model, found in ((plain, dense), (union, only), (selective, both)):
            found.append(start - mean_loss(model, corpus, "test", windows=WINDOWS))
    n = WINDOWS * len(corpus.domains) * MODEL.context
    return [
        compare(
            "UoE: all experts of a cut MLP, and of cut attention, together equal the dense block",
            metric="greatest difference over random tokens and the layers of a trained model",
            values=differences,
            baseline=f"{EXACT:g}",
            baseline_values=[EXACT] * len(seeds),
            seeds=seeds,
            n=_TOKENS,
            data="random tokens",
            lower_is_better=True,
        ),
        *(
            compare(
                f"UoE, half of {what} active: at least 95 % of the dense model's loss reduction after equal steps",
                metric="loss reduction, nats a byte",
                values=values,
                baseline=f"dense model × {SHARE}",
                baseline_values=[SHARE * one for one in dense],
                seeds=seeds,
                n=n,
                data="five domains, test",
            )
            for what, values in (("the MLP experts", only), ("the MLP experts and half of the heads", both))
        ),
    ]


@torch.no_grad()
def _difference(model: TinyMoELM, seed: int) -> float:
    """Of each layer's dense MLP and attention from the sum of their parts."""
    x = torch.randn(_TOKENS, MODEL.width, generator=torch.Generator().manual_seed(seed))
    sequences = x.view(-1, MODEL.context, MODEL.width)
    angles = (torch.ones(MODEL.context, model.turns.numel()), torch.zeros(MODEL.context, model.turns.numel()))
    found = []
    for block in model.blocks:
        (gate, up), down = block.moe.experts.gate_up_proj[0].chunk(2), block.moe.experts.down_proj[0]
        dense = F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)
        experts = decompose(gate, up, down, MODEL.n_experts)
        found.append((experts(x, _all_on(len(x))) - dense).abs().max())
        own = block.attention
        q, k, v, o = (one.weight for one in (own.q_proj, own.k_proj, own.v_proj, own.o_proj))
        cut = decompose_attention(q, k, v, o, MODEL.heads, MODEL.heads)
        found.append((cut(sequences, angles=angles) - own(sequences, angles, None, 0, False)[0]).abs().max())
    return float(torch.stack(found).max())


def _all_on(tokens: int) -> Routing:
    indices = torch.arange(MODEL.n_experts).repeat(tokens, 1)
    ones: Tensor = torch.ones(tokens, MODEL.n_experts)
    return Routing(indices, ones, ones, ones, torch.zeros(()))
