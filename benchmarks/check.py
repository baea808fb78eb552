"""How quick, how lean and how frugal `weighup check` is. Prints tables; writes docs/results/check.json.

    python benchmarks/check.py [--only latency,batch,calls] [--runs 7] [--rows 1000] [--many 20000] [--claims 60]

latency: whole processes and a warm one, the request cache off. batch: rows a second and peak memory at two sizes.
calls: language-model calls and tokens beside a five-step pipeline on the same model, with macro-F1 on FoolMeTwice.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from weighup.console import table

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("WEIGHUP_DATA", ROOT.parent / "shared" / "data")) / "news"
WEIGHUP = str(Path(sys.executable).with_name("weighup"))
QUIET = {**os.environ, "WEIGHUP_MODELS__CACHE": "false"}


def rows(name: str, split: str = "test") -> list[dict]:
    """Labelled rows of a shared set."""
    with gzip.open(DATA / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def process(*command: str) -> tuple[float, float]:
    """Seconds a command took in all, and until its first byte on standard error (inf if none)."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=QUIET) as p:
        assert p.stderr is not None
        first = time.perf_counter() - started if p.stderr.read(1) else float("inf")
        message = p.stderr.read()
    if p.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {p.returncode}: {message.decode()[-400:]}")
    return time.perf_counter() - started, first


def latency(runs: int) -> dict[str, float]:
    """p50 of whole processes on distinct claims, and of a warm process."""
    claims = [r["text"] for r in rows("fool_me_twice")][: 4 * runs]
    found: dict[str, float] = {}
    check = (WEIGHUP, "check", "--offline", "--format", "json")
    for name, extra, part in (("written", (), claims[:runs]), ("brief", ("--brief",), claims[runs : 2 * runs])):
        taken = [process(*check, *extra, claim) for claim in part]
        found[f"check --offline, {name}, p50 s"] = statistics.median(t for t, _ in taken)
        found[f"first progress, {name}, p50 s"] = statistics.median(f for _, f in taken)
    found["weighup --help, p50 s"] = statistics.median(process(WEIGHUP, "--help")[0] for _ in range(runs))
    bare = statistics.median(process(sys.executable, "-c", "pass")[0] for _ in range(runs))
    found["import weighup, p50 s"] = max(
        0.0, statistics.median(process(sys.executable, "-c", "import weighup")[0] for _ in range(runs)) - bare
    )

    from weighup import Verifier

    with Verifier(offline=True, brief=True) as verifier:
        verifier.check(claims[:2])
        taken_warm = []
        for claim in claims[2 * runs :]:
            started = time.perf_counter()
            verifier.check([claim])
            taken_warm.append(time.perf_counter() - started)
    found["warm process, brief, p50 s"] = statistics.median(taken_warm)
    return found


def batch(n: int, many: int) -> dict[str, float]:
    """Rows a second on `n` rows of five passages, and peak memory at `n` and at `many` rows."""
    pool = [r for name in ("climate_fever", "fool_me_twice", "covid_fact") for r in rows(name)]
    random.Random(0).shuffle(pool)  # so that a thousand rows are like the rest, long ones among them
    passages = [e["text"] for r in pool for e in r["evidence"]]
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (n, many):
            if not size:
                continue
            source, out = Path(folder, f"{size}.jsonl"), Path(folder, f"{size}.out.jsonl")
            with source.open("w", encoding="utf-8") as file:
                for i in range(size):
                    row = pool[i % len(pool)]
                    own = [{"text": e["text"]} for e in row["evidence"]][:5]
                    own += [{"text": passages[(i * 7 + k) % len(passages)]} for k in range(5 - len(own))]
                    # Distinct texts: no two rows may share work through a cache.
                    file.write(json.dumps({"id": i, "text": f"{row['text']} ({i})", "evidence": own}) + "\n")
            command = [WEIGHUP, "check", "--brief", "--offline", "--input", str(source), "--output", str(out)]
            started, peak = time.perf_counter(), 0
            with subprocess.Popen(command, env=QUIET, stdout=subprocess.DEVNULL) as p:
                watched = psutil.Process(p.pid)
                while p.poll() is None:
                    try:
                        peak = max(peak, watched.memory_info().rss)
                    except psutil.NoSuchProcess:
                        break
                    time.sleep(0.1)
            seconds = time.perf_counter() - started
            with out.open(encoding="utf-8") as file:
                written = sum(1 for _ in file)
            assert (p.returncode, written) == (0, size), (p.returncode, written)
            found[f"{size} rows: rows/s"] = size / seconds
            found[f"{size} rows: peak RSS MB"] = peak / 1e6
    return found


