"""Trains the experts that read (`neural_net.py`; arXiv 2510.11277, section on experts), one for each kind of knowledge.

Loss: binary cross-entropy of fake plus λ times the cross-entropy of the knowledge's own verdict. AdamW (Loshchilov &
Hutter 2019, arXiv 1711.05101), batches of 64, cosine, stopped when ten passes bring nothing on held-out claim groups,
as in the paper. Evidence dropout: a pass takes one of the table's variants of each claim, drawn anew each time. A claim
labelled unknown has the target one half, which is the same loss as half real and half fake. What chance does in a step
hangs on the seed and the step's number alone, so that a run that was stopped and goes on ends at the same weights.
"""

# mypy: disable-error-code="import-not-found,misc,no-untyped-call,untyped-decorator"

from __future__ import annotations

import copy
import json
import logging
import math
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from weighup.console import Advance
from weighup.errors import InvalidInput
from weighup.metrics import temperature
from weighup.train.ease import steps
from weighup.train.ease.neural_material import Array, Material, Recipe, Rows, batches, held_out
from weighup.train.ease.neural_net import ExpertNet
from weighup.train.ease.table import Table
from weighup.verify.neural import fake_of

log = logging.getLogger(__name__)
KEEP_SECONDS = 60.0


@dataclass
class Fitted:
    """A trained expert: the `net` of the best pass, its held-out loss, how many passes and minutes it took."""

    net: ExpertNet
    loss: float
    epochs: int
    minutes: float
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Folded:
    """Out-of-fold answers: `fake` [n], NaN for rows the trunk cannot read; `temperature`, that `fake` went through."""

    fake: Array
    temperature: float
    report: dict[str, Any]


def work(material: Material, recipe: Recipe) -> int:
    """Steps of `advance` that one fit on all claims takes at most."""
    return recipe.epochs * math.ceil(len(np.unique(material.claim[material.read])) / recipe.batch)


def fit_expert(
    material: Material,
    rows: Rows,
    recipe: Recipe,
    start: Path,
    *,
    state: Path | None = None,
    advance: Advance | None = None,
    keep_seconds: float = KEEP_SECONDS,
) -> Fitted:
    """Train on `rows`, less those held out by groups for early stopping. `start`: MiniLM's `model.safetensors`.

    `state` is written every `keep_seconds`, when interrupted and at the end; a run finds it and goes on there, or is
    done. A state of other rows or another recipe is set aside with a warning. Raises InvalidInput where all rows are of
    one group.
    """
    learn, held = held_out(material, rows, recipe)
    torch.manual_seed(recipe.seed)
    net = ExpertNet(cross=recipe.cross)
    net.start(start)
    run = _Run(net, recipe, steps.key_of(recipe=asdict(recipe), of=material.key, rows=rows.tolist()))
    if state is not None and state.exists():
        run.read(state)
    saved = last = time.monotonic()
    try:
        while not run.ended:
            epoch = len(run.history)
            every = batches(material, learn, recipe, epoch)
            for number in range(run.step - run.begun, len(every)):
                if run.done(len(every)) >= 1:
                    break
                run.train(material, every[number], recipe, len(every))
                now = time.monotonic()
                run.seconds, last = run.seconds + now - last, now
                if advance is not None:
                    advance(note=f"{material.kind} expert, pass {epoch + 1}, loss {run.loss:.3f}")
                if state is not None and now - saved > keep_seconds:
                    run.write(state)
                    saved = time.monotonic()
            run.judge(_held_loss(net, material, held, recipe), recipe, len(every))
            last = time.monotonic()
    finally:
        if state is not None and run.step:
            run.write(state)
    net.load_state_dict(run.best)
    net.eval()
    return Fitted(net, run.least, len(run.history), run.seconds / 60, run.history)


