"""Recommender measures: seconds and memory by the number of interactions.

    python benchmarks/recommenders.py [--interactions 250000 500000 1000000] [--out docs/results/recommenders.json]

Each size is measured in a process of its own, on a made world with a twentieth as many users as interactions, ten
items recommended to each, a fifth of the interactions held out, and every column there is. `seconds` is the best and
the median of five evaluations at k 5 and 10; memory is the peak of the process over what it held with the tables
in place. Bar: a million interactions and twenty measures in 5 s on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from weighup.console import table
from weighup.metrics.recommenders import Recommendations, evaluate_recommendations
from weighup.metrics.recommenders_claim import made, popular

ITEMS = 10_007  # prime, as `made` asks for
REPEATS = 5
BAR = 5.0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one)))
        return
    rows = [alone(size) for size in asked.interactions]
    columns = list(rows[0])
    title = f"recommender measures; bar: 1,000,000 interactions in {BAR:g} s"
    table(columns, [[row[column] for column in columns] for row in rows], title=title)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    if asked.out:
        result = {**machine, **versions, "bar_seconds": BAR, "rows": rows}
        asked.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def alone(size: int) -> dict[str, Any]:
    """One size, in a process of its own, so that its peak memory is its own."""
    done = subprocess.run([sys.executable, __file__, "--one", str(size)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(size: int) -> dict[str, Any]:
    users = size // 20
    world = made(0, users, ITEMS, size)
    shown, rng = popular(world), np.random.default_rng(0)
    lists = len(np.asarray(shown.user))
    clicked = rng.random(lists) < 0.1
    bought = clicked & (rng.random(lists) < 0.3)
    revenue = bought * rng.uniform(1, 50, lists)
    recommended = Recommendations(
        shown.user, shown.item, rank=shown.rank, clicked=clicked, bought=bought, revenue=revenue
    )
    held, train = world.interactions(held=True), world.interactions(held=False)
    groups = {user: user % 3 for user in range(users)}
    del shown
    # Making the world took more memory than evaluating does, so its peak is forgotten first.
    before = reset_peak()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        report = evaluate_recommendations(held, recommended, world.items(), train=train, groups=groups)
        seconds.append(time.perf_counter() - began)
    return {
        "interactions": size,
        "users": users,
        "recommendations": lists,
        "measures": len({value.metric for value in report.values}),
        "values": len(report.values),
        "best_s": round(min(seconds), 2),
        "median_s": round(statistics.median(seconds), 2),
        "peak_mb": round((peak() - before) / 1e6),
        "bytes_a_row": round((peak() - before) / (size + lists)),
        "skipped": len(report.skipped),
    }


def reset_peak() -> int:
    """Bytes held now, after the kernel was told to forget the peak (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    held: int = psutil.Process().memory_info().rss
    return held


def peak() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
