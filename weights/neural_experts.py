"""Trains and measures the experts that read (`weighup/verify/neural.py`) beside the heads, out of fold on one table.

    python weights/neural_experts.py --table OUT/.ease/table.npz --evaluators OUT/.ease/evaluators.npz \
        --experts OUT/.ease/experts.npz --out DIR --json ablations.json --export DIR

The table and the heads are what `weighup train experts --out OUT` keeps, or pickles of `Table`, `Evaluators` and
`Experts`; heads that are not given are fitted. For each kind the learning rate is chosen by the loss on held-out
groups, then the expert is fitted for each fold of groups, with one part left out for each ablation. `--export` writes
the experts of all rows but the held-out ones. Everything is kept in DIR/.ease: a run that was stopped goes on. No test
split is read. `--minutes` bounds each fit, of which there are at most
kinds × (rates + folds) + ablations × ablated kinds × folds.
"""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from weighup.console import progress
from weighup.errors import InvalidInput
from weighup.files import sha256
from weighup.metrics import auroc, bootstrap, log_loss, macro_f1
from weighup.models.catalogue import require
from weighup.models.onnx_encoder import OnnxEncoder
from weighup.settings import load_settings
from weighup.train.ablations import Ablation, Ablations
from weighup.train.ease import steps
from weighup.train.ease.fit import Evaluators, Experts, fit_evaluators, fit_experts
from weighup.train.ease.neural import Fitted, Folded, averaged, best_rate, out_of_fold
from weighup.train.ease.neural_export import write_neural
from weighup.train.ease.neural_material import Material, Recipe, material_of, readable
from weighup.train.ease.table import Table
from weighup.train.results import Estimate
from weighup.verify.types import KINDS, Kind

Array = NDArray[np.float32]
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "no-auxiliary": ("no auxiliary loss", {"lam": 0.0}),
    "lambda": ("more auxiliary loss", {"lam": 1.9}),
    "no-justification": ("no assessment in the knowledge text", {"justified": False}),
    "no-cross": ("mean of the knowledge instead of cross-attention", {"cross": False}),
}
METRICS: dict[str, Callable[..., float]] = {
    "macro_f1": lambda truth, p: macro_f1(truth, (np.asarray(p) >= 0.5).astype(int)),
    "auroc": auroc,
    "log_loss": log_loss,
}
ALL = "mean of the sets"
LEAST = 20
"""Claims: a set with fewer is left out."""


class Said(NamedTuple):
    """P(fake) [n] to be measured, and under which name."""

    what: str
    setting: str
    fake: Array


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--evaluators", type=Path)
    parser.add_argument("--experts", type=Path, help="the heads' out-of-fold answers")
    parser.add_argument("--out", type=Path, required=True, help="what is kept goes to OUT/.ease")
    parser.add_argument(
        "--start", type=Path, help="MiniLM's model.safetensors (default: `weighup models pull minilm-train`)"
    )
    parser.add_argument("--json", type=Path, help="where the numbers go (default OUT/neural.json)")
    parser.add_argument("--export", type=Path, help="fit on all rows and write the files there")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--ablate", default=",".join(ABLATIONS), help="of these, or empty for none")
    parser.add_argument("--ablate-kinds", default="evidence")
    parser.add_argument("--rates", default="2e-5,1e-4", help="learning rates of the tuned layers to choose from")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--minutes", type=float, default=8.0, help="of one fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--qs", default="all,1,0.25", help="which rows are listed: shares of evidence, or all together")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--claims", type=int, help="use this many of the table's claims, drawn by the seed: to try it")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("weighup").setLevel(logging.INFO)
    torch.set_num_threads(args.threads)
    kinds = [kind for kind in KINDS if kind in args.kinds.split(",")]
    start = args.start or require("minilm-train")
    table, evaluated, experts = given(args)
    work = args.out / steps.FOLDER / "neural"
    encoder = OnnxEncoder.load(load_settings({"models": {"threads": args.threads}}))
    base = Recipe(epochs=args.epochs, minutes=args.minutes, seed=args.seed)
    materials: dict[Kind, Material] = {}
    chosen: dict[Kind, Recipe] = {}
    folded: dict[Kind, Folded] = {}
    ablated: list[tuple[Kind, str, Recipe, Folded]] = []
    tried: dict[Kind, dict[str, float]] = {}
    fitted: dict[Kind, Fitted] = {}
    with progress("training experts that read") as advance:

        def prepared(kind: Kind, recipe: Recipe) -> Material:
            return material_of(table, evaluated, kind, encoder, work / "states", recipe, advance)

        for kind in kinds:
            materials[kind] = prepared(kind, base)
            rates = [replace(base, lr=float(rate)) for rate in args.rates.split(",")]
            chosen[kind], tried[kind], fitted[kind] = best_rate(materials[kind], rates, start, work, advance=advance)
            logging.getLogger("weighup").info("%s: held-out loss by rate %s", kind, tried[kind])
            folded[kind] = out_of_fold(
                table, materials[kind], chosen[kind], start, work, folds=args.folds, advance=advance
            )
        for kind in (kind for kind in kinds if kind in args.ablate_kinds.split(",")):
            for name in filter(None, args.ablate.split(",")):
                what, change = ABLATIONS[name]
                recipe = replace(chosen[kind], **change)
                material = materials[kind] if recipe.justified else prepared(kind, recipe)
                found = out_of_fold(table, material, recipe, start, work, folds=args.folds, advance=advance)
                ablated.append((kind, what, recipe, found))
    rows = measured(table, said(table, experts, folded, chosen, ablated), args)
    command = "python weights/neural_experts.py " + " ".join(sys.argv[1:])
    path = args.json or args.out / "neural.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result = Ablations(made=date.today().isoformat(), command=command, rows=rows)
    path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    for row in rows:
        if row.set == ALL and row.q is None:
            print(row.what, row.setting, {name: one.value for name, one in row.metrics.items()})
    print("wrote", path, "states on disk:", f"{disk(work) / 1e9:.2f} GB")
    if args.export and len(kinds) == len(KINDS):
        export(args, table, materials, chosen, folded, tried, fitted, rows, encoder, start, command)


