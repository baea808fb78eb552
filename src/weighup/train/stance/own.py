"""A stance model from a user's own rows: their evidence and its stances, from the shipped model or from the encoder."""

from __future__ import annotations

import importlib.util
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from weighup.console import Advance
from weighup.errors import InvalidInput, JobFailed
from weighup.files import sha256
from weighup.models.catalogue import require
from weighup.models.onnx import cores
from weighup.train.labelled import Labelled
from weighup.train.own import Trained
from weighup.train.stance.augment import KINDS, augmented
from weighup.train.stance.data import LABELS, Pair, pairs_of
from weighup.train.stance.scores import mean_f1, mix, table, temperature
from weighup.verify import weights
from weighup.verify.stance import STANCES, StanceModel, load_tokenizer
from weighup.verify.stance_wide import Wide

STARTS = ("shipped", "encoder")
STATE = ".stance-state.pt"
ENOUGH_TO_CHOOSE = 200
"""Valid pairs from which on the share of the wide half and the shift of the logits are chosen on them."""
_MADE = {"edited": 0.6, "own_sentence": 0.5, "dated": 0.6, "wrong_page": 0.6, "several": 0.8}
_NEEDS = ("torch", "onnx", "safetensors", "sklearn", "scipy")
_LR = {"shipped": 6e-5, "encoder": 2e-4}


