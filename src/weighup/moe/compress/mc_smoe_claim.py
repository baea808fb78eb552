"""Claim check of MC-SMoE (2310.01334): does it merge better than averaging, ZipIt and Git Re-Basin at equal size, and
do merged weights have lower stable rank?

The trained small model of each seed (24 experts over 3 layers) is calibrated on "train", merged to 12 experts and
fine-tuned for 40 steps with tied weights, as the paper fine-tunes; all ways see the same batches. The baselines know
nothing of the routing: 4 experts a layer, groups by average-linkage clustering of aligned weights. Beside the claim:
the same baselines in MC-SMoE's own groups, so that only the way of merging differs. Losses are nats a byte on "test".
Stable rank (before fine-tuning): mean over gate, up and down matrices of all groups of two or more, against the mean
of their members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from weighup.claims import ClaimResult, compare
from weighup.moe import lab
from weighup.moe.calibration import calibrate
from weighup.moe.compress.mc_smoe import mc_smoe, stable_rank
from weighup.moe.compress.merge import Merge, Merged, aligned, average, git_rebasin, merge, units_of, zipit
from weighup.moe.policy import control
from weighup.moe.sites import sites

SEEDS = range(6)
EXPERTS = 12
WINDOWS, CALIBRATION = 40, 100
TUNING = lab.Training(steps=40, batch=16, rate=1e-3, warmup=5)
OURS, NAMES = "MC-SMoE", ("uniform averaging", "ZipIt-style merging", "Git Re-Basin-style merging")
Losses = dict[str, tuple[float, float]]
"""By way: loss as merged, and after fine-tuning."""


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Against each baseline with its own groups, and with MC-SMoE's; stable rank."""
    found: list[Losses] = []
    ranks: list[tuple[float, float]] = []
    n = matrices = 0
    for seed in seeds:
        losses, rank, n, matrices = _measured(data, seed)
        found.append(losses)
        ranks.append(rank)
    against = partial(compare, seeds=seeds, data="five domains, test", lower_is_better=True)
    rows = []
    for kind, how in (("", "groups without hints of routing"), ("beside the claim: ", "MC-SMoE's own groups")):
        for name in NAMES:
            key = f"{name}, {how}"
            before = " / ".join(f"{sum(one[way][0] for one in found) / len(found):.3f}" for way in (OURS, key))
            rows.append(
                against(
                    f"{kind}{EXPERTS} of 24 experts left: lower loss than {key}",
                    metric=f"nats a byte after {TUNING.steps} steps of fine-tuning (before: {before})",
                    values=[one[OURS][1] for one in found],
                    baseline=key,
                    baseline_values=[one[key][1] for one in found],
                    n=n,
                )
            )
    rows.append(
        against(
            "merged weights have lower stable rank",
            metric="mean stable rank of merged matrices",
            values=[one[0] for one in ranks],
            baseline="mean of the matrices that went into them",
            baseline_values=[one[1] for one in ranks],
            n=matrices,
        )
    )
    return rows


def _measured(data: Path, seed: int) -> tuple[Losses, tuple[float, float], int, int]:
    model, corpus = lab.base(data, seed)
    length = model.config.context
    batches = corpus.batches("train", 32, length, windows=CALIBRATION)
    # ZipIt correlates on the layers' inputs: enough of them for every domain.
    calibration = calibrate(model, batches, sample=10_000)
    ours = mc_smoe(model, calibration, experts=EXPERTS)
    ways = {OURS: ours}
    groups = {"groups without hints of routing": _by_weights(model), "MC-SMoE's own groups": ours.to}
    hows: dict[str, Merge] = dict(
        zip(NAMES, (average, zipit([one.inputs for one in calibration.layers]), git_rebasin), strict=True)
    )
    for told, to in groups.items():
        # Weights only tell that no group is empty; these baselines do not look at them.
        even = [one.new_ones(len(one)) for one in to]
        for name, how in hows.items():
            ways[f"{name}, {told}"] = merge(model, to, even, how)
    assert len({one.stored for one in ways.values()}) == 1, "the ways are of equal size"
    losses = {name: _losses(one, corpus, seed) for name, one in ways.items()}
    tested = sum(one.tokens.size for one in corpus.batches("test", 32, length, windows=WINDOWS))
    before, after = _ranks(model, ours)
    mean = (sum(after) / len(after), sum(before) / len(before))
    return losses, mean, tested, len(after)


def _losses(merged: Merged, corpus: Any, seed: int) -> tuple[float, float]:
    model, policy = merged.model, merged.policy
    within = partial(control, model, policy)
    measured = partial(lab.mean_loss, model, corpus, "test", windows=WINDOWS, within=within)

    def tied(model: Any, tokens: Any, targets: Any, progress: float) -> Any:
        with control(model, policy):
            return lab.plain_loss(model, tokens, targets, progress)

    before = measured()
    lab.train(model, corpus, replace(TUNING, seed=seed), loss=tied)
    return before, measured()


def _by_weights(model: Any) -> list[Any]:
    """A third of EXPERTS in each of 3 layers, by average linkage of what aligned weights have in common."""
    import torch
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    found = sites(model)
    groups = []
    for site in found:
        units = units_of(*(one.detach() for one in site.weights()))
        n = len(units)
        alike = torch.stack([(aligned(units, one) * units[one]).sum((1, 2)) for one in range(n)])
        norms = alike.diagonal().sqrt()
        apart = 1 - alike / torch.outer(norms, norms)
        apart = ((apart + apart.T) / 2).fill_diagonal_(0).clamp_min(0)
        tree = linkage(squareform(apart.double().numpy(), checks=False), "average")
        label = torch.from_numpy(fcluster(tree, EXPERTS // len(found), "maxclust"))
        groups.append((label[:, None] == label[None, :]).int().argmax(1))
    return groups


def _ranks(model: Any, merged: Merged) -> tuple[list[float], list[float]]:
    """Stable ranks before (the members' mean) and after, a matrix of a group of two or more each."""
    before, after = [], []
    for old, new, to in zip(sites(model), sites(merged.model), merged.to, strict=True):
        for dominant in to.unique().tolist():
            members = (to == dominant).nonzero().squeeze(1).tolist()
            if len(members) < 2:
                continue
            for part in range(3):
                before.append(sum(stable_rank(_matrix(old, one, part)) for one in members) / len(members))
                after.append(stable_rank(_matrix(new, dominant, part)))
    return before, after


def _matrix(site: Any, expert: int, part: int) -> Any:
    first, last = (one.detach() for one in site.weights())
    return last[expert] if part == 2 else first[expert].chunk(2)[part]