def out_of_fold(
    table: Table, material: Material, recipe: Recipe, start: Path, folder: Path, *, folds: int = 2,
    advance: Advance | None = None,
) -> Folded:  # fmt: skip
    """P(fake) of every row by an expert that did not learn from its group, through one temperature for all folds.

    Fits and answers are kept in `folder`. Raises InvalidInput for fewer groups than folds.
    """
    read = np.flatnonzero(material.read)
    names, place = np.unique(material.group[read], return_inverse=True)
    if folds < 2 or len(names) < folds:
        raise InvalidInput(f"two folds or more, and as many claim groups, are needed, not {folds} of {len(names)}")
    fold_of = np.empty(len(names), np.int64)
    fold_of[np.random.default_rng(recipe.seed).permutation(len(names))] = np.arange(len(names)) % folds
    logits = np.full(len(table), np.nan, np.float32)
    report: dict[str, Any] = {"folds": folds, "fits": []}
    for fold in range(folds):
        mine = fold_of[place] == fold
        name = steps.key_of(of=material.key, recipe=asdict(recipe), fold=fold, folds=folds)[:12]
        path = folder / f"{material.kind}-{name}.npz"
        kept = steps.kept(path, name)
        if kept is None:
            state = path.with_suffix(".pt")
            fitted = fit_expert(material, read[~mine], recipe, start, state=state, advance=advance)
            told = {"loss": fitted.loss, "epochs": fitted.epochs, "minutes": round(fitted.minutes, 2)}
            kept = {"logits": predict(fitted.net, material, read[mine], recipe)[0]}, told
            steps.keep(path, name, *kept)
            state.unlink(missing_ok=True)
        logits[read[mine]] = kept[0]["logits"]
        report["fits"].append(kept[1])
    known = material.read & table.known
    divisor = temperature(logits[known], table.label[known], material.weight[known])
    fake = np.where(material.read, fake_of(np.nan_to_num(logits), divisor), np.nan).astype(np.float32)
    return Folded(fake, divisor, report)


def averaged(heads: Array, neural: Array) -> Array:
    """The mean of both P(fake) [n]; the heads' alone where the network cannot read."""
    return np.where(np.isnan(neural), heads, (heads + np.nan_to_num(neural)) / 2).astype(np.float32)


@torch.inference_mode()
def predict(net: ExpertNet, material: Material, rows: Rows, recipe: Recipe) -> tuple[Array, Array]:
    """Logits of fake [len(rows)] and of the knowledge's verdict [len(rows), 3]."""
    net.eval()
    logits, verdicts = np.zeros(len(rows), np.float32), np.zeros((len(rows), 3), np.float32)
    order = np.argsort(material.knowledge.length(rows), kind="stable")
    for begin in range(0, len(order), recipe.batch):
        at = order[begin : begin + recipe.batch]
        fake, verdict = net(*inputs(material, rows[at]))
        logits[at], verdicts[at] = fake.numpy(), verdict.numpy()
    return logits, verdicts


