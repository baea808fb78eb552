"""Claim checks: does a method still beat its baseline here, and by how much?

A method names its check as `METHOD.claim_check = "module:function"`. The function takes the data folder and the
seeds, measures method and baseline on the same items, and returns one `ClaimResult` or a list of them (see
`compare`). What was found is kept as JSON, one file a method, and shown in the docs; a claim that does not hold is
kept as plainly as one that does.
"""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from weighup.errors import InvalidInput, JobFailed, WeighupError
from weighup.registry import Method

SEEDS = (0, 1, 2)
# Student's t, 0.975 quantile, for 1 to 12 degrees of freedom; beyond, 2.18 down to 1.96 is closed by _quantile.
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179)

Holds = Literal["true", "false", "flat"]


class ClaimResult(BaseModel):
    """One claim, measured. `interval` is the 95 % interval of the gain: value − baseline_value (the other way round
    where lower is better). `holds`: "true" if all of it is above 0, "false" if all below, else "flat"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    room: str = ""
    method: str = ""
    claim: str
    metric: str
    value: float
    baseline: str
    baseline_value: float
    interval: tuple[float, float]
    holds: Holds
    lower_is_better: bool = False
    seeds: list[int]
    n: int = Field(ge=1, description="items each seed was measured on")
    seconds: float = 0.0
    date: str = ""
    data: str


Check = Callable[[Path, Sequence[int]], ClaimResult | Sequence[ClaimResult]]
_FILE = TypeAdapter(list[ClaimResult])


def compare(
    claim: str,
    *,
    metric: str,
    values: Sequence[float],
    baseline: str,
    baseline_values: Sequence[float],
    seeds: Sequence[int],
    n: int,
    data: str,
    lower_is_better: bool = False,
    interval: tuple[float, float] | None = None,
) -> ClaimResult:
    """A result from one value a seed of method and baseline, paired by seed.

    `interval` None: Student's t over the paired gains (needs two seeds); a check without chance gives its own, for
    example a bootstrap over items. Raises ValueError when lengths differ or one seed comes without an interval.
    """
    if not values or not len(values) == len(baseline_values) == len(seeds):
        raise ValueError(f"{claim}: one value and one baseline value a seed, {len(seeds)} seeds, are needed")
    sign = -1.0 if lower_is_better else 1.0
    gains = [sign * (ours - theirs) for ours, theirs in zip(values, baseline_values, strict=True)]
    bounds = interval if interval is not None else t_interval(gains)
    return ClaimResult(
        claim=claim,
        metric=metric,
        value=math.fsum(values) / len(values),
        baseline=baseline,
        baseline_value=math.fsum(baseline_values) / len(baseline_values),
        interval=bounds,
        holds=holds(bounds),
        lower_is_better=lower_is_better,
        seeds=list(seeds),
        n=n,
        data=data,
    )


def holds(interval: tuple[float, float]) -> Holds:
    """What an interval of the gain says."""
    low, high = interval
    if low > 0:
        return "true"
    return "false" if high < 0 else "flat"


def t_interval(gains: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean by Student's t. Raises ValueError for fewer than two gains."""
    if len(gains) < 2:
        raise ValueError("an interval over seeds needs two seeds; give `interval=` for a check without chance")
    mean = math.fsum(gains) / len(gains)
    spread = math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1))
    half = _quantile(len(gains) - 1) * spread / math.sqrt(len(gains))
    return mean - half, mean + half


def _quantile(freedom: int) -> float:
    # 1.96 + 2.4/df is within 0.02 of the exact quantile from 13 degrees of freedom on.
    return _T975[freedom - 1] if freedom <= len(_T975) else 1.96 + 2.4 / freedom


