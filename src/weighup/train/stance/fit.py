"""The training run of the deep half: batches, schedule, loss, running mean, and a state to go on from. On a graphics
card where there is one.

AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101); linear warm-up, then decay over the steps or the minutes, whichever
end first; a running mean of the weights over the last quarter (after Izmailov et al. 2018, arXiv 1803.05407). The loss
takes "refutes or neutral" as one event, -log(p_refutes + p_neutral), and partial support as "supports or neutral".
What a teacher says of a pair is learned beside its label, or instead of one that it does not have (Hinton, Vinyals &
Dean 2015, arXiv 1503.02531, section 2, at temperature 1).
"""

# mypy: disable-error-code="misc,no-untyped-call,untyped-decorator"

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weighup.console import Advance
from weighup.train.stance.data import UNTOLD, Pair
from weighup.train.stance.net import StanceNet
from weighup.verify.stance import encode_pairs, padded
from weighup.verify.stance_features import features

log = logging.getLogger(__name__)
EVENTS = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=torch.bool)
KEEP_SECONDS = 120.0
_STRETCH = 50


@dataclass(frozen=True)
class Recipe:
    """How the deep half is trained. `round` says how many pairs of each source one round draws (absent: all).

    `minutes` counts time spent in steps, over all runs of a resumed training; the schedule ends at it or at `steps`.
    The first `frozen` layers, and the embeddings below them, stay as they are. `weights` are of the loss, by source.
    `taught` is the teacher's share of the loss of a pair that has a label; one without has no other.
    """

    steps: int = 4000
    minutes: float = 25.0
    batch: int = 32
    lr: float = 2e-4
    seed: int = 7
    max_tokens: int = 112
    round: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    features: bool = True
    warm_up: int = 60
    frozen: int = 0
    drop: float = 0.1
    taught: float = 0.5


@dataclass(frozen=True)
class Fitted:
    """How far it came."""

    steps: int
    minutes: float
    loss: float


def fit(
    net: StanceNet,
    pools: Mapping[str, Sequence[Pair]],
    tokenizer: Any,
    recipe: Recipe,
    *,
    state: Path | None = None,
    advance: Advance | None = None,
    keep_seconds: float = KEEP_SECONDS,
    teacher: Mapping[Pair, Sequence[float]] | None = None,
) -> Fitted:
    """Train `net` in place. `state` is written every `keep_seconds` and on Ctrl-C; a run finds it and goes on there.

    A state of other data or another recipe is set aside with a warning. The caller removes the file when all is done.
    `teacher`: probabilities of supports, refutes and neutral, for the pairs it was asked about; it must know every pair
    that is UNTOLD.
    """
    torch.manual_seed(recipe.seed)
    net.to("cuda" if torch.cuda.is_available() else "cpu")
    net.drop = recipe.drop
    below = (net.places, net.types, net.match, net.norm, *net.layers[: recipe.frozen])
    for module in (net.words, *(below if recipe.frozen else ())):
        module.requires_grad_(False)
    fresh = [p for p in (*net.head.parameters(), *net.match.parameters()) if p.requires_grad]
    trunk = [p for p in net.parameters() if p.requires_grad and all(p is not f for f in fresh)]
    optimiser = torch.optim.AdamW(
        [{"params": trunk, "lr": recipe.lr}, {"params": fresh, "lr": 5 * recipe.lr}], weight_decay=0.01, fused=True
    )
    run = _Run(net, optimiser, [*trunk, *fresh], _key(pools, recipe, teacher or {}))
    coded = _Coded(tokenizer, recipe)
    if state is not None and state.exists():
        run.read(state)
    peaks = [recipe.lr, 5 * recipe.lr]
    if advance is not None:
        advance(run.step, note="training the network")
    saved = last = time.monotonic()
    net.train()
    try:
        for batch in batches(pools, recipe, skip=run.step):
            done = max(run.step / recipe.steps, run.seconds / 60 / recipe.minutes) if recipe.minutes else 1.0
            if done >= 1:
                break
            for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                group["lr"] = peak * min((run.step + 1) / recipe.warm_up, 1.02 - done)
            loss = _loss(net, batch, coded, teacher or {}, recipe)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trunk, 1.0)
            optimiser.step()
            run.loss = 0.98 * run.loss + 0.02 * loss.item() if run.step else loss.item()
            if done >= 0.75 and run.step % 5 == 0:
                run.average()
            run.step += 1
            now = time.monotonic()
            run.seconds, last = run.seconds + now - last, now
            if advance is not None:
                advance(note=f"training the network, loss {run.loss:.3f}")
            if run.step % _STRETCH == 0:
                log.info("step %d loss %.3f %.0f s", run.step, run.loss, run.seconds)
            if state is not None and now - saved > keep_seconds:
                run.write(state)
                saved = time.monotonic()
    finally:
        if state is not None and run.step:
            run.write(state)
    run.settle()
    net.eval().to("cpu")
    return Fitted(run.step, run.seconds / 60, run.loss)


