"""Compares ways of assessing reliability on the rows that EASE was fitted on; writes docs/results/evaluators.json.

    python weights/compare_evaluators.py --work out/weights/ease [--language-model CARD]

`--work` is the folder where `weights/ease.py` keeps its steps. All numbers of the heads are out of fold. CARD is the
`evaluator.json` of `weighup train evaluator-lm`: its numbers are of the claims it held out, beside the heads' of the
same claims.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from weighup.models.open import encoder
from weighup.train.ease.heads import Shape
from weighup.train.ease.steps import evaluators_from, table_from
from weighup.train.ease.text_evaluator import compare

SHAPES = (Shape(0, 0.003), Shape(0, 0.01), Shape(0, 0.1))


def arrays_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A step's arrays and what was told of it."""
    with np.load(path, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    return arrays, json.loads(arrays.pop("__about__").tobytes())["told"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/weights/ease"))
    parser.add_argument("--language-model", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results/evaluators.json"))
    args = parser.parse_args()

    table = table_from(arrays_of(args.work / ".ease" / "table.npz")[0])
    evaluators = evaluators_from(*arrays_of(args.work / ".ease" / "evaluators.npz"))
    report = compare(table, evaluators, encoder(), SHAPES)
    rows = [
        row(variant, kind, "all, out of fold", about["all"])
        for variant, kinds in report.items()
        for kind, about in kinds.items()
    ]
    if args.language_model:
        measured = json.loads(args.language_model.read_text(encoding="utf-8"))["held_out"]
        rows += [
            row(name, kind, "held out by the language model", about["all"])
            for who, name in (
                ("heads", "heads"),
                ("language_model_as_it_came", "language model, tuned"),
                ("language_model", "language model, tuned, its odds put right on the other half"),
            )
            for kind, about in measured[who].items()
        ]
    args.out.write_text(json.dumps({"rows": rows, "by_set_and_q": report}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=1))


def row(who: str, kind: str, of: str, about: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    named = {"AUROC": "auroc", "Brier": "brier", "ECE": "ece"}
    scores = {name: about[key] for name, key in named.items()}
    return {"evaluator": who, "perspective": kind, "claims": of, "rows": about["rows"], **scores}


if __name__ == "__main__":
    main()