def run(method: Method, data: Path, seeds: Sequence[int] | None = None) -> list[ClaimResult]:
    """Run a method's check, over `seeds`, else its module's own `SEEDS`, else 0, 1, 2.

    Raises JobFailed naming the method when it has none or it cannot be run.
    """
    if method.claim_check is None:
        raise JobFailed(f"{method.room}/{method.name} has no claim check")
    check, own = _load(method)
    started = time.perf_counter()
    found = check(data, own if seeds is None else seeds)
    took = round(time.perf_counter() - started, 1)
    results = [found] if isinstance(found, ClaimResult) else list(found)
    stamp = {"room": method.room, "method": method.name, "seconds": took, "date": date.today().isoformat()}
    return [result.model_copy(update=stamp) for result in results]


def run_all(
    methods: Sequence[Method], data: Path, folder: Path, *, jobs: int = 1
) -> Iterator[tuple[Method, str | None]]:
    """Run checks and keep what each finds in `folder`, the longest of last time first where several run at once, each
    in a process of its own with its share of the cores. Yields each as it ends, with what went wrong or None."""
    if jobs <= 1 or len(methods) <= 1:
        for method in methods:
            yield method, _run_and_keep(method, data, folder)
        return
    last = {(result.room, result.method): result.seconds for result in stored(folder)}
    order = sorted(methods, key=lambda method: -last.get((method.room, method.name), math.inf))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_run_apart, method, data, folder, threads): method for method in order}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_apart(method: Method, data: Path, folder: Path, threads: int) -> str | None:
    # A pool of its own for each check: one whose process dies takes no other with it.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_use_threads, initargs=(threads,)) as own:
        try:
            return own.submit(_run_and_keep, method, data, folder).result()
        except BrokenProcessPool as error:
            return f"its process ended: {error}"


def _use_threads(count: int) -> None:
    # Read when torch is loaded, which is later, with the check.
    os.environ["OMP_NUM_THREADS"] = str(count)


def _run_and_keep(method: Method, data: Path, folder: Path) -> str | None:
    try:
        write(run(method, data), folder)
    except (WeighupError, ImportError, OSError, ValueError) as error:
        return str(error)
    return None


def _load(method: Method) -> tuple[Check, Sequence[int]]:
    name, _, function = (method.claim_check or "").partition(":")
    try:
        module = importlib.import_module(name)
        check: Check = getattr(module, function)
    except (ImportError, AttributeError, ValueError) as error:
        raise JobFailed(
            f"{method.room}/{method.name}: claim check {method.claim_check!r} cannot be loaded: {error}; "
            "install what it needs with pip install 'weighup[dev]', for moe 'weighup[train]'"
        ) from error
    return check, getattr(module, "SEEDS", SEEDS)


def results_folder() -> Path:
    """Where results are kept: the checkout's docs/results/claims, or the copy inside an installed package."""
    package = Path(__file__).parent
    checkout = package.parents[1] / "docs" / "results" / "claims"
    return checkout if checkout.is_dir() else package / "_claims"


def write(results: Sequence[ClaimResult], folder: Path) -> Path:
    """Keep one method's results, replacing what was there. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results[0].room}_{results[0].method}.json"
    rows = [result.model_dump(mode="json") for result in results]
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def stored(folder: Path) -> list[ClaimResult]:
    """All kept results, by file name. Raises InvalidInput naming a file that cannot be read."""
    found: list[ClaimResult] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found += _FILE.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise InvalidInput(f"{path}: not a list of claim results: {error}") from error
    return found


def as_markdown(results: Sequence[ClaimResult]) -> str:
    """A Markdown table of results, for the docs."""
    if not results:
        return "No claim check has been run yet.\n"
    head = "| method | claim | metric | value | baseline | baseline value | gain, 95 % interval | holds | n × seeds |"
    lines = [head, "|" + " --- |" * 9]
    for r in results:
        low, high = r.interval
        name = f"`{r.room}/{r.method}`"
        lines.append(
            f"| {name} | {r.claim} | {r.metric} | {r.value:.3f} | {r.baseline} | {r.baseline_value:.3f} "
            f"| {low:+.3f} to {high:+.3f} | **{r.holds}** | {r.n} × {len(r.seeds)} |"
        )
    return "\n".join(lines) + "\n"
