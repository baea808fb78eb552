"""Makes the small mixture-of-experts model that is shipped: `src/weighup/_weights/moe`.

    python weights/moe.py --data ../shared/data --out src/weighup/_weights/moe

A byte-level decoder with eight experts a layer, two of them active, trained on the five domains (`weighup.moe.corpus`):
political claims, Chinese microblogs, medical abstracts, school maths, aeronautics abstracts. About eight minutes on two
cores; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import time
from datetime import date
from pathlib import Path

import torch

from weighup.moe.corpus import five_domains
from weighup.moe.export import SHIPPED, load, save
from weighup.moe.lab import Training, losses, train
from weighup.moe.tiny import TinyMoELM

TRAINING = Training(steps=1300, batch=32, rate=3e-3, warmup=60, seed=0)
SOURCES = {
    "politics": "LIAR claims",
    "microblogs": "CED Weibo posts",
    "medicine": "abstracts of systematic-review sets (MIT)",
    "maths": "GSM8K questions as given by RouteLLM (Apache-2.0)",
    "aeronautics": "Cranfield abstracts",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--work", type=Path, default=Path("out/weights/moe"), help="folder for the state of the run")
    args = parser.parse_args()

    corpus = five_domains(args.data)
    torch.manual_seed(TRAINING.seed)
    model = TinyMoELM()
    started = time.monotonic()
    log = train(model, corpus, TRAINING, state=args.work / "state.pt", show=None, label="weights: moe")
    save(
        model,
        args.out,
        half=True,
        card={
            "made": date.today().isoformat(),
            "command": "python weights/moe.py",
            "data": {"sources": SOURCES, "fingerprint": corpus.fingerprint, "splits": "by hash of the document"},
            "training": {
                "steps": TRAINING.steps,
                "batch": TRAINING.batch,
                "rate": TRAINING.rate,
                "seconds": round(log.seconds),
            },
            "limits": "made to compare methods on: it writes no sensible text",
        },
    )
    # Measured as shipped: after rounding to half precision.
    shipped = load(args.out)
    found = {
        split: {name: round(v, 4) for name, v in losses(shipped, corpus, split).items()} for split in ("valid", "test")
    }
    save(shipped, args.out, half=True, card={**_card(args.out), "loss": found})
    print(found, f"{time.monotonic() - started:.0f} s")


def _card(folder: Path) -> dict[str, object]:
    from weighup.moe.export import read_card

    return {name: value for name, value in read_card(folder).items() if name not in ("sha256", "parameters")}


if __name__ == "__main__":
    main()