def require_training() -> None:
    """Raise JobFailed unless what training imports is installed."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise JobFailed(
            f"training the stance model needs {', '.join(missing).replace('sklearn', 'scikit-learn')}; "
            "pip install 'weighup[train]'"
        )


def train_stance(
    rows: Sequence[Labelled],
    out: Path,
    *,
    start: str = "shipped",
    minutes: float = 20.0,
    steps: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    config: Mapping[str, Any] | None = None,
    augment: Collection[str] = KINDS,
    advance: Advance | None = None,
) -> Trained:
    """Train on the rows of split train, choose on valid, measure on valid and test, and write the model to `out`.

    `start` is `shipped` (go on from the shipped weights) or `encoder` (all-MiniLM-L6-v2, which `weighup models pull
    minilm-train` gets). The schedule ends after `minutes` or `steps` (None: three times through the pairs, 50 to 4,000
    steps). `augment` names the made pairs (`augment.KINDS`). The run keeps its state in `out/.stance-state.pt` every
    two minutes and on Ctrl-C, and goes on from there when called again with the same rows and options; files appear
    whole or not at all. `config` goes on the card.

    Raises InvalidInput where there are no pairs, all have one stance, or an option is wrong; JobFailed if torch is
    missing or `out` cannot be written.
    """
    recipe_of = _checked(start, minutes, steps, augment)
    train, valid, test = pairs_of(rows, seed)
    require_training()
    import torch

    from weighup.train.stance.export import write
    from weighup.train.stance.fit import Recipe, fit, pools_of, predict, tensors
    from weighup.train.stance.net import neighbours
    from weighup.train.stance.quantised import build, from_onnx
    from weighup.train.stance.wide import fit_wide, wide_logits

    threads = threads or cores()
    torch.set_num_threads(threads)
    rng = random.Random(seed)
    words = weights.SHIPPED / weights.TOKENIZER
    tokenizer = load_tokenizer(words)
    vocab = tokenizer.get_vocab()
    if start == "shipped":
        base = weights.SHIPPED / "stance.onnx"
        net = from_onnx(base, vocab)
    else:
        base = require("minilm-train")
        torch.manual_seed(seed)
        net = build(vocab)
        net.load_trunk(base)
    seen = {word for p in train for word in p.claim.lower().split()}
    made = augmented(train, neighbours(vocab, net.words.weight.detach(), seen), rng, augment)
    recipe = Recipe(
        steps=recipe_of or max(50, min(4000, 3 * (len(train) + len(made)) // 32)),
        minutes=minutes,
        lr=_LR[start],
        seed=seed,
        warm_up=15 if start == "shipped" else 60,
        round=dict.fromkeys(_MADE, max(32, len(train) // 2)),
        weights=_MADE,
    )
    if start == "encoder":
        sample = tensors(rng.sample(train, min(4000, len(train))), tokenizer, recipe)[2]
        net.mean.copy_(sample.mean(0))
        net.scale.copy_(sample.std(0).clamp(min=0.05) if len(sample) > 1 else torch.ones(sample.shape[1]))
    try:
        out.mkdir(parents=True, exist_ok=True)
        state = out / STATE
        fitted = fit(net, pools_of([*train, *made]), tokenizer, recipe, state=state, advance=advance)
        if advance is not None:
            advance(0, note="choosing on valid")
        own = start == "encoder"
        wide = (
            fit_wide([*train, *made], tokenizer, len(vocab), {p.source for p in train})
            if own
            else Wide.load(weights.SHIPPED / "stance-wide.npz")
        )
        deep, beside = predict(net, tokenizer, valid), wide_logits(wide, valid, tokenizer)
        notes: list[str] = []
        if len(valid) >= ENOUGH_TO_CHOOSE:
            share, shift, divisor, tried = mix(deep, beside, valid)
        else:
            share, shift, tried = 0.5 if own else 1.0, np.zeros(3, np.float32), {}
            divisor = temperature(deep + share * beside, valid)
            notes.append(
                f"valid has {len(valid):,} pairs, under {ENOUGH_TO_CHOOSE}: only the temperature was chosen on it"
            )
        card = {
            "name": "weighup stance model, trained by weighup train stance",
            "format": weights.FORMAT,
            "version": "own-",
            "made": date.today().isoformat(),
            "labels": list(STANCES),
            "config": dict(config or {}),
            "start": {"from": start, "file": base.name, "sha256": sha256(base)},
            "recipe": asdict(recipe)
            | {
                "augment": sorted(augment), "steps_done": fitted.steps, "minutes_done": round(fitted.minutes, 2),
                "threads": threads, "wide_share": share, "shift": [round(float(s), 2) for s in shift],
                "temperature": round(divisor, 2), "wide_shares_tried": tried,
            },
            "pairs": {name: _counts(p) for name, p in (("train", train), ("valid", valid), ("test", test))},
            "pairs_made": dict(Counter(p.source for p in made)),
            "notes": notes,
            "shipped_model": _shipped(valid, test, threads),
        }  # fmt: skip
        halves = (wide, share, shift, divisor)
        done = write(net, halves, words, out, card, valid, measured={"test": test}, threads=threads)
        state.unlink(missing_ok=True)
    except OSError as error:
        raise JobFailed(f"{out}: cannot be written: {error.strerror or error}; run again to go on") from error
    return Trained(out, done, notes)


def _checked(start: str, minutes: float, steps: int | None, augment: Collection[str]) -> int | None:
    if start not in STARTS:
        raise InvalidInput(f"start: {start!r} is not one of {' and '.join(STARTS)}")
    if not minutes > 0:
        raise InvalidInput(f"minutes: {minutes} is not above 0")
    if steps is not None and steps < 1:
        raise InvalidInput(f"steps: {steps} is not 1 or more")
    if unknown := sorted(set(augment) - set(KINDS)):
        raise InvalidInput(f"augment: {', '.join(unknown)} is not one of {', '.join(KINDS)}")
    return steps


def _counts(pairs: Sequence[Pair]) -> dict[str, int]:
    names = {number: name for name, number in reversed(LABELS.items())}
    return {names[label]: n for label, n in sorted(Counter(p.label for p in pairs).items())}


def _shipped(valid: Sequence[Pair], test: Sequence[Pair], threads: int) -> dict[str, Any]:
    """What the shipped model scores on the same pairs, to compare with."""
    model = StanceModel.load(threads=threads)
    told: dict[str, Any] = {"version": model.version}
    for name, pairs in (("valid", valid), ("test", test)):
        if pairs:
            scored = model.score([(p.claim, p.passage) for p in pairs])
            told[name] = {"per_set": table(scored, pairs), "mean_macro_f1": round(mean_f1(scored, pairs), 4)}
    return told
