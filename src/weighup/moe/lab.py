"""Training a tiny model: one loop for every router, resumable, and a store of what was trained before.

`train` is the loop, `losses` measures by domain, `trained` gives the model of a config from the store or trains it:
checks of several methods share their baselines. The store (`<cache>/moe`) is keyed by the config, the data and the
code, so that nothing old is taken for new.
"""

# mypy: disable-error-code="misc,no-any-return,untyped-decorator"

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import pickle
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weighup.console import progress
from weighup.errors import InvalidInput, JobFailed
from weighup.moe.corpus import Corpus, Split, five_domains
from weighup.moe.tiny import Output, TinyConfig, TinyMoELM
from weighup.settings import cache_folder

SMALL = TinyConfig(width=64, layers=3, heads=4, n_experts=8, k=2, hidden=64, context=64)
"""What claim checks train: a few seconds for some hundred steps on one core."""
_KEEP_EVERY = 30.0  # seconds between states
_CORE = ("types", "experts", "layer", "tiny", "lab", "corpus", "registry", "routers/topk")


@dataclass(frozen=True)
class Training:
    """How to train. `rate`: greatest learning rate of AdamW, warmed up and then a half cosine down to a tenth."""

    steps: int = 600
    batch: int = 16
    rate: float = 4e-3
    warmup: int = 30
    decay: float = 0.05
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or not self.rate > 0:
            raise InvalidInput(f"training: positive steps, batch and rate are needed, not {self}")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


@dataclass
class Log:
    """What a training told: losses (nats a byte) a step, seconds."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


RACE = Training(steps=600)
"""What routers are compared after."""
BASE = Training(steps=1400)
"""What methods for trained models begin from."""

Loss = Callable[[TinyMoELM, Tensor, Tensor, float], Tensor]
OnStep = Callable[[TinyMoELM, int], None]


def plain_loss(model: TinyMoELM, tokens: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Next-byte loss and the routers' own."""
    return model(tokens, targets, progress=progress).total


def train(
    model: TinyMoELM,
    corpus: Corpus,
    training: Training,
    *,
    loss: Loss = plain_loss,
    parameters: list[nn.Parameter] | None = None,
    on_step: OnStep | None = None,
    state: Path | None = None,
    show: bool | None = False,
    label: str = "training",
) -> Log:
    """Train in place. `parameters`: only these. `on_step(model, done)` after each step. With `state`, a file, it goes
    on from there and keeps it every half minute and on Ctrl-C.

    Raises JobFailed where the loss is no number any more, InvalidInput for a state of another training.
    """
    trained = parameters if parameters is not None else [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.dim() >= 2], "weight_decay": training.decay},
            {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=training.rate,
        betas=(0.9, 0.99),
    )
    log, first = Log(), 0
    told = {"training": asdict(training), "model": model.config.dump(), "corpus": corpus.fingerprint}
    if state is not None and state.exists():
        first = _resume(state, told, model, optimiser, log)
    length, started = model.config.context, time.monotonic() - log.seconds
    kept_at = time.monotonic()
    model.train()
    step = first
    with progress(label, training.steps, show=show) as advance:
        advance(first)
        try:
            for step in range(first, training.steps):
                # Each step has its own chance: a run that goes on draws what it would have drawn.
                chance = np.random.default_rng((training.seed, step))
                torch.manual_seed(training.seed * 1_000_003 + step)
                batch = corpus.batch(chance, training.batch, length)
                for group in optimiser.param_groups:
                    group["lr"] = training.rate_at(step)
                optimiser.zero_grad(set_to_none=True)
                value = loss(
                    model, torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets), step / training.steps
                )
                value.backward()
                nn.utils.clip_grad_norm_(trained, training.clip)
                optimiser.step()
                log.losses.append(float(value.detach()))
                if not math.isfinite(log.losses[-1]):
                    raise JobFailed(f"training: the loss of step {step} is {log.losses[-1]}; take a lower rate")
                log.seconds = time.monotonic() - started
                if on_step is not None:
                    on_step(model, step + 1)
                advance(1)
                if state is not None and time.monotonic() - kept_at > _KEEP_EVERY:
                    _keep(state, told, model, optimiser, log, step + 1)
                    kept_at = time.monotonic()
        except KeyboardInterrupt:
            if state is not None:
                _keep(state, told, model, optimiser, log, len(log.losses))
            raise
    if state is not None:
        _keep(state, told, model, optimiser, log, training.steps)
    model.eval()
    return log