def calls(n: int) -> dict[str, dict[str, float]]:
    """weighup with default settings beside the five-step pipeline, on `n` test claims of FoolMeTwice."""
    from five_step import check as five_step
    from sklearn.metrics import f1_score

    from weighup import Claim, Verifier, load_settings
    from weighup.models.open import language_model
    from weighup.retrieve.types import Evidence

    settings = load_settings({"models": {"cache": False}})
    model = language_model(settings)
    assert model is not None
    items = [r for r in rows("fool_me_twice") if r["evidence"]][:n]
    truth = [r["label3"] for r in items]
    own = [list(dict.fromkeys(e["text"] for e in r["evidence"]))[:5] for r in items]
    found: dict[str, dict[str, float]] = {}

    started = time.perf_counter()
    claims = [Claim(r["text"], evidence=tuple(Evidence(t, "row") for t in o)) for r, o in zip(items, own, strict=True)]
    with Verifier(settings, offline=True, search=False, language_model=model) as verifier:
        verdicts = verifier.check(claims)
    leaning = ["fake" if v.probability_fake >= 0.5 else "real" for v in verdicts]
    found["weighup"] = {
        "calls/claim": sum(v.usage.calls for v in verdicts) / n,
        "most calls": max(v.usage.calls for v in verdicts),
        "tokens/claim": sum(v.usage.tokens_in + v.usage.tokens_out for v in verdicts) / n,
        "seconds/claim": (time.perf_counter() - started) / n,
        "macro-F1 (leaning)": f1_score(truth, leaning, labels=["real", "fake"], average="macro"),
        "macro-F1 (verdict)": f1_score(truth, [v.verdict for v in verdicts], labels=["real", "fake"], average="macro"),
        "called": sum(v.verdict in ("real", "fake") for v in verdicts) / n,
    }
    started = time.perf_counter()
    outcomes = [five_step(model, r["text"], o) for r, o in zip(items, own, strict=True)]
    labels = [o.label for o in outcomes]
    found["five-step pipeline"] = {
        "calls/claim": sum(o.usage.calls for o in outcomes) / n,
        "most calls": max(o.usage.calls for o in outcomes),
        "tokens/claim": sum(o.usage.tokens_in + o.usage.tokens_out for o in outcomes) / n,
        "seconds/claim": (time.perf_counter() - started) / n,
        "macro-F1 (leaning)": f1_score(truth, labels, labels=["real", "fake"], average="macro"),
        "macro-F1 (verdict)": f1_score(truth, labels, labels=["real", "fake"], average="macro"),
        "called": sum(label != "unknown" for label in labels) / n,
    }
    ours, theirs = found["weighup"], found["five-step pipeline"]
    found["ratio (five-step / weighup)"] = {key: theirs[key] / ours[key] if ours[key] else 0.0 for key in ours}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="latency,batch,calls")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--many", type=int, default=20000, help="rows of the second size; 0 leaves it out")
    parser.add_argument("--claims", type=int, default=60)
    args = parser.parse_args()
    only = set(args.only.split(","))
    path = ROOT / "docs" / "results" / "check.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name, bars in (
        ("latency", lambda: latency(args.runs)),
        ("batch", lambda: batch(args.rows, args.many)),
    ):
        if name in only:
            results[name] = {key: round(value, 3) for key, value in bars().items()}
            table(["measure", "value"], list(results[name].items()), title=name)
    if "calls" in only:
        results["calls"] = {who: {k: round(v, 3) for k, v in row.items()} for who, row in calls(args.claims).items()}
        columns = list(results["calls"]["weighup"])
        table(["system", *columns], [[who, *row.values()] for who, row in results["calls"].items()], title="calls")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
