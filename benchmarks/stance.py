"""Stance of a passage to a claim on five public test splits: accuracy, macro-F1, pairs a second.

    python benchmarks/stance.py [--data ../shared/data] [--out docs/results/stance.json] [--threads 2]

Every labelled evidence item of a test split is one pair. Macro-F1 is the mean over the classes in the set's gold
labels. In fool_me_twice a gold sentence takes its claim's label; the merely retrieved ones have none. Beside, the same
set with those taken as neutral (each gold sentence is listed a second time among them; that copy is left out).
Baselines in the same run: the most frequent class of the set (told, so it is a little flattered), and word overlap
with a threshold and a negation rule set on the `valid` splits.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.metrics import macro_f1
from weighup.verify.stance import STANCES, StanceModel
from weighup.verify.stance_features import FEATURES, features

ROOT = Path(__file__).parents[1]
SETS = ("healthver", "covid_fact", "climate_fever", "check_covid", "fool_me_twice")
Labels = NDArray[np.int64]


def read(path: Path, *, retrieved: bool = False) -> tuple[list[tuple[str, str]], Labels]:
    """(claim, passage) pairs of a file and their stances as indexes into STANCES."""
    pairs, gold = [], []
    with gzip.open(path, "rt", encoding="utf-8") as f:
        for row in map(json.loads, f):
            marked = {e["text"] for e in row["evidence"] if e.get("gold")}
            for e in row["evidence"]:
                if e.get("gold") is False and (not retrieved or e["text"] in marked):
                    continue
                stance = e.get("stance") or (row["label"].lower() if e["gold"] else "neutral")
                pairs.append((row["text"], e["text"]))
                gold.append(STANCES.index(stance))
    return pairs, np.array(gold)


def by_overlap(pairs: list[tuple[str, str]], least: float) -> Labels:
    """Neutral below `least` of the claim's words found; else an opposite or a lone negation refutes, else supports."""
    f = dict(zip(FEATURES, features(pairs).T, strict=True))
    against = (f["opposites"] > 0) | (f["negation_mismatch"] > 0) | (f["numbers_differ"] > 0)
    said: Labels = np.where(f["overlap_stem"] < least, 2, np.where(against, 1, 0))
    return said


def scores(gold: Labels, said: Labels) -> dict[str, float]:
    return {
        "accuracy": round(float((gold == said).mean()), 4),
        "macro_f1": round(macro_f1(gold, said), 4),
        "macro_f1_first_700": round(macro_f1(gold[:700], said[:700]), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "stance.json")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    model = StanceModel.load(threads=args.threads)

    tuning = [read(args.data / "news" / name / "valid.jsonl.gz") for name in SETS]
    grid = np.arange(0.05, 1.0, 0.05)
    least = float(max(grid, key=lambda t: np.mean([macro_f1(g, by_overlap(p, t)) for p, g in tuning])))

    results: dict[str, Any] = {}
    seconds, scored = 0.0, 0
    for name in SETS:
        pairs, gold = read(args.data / "news" / name / "test.jsonl.gz")
        start = time.perf_counter()
        said = model.score(pairs).argmax(axis=1)
        seconds, scored = seconds + time.perf_counter() - start, scored + len(pairs)
        commonest = np.full(len(gold), np.bincount(gold).argmax())
        results[name] = {
            "pairs": len(pairs),
            "model": scores(gold, said),
            "overlap": scores(gold, by_overlap(pairs, least)),
            "commonest_class": scores(gold, commonest),
        }
        if name == "fool_me_twice":
            more, gold_more = read(args.data / "news" / name / "test.jsonl.gz", retrieved=True)
            results[name]["retrieved_as_neutral"] = {
                "pairs": len(more), "model": scores(gold_more, model.score(more).argmax(axis=1)),
            }  # fmt: skip

    means = {
        who: {m: round(float(np.mean([results[s][who][m] for s in SETS])), 4) for m in results[SETS[0]]["model"]}
        for who in ("model", "overlap", "commonest_class")
    }
    print(f"{'set':15}{'pairs':>7}{'accuracy':>10}{'macro-F1':>10}{'first 700':>11}{'overlap':>9}{'commonest':>11}")
    for name in SETS:
        r = results[name]
        print(
            f"{name:15}{r['pairs']:7}{r['model']['accuracy']:10.3f}{r['model']['macro_f1']:10.3f}"
            f"{r['model']['macro_f1_first_700']:11.3f}{r['overlap']['macro_f1']:9.3f}{r['commonest_class']['macro_f1']:11.3f}"
        )
    m = means["model"]
    print(
        f"{'mean':15}{scored:7}{m['accuracy']:10.3f}{m['macro_f1']:10.3f}{m['macro_f1_first_700']:11.3f}"
        f"{means['overlap']['macro_f1']:9.3f}{means['commonest_class']['macro_f1']:11.3f}"
    )
    more_scores = results["fool_me_twice"]["retrieved_as_neutral"]["model"]
    print(
        f"fool_me_twice, retrieved as neutral: accuracy {more_scores['accuracy']:.3f} "
        f"macro-F1 {more_scores['macro_f1']:.3f}"
    )
    print(f"{scored / seconds:.0f} pairs/s, {args.threads} threads")
    report = {
        "version": model.version, "sets": results, "mean": means, "overlap_threshold": round(least, 2),
        "pairs_per_second": round(scored / seconds, 1), "threads": args.threads, "machine": platform.machine(),
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
