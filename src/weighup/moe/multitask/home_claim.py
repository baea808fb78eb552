"""Claim check of HoME (2408.05430): do its experts stay alive, and does the rarest task gain over MMoE and PLE?

Made click data (`ctr_data.clicks`), six tasks in two groups, 1.5 % of positives in the rarest. Three models of about
the same size see the same rows in the same order, each row about once, as in production; each keeps the state that was
best on the valid split by mean AUC; measured is the test split. "As good as zero" is within 1 % of the
root mean square of an expert level, so that a small SiLU counts too.
"""

# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weighup.claims import ClaimResult, compare
from weighup.metrics.classification import auroc
from weighup.moe.multitask.baselines import PLE, Inputs, MMoE, Prediction, multi_task_loss, zero_share
from weighup.moe.multitask.ctr_data import GROUPS, TASKS, Clicks, clicks
from weighup.moe.multitask.fitting import fit
from weighup.moe.multitask.home import HoME

SEEDS = range(6)
STEPS, EVERY, RATE, EMBEDDED = 400, 200, 3e-3, 8
SPARSE = len(TASKS) - 1
ALIVE, DEAD = 0.10, 0.50
TRAIN, TEST = 100_000, 40_000
MODELS: dict[str, Callable[[int], nn.Module]] = {
    "HoME": lambda width: HoME(width, GROUPS, out=16),
    "MMoE": lambda width: MMoE(width, len(TASKS), experts=16, out=20),
    "PLE": lambda width: PLE(width, len(TASKS), shared=4, per_task=1, out=20),
}


class Ranker(nn.Module):
    """Embeddings and what comes after them."""

    def __init__(self, sizes: Sequence[int], counts: int, body: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.inputs = Inputs(sizes, EMBEDDED, counts)
        self.body = body(self.inputs.out)

    def forward(self, fields: Tensor, counts: Tensor) -> Prediction:
        return self.body(self.inputs(fields, counts))


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Zero shares of HoME and MMoE, AUC of the rarest task against both baselines."""
    runs = [{name: _run(name, seed) for name in MODELS} for seed in seeds]
    zero = {name: [run[name][1] for run in runs] for name in MODELS}
    auc = {name: [run[name][0] for run in runs] for name in MODELS}
    size = {name: run[2] for name, run in runs[0].items()}
    found = [
        compare(
            "HoME: less than 10 % of its experts' activations are as good as zero",
            metric="share of activations as good as zero", values=zero["HoME"],
            baseline="10 %", baseline_values=[ALIVE] * len(seeds),
            seeds=seeds, n=TEST, data="made clicks", lower_is_better=True,
        ),
        compare(
            "MMoE with ReLU: more than 50 % are (the failure that HoME names)",
            metric=f"share of activations as good as zero (PLE {np.mean(zero['PLE']):.3f})", values=zero["MMoE"],
            baseline="50 %", baseline_values=[DEAD] * len(seeds),
            seeds=seeds, n=TEST, data="made clicks",
        ),
    ]  # fmt: skip
    for name in ("MMoE", "PLE"):
        found.append(
            compare(
                f"HoME against {name} on the rarest task",
                metric=f"AUC of {TASKS[SPARSE]} ({size['HoME']} parameters after the embeddings)",
                values=auc["HoME"],
                baseline=f"{name} + 0.000 ({size[name]} parameters)",
                baseline_values=auc[name],
                seeds=seeds,
                n=TEST,
                data="made clicks",
            )
        )
    return found


def _run(name: str, seed: int) -> tuple[float, float, int]:
    """AUC of the rarest task and zero share on the test split; parameters after the embeddings."""
    splits = clicks(seed, train=TRAIN, test=TEST)
    train = splits["train"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Ranker(train.sizes, train.counts.shape[1], MODELS[name])
    fields, counts, labels = _tensors(train)
    fit(
        model,
        lambda rows: multi_task_loss(model(fields[rows], counts[rows]).logits, labels[rows]),
        len(train),
        seed=seed,
        steps=STEPS,
        rate=RATE,
        every=EVERY,
        valid=lambda: float(np.mean(_aucs(_scores(model, splits["valid"])[0], splits["valid"]))),
    )
    scores, zero = _scores(model, splits["test"])
    return _aucs(scores, splits["test"])[SPARSE], zero, sum(p.numel() for p in model.body.parameters())


def _scores(model: nn.Module, data: Clicks) -> tuple[NDArray[np.float32], float]:
    fields, counts, _ = _tensors(data)
    with torch.no_grad():
        found = [model(a, b) for a, b in zip(fields.split(4000), counts.split(4000), strict=True)]
    zero = float(np.mean([zero_share(one.experts) for one in found]))
    return torch.cat([one.logits for one in found]).numpy(), zero


def _aucs(scores: NDArray[np.float32], data: Clicks) -> list[float]:
    return [auroc(data.labels[:, task], scores[:, task]) for task in range(len(TASKS))]


def _tensors(data: Clicks) -> tuple[Tensor, Tensor, Tensor]:
    return torch.from_numpy(data.fields), torch.from_numpy(data.counts), torch.from_numpy(data.labels)
