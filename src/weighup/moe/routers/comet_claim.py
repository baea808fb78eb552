"""Claim check of COMET (2306.02824): a better AUC than Top-k and hash routing on two tasks of a recommender, and less
spread over bad initialisations with the local search.

Made data, MovieLens-like: users and items with features; users fall into groups, items into genres, and each pair of
group and genre weighs the features in its own way, so that experts have something to divide. Two tasks: whether an
item is watched, and whether it is liked, which shares a part of the first. Each pair of user and item is in one
split. The model (N shared experts, a router and a linear head a task) is the same for all routers, as are its first
weights and its batches; hash routing takes the item's id. DSelect-k is shown beside.

A bad initialisation: the trees' hyperplanes are drawn so large that most gates start at 0 or 1, where they have no
gradient, and all trees are the same, so that a token's k experts are one.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from weighup.claims import ClaimResult, compare
from weighup.metrics.classification import auroc
from weighup.moe.experts import Experts
from weighup.moe.routers.baselines import DSelectK, Hash
from weighup.moe.routers.comet import Comet
from weighup.moe.routers.topk import TopK
from weighup.moe.types import Context, Router

SEEDS = range(6)
USERS, ITEMS, GROUPS, FEATURES, PAIRS = 400, 300, 4, 8, 20_000
HIDDEN, N, K = 8, 8, 2
STEPS, BATCH, RATE = 200, 256, 1e-2
BAD, TIMES = 5, 16.0
"""How many bad initialisations, and how many times too large they are."""
TASKS = 2


@dataclass(frozen=True, eq=False)
class Ratings:
    """`x` float [n, 2 FEATURES] of user and item; `items` int64 [n]; `labels` float [n, TASKS]; `splits` places."""

    x: Tensor
    items: Tensor
    labels: Tensor
    splits: dict[str, Tensor]


class Recommender(nn.Module):
    """Shared experts, and for each task a router and a head."""

    def __init__(self, make: Callable[[], Router], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)  # all but the routers begin alike
        self.experts = Experts(N, 2 * FEATURES, HIDDEN)
        self.heads = nn.ModuleList(nn.Linear(2 * FEATURES, 1) for _ in range(TASKS))
        self.routers = nn.ModuleList(make() for _ in range(TASKS))

    def forward(self, x: Tensor, items: Tensor, progress: float = 1.0) -> tuple[Tensor, Tensor]:
        """x [T, 2 FEATURES], items [T] -> logits [T, TASKS] and the routers' loss."""
        context = Context(1, len(x), progress=progress)
        told, aux = [], x.new_zeros(())
        for router, head in zip(self.routers, self.heads, strict=True):
            routing = router.by_id(items) if isinstance(router, Hash) else router(x, context)
            told.append(head(self.experts(x, routing)))
            aux = aux + routing.aux_loss
        return torch.cat(told, -1), aux


ROUTERS: dict[str, Callable[[], Router]] = {
    "comet": lambda: Comet(2 * FEATURES, N, K),
    "top-k": lambda: TopK(2 * FEATURES, N, K),
    "hash": lambda: Hash(2 * FEATURES, N, K),
    "dselect-k": lambda: DSelectK(2 * FEATURES, N, K),
}


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """AUC against each baseline, and the spread of bad initialisations with and without the search."""
    found: dict[str, list[float]] = {name: [] for name in (*ROUTERS, "searched", "as drawn")}
    for seed in seeds:
        ratings = made(seed)
        for name, make in ROUTERS.items():
            found[name].append(auc(fitted(make, ratings, seed), ratings, "test"))
        for name, search in (("searched", 0.2), ("as drawn", 0.0)):
            scores = [
                auc(fitted(lambda s=search: bad(s), ratings, 100 * seed + n), ratings, "test") for n in range(BAD)
            ]
            found[name].append(float(np.std(scores, ddof=1)))
    n = int(0.2 * PAIRS)
    against = [("top-k", ""), ("hash", ""), ("dselect-k", "beside the claim: ")]
    return [
        *(
            compare(
                f"{kind}COMET against {name}, {K} of {N} experts",
                metric="AUC, mean of two tasks",
                values=found["comet"],
                baseline=f"{name} + 0.000",
                baseline_values=found[name],
                seeds=seeds,
                n=n,
                data="made ratings, test",
            )
            for name, kind in against
        ),
        compare(
            f"COMET: less spread over {BAD} bad initialisations with the permutation search than without",
            metric="standard deviation of AUC",
            values=found["searched"],
            baseline="without the search − 0.000",
            baseline_values=found["as drawn"],
            seeds=seeds,
            n=n,
            data="made ratings, test",
            lower_is_better=True,
        ),
    ]


def made(seed: int) -> Ratings:
    """The data of a seed, half of the labels of each task positive."""
    chance = np.random.default_rng(seed)
    group, genre = chance.integers(GROUPS, size=USERS), chance.integers(GROUPS, size=ITEMS)
    # Features lie around those of the group or genre, so that these can be told from them.
    users = chance.normal(size=(GROUPS, FEATURES))[group] + 0.5 * chance.normal(size=(USERS, FEATURES))
    items = chance.normal(size=(GROUPS, FEATURES))[genre] + 0.5 * chance.normal(size=(ITEMS, FEATURES))
    weighing = chance.normal(size=(TASKS, GROUPS, GROUPS, 2 * FEATURES))
    weighing[1] = 0.5 * weighing[0] + 0.87 * weighing[1]
    chosen = chance.permutation(USERS * ITEMS)[:PAIRS]
    u, i = chosen // ITEMS, chosen % ITEMS
    x = np.concatenate((users[u], items[i]), 1)
    scores = np.einsum("tnf,nf->nt", weighing[:, group[u], genre[i]], x)
    scores += 0.5 * scores.std(0) * chance.normal(size=scores.shape)
    labels = scores > np.median(scores, axis=0)
    places = torch.arange(PAIRS).tensor_split([int(0.6 * PAIRS), int(0.8 * PAIRS)])
    return Ratings(
        torch.from_numpy(x).float(),
        torch.from_numpy(i),
        torch.from_numpy(labels).float(),
        dict(zip(("train", "valid", "test"), places, strict=True)),
    )


def fitted(make: Callable[[], Router], ratings: Ratings, seed: int) -> Recommender:
    """A model trained on the split `train`."""
    model = Recommender(make, seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    chance = torch.Generator().manual_seed(seed)
    rows = ratings.splits["train"]
    model.train()
    for step in range(STEPS):
        batch = rows[torch.randint(len(rows), (BATCH,), generator=chance)]
        logits, aux = model(ratings.x[batch], ratings.items[batch], step / STEPS)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, ratings.labels[batch]) + aux
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def auc(model: Recommender, ratings: Ratings, split: str) -> float:
    """Mean over tasks."""
    rows = ratings.splits[split]
    logits, _ = model(ratings.x[rows], ratings.items[rows])
    truth = ratings.labels[rows].numpy().astype(int)
    return float(np.mean([auroc(truth[:, task], logits[:, task].numpy()) for task in range(TASKS)]))


def bad(search: float) -> Comet:
    """A router that begins with hard gates and equal trees."""
    router = Comet(2 * FEATURES, N, K, search=search)
    with torch.no_grad():
        router.splits.copy_(TIMES * router.splits[:1].expand_as(router.splits))
    return router
