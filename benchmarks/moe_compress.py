"""How small can the shipped mixture of experts be made, by which method, and what does it cost in loss?

    python benchmarks/moe_compress.py [--windows 40] [--out docs/results/moe_compress.json]

Every method of `weighup moe prune|merge|compress` at several ratios: calibrated on windows of the train split of the
five domains, loss before and after on the test split. Whole, merged and narrower experts are different savings:
beside the ratio stands the share of the experts' weights that need not be kept. A picture is drawn beside the JSON.

Bar: with a quarter of the hidden units gone, HEAPr's loss rises at most half as much as by magnitude.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from weighup.console import progress, table
from weighup.moe.compress.shrink import shrink
from weighup.moe.corpus import five_domains
from weighup.moe.export import SHIPPED, load
from weighup.moe.inputs import ids_of
from weighup.train.plots import Line, lines

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data"))
METHODS = ("heapr", "magnitude", "premoe", "frequency", "mc_smoe", "average", "git_rebasin", "zipit")
RATIOS = (0.125, 0.25, 0.375, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=40, help="of a domain")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "moe_compress.json")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    model, corpus = load(SHIPPED), five_domains(DATA)
    length = model.config.context
    batches = {split: corpus.batches(split, 20, length, windows=wanted.windows) for split in ("train", "test")}
    calibration, test = ([ids_of(one) for one in some] for some in batches.values())
    rows: list[dict[str, Any]] = []
    with progress("compressing", len(METHODS) * len(RATIOS)) as advance:
        for method in METHODS:
            for ratio in RATIOS:
                started = time.perf_counter()
                found = shrink(model, method, ratio, calibration, test)
                rows.append(
                    {
                        "method": method,
                        "ratio": ratio,
                        "loss before": round(found.before, 4),
                        "loss after": round(found.after, 4),
                        "rise": round(found.after / found.before - 1, 4),
                        "seconds": round(time.perf_counter() - started, 1),
                        "told": "; ".join(found.told),
                    }
                )
                advance(1, note=f"{method} {ratio:g}")
    table(list(rows[0])[:-1], [list(row.values())[:-1] for row in rows])
    panel = {
        method: Line([(0.0, 0.0), *((row["ratio"], row["rise"]) for row in rows if row["method"] == method)])
        for method in METHODS
    }
    picture = lines(
        "What making the model smaller costs",
        {"rise of the loss": panel},
        x="share that goes",
        y="rise of the loss",
        y_range=(0.0, max(row["rise"] for row in rows)),
        strong="heapr",
    )
    figure = wanted.out.parent / "figures" / "moe_compress.svg"
    figure.write_text(picture, encoding="utf-8")
    rise = {row["method"]: row["loss after"] - row["loss before"] for row in rows if row["ratio"] == 0.25}
    bars = {"HEAPr's rise at a quarter at most half of magnitude's": rise["heapr"] <= rise["magnitude"] / 2}
    table(("bar", "met"), [(bar, "yes" if met else "NO") for bar, met in bars.items()])
    wanted.out.write_text(json.dumps({"rows": rows, "bars": bars}, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {wanted.out} and {figure}")
    sys.exit(0 if all(bars.values()) else 1)


if __name__ == "__main__":
    main()
