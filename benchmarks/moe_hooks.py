"""What looking at a model's routing costs: tracing, and a control that is open and changes nothing.

    python benchmarks/moe_hooks.py [--out docs/results/moe_hooks.json]

Forward passes of the shipped model (or `--model`) over the same batches, in turns: bare, traced, traced to a Parquet
file, under an idle control, under a control that takes one expert instead of two. Ratios are medians of paired turns.
Then a trace of a million tokens: its bytes in memory and in the file.

Bars: tracing at most 1.15 times the bare pass; an idle control at most 1.05 times; a million tokens in 200 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from weighup.console import progress, table
from weighup.moe.export import SHIPPED, load_any
from weighup.moe.policy import Policy, control
from weighup.moe.running import logits_of
from weighup.moe.sites import Decision, Site
from weighup.moe.trace import RoutingTrace, pieces, tracing

ROOT = Path(__file__).resolve().parent.parent


def nothing(site: Site, decision: Decision) -> None:
    """A policy that is asked and changes nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "moe_hooks.json")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    model = load_any(wanted.model)
    tokens = torch.randint(0, 250, (32, 128), generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def forward() -> None:
        logits_of(model, tokens)

    with tempfile.TemporaryDirectory() as name:
        count = iter(range(1_000_000))
        ways: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "bare": nullcontext,
            "traced": lambda: tracing(model),
            "traced to a file": lambda: tracing(model, out=Path(name) / f"{next(count)}.parquet"),
            "idle control": lambda: control(model, Policy()),
            "control that is asked": lambda: control(model, nothing),
            "one expert": lambda: control(model, Policy(k=1)),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        with progress("passes", wanted.turns) as advance:
            for _ in range(wanted.turns):
                for way, made in ways.items():
                    with made():
                        started = time.perf_counter()
                        forward()
                        times[way].append(time.perf_counter() - started)
                advance(1)
        ratios = {
            way: round(median(a / b for a, b in zip(some, times["bare"], strict=True)), 3)
            for way, some in times.items()
        }
        size = million(Path(name) / "million.parquet")
    table(("pass", "ms", "times bare"), [(w, f"{1000 * median(times[w]):.1f}", ratios[w]) for w in ways])
    table(("a million tokens, 4 layers, 8 experts, k=2", ""), [(key, f"{value:,}") for key, value in size.items()])
    bars = {
        "tracing costs at most 15 %": ratios["traced"] <= 1.15,
        "an idle control costs at most 5 %": max(ratios["idle control"], ratios["control that is asked"]) <= 1.05,
        "a million tokens in 200 MB": size["bytes in memory"] <= 200e6,
    }
    table(("bar", "met"), [(bar, "yes" if met else "NO") for bar, met in bars.items()])
    found = {
        "times_bare": ratios,
        "bare_ms": round(1000 * median(times["bare"]), 2),
        "million_tokens": size,
        "bars": bars,
    }
    wanted.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {wanted.out}")
    sys.exit(0 if all(bars.values()) else 1)


def million(path: Path) -> dict[str, float]:
    """A made trace of 1,000,000 tokens: bytes, and seconds to write and to read piece by piece."""
    chance = np.random.default_rng(0)
    count, layers, n, k = 1_000_000, 4, 8, 2
    trace = RoutingTrace(
        chance.integers(0, n, (layers, count, k), dtype=np.int16),
        chance.random((layers, count, k), np.float32).astype(np.float16),
        chance.standard_normal((layers, count, n), np.float32).astype(np.float16),
        n,
        np.repeat(np.arange(count // 100, dtype=np.int32), 100),
    )
    started = time.perf_counter()
    trace.write(path)
    written = time.perf_counter()
    most = max(part.nbytes for part in pieces(path))
    return {
        "bytes in memory": trace.nbytes,
        "bytes in the file": path.stat().st_size,
        "bytes of a piece": most,
        "seconds to write": round(written - started, 1),
        "seconds to read": round(time.perf_counter() - written, 1),
    }


if __name__ == "__main__":
    main()
