"""Bradley–Terry ratings of a million matches, beside the logistic regression that public arenas fit.

    python benchmarks/bradley_terry.py [--matches 1000000] [--systems 200] [--rounds 100] [--theirs 1]
        [--out docs/results/bradley_terry.json]

Votes are made from known skills, with ties (Davidson's, ν 0.5). All sides get the same columns of numbers. Theirs is
the public arenas' recipe: two rows a match (a tie is a win in one and a loss in the other), +1 and −1 for its systems
as a sparse matrix, scikit-learn's LogisticRegression without intercept or penalty, and for the bootstrap the same fit
on matches drawn with replacement. The arenas' later form of it counts the matches of each pair first and fits the
counts as weights of two rows a pair; it is measured too, counting with numpy. Theirs are timed for `--theirs` rounds
(ten times as many when counted), and the time of all rounds is extrapolated from their mean. Ours is timed whole.
Another row of ours fits a control on every match; reading is of the same votes from files. Times are by the clock and
of the process's own processor time, which other work on the machine stretches less; ratios are of the latter.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from weighup.arena import Matches, Style, bradley_terry, read_matches, simulate_votes
from weighup.arena.bradley_terry import SCALE
from weighup.console import table

Took = Any
"""Seconds [2]: by the clock, and of the processor."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matches", type=int, default=1_000_000)
    parser.add_argument("--systems", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--theirs", type=int, default=1, help="bootstrap rounds of scikit-learn that are timed")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    skills = dict(zip(names(asked.systems), np.random.default_rng(0).normal(size=asked.systems).tolist(), strict=True))
    style = Style(0.3, dict.fromkeys(skills, 0.0), name="length")
    matches = simulate_votes(skills, n=asked.matches, seed=1, ties=0.5, style=style)
    assert isinstance(matches, Matches)
    bradley_terry(matches.take(np.arange(len(matches) // 10)), ridge=1)  # what is imported at first use
    board, sandwich = timed(lambda: bradley_terry(matches))
    _, drawn = timed(lambda: bradley_terry(matches, interval="bootstrap", rounds=asked.rounds))
    _, davidson = timed(lambda: bradley_terry(matches, ties="davidson", interval="bootstrap", rounds=asked.rounds))
    _, controlled = timed(lambda: bradley_terry(matches, controls=["length"]))
    expected, fit, each = theirs(matches, asked.theirs)
    _, counted_fit, counted_each = theirs_counted(matches, 10 * asked.theirs)
    ours = np.array([(board[name].value - 1000) / SCALE for name in matches.systems])
    whole, counted = fit + asked.rounds * each, counted_fit + asked.rounds * counted_each
    rows = [
        row("weighup, sandwich intervals", sandwich),
        row(f"weighup, {asked.rounds} bootstrap rounds", drawn, bar="≤ 10 s"),
        row(f"weighup, Davidson's ties, {asked.rounds} rounds", davidson),
        row("weighup, one control, sandwich intervals", controlled),
        row("scikit-learn, one fit", fit),
        row(f"scikit-learn, {asked.rounds} rounds, extrapolated from {asked.theirs}", whole, bar="≥ 10 × ours"),
        row("scikit-learn on counted pairs, one fit", counted_fit),
        row(f"scikit-learn on counted pairs, {asked.rounds} rounds, extrapolated from {10 * asked.theirs}", counted),
        *(row(f"weighup, reading {kind}", seconds) for kind, seconds in reading(matches).items()),
    ]
    facts = {
        "matches": asked.matches,
        "systems": asked.systems,
        "ties": round(float(np.mean(matches.outcome == 0.5)), 3),
        "times_faster_with_bootstrap": round(float(whole[1] / drawn[1]), 1),
        "times_faster_with_bootstrap_than_counted": round(float(counted[1] / drawn[1]), 1),
        "times_faster_one_fit": round(float(fit[1] / sandwich[1]), 1),
        "largest_difference_of_coefficients": float(np.abs(ours - expected).max()),
        "load_average": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    title = ", ".join(f"{key} {value}" for key, value in list(facts.items())[:7])
    table(list(rows[0]), [list(one.values()) for one in rows], title=title)
    if asked.out:
        asked.out.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n", encoding="utf-8")


def names(count: int) -> list[str]:
    return [f"system-{number:03}" for number in range(count)]


def row(what: str, took: Took, bar: str = "") -> dict[str, Any]:
    return {"what": what, "seconds": round(float(took[0]), 2), "processor": round(float(took[1]), 2), "bar": bar}


def timed(work: Callable[[], Any]) -> tuple[Any, Took]:
    clock, own = time.perf_counter(), time.process_time()
    found = work()
    return found, np.array([time.perf_counter() - clock, time.process_time() - own])


def theirs(matches: Matches, rounds: int) -> tuple[Any, Took, Took]:
    """Coefficients of mean 0, seconds of one fit, and of one bootstrap round (mean)."""
    from scipy.sparse import csr_array
    from sklearn.linear_model import LogisticRegression

    n, m = len(matches), len(matches.systems)

    def fitted() -> Any:
        place = np.arange(2 * n)
        a, b = np.tile(matches.a, 2), np.tile(matches.b, 2)
        design = csr_array(
            (np.repeat([1.0, -1.0], 2 * n), (np.tile(place, 2), np.concatenate([a, b]))), shape=(2 * n, m)
        )
        # A win is two rows won; a tie one won and one lost.
        won = np.concatenate([matches.outcome == 1, matches.outcome > 0])
        model = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-6, max_iter=1000)
        return design, won, model.fit(design, won).coef_[0]

    (design, won, found), seconds = timed(fitted)
    rng = np.random.default_rng(0)

    def again() -> Any:
        drawn = rng.integers(0, n, n)
        rows = np.concatenate([drawn, drawn + n])
        return LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-6, max_iter=1000).fit(design[rows], won[rows])

    return found - found.mean(), seconds, np.mean([timed(again)[1] for _ in range(rounds)], axis=0)


def theirs_counted(matches: Matches, rounds: int) -> tuple[Any, Took, Took]:
    """As `theirs`, on two rows a pair with its wins (a tie: half) as weights."""
    from scipy.sparse import csr_array
    from sklearn.linear_model import LogisticRegression

    n, m = len(matches), len(matches.systems)
    first, second = np.triu_indices(m, 1)
    place, forward = np.arange(len(first)), first * m + second
    half = csr_array((np.repeat([1.0, -1.0], len(first)), (np.tile(place, 2), np.concatenate([first, second]))))
    design = csr_array(np.tile(half.toarray(), (2, 1)))
    won = np.repeat([1.0, 0.0], len(first))

    def fitted(rows: Any) -> Any:
        a, b, y = matches.a[rows].astype(np.int64), matches.b[rows], matches.outcome[rows]
        wins = np.bincount(a * m + b, y, m * m) + np.bincount(b * np.int64(m) + a, 1 - y, m * m)
        weight = np.concatenate([wins[forward], wins[second * m + first]])
        model = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-6, max_iter=1000)
        return model.fit(design, won, sample_weight=weight).coef_[0]

    found, seconds = timed(lambda: fitted(slice(None)))
    rng = np.random.default_rng(0)
    each = [timed(lambda: fitted(rng.integers(0, n, n)))[1] for _ in range(rounds)]
    return found - found.mean(), seconds, np.mean(each, axis=0)


def reading(matches: Matches) -> dict[str, Took]:
    """Seconds to read the votes from each kind of file."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    said = np.array(["model_b", "tie", "model_a"])[(2 * matches.outcome).astype(int)]
    systems = np.array(matches.systems)
    columns = pa.table({"model_a": systems[matches.a], "model_b": systems[matches.b], "winner": said})
    with tempfile.TemporaryDirectory() as folder:
        paths = {kind: Path(folder) / f"votes.{kind}" for kind in ("csv", "jsonl", "parquet")}
        pyarrow.csv.write_csv(columns, paths["csv"])
        pyarrow.parquet.write_table(columns, paths["parquet"])
        with paths["jsonl"].open("w") as file:
            for batch in columns.to_batches(50_000):
                file.writelines(json.dumps(one) + "\n" for one in batch.to_pylist())
        return {kind: timed(lambda path=path: read_matches(path))[1] for kind, path in paths.items()}


if __name__ == "__main__":
    main()
