"""Trains the shipped stance model: `stance.onnx` (int8), `stance-wide.npz`, the card and the tokenizer. CPU suffices.

    python weights/stance.py --data ../shared/data --start src/weighup/_weights/stance.onnx --out DIR
    python weights/stance.py --data ../shared/data --start encoder --out DIR

`--start` is `encoder` (all-MiniLM-L6-v2; `weighup models pull minilm-train`), a stance.onnx, or what `--keep` kept: the
float32 weights. `--augment` names the made pairs; `--liar` adds LIAR's justifications; `--score-test` scores the test
splits once, after all choices. The code is `weighup.train.stance`; everything is chosen on dev (`data.load`).
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from weighup.files import sha256
from weighup.models.catalogue import asset, require
from weighup.train.stance.augment import KINDS
from weighup.train.stance.data import EXTRA, SETS, Pair, news_pairs, rows
from weighup.train.stance.export import write
from weighup.train.stance.fit import Recipe, fit, pools_of, predict, tensors
from weighup.train.stance.net import StanceNet
from weighup.train.stance.quantised import build, from_onnx
from weighup.train.stance.scores import best_shift, mean_f1, mix
from weighup.train.stance.untold import key_of, lessons
from weighup.train.stance.wide import fit_wide, wide_logits
from weighup.verify import weights
from weighup.verify.stance import STANCES, load_tokenizer

VERSION = "2.2"
# How many pairs of each source one round draws; neutral fool_me_twice pairs are 9 in 10, so they are drawn apart.
ROUND = {
    "healthver": 1569, "covid_fact": 4200, "climate_fever": 4200, "check_covid": 1401, "fool_me_twice": 1258,
    "fool_me_twice neutral": 500, "rte": 1000, "scifact_rte": 564, "wice_claims": 200, "med": 300,
    "edited": 2500, "own_sentence": 600, "dated": 900, "wrong_page": 1200, "several": 1800, "liar": 1200,
    "untold": 12000,
}  # fmt: skip
WEIGHT = {
    "edited": 0.6, "own_sentence": 0.5, "med": 0.5, "wice_claims": 0.7, "rte": 0.7,
    "dated": 0.6, "wrong_page": 0.6, "several": 0.8, "liar": 0.6,
}  # fmt: skip
LICENCES = {
    "trunk all-MiniLM-L6-v2": "Apache-2.0",
    "healthver, covid_fact, climate_fever": "as published with the papers",
    "check_covid": "MIT",
    "fool_me_twice": "Apache-2.0",
    "rte": "GLUE, as published",
    "scifact_rte": "as published with CovidFact",
    "wice_claims": "ODC-BY",
    "med": "CC BY-SA 4.0",
}
LIAR = Path("news/liar/train.jsonl.gz")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--start", default="encoder", help="encoder, a stance.onnx, or a file that --keep wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="the schedule ends here if the steps do not; 0: no training"
    )
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--warm-up", type=int, default=60)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=112)
    parser.add_argument("--drop", type=float, default=0.1)
    parser.add_argument("--teacher", type=Path, nargs="*", default=[], help="files said.npz of stance_teacher.py")
    parser.add_argument("--deep-only", action="store_true", help="train, measure on dev, --keep, and stop there")
    parser.add_argument("--taught", type=float, default=0.5, help="the teacher's share in the loss of a told pair")
    parser.add_argument("--frozen", type=int, default=0, help="layers that stay as they are")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--augment", nargs="*", default=["edits"], choices=KINDS)
    parser.add_argument("--liar", action="store_true")
    parser.add_argument("--keep", type=Path, help="keep the float32 weights here")
    parser.add_argument("--score-test", action="store_true")
    return parser.parse_args()


def started(args: argparse.Namespace, vocab: dict[str, int]) -> tuple[StanceNet, list[dict]]:
    """The network that training starts from, and the stages that made it."""
    if args.start == "encoder":
        torch.manual_seed(args.seed)
        net = build(vocab)
        net.load_trunk(require("minilm-train"))
        return net, []
    if args.start.endswith(".onnx"):
        card = json.loads((Path(args.start).parent / "stance.json").read_text(encoding="utf-8"))
        stages = card["recipe"]["stages"]
        return from_onnx(Path(args.start), vocab), [*stages, {"dequantised": sha256(Path(args.start))}]
    kept = torch.load(args.start, weights_only=True)
    net = from_onnx(weights.SHIPPED / "stance.onnx", vocab)  # for the word embeddings, which are never tuned
    net.load_state_dict(
        {name: part.float() if part.is_floating_point() else part for name, part in kept["net"].items()}, strict=False
    )
    return net, kept["stages"]


def keep(path: Path, net: StanceNet, stages: list[dict]) -> None:
    """The float weights, as 16-bit numbers; without the word embeddings, which are the shipped ones."""
    parts = {name: part for name, part in net.state_dict().items() if name != "words.weight"}
    halves = {name: part.half() if part.is_floating_point() else part for name, part in parts.items()}
    torch.save({"net": halves, "stages": stages}, path)


def on_dev(logits: np.ndarray, dev: list[Pair]) -> dict[str, float]:
    """Mean macro-F1 as it is, and with the shift of the logits that is best for it."""
    return {
        "plain": round(mean_f1(logits, dev), 4),
        "shifted": round(mean_f1(logits + best_shift(logits, dev), dev), 4),
    }


def liar(data: Path) -> list[Pair]:
    """LIAR's claims with the fact-checkers' justification: supports where the claim is real, refutes where fake."""
    found = [r for r in rows(data / LIAR) if r.get("justification") and r["label3"] in ("real", "fake")]
    return [Pair(r["text"], r["justification"], int(r["label3"] == "fake"), "liar", r["text"]) for r in found]


def taught(pairs: list[Pair], files: list[Path]) -> dict[Pair, tuple[float, ...]]:
    """What the teachers say of the pairs that they were asked about, their mean."""
    said: dict[str, list[np.ndarray]] = {}
    for file in files:
        with np.load(file) as kept:
            for key, share in zip(kept["keys"].tolist(), kept["share"].astype(np.float32), strict=True):
                said.setdefault(key, []).append(share)
    return {p: tuple(np.mean(said[key], 0).tolist()) for p in pairs if (key := key_of(p)) in said}


def main() -> None:
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    words = weights.SHIPPED / weights.TOKENIZER
    tokenizer = load_tokenizer(words)
    vocab = tokenizer.get_vocab()
    net, stages = started(args, vocab)
    train, strange, dev, files = lessons(args.data, vocab, net.words.weight.detach(), kinds=args.augment)
    if args.liar:
        train += liar(args.data)
        files.append(args.data / LIAR)
    teacher = taught([*train, *strange], args.teacher)
    recipe = Recipe(
        steps=args.steps, minutes=args.minutes, lr=args.lr, seed=args.seed, warm_up=args.warm_up, frozen=args.frozen,
        batch=args.batch, max_tokens=args.max_tokens, drop=args.drop, taught=args.taught, round=ROUND, weights=WEIGHT,
    )  # fmt: skip
    if args.start == "encoder":
        sample = tensors(random.Random(args.seed).sample(train, 4000), tokenizer, recipe)[2]
        net.mean.copy_(sample.mean(0))
        net.scale.copy_(sample.std(0).clamp(min=0.05))
    args.out.mkdir(parents=True, exist_ok=True)
    state = args.out / ".stance-state.pt"
    pools = pools_of([*train, *(p for p in strange if p in teacher)])
    fitted = fit(net, pools, tokenizer, recipe, state=state, teacher=teacher)
    deep = predict(net, tokenizer, dev)
    print("dev, deep half alone:", on_dev(deep, dev), flush=True)
    if args.deep_only:
        keep(args.keep, net, [*stages, asdict(recipe)])
        return
    wide = fit_wide(train, tokenizer, len(vocab), SETS)
    share, shift, divisor, tried = mix(deep, wide_logits(wide, dev, tokenizer), dev)
    print("share of the wide half, dev mean macro-F1:", tried)
    stage = asdict(recipe) | {
        "augment": args.augment, "liar": args.liar, "sets": [*SETS, *EXTRA], "steps_done": fitted.steps,
        "teachers": [sha256(file) for file in args.teacher],
        "pairs_seen": fitted.steps * recipe.batch, "minutes": round(fitted.minutes, 1), "wide_share": share,
        "shift": [round(float(s), 2) for s in shift], "temperature": round(divisor, 2),
    }  # fmt: skip
    stages.append(stage)
    if args.keep:
        keep(args.keep, net, stages)
    card = {
        "name": "weighup-stance",
        "version": VERSION,
        "date": time.strftime("%Y-%m-%d"),
        "licence": "Apache-2.0 (weights); the data sets keep their own licences",
        "trunk": {"name": "all-MiniLM-L6-v2", "sha256": asset("minilm-train").sha256},
        "labels": list(STANCES),
        "data": {str(f.relative_to(args.data)): sha256(f) for f in files},
        "data_licences": LICENCES | ({"liar": "as published with the paper"} if args.liar else {}),
        "excluded": {
            "sick, averitec": "non-commercial licences (CC BY-NC-SA 3.0, CC BY-NC 4.0)",
            "test splits": "never trained on and never used to choose; only their claims are read, to drop the same "
            "claim from training",
            "fool_me_twice copies": "gold sentences are listed twice, once flagged false; the copy is left out",
        },
        "recipe": {"stages": stages},
        "dev": {
            "split": "valid of covid_fact, climate_fever, check_covid; 15 % of groups of healthver, fool_me_twice"
        },
        "intended_use": "Ranking and weighing short English evidence passages for or against a claim, as one signal "
        "among several.",
        "limits": "English; passages of any length, read in at most six windows of 160 tokens; weak on arithmetic, on "
        "world knowledge and on claims that need several passages; covid and climate claims are over-represented. A "
        "stance is not a verdict on truth.",
        "int8": "weights stored unsigned (zero point 128), so that processors without VNNI give the same numbers",
    }  # fmt: skip
    measured = {}
    for part, retrieved in (("test", False), ("test_with_retrieved_as_neutral", True)) if args.score_test else ():
        paths = {name: args.data / "news" / name / "test.jsonl.gz" for name in SETS}
        measured[part] = [p for name, path in paths.items() for p in news_pairs(path, name, retrieved=retrieved)]
    halves = (wide, share, shift, divisor)
    card = write(net, halves, words, args.out, card, dev, measured=measured, threads=args.threads)
    state.unlink(missing_ok=True)
    print(json.dumps({k: card[k] for k in ("dev", "test", "files") if k in card}, indent=2))


if __name__ == "__main__":
    main()
