"""Does P(fake) mean what it says, and is an asked risk kept, on test splits of the sets that EASE was fitted beside?

    python benchmarks/ease_calibration.py [--data ../shared/data] [--limit N] [--out docs/results/ease_calibration.json]

Test rows of the eight sets whose `valid` rows the shipped heads and calibration learned from; nothing learned from
these. Evidence is thinned and swapped as in training (`weighup.train.protocol`, one seed), and every claim counts once:
errors are of one condition a claim, drawn twenty times; risks are of all of them, weighted. *All* is the mix that a
kept risk is promised for: no set counts for more claims than the middle one has.

ECE has 15 bins and is told beside what it would be by chance if every probability were exactly right
(`weighup.metrics.ece_by_chance`), which is much with a hundred claims. Beside it, in the same run: the same experts
before calibration, and the content model alone. Risk is the share of wrong among the called; a claim labelled unknown
is wrong when it is called.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.console import progress, table
from weighup.errors import InvalidInput
from weighup.metrics import ece, ece_by_chance
from weighup.settings import load_settings
from weighup.train.calibrate import one_a_claim
from weighup.train.ease.run import QS, RS
from weighup.train.ease.table import source_of
from weighup.train.evaluate import measuring
from weighup.train.held import Held
from weighup.train.labelled import Labelled, read_labelled
from weighup.train.protocol import strangers, thinned, variants
from weighup.verify.calibrated import Calibration
from weighup.verify.types import KINDS
from weighup.verify.verifier import Verifier

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data"))
SETS = (
    "climate_fever", "covid_fact", "check_covid", "fool_me_twice", "healthver", "liar", "covid_constraint", "ced_weibo",
)  # fmt: skip
RISKS = (0.1, 0.2, 0.25, 0.33)
DRAWS, BATCH = 20, 256
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """n rows, one for each claim and condition: `held` is before calibration, `fake` [n, 3] after it, `content` [n]
    what the content model says alone."""

    held: Held
    fake: Floats
    content: Floats


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--limit", type=int, help="rows of each set at most (default: all)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "ease_calibration.json")
    args = parser.parse_args()
    paths = [args.data / "news" / name / "test.jsonl.gz" for name in SETS]
    if missing := [str(path) for path in paths if not path.is_file()]:
        print(f"no {', '.join(missing)}; name the folder of the data sets with --data", file=sys.stderr)
        return 2
    rows = [row for path in paths for row in read_labelled([path])[: args.limit]]
    with measuring(load_settings()) as verifier:
        said, versions = judged(verifier, rows), verifier.versions()
    told = []
    for name, sets in [("all", SETS), *((name, (name,)) for name in SETS)]:
        try:
            told.append(about(name, said, sets))
        except InvalidInput as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    table(list(told[0]), [list(row.values()) for row in told])
    args.out.write_text(json.dumps({**versions, "rows": told}, indent=1) + "\n", encoding="utf-8")
    return 0


def judged(verifier: Verifier, rows: Sequence[Labelled]) -> Said:
    """What the pipeline in use says of all rows that can be checked, under every condition."""
    own, every = strangers(rows), variants(QS, RS, [0])
    found: dict[str, list[Any]] = {name: [] for name in ("row", "judged")}
    settled = list(dict.fromkeys(variant.settled for variant in every))
    bare = sum(not row.claim.evidence for row in rows)
    with progress("judging", bare + (len(rows) - bare) * len(settled)) as advance:
        for variant in settled:
            here = [i for i, row in enumerate(rows) if row.claim.evidence or variant == settled[0]]
            for start in range(0, len(here), BATCH):
                part = here[start : start + BATCH]
                for i, one in zip(part, verifier.judge([thinned(rows[i], own[i], variant) for i in part]), strict=True):
                    if one is not None:
                        found["row"].append(rows[i])
                        found["judged"].append(one)
                advance(len(part))
    names = [source_of(row) for row in found["row"]]
    whole = Held.of(
        found["judged"],
        [row.label for row in found["row"]],
        [f"{name}\0{row.group}" for name, row in zip(names, found["row"], strict=True)],
        claims=[f"{name}\0{row.claim.text}" for name, row in zip(names, found["row"], strict=True)],
    )
    held = Held(whole.fake, whole.labels, whole.chosen, whole.groups, whole.claims, np.asarray(names))
    fake = np.asarray([[one.fake[kind] for kind in KINDS] for one in found["judged"]], np.float64)
    content = np.asarray([one.content for one in found["judged"]], np.float64)
    return Said(held, fake, content)


def about(name: str, said: Said, sets: Sequence[str]) -> dict[str, Any]:
    """One line of the table. Raises InvalidInput for too few rows."""
    assert said.held.sources is not None
    mine = np.isin(said.held.sources, sets)
    held = said.held.taken(mine)
    fake, truth = held.selected(said.fake[mine]), held.labels == 1
    drawn = [rows[held.labels[rows] < 2] for rows in (one_a_claim(held, seed) for seed in range(DRAWS))]

    def error(p: Floats) -> float:
        return round(float(np.mean([ece(truth[rows], p[rows]) for rows in drawn])), 3)

    known = np.concatenate(drawn)
    told = {
        "set": name,
        "claims": round(float(np.mean([len(rows) for rows in drawn]))),
        "share of fake": round(float(truth[known].mean()), 3),
        "mean P(fake)": round(float(fake[known].mean()), 3),
        "ECE": error(fake),
        "by chance": round(float(np.mean([ece_by_chance(fake[rows], draws=50) for rows in drawn])), 3),
        "ECE uncalibrated": error(held.selected(held.fake)),
        "ECE content alone": error(said.content[mine]),
    }
    return told | dict(risks(held, said.fake[mine]))


def risks(held: Held, fake: Floats) -> Iterator[tuple[str, str]]:
    """For each asked risk: the risk among the called, and how many are called."""
    calibration = Calibration.load()
    assert calibration is not None
    selected, wrong, share = held.selected(fake), held.wrong(fake), held.share
    sure = np.maximum(selected, 1 - selected)
    for risk in RISKS:
        floor = calibration.thresholds(risk)
        called = sure >= np.asarray([floor[kind] for kind in KINDS])[held.chosen]
        among = share[called & wrong].sum() / share[called].sum() if called.any() else math.nan
        yield f"risk, asked {risk:g}", f"{among:.3f} of {100 * share[called].sum() / share.sum():.0f} %"


if __name__ == "__main__":
    sys.exit(main())
