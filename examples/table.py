"""Read a batch's output and show it as a table: `python table.py verdicts.jsonl`."""

import json
import sys
from pathlib import Path

from weighup.console import table

rows = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
table(
    ("id", "claim", "verdict", "P(fake)", "90 % interval", "decided by", "evidence"),
    [
        (
            row["id"],
            row["claim"],
            row["verdict"].replace("_", " "),
            f"{row['probability_fake']:.2f}",
            "{:.2f} to {:.2f}".format(*row["interval"]),
            row["expert"],
            len(row["evidence"]),
        )
        for row in rows
        if "error" not in row
    ],
)
for row in rows:
    if "error" in row:
        print(f"line {row['line']}: {row['error']}")
