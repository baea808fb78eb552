"""What the embedded engine costs by slots (requests side by side) and threads.

Processor seconds a prompt are comparable on a busy machine; wall time is not. `shared` prompts begin alike, so that
a slot's kept state helps; `own` ones differ from the first word. Prints one table and writes JSON.

    python benchmarks/engine.py --output engine.json
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

from weighup.console import table
from weighup.models.catalogue import require
from weighup.models.engine import LlamaEngine
from weighup.models.side_by_side import side_by_side

PROMPTS = {"shared": "You judge news. " * 25 + "Item {n}.", "own": "Item {n}. " + "You judge news. " * 25}
COUNT, WRITTEN = 8, 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = [
        measured(slots, threads, kind) for threads in options.threads for slots in options.slots for kind in PROMPTS
    ]
    table(list(rows[0]), [list(row.values()) for row in rows])
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def measured(slots: int, threads: int, kind: str) -> dict[str, Any]:
    """One row: what loading and writing `COUNT` replies of at most `WRITTEN` tokens took."""
    started = time.perf_counter()
    engine = LlamaEngine(require("smollm2"), context=4096, threads=threads, slots=slots)
    loaded = time.perf_counter() - started

    def ask(n: int) -> int:
        message = {"role": "user", "content": PROMPTS[kind].format(n=n)}
        return engine.chat({"messages": [message], "max_tokens": WRITTEN, "temperature": 0}, timeout=600).tokens_out

    ask(COUNT)
    started, used = time.perf_counter(), processor_seconds()
    written = sum(side_by_side(ask, range(COUNT), workers=slots, leave_behind=False))
    wall = time.perf_counter() - started
    return {
        "prompts": kind,
        "slots": slots,
        "threads": threads,
        "load s": round(loaded, 2),
        "cpu s/prompt": round((processor_seconds() - used) / COUNT, 3),
        "wall s/prompt": round(wall / COUNT, 3),
        "tokens/s": round(written / wall, 1),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
