"""Makes `weights/perspectives.jsonl.gz`: what the built-in language model says of the labelled claims.

    python weights/corpus.py --data ../shared/data --out weights/perspectives.jsonl.gz [--together 512]

Valid, dev and test rows of the sets with evidence, all of them; some 4,000 training rows of theirs; samples of liar,
covid_constraint and ced_weibo (the built-in model reads no Chinese, so those are passed over). A run that was stopped
goes on where it was. `--together`: so many requests in one pass; a graphics card likes many.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from weighup.console import progress
from weighup.models import torch_backend
from weighup.models.open import language_model
from weighup.settings import load_settings
from weighup.train import perspectives
from weighup.train.labelled import read_labelled
from weighup.train.measured import fewer

EVIDENCE = ("healthver", "covid_fact", "climate_fever", "check_covid", "fool_me_twice", "averitec")
OTHERS = ("liar", "covid_constraint", "ced_weibo")
TRAIN_ROWS, SAMPLE = 2_300, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("weights/perspectives.jsonl.gz"))
    parser.add_argument("--together", type=int, default=64)
    parser.add_argument("--limit", type=int, help="a trial: so many rows of each file")
    args = parser.parse_args()
    perspectives.AT_ONCE = torch_backend.AT_ONCE = torch_backend.TorchBackend.concurrency = args.together
    rows = []
    for name in (*EVIDENCE, *OTHERS):
        for split in ("train", "valid", "dev", "test"):
            path = args.data / "news" / name / f"{split}.jsonl.gz"
            if path.exists():
                most = SAMPLE if name not in EVIDENCE else TRAIN_ROWS if split == "train" else None
                rows += fewer(read_labelled([path]), args.limit or most)
    settings = load_settings(
        {"models": {"language": "transformers:embedded", "concurrency": min(args.together, 256), "timeout": 3600}}
    )
    asked = language_model(settings)
    assert asked is not None
    total = len({perspectives.judged_text(row) for row in rows})
    with progress("asking", total) as advance:
        made = perspectives.make_perspectives(rows, args.out, asked, advance=advance)
    print(f"{args.out}: {len(made.said):,} claims of {total:,}, by {made.recipe['model']}")


if __name__ == "__main__":
    main()