def given(args: argparse.Namespace) -> tuple[Table, Evaluators, Experts]:
    """The table and what the heads say of it out of fold; heads that are not given are fitted."""
    table = unpickled(args.table) or steps.table_from(arrays(args.table))
    evaluated = experts = None
    if args.evaluators:
        evaluated = unpickled(args.evaluators) or steps.evaluators_from(arrays(args.evaluators), {})
    if args.experts:
        experts = unpickled(args.experts) or steps.experts_from(arrays(args.experts), {})
    if args.claims:
        names = np.unique(table.claim)
        some = np.random.default_rng(args.seed).permutation(names)[: args.claims]
        where = np.flatnonzero(np.isin(table.claim, some))
        table = table.taken(where)
        evaluated, experts = (None if one is None else taken(one, where) for one in (evaluated, experts))
    evaluated = evaluated or fit_evaluators(table)
    for name, one in (("--evaluators", evaluated), ("--experts", experts)):
        by_kind = one.reliability if isinstance(one, Evaluators) else one.fake if one else {}
        if any(len(values) != len(table) for values in by_kind.values()):
            raise InvalidInput(f"{name}: is of other rows than the table")
    return table, evaluated, experts or fit_experts(table, evaluated)


def taken(one: Any, where: NDArray[np.int64]) -> Any:
    """Some of the rows of what heads say."""
    if isinstance(one, Evaluators):
        return replace(
            one,
            opinion={kind: rows[where] for kind, rows in one.opinion.items()},
            reliability={kind: rows[where] for kind, rows in one.reliability.items()},
        )
    return replace(one, fake={kind: rows[where] for kind, rows in one.fake.items()}, chosen=one.chosen[where])


def unpickled(path: Path) -> Any:
    """What a pickle of one's own holds; None for another kind of file."""
    if path.suffix not in (".pkl", ".pickle"):
        return None
    with path.open("rb") as file:
        return pickle.load(file)


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files if name != "__about__"}


def said(
    table: Table,
    experts: Experts,
    folded: Mapping[Kind, Folded],
    chosen: Mapping[Kind, Recipe],
    ablated: list[tuple[Kind, str, Recipe, Folded]],
) -> list[Said]:
    """Everything to be measured: by kind, then as selected by the heads' evaluators, then the ablations."""
    found: list[Said] = []
    both = {kind: averaged(experts.fake[kind], one.fake) for kind, one in folded.items()}
    for kind, one in folded.items():
        setting = f"λ={chosen[kind].lam:g}, rate {chosen[kind].lr:g}"
        found.append(Said(f"{kind} expert: heads", "", experts.fake[kind]))
        found.append(Said(f"{kind} expert: network", setting, one.fake))
        found.append(Said(f"{kind} expert: average of both", setting, both[kind]))
    if len(folded) == len(KINDS):
        at = experts.chosen, np.arange(len(table))
        ways = {"heads": experts.fake, "network": {k: one.fake for k, one in folded.items()}, "average of both": both}
        for name, fake in ways.items():
            found.append(Said(f"selected expert: {name}", "", np.stack([fake[kind] for kind in KINDS])[at]))
    for kind, what, recipe, one in ablated:
        setting = f"λ={recipe.lam:g}, rate {recipe.lr:g}"
        found.append(Said(f"{kind} expert: network, {what}", setting, one.fake))
    return found