@torch.no_grad()
def losses(
    model: nn.Module,
    corpus: Corpus,
    split: Split = "valid",
    *,
    windows: int = 40,
    batch: int = 32,
    length: int | None = None,
    within: Callable[[], AbstractContextManager[Any]] = nullcontext,
    each: Callable[[Output, np.ndarray[Any, Any]], None] | None = None,
) -> dict[str, float]:
    """Mean nats a byte by domain, over at most `windows` evenly spread windows of each; `within` is entered for each
    batch (for example `control`), `each` sees every output and its domains. The model's mode is as before after it."""
    was, sums = model.training, {domain: [0.0, 0] for domain in corpus.domains}
    model.eval()
    try:
        for one in corpus.batches(split, batch, length or model.config.context, windows=windows):
            with within():
                out = model(torch.from_numpy(one.tokens), torch.from_numpy(one.targets))
            found = sums[corpus.domains[one.domains[0]]]
            found[0] += float(out.loss) * one.tokens.size
            found[1] += one.tokens.size
            if each is not None:
                each(out, one.domains)
    finally:
        model.train(was)
    return {domain: total / max(1, count) for domain, (total, count) in sums.items()}


def mean_loss(model: nn.Module, corpus: Corpus, split: Split = "valid", **more: Any) -> float:
    """Mean of `losses` over the domains."""
    found = losses(model, corpus, split, **more)
    return math.fsum(found.values()) / len(found)


def trained(
    config: TinyConfig,
    corpus: Corpus,
    training: Training,
    *,
    kind: str = "",
    make: Callable[[], TinyMoELM] | None = None,
    fit: Callable[[TinyMoELM], Any] | None = None,
    show: bool | None = False,
) -> TinyMoELM:
    """The model of a config, from the store or trained now (seeded by `training.seed`), with its `seconds`.

    `kind` names a training other than the plain one: `make` the model, `fit` it; it is part of the key.
    """
    key = _key(config, corpus, training, kind)
    path = cache_folder() / "moe" / f"{key}.pt"
    torch.manual_seed(training.seed)
    model = make() if make is not None else TinyMoELM(config)
    if path.exists():
        try:
            found = torch.load(path, weights_only=True)
            model.load_state_dict(found["model"])
            model.seconds = float(found["seconds"])
            return model.eval()
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
            path.unlink(missing_ok=True)  # cut off or broken: made again
    started = time.monotonic()
    if fit is not None:
        fit(model)
    else:
        train(model, corpus, training, show=show, label=f"training {config.router}, seed {training.seed}")
    model.seconds = time.monotonic() - started
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    torch.save({"model": model.state_dict(), "seconds": model.seconds}, beside)
    os.replace(beside, path)
    return model.eval()


def base(data: Path, seed: int = 0) -> tuple[TinyMoELM, Corpus]:
    """The small model that checks of trained models share (top-k, `SMALL`, `BASE`), of a seed, and its corpus."""
    corpus = five_domains(data)
    return trained(SMALL, corpus, replace(BASE, seed=seed)), corpus


def _key(config: TinyConfig, corpus: Corpus, training: Training, kind: str) -> str:
    folder = Path(__file__).parent
    from weighup.moe.registry import ROUTERS

    own = ROUTERS.get(config.router, "").partition(":")[0].removeprefix("weighup.moe.").replace(".", "/")
    code = hashlib.sha256()
    for name in (*_CORE, own):
        path = folder / f"{name}.py"
        if path.is_file():  # what it does, whatever its layout and comments
            code.update(ast.dump(ast.parse(path.read_bytes())).encode())
    told: Mapping[str, Any] = {
        "config": config.dump(),
        "training": asdict(training),
        "corpus": corpus.fingerprint,
        "kind": kind,
        "code": code.hexdigest(),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _keep(
    path: Path, told: Mapping[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer, log: Log, done: int
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        torch.save(
            {
                "told": json.dumps(told, sort_keys=True),
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "losses": log.losses,
                "seconds": log.seconds,
                "done": done,
            },
            beside,
        )
        os.replace(beside, path)
    except OSError as error:
        raise JobFailed(f"training: its state cannot be kept in {path}: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _resume(path: Path, told: Mapping[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer, log: Log) -> int:
    try:
        state = torch.load(path, weights_only=True)
        same = state["told"] == json.dumps(told, sort_keys=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise InvalidInput(f"{path}: is no state of a training: {error}; remove it to begin anew") from error
    if not same:
        raise InvalidInput(
            f"{path}: is of a training with other sizes, options or data; remove it or give another folder"
        )
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    log.losses[:] = state["losses"][: state["done"]]
    log.seconds = state["seconds"]
    return int(state["done"])
