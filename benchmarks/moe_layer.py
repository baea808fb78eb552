"""A mixture-of-experts layer, forward and backward on the processor, beside Hugging Face's with the same weights.

    python benchmarks/moe_layer.py [--threads 2] [--out docs/results/moe_layer.json]

Each row is one shape: T tokens, width 256, N experts of hidden size h, two active. In turns, in the same process: our
`MoELayer`; transformers' Mixtral block with `experts_implementation="eager"`; one dense matrix product of equal
FLOPs, forward and backward, which is what the arithmetic alone costs. Median of the repetitions. Outputs and gradients
of the two layers are compared first. h is 96 (3/8 of the width, as in Qwen3-MoE) and 896 (7/2 of it, as in Mixtral).

Bars at T=4096, N=16: twice as fast as the eager block; at most 1.5 times the dense product. Ends with 1 if missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from weighup.console import progress, table
from weighup.moe.experts import Experts
from weighup.moe.layer import MoELayer
from weighup.moe.types import Router

ROOT = Path(__file__).resolve().parent.parent
WIDTH, K = 256, 2
TOKENS, COUNTS, HIDDEN = (64, 256, 1024, 4096, 16384), (4, 8, 16, 64), (96, 896)
BAR = (4096, 16)


def measure(tokens: int, n: int, hidden: int, least: float) -> dict[str, Any]:
    """One shape: medians in milliseconds and their ratios."""
    torch.manual_seed(0)
    ours = MoELayer(Experts(n, WIDTH, hidden), Router(WIDTH, n, K))
    theirs = MixtralSparseMoeBlock(
        MixtralConfig(hidden_size=WIDTH, intermediate_size=hidden, num_local_experts=n, num_experts_per_tok=K)
    )
    theirs.experts.config._experts_implementation = "eager"
    with torch.no_grad():
        theirs.experts.gate_up_proj.copy_(ours.experts.gate_up_proj)
        theirs.experts.down_proj.copy_(ours.experts.down_proj)
        theirs.gate.weight.copy_(ours.router.weight)
    x = torch.randn(1, tokens, WIDTH, requires_grad=True)
    gradient = torch.randn(1, tokens, WIDTH)
    dense_x = torch.randn(tokens * K, WIDTH, requires_grad=True)
    dense_w = torch.randn(WIDTH, 3 * hidden, requires_grad=True)
    dense_gradient = torch.randn(tokens * K, 3 * hidden)

    def run(layer: torch.nn.Module) -> torch.Tensor:
        layer.zero_grad()
        x.grad = None
        y = layer(x)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(gradient)
        return y

    def dense() -> None:
        dense_x.grad = dense_w.grad = None
        (dense_x @ dense_w).backward(dense_gradient)

    def result(layer: torch.nn.Module) -> tuple[torch.Tensor, ...]:
        y = run(layer).detach()
        assert x.grad is not None
        return y, x.grad.clone(), layer.experts.gate_up_proj.grad.clone(), layer.experts.down_proj.grad.clone()

    apart = max(
        float((a - b).abs().max() / b.abs().max().clamp_min(1e-9))
        for a, b in zip(result(ours), result(theirs), strict=True)
    )
    assert apart < 1e-4, f"the layers differ by {apart}"
    ways: dict[str, Callable[[], Any]] = {"ours": lambda: run(ours), "eager": lambda: run(theirs), "dense": dense}
    times: dict[str, list[float]] = {name: [] for name in ways}
    end = time.perf_counter() + least
    while time.perf_counter() < end or len(times["ours"]) < 5:
        for name, call in ways.items():
            at = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - at)
    middle = {name: 1000 * median(some) for name, some in times.items()}
    return {
        "T": tokens,
        "N": n,
        "h": hidden,
        **{f"{name} ms": round(value, 3) for name, value in middle.items()},
        "eager/ours": round(middle["eager"] / middle["ours"], 2),
        "ours/dense": round(middle["ours"] / middle["dense"], 2),
        "apart": f"{apart:.1e}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=2.0, help="at least so long for each shape")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "moe_layer.json")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    shapes = [(t, n, h) for h in HIDDEN for n in COUNTS for t in TOKENS if n == BAR[1] or t == BAR[0]]
    rows = []
    with progress("shapes", len(shapes)) as advance:
        for t, n, h in shapes:
            rows.append(measure(t, n, h, wanted.seconds))
            advance(1)
    table(list(rows[0]), [list(row.values()) for row in rows])
    at_bar = [row for row in rows if (row["T"], row["N"]) == BAR]
    bars = {
        f"h={row['h']}: {what}": met
        for row in at_bar
        for what, met in (
            ("twice as fast as the eager block", row["eager/ours"] >= 2),
            ("at most 1.5 times the dense product", row["ours/dense"] <= 1.5),
        )
    }
    table(("bar", "met"), [(bar, "yes" if met else "NO") for bar, met in bars.items()])
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": wanted.threads,
    }
    wanted.out.write_text(
        json.dumps({"rows": rows, "bars": bars, "machine": machine}, indent=1) + "\n", encoding="utf-8"
    )
    print(f"wrote {wanted.out}")
    sys.exit(0 if all(bars.values()) else 1)


if __name__ == "__main__":
    main()