def inputs(material: Material, rows: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Content, its mask, knowledge, its mask."""
    content, knowledge = material.content(rows), material.knowledge(rows)
    return (*map(torch.from_numpy, content), *map(torch.from_numpy, knowledge))


def _losses(net: ExpertNet, material: Material, rows: Rows) -> tuple[Tensor, Tensor]:
    """Weighted means of the binary cross-entropy and of the verdict's cross-entropy."""
    logit, verdict = net(*inputs(material, rows))
    weight = torch.from_numpy(material.weight[rows])
    fake = F.binary_cross_entropy_with_logits(logit, torch.from_numpy(material.target[rows]), reduction="none")
    told = F.cross_entropy(verdict, torch.from_numpy(material.verdict[rows]), reduction="none")
    return (fake * weight).sum() / weight.sum(), (told * weight).sum() / weight.sum()


@torch.inference_mode()
def _held_loss(net: ExpertNet, material: Material, rows: Rows, recipe: Recipe) -> dict[str, float]:
    """Without λ: the loss that counts, and the verdict's."""
    net.eval()
    total, sums = 0.0, np.zeros(2)
    for begin in range(0, len(rows), recipe.batch):
        at = rows[begin : begin + recipe.batch]
        share = float(material.weight[at].sum())
        sums += share * np.asarray([loss.item() for loss in _losses(net, material, at)])
        total += share
    return {"fake": float(sums[0] / total), "verdict": float(sums[1] / total)}


class _Run:
    """All that changes in a run, so that it can be written and read back. `begun`: the step at which its pass began."""

    def __init__(self, net: ExpertNet, recipe: Recipe, key: str) -> None:
        tuned = [*net.content.parameters(), *net.knowledge.parameters()]
        fresh = [p for p in net.parameters() if all(p is not q for q in tuned)]
        groups = [{"params": tuned, "peak": recipe.lr}, {"params": fresh, "peak": recipe.lr * recipe.fresh}]
        self.net, self.recipe, self.key = net, recipe, key
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=0.01)
        self.step, self.begun, self.seconds, self.loss, self.least, self.ended = 0, 0, 0.0, 0.0, math.inf, False
        self.best: dict[str, Tensor] = copy.deepcopy(net.state_dict())
        self.history: list[dict[str, float]] = []

    def done(self, a_pass: int) -> float:
        """The share of the schedule that is behind."""
        spent = self.seconds / 60 / self.recipe.minutes if self.recipe.minutes else 0.0
        return max(self.step / (self.recipe.epochs * a_pass), spent)

    def train(self, material: Material, rows: Rows, recipe: Recipe, a_pass: int) -> None:
        """One step."""
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)
        self.net.train()
        rate = min((self.step + 1) / recipe.warm_up, 1.0) * 0.5 * (1 + math.cos(math.pi * self.done(a_pass)))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * rate
        fake, verdict = _losses(self.net, material, rows)
        loss = fake + recipe.lam * verdict
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.loss = 0.95 * self.loss + 0.05 * loss.item() if self.step else loss.item()
        self.step += 1

    def judge(self, held: dict[str, float], recipe: Recipe, a_pass: int) -> None:
        """The end of a pass: is it the best so far, and is it time to stop?"""
        self.history.append({**held, "train": self.loss})
        self.begun = self.step
        if held["fake"] < self.least:
            self.least, self.best = held["fake"], copy.deepcopy(self.net.state_dict())
        best = min(range(len(self.history)), key=lambda i: self.history[i]["fake"])
        self.ended = len(self.history) - 1 - best >= recipe.patience or self.done(a_pass) >= 1
        log.info("pass %d held %.4f train %.4f %.0f s", len(self.history), held["fake"], self.loss, self.seconds)

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part")
        told = (self.step, self.begun, self.seconds, self.loss, self.least, self.ended, json.dumps(self.history))
        # Of a finished run only the best is needed; the rest takes three times as much again.
        nets = {"net": self.best if self.ended else self.net.state_dict(), "best": self.best}
        nets["optimiser"] = {} if self.ended else self.optimiser.state_dict()
        torch.save({"key": self.key, "told": told, **nets}, beside)
        os.replace(beside, path)

    def read(self, path: Path) -> None:
        """Go on where a run was stopped."""
        try:
            kept = torch.load(path, weights_only=True)
            if kept["key"] != self.key:
                raise ValueError("it is of other data or another recipe")
            self.net.load_state_dict(kept["net"])
            if kept["optimiser"]:
                self.optimiser.load_state_dict(kept["optimiser"])
            self.best = kept["best"]
            self.step, self.begun, self.seconds, self.loss, self.least, self.ended, history = kept["told"]
            self.history = json.loads(history)
        except Exception as error:  # noqa: BLE001 torch and pickle raise many kinds on bytes that are not theirs
            log.warning("%s: cannot be gone on from (%s); training starts anew", path, error)


def best_rate(
    material: Material, recipes: list[Recipe], start: Path, folder: Path, *, advance: Advance | None = None
) -> tuple[Recipe, dict[str, float], Fitted]:
    """Of recipes that differ by learning rate the one with the least loss on held-out groups, all losses by rate, and
    the expert it made of all other rows. Finished fits are kept in `folder`."""
    rows = np.flatnonzero(material.read)
    found: dict[float, Fitted] = {}
    for recipe in recipes:
        state = folder / f"{material.kind}-{steps.key_of(of=material.key, recipe=asdict(recipe))[:12]}.pt"
        found[recipe.lr] = fit_expert(material, rows, recipe, start, state=state, advance=advance)
    best = min(recipes, key=lambda recipe: found[recipe.lr].loss)
    return best, {f"{rate:g}": round(one.loss, 4) for rate, one in found.items()}, found[best.lr]