def measured(table: Table, every: list[Said], args: argparse.Namespace) -> list[Ablation]:
    """Rows labelled real or fake that networks can read, by set and q, and the mean over the sets."""
    usable = readable(table) & table.known
    sets = [str(name) for name in np.unique(table.source[usable])]
    rows: list[Ablation] = []
    for one in every:
        for q in (None if text == "all" else float(text) for text in args.qs.split(",")):
            cells = list(cells_of(table, one, sets, usable, q, args))
            rows += cells
            known = {name: [cell.metrics[name].value for cell in cells] for name in METRICS}
            means = {
                name: Estimate(value=None if not values or None in values else round(float(np.mean(values)), 4))
                for name, values in known.items()
            }
            if cells:
                n = sum(cell.n for cell in cells)
                rows.append(Ablation(what=one.what, setting=one.setting, set=ALL, q=q, n=n, metrics=means))
    return rows


def cells_of(
    table: Table, one: Said, sets: list[str], usable: NDArray[np.bool_], q: float | None, args: argparse.Namespace
) -> Iterator[Ablation]:
    """One row for each set. A set without evidence has rows of one q only, and is listed with all together."""
    for name in sets:
        here = usable & (table.source == name)
        if q is not None:
            if not table.has[here].any():
                continue
            here &= np.isclose(table.q, q)
        truth, p, group = table.label[here], one.fake[here].astype(np.float64), table.group[here]
        n = len(np.unique(table.claim[here]))
        if n < LEAST:
            continue
        metrics = {metric: estimate(statistic, truth, p, group, args) for metric, statistic in METRICS.items()}
        yield Ablation(what=one.what, setting=one.setting, set=name, q=q, n=n, metrics=metrics)


def estimate(statistic: Callable[..., float], truth: Any, p: Any, group: Any, args: argparse.Namespace) -> Estimate:
    """With its 95 % interval over claim groups; empty where it is undefined."""
    try:
        value = round(statistic(truth, p), 4)
    except InvalidInput:
        return Estimate(value=None)
    try:
        low, high = bootstrap(statistic, truth, p, n=args.resamples, seed=args.seed, groups=group)
    except InvalidInput:
        return Estimate(value=value)
    return Estimate(value=value, low=round(low, 4), high=round(high, 4))


def export(
    args: argparse.Namespace, table: Table, materials: Mapping[Kind, Material], chosen: Mapping[Kind, Recipe],
    folded: Mapping[Kind, Folded], tried: Mapping[Kind, Any], fitted: Mapping[Kind, Fitted], rows: list[Ablation],
    encoder: OnnxEncoder, start: Path, command: str,
) -> None:  # fmt: skip
    """Write the experts of all rows, from which the rate was chosen, and their card."""
    card = {
        "made": date.today().isoformat(),
        "command": command,
        "data": {args.table.name: sha256(args.table)},
        "start": {"all-MiniLM-L6-v2": sha256(start)},
        "config": {kind: asdict(chosen[kind]) for kind in KINDS},
        "held_out_loss_by_rate": tried,
        "passes": {kind: {"passes": one.epochs, "minutes": round(one.minutes, 1)} for kind, one in fitted.items()},
        "out_of_fold": {kind: folded[kind].report for kind in KINDS},
        "measured_out_of_fold": [
            row.model_dump(exclude_none=True) for row in rows if row.set == ALL and "expert:" in row.what
        ],
        "limits": "English; content of 64 and knowledge of 197 tokens; a verdict hangs on how the perspectives are "
        "told, as `weighup/verify/telling.py` and `knowledge_text` write it.",
    }
    read = readable(table)
    sources = {str(name): int((read & (table.source == name)).sum()) for name in np.unique(table.source[read])}
    done = write_neural(
        {kind: one.net for kind, one in fitted.items()}, materials, encoder, args.export, card,
        temperature={kind: folded[kind].temperature for kind in KINDS}, recipes=chosen, sources=sources,
    )  # fmt: skip
    print(json.dumps(done["int8"], indent=1))


def disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.f16"))


if __name__ == "__main__":
    main()