def pools_of(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Pairs by source; untold ones are drawn apart, and neutral fool_me_twice pairs, which are 9 in 10 there."""
    pools: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.label == UNTOLD:
            pools.setdefault("untold", []).append(pair)
            continue
        apart = " neutral" if pair.source == "fool_me_twice" and pair.label == 2 else ""
        pools.setdefault(pair.source + apart, []).append(pair)
    return pools


def batches(pools: Mapping[str, Sequence[Pair]], recipe: Recipe, *, skip: int = 0) -> Iterator[list[Pair]]:
    """Batches without end, from the one after `skip`; those of a round depend on the seed and its number alone.

    A round draws from every pool, sorts stretches of 50 batches by length, and shuffles the batches.
    """
    number = 0
    while True:
        rng = random.Random(f"{recipe.seed} {number}")
        drawn: list[Pair] = []
        for name, pool in pools.items():
            drawn += rng.sample(pool, min(recipe.round.get(name, len(pool)), len(pool)))
        rng.shuffle(drawn)
        out = []
        stretch = recipe.batch * _STRETCH
        for start in range(0, len(drawn), stretch):
            part = sorted(drawn[start : start + stretch], key=lambda p: len(p.claim) + min(len(p.passage), 600))
            out += [part[i : i + recipe.batch] for i in range(0, len(part), recipe.batch)]
        rng.shuffle(out)
        if skip >= len(out):
            skip -= len(out)
        else:
            yield from out[skip:]
            skip = 0
        number += 1


def tensors(pairs: Sequence[Pair], tokenizer: Any, recipe: Recipe) -> tuple[Tensor, Tensor, Tensor]:
    """ids, types [n, length] and features [n, n_features]."""
    texts = [(p.claim, p.passage) for p in pairs]
    ids, types = encode_pairs(tokenizer, texts, recipe.max_tokens)
    feats = features(texts) if recipe.features else np.zeros_like(features(texts))
    return torch.from_numpy(padded(ids)), torch.from_numpy(padded(types)), torch.from_numpy(feats)


@torch.inference_mode()
def predict(net: StanceNet, tokenizer: Any, pairs: Sequence[Pair], recipe: Recipe | None = None) -> NDArray[np.float32]:
    """Logits of the deep half [n_pairs, 3], read at the full 160 tokens."""
    texts = [(p.claim, p.passage) for p in pairs]
    ids, types = encode_pairs(tokenizer, texts)
    feats = features(texts)
    if recipe is not None and not recipe.features:
        feats = np.zeros_like(feats)
    out = np.zeros((len(pairs), 3), dtype=np.float32)
    device = net.bias.device
    order = sorted(range(len(pairs)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), 64):
        at = order[start : start + 64]
        batch = (padded([ids[i] for i in at]), padded([types[i] for i in at]), feats[at])
        out[at] = net(*(torch.from_numpy(part).to(device) for part in batch)).float().cpu().numpy()
    return out


class _Coded:
    """Pairs as numbers, each made once: a run sees them many times, and a graphics card would wait for it."""

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._tokenizer, self._recipe = tokenizer, recipe
        self._known: dict[Pair, tuple[Tensor, Tensor, Tensor]] = {}

    def __call__(self, batch: Sequence[Pair], device: torch.device) -> list[Tensor]:
        """ids, types [n, longest] int64 and features [n, n_features] on the device."""
        new = [p for p in dict.fromkeys(batch) if p not in self._known]
        if new:
            ids, types, feats = tensors(new, self._tokenizer, self._recipe)
            lengths = (ids != 0).sum(1).tolist()
            for i, (pair, n) in enumerate(zip(new, lengths, strict=True)):
                self._known[pair] = (ids[i, :n].to(torch.int32), types[i, :n].to(torch.int8), feats[i])
        rows = [self._known[p] for p in batch]
        ids, types = (torch.nn.utils.rnn.pad_sequence([r[k] for r in rows], batch_first=True).long() for k in (0, 1))
        return [t.to(device, non_blocking=True) for t in (ids, types, torch.stack([r[2] for r in rows]))]


def _loss(
    net: StanceNet, batch: Sequence[Pair], coded: _Coded, teacher: Mapping[Pair, Sequence[float]], recipe: Recipe
) -> Tensor:
    device = net.bias.device
    with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
        logits = net(*coded(batch, device))
    log_p = torch.log_softmax(logits.float(), dim=-1)
    told = EVENTS[torch.tensor([p.label for p in batch])].to(device)
    each = -torch.logsumexp(log_p.masked_fill(~told, -1e4), dim=-1)
    if teacher:
        said = torch.tensor([teacher.get(p, (0.0, 0.0, 0.0)) for p in batch], device=device)
        share = torch.tensor([1.0 if p.label == UNTOLD else recipe.taught * (p in teacher) for p in batch])
        share = share.to(device)
        each = (1 - share) * each - share * (said * log_p).sum(-1)
    weight = torch.tensor([recipe.weights.get(p.source, 1.0) for p in batch], device=device)
    return (each * weight).sum() / weight.sum()


class _Run:
    """All that changes in a run, so that it can be written and read back."""

    def __init__(self, net: StanceNet, optimiser: torch.optim.Optimizer, tuned: list[Tensor], key: str) -> None:
        self.net, self.optimiser, self.tuned, self.key = net, optimiser, tuned, key
        self.step, self.seconds, self.loss = 0, 0.0, 0.0
        self.mean: list[Tensor] = []
        self.averaged = 0

    def average(self) -> None:
        """One more sample in the running mean of the weights."""
        now = [p.detach() for p in self.tuned]
        if not self.mean:
            self.mean = [p.clone() for p in now]
        self.averaged += 1
        for m, p in zip(self.mean, now, strict=True):
            m.lerp_(p, 1.0 / self.averaged)

    def settle(self) -> None:
        """The mean takes the weights' place."""
        with torch.no_grad():
            for m, p in zip(self.mean, self.tuned if self.mean else (), strict=True):
                p.copy_(m)

    def write(self, path: Path) -> None:
        part = path.with_name(path.name + ".part")
        kept = {
            "key": self.key,
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "mean": self.mean,
            "random": torch.get_rng_state(),
            "told": (self.step, self.seconds, self.loss, self.averaged),
        }
        torch.save(kept, part)
        os.replace(part, path)

    def read(self, path: Path) -> None:
        try:
            kept = torch.load(path, weights_only=True, map_location=self.net.bias.device)
            if kept["key"] != self.key:
                raise ValueError("it is of other data or another recipe")
            self.net.load_state_dict(kept["net"])
            self.optimiser.load_state_dict(kept["optimiser"])
            torch.set_rng_state(kept["random"].cpu())
        except Exception as error:  # noqa: BLE001 torch and pickle raise many kinds on bytes that are not theirs
            log.warning("%s: cannot be gone on from (%s); training starts anew", path, error)
            return
        self.mean = kept["mean"]
        self.step, self.seconds, self.loss, self.averaged = kept["told"]


def _key(pools: Mapping[str, Sequence[Pair]], recipe: Recipe, teacher: Mapping[Pair, Sequence[float]]) -> str:
    """Names the data, the recipe and what the teacher says."""
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True, default=dict).encode())
    if teacher:
        digest.update(np.array(list(teacher.values()), np.float32).tobytes())
    for name, pool in pools.items():
        digest.update(name.encode())
        for p in pool:
            digest.update(f"{p.claim}\0{p.passage}\0{p.label}\0".encode("utf-8", "replace"))
    return digest.hexdigest()
