"""Makes the shipped `ease.npz`, `calibration.npz` and their cards: evaluators, experts and calibration of EASE.

    python weights/ease.py --data ../shared/data --out src/weighup/_weights

The heads learn from claims that neither the stance model nor the content model has learned from: the valid files, and
of the two sets that have no train file the groups that the stance model holds out. Sets without evidence give 400
claims each, so that they do not outweigh the others. What the content model says of a claim is said by one whose
choices were made on the other half of the valid claims (`weights/content.py --halves`). AVeriTeC is non-commercial and
is not read. Steps are kept in WORK/.ease until all are done; the run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from content import half_of
from stance_data import held_out

from weighup.console import progress
from weighup.files import sha256
from weighup.settings import load_settings
from weighup.train.calibrate import reliability_plot
from weighup.train.ease import run
from weighup.train.evaluate import measuring
from weighup.train.labelled import Labelled, read_labelled
from weighup.train.perspectives import read_perspectives
from weighup.verify.decision import Weighed
from weighup.verify.types import Claim

EVIDENCED = ("climate_fever", "covid_fact", "check_covid", "fool_me_twice", "healthver")
BARE = ("liar", "covid_constraint", "ced_weibo")
MOST_BARE = 400


def fit_rows(data: Path) -> tuple[list[Labelled], list[Path]]:
    """The rows learned from, and the files they are in."""
    found: list[Labelled] = []
    files = []
    for name in (*EVIDENCED, *BARE):
        path = data / "news" / name / "valid.jsonl.gz"
        rows = read_labelled([path])
        if not (path.parent / "train.jsonl.gz").exists():
            rows = [row for row in rows if held_out(row.group)]
        random.Random(0).shuffle(rows)
        found += rows[: MOST_BARE if name in BARE else None]
        files.append(path)
    return found, files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("src/weighup/_weights"))
    parser.add_argument("--work", type=Path, default=Path("out/weights/ease"), help="folder for the steps")
    parser.add_argument("--halves", type=Path, default=Path("out/weights/content"))
    parser.add_argument("--perspectives", type=Path, default=Path("weights/perspectives.jsonl.gz"))
    parser.add_argument("--plot", type=Path, default=Path("docs/results/figures/calibration.svg"))
    args = parser.parse_args()

    rows, files = fit_rows(args.data)
    said = read_perspectives(args.perspectives) if args.perspectives.is_file() else None
    config = {
        "command": "python weights/ease.py",
        "data": {str(path.relative_to(args.data)): sha256(path) for path in files},
        "perspectives": sha256(args.perspectives) if said else None,
        "seed": 0,
        "excluded": "AVeriTeC and SICK (non-commercial) are in no shipped weights",
    }
    with ExitStack() as stack:
        verifier = stack.enter_context(measuring(load_settings()))
        halves = [
            stack.enter_context(measuring(load_settings({"verify": {"weights": args.halves / f"half-{half}"}})))
            for half in (0, 1)
        ]
        advance = stack.enter_context(progress("weights: ease", run.work(rows)))
        side = {row.claim.text: half_of(row.group) for row in rows}

        def weigh(claims: Sequence[Claim]) -> list[Weighed | None]:
            """Each claim by the content model that was not fitted on it."""
            found: list[Weighed | None] = [None] * len(claims)
            for half in (0, 1):
                here = [i for i, claim in enumerate(claims) if side[claim.text] == half]
                for i, weighed in zip(here, halves[half].weigh([claims[i] for i in here]), strict=True):
                    found[i] = weighed
            return found

        given = run.Materials(rows, weigh, verifier.weighing_versions(), None, config, said)
        held, fitted = run.train_calibration(given, args.work, advance)
    for name in ("ease.npz", "calibration.npz", "ease.json", "calibration.json"):
        shutil.copyfile(args.work / name, args.out / name)
    args.plot.parent.mkdir(parents=True, exist_ok=True)
    args.plot.write_text(reliability_plot(held, fitted), encoding="utf-8")


if __name__ == "__main__":
    main()
