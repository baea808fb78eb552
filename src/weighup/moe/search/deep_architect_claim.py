"""Claim check of DeepArchitect (1704.08792): at 64 evaluations, do tree search with bisection and SMBO find better
architectures sooner than random search?

The task is real and cheap: handwritten digits (scikit-learn's, 8 by 8), 256 to train on for 12 steps of Adam, accuracy
on 500 others. Every seed draws other digits and other first weights, and every searcher is run several times on each.
An architecture's accuracy is kept once measured (`<cache>/moe`, keyed by code and seed), so all searchers meet the
same numbers. Compared is the area under best-so-far accuracy. The searchers'
settings were chosen on seeds from 100 on, which the check does not use.
"""

# mypy: disable-error-code="misc,no-any-return,no-untyped-call"

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from weighup.claims import ClaimResult, compare
from weighup.moe.search.build import build
from weighup.moe.search.deep_architect import Kind, mixtures, search, searcher
from weighup.moe.search.space import Architecture
from weighup.settings import cache_folder

SEEDS = range(6)
EVALUATIONS, REPETITIONS = 64, 8
TRAIN, VALID = 256, 500
STEPS, BATCH = 12, 64
KINDS: tuple[Kind, ...] = ("random", "mcts_bisection", "smbo")
_CODE = ("space.py", "build.py", "deep_architect_claim.py", "../experts.py", "../layer.py", "../routers/topk.py")


def check(data: Path, seeds: Sequence[int]) -> list[ClaimResult]:
    """Bisection and SMBO against random search."""
    areas: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    bests: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        with Digits(seed) as digits:
            for kind in KINDS:
                found = [_search(digits, kind, seed, repetition) for repetition in range(REPETITIONS)]
                areas[kind].append(float(np.mean([area for area, _ in found])))
                bests[kind].append(float(np.mean([best for _, best in found])))
    told = "digits of scikit-learn, space `mixtures`"
    results = []
    for kind, name in (("mcts_bisection", "MCTS with bisection"), ("smbo", "SMBO")):
        results.append(
            compare(
                f"{name} against random search, {EVALUATIONS} evaluations",
                metric=f"area under best-so-far accuracy (at the end {np.mean(bests[kind]):.3f})",
                values=areas[kind],
                baseline=f"random search (at the end {np.mean(bests['random']):.3f})",
                baseline_values=areas["random"],
                seeds=seeds,
                n=REPETITIONS * EVALUATIONS,
                data=told,
            )
        )
    return results


def _search(digits: Digits, kind: Kind, seed: int, repetition: int) -> tuple[float, float]:
    space = mixtures()
    by = searcher(kind, space, seed=1000 * seed + repetition)
    history = search(space, digits.accuracy, by, evaluations=EVALUATIONS)
    return history.area, history.best[1]


class Digits:
    """The task of one seed: accuracy of an architecture, from the store or measured now."""

    def __init__(self, seed: int) -> None:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(labels))[: TRAIN + VALID]
        self.x = torch.tensor(images[order] / 16.0, dtype=torch.float32)
        self.y = torch.tensor(labels[order], dtype=torch.long)
        self.seed = seed
        code = hashlib.sha256(f"{torch.__version__} {seed}".encode())
        for name in _CODE:
            code.update((Path(__file__).parent / name).read_bytes())
        self.path = cache_folder() / "moe" / f"digits_{code.hexdigest()[:24]}.json"
        self.known: dict[str, float] = {}

    def __enter__(self) -> Digits:
        if self.path.exists():
            try:
                self.known = json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError:
                self.path.unlink(missing_ok=True)  # cut off: made again
        return self

    def __exit__(self, *_: object) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(self.known), encoding="utf-8")
        os.replace(beside, self.path)

    def accuracy(self, architecture: Architecture) -> float:
        """On the digits that were not trained on."""
        key = str(architecture)
        if key not in self.known:
            self.known[key] = self._measured(architecture)
        return self.known[key]

    def _measured(self, architecture: Architecture) -> float:
        model = build(architecture, self.x.shape[1], 10, seed=self.seed)
        optimiser = torch.optim.Adam(model.parameters(), lr=architecture.settings["rate"])
        chance = torch.Generator().manual_seed(self.seed)
        for _ in range(STEPS):
            rows = torch.randint(TRAIN, (BATCH,), generator=chance)
            loss = torch.nn.functional.cross_entropy(model(self.x[rows]), self.y[rows]) + model.aux_loss
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            called = model(self.x[TRAIN:]).argmax(-1)
        return float((called == self.y[TRAIN:]).float().mean())
