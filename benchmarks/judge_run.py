"""A judge run against a server that fails: is it complete, is nothing judged twice, and how fast is it?

    python benchmarks/judge_run.py [--items 10000] [--latency 0.25] [--seed 0] [--out docs/results/judge_run.json]

The server speaks OpenAI's chat completions on loopback, in a process of its own: every answer takes `--latency`
seconds, and one request in ten fails, by its number: 429 at once, 500, no answer at all (the client gives up after 2 s)
or junk where JSON was asked for, each as often. It spares an item its third junk answer, after which a judge rightly
calls it invalid. The judge is LLMJudge over the usual client and its cache: 32 calls at once, four retries, a log in
SQLite. The same requests are first sent by a bare asyncio client with as many places, the same retries and the same
back-off, during which it gives its place to another item; `limit` is arithmetic: how long the places are taken by the
answers and failures that the server gave in the run. The run is then done again, killed with SIGKILL at a random point
and gone on with. Processor time is that of the process that runs.

Bars: complete, nothing twice or lost in the log, at least 90 % of the bare client's items a second, and the judgements
of the killed run equal to those of the other (usage and times left out). Ends with 1 if one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judge_run_server import RETRIES, Bare

from weighup.console import table
from weighup.judge.llm import LLMJudge
from weighup.judge.runs import Log, run
from weighup.judge.types import Item
from weighup.models.types import LanguageModel, Prompt

AT_ONCE = 32
TIMEOUT = 2.0  # seconds for one request
BAR = 0.90
_WORDS = (
    "the answer gives every step of the way and says what would change if one of the numbers were larger while "
    "another leaves out why a first guess fails and names no source for what it claims about cost or time"
).split()


def items(count: int) -> list[Item]:
    """Pairs of about 60 and 90 words, all different."""
    made = []
    for number in range(count):
        chance = random.Random(number)
        first, second = (" ".join(chance.choices(_WORDS, k=k)) for k in (60, 90))
        made.append(Item.pair(str(number), f"Explain item {number} in a few sentences.", first, second))
    return made


def model() -> LanguageModel:
    """The client that the settings in the environment name."""
    from weighup.models.open import language_model

    found = language_model()
    assert found is not None
    return found


def bodies(made: list[Item]) -> list[bytes]:
    """What the judge's client sends, for the bare one to send too."""
    judge = LLMJudge(model())
    prompts = [judge._prompt(item, text) for item in made for text in judge._messages(item, None) or ()]
    return [_body(prompt) for prompt in prompts]


def _body(prompt: Prompt) -> bytes:
    assert prompt.schema is not None
    schema = {"name": prompt.schema.__name__, "schema": prompt.schema.model_json_schema()}
    told = {
        "model": "loopback",
        "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "seed": prompt.seed,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    return json.dumps(told).encode()


def judged(count: int, log: Path) -> None:
    """In a process of its own: one run; what it took, as JSON on standard output."""
    made, judge = items(count), LLMJudge(model())
    started, used = time.monotonic(), time.process_time()
    result = run(judge, made, log)
    told = {
        "seconds": time.monotonic() - started,
        "processor": time.process_time() - used,
        "judged": result.judged,
        "status": dict(result.status),
        "complete": result.complete,
    }
    print(json.dumps(told))


@dataclass(frozen=True)
class Served:
    """The server, and how to run against it."""

    port: int
    folder: Path
    count: int

    def told(self) -> dict[str, Any]:
        """What the server counted since it was last asked."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def environment(self, name: str) -> dict[str, str]:
        """Settings of the client; every run has a cache of its own, which a resumed one finds again."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("WEIGHUP_")},
            "WEIGHUP_MODELS__LANGUAGE": "openai:loopback",
            "WEIGHUP_MODELS__BASE_URL": f"http://127.0.0.1:{self.port}/v1",
            "WEIGHUP_MODELS__CONCURRENCY": str(AT_ONCE),
            "WEIGHUP_MODELS__TIMEOUT": str(TIMEOUT),
            "WEIGHUP_MODELS__RETRIES": str(RETRIES),
            "WEIGHUP_CACHE_DIR": str(self.folder / f"cache-{name}"),
        }

    def start(self, name: str) -> subprocess.Popen[str]:
        """A run with the log of this name, begun or gone on with."""
        command = [sys.executable, __file__, "--judge", str(self.log(name)), "--items", str(self.count)]
        return subprocess.Popen(command, env=self.environment(name), stdout=subprocess.PIPE, text=True)

    def finish(self, name: str) -> dict[str, Any]:
        """Run to the end."""
        with self.start(name) as process:
            out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"the run ended with {process.returncode}")
        found: dict[str, Any] = json.loads(out)
        return found

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.db"

    def lines(self, name: str) -> bytes:
        """The judgements as they are written."""
        path = self.folder / f"{name}.jsonl"
        Log(self.log(name)).write(path)
        return path.read_bytes()


@contextlib.contextmanager
def serving(folder: Path, count: int, latency: float) -> Iterator[Served]:
    command = [sys.executable, str(Path(__file__).with_name("judge_run_server.py")), str(latency)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        yield Served(int(running.stdout.readline()), folder, count)
    finally:
        running.terminate()
        running.wait(30)


def held(given: dict[str, int], latency: float) -> float:
    """Seconds that one place is taken by what the server gave: a 429 takes none, no answer takes the whole timeout."""
    return latency * sum(given.get(kind, 0) for kind in ("verdict", "500", "junk")) + TIMEOUT * given.get(
        "no answer", 0
    )


def bare(served: Served, made: list[Item], seed: int) -> dict[str, Any]:
    """The bare client."""
    os.environ.update(served.environment("bare"))
    client = Bare(served.port, bodies(made), TIMEOUT, seed)
    started, used = time.monotonic(), time.process_time()
    done = asyncio.run(client.run(AT_ONCE))
    return {"seconds": time.monotonic() - started, "processor": time.process_time() - used, "judged": done}


def killed(served: Served, after: float) -> dict[str, Any]:
    """A run that is killed `after` seconds from its start, and gone on with."""
    with served.start("killed") as process:
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
    if process.returncode != -signal.SIGKILL:
        raise SystemExit("the run had ended before it was killed")
    there = kept(served.log("killed"))
    return {"killed after": after, "in the log when killed": there, **served.finish("killed")}


def kept(path: Path) -> int:
    """Judgements in a log; 0 while there is none."""
    if not path.is_file():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        try:
            return int(base.execute("SELECT count(*) FROM judgements").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def wrong(path: Path, count: int) -> tuple[int, int]:
    """Judgements of an item beyond its first, and items without one."""
    ids = [one.item_id for one in Log(path).judgements()]
    return len(ids) - len(set(ids)), count - len(set(ids))


def summed(told: dict[str, Any], server: dict[str, Any], count: int, latency: float) -> dict[str, Any]:
    limit = AT_ONCE * count / held(server["given"], latency)
    rate = told["judged"] / told["seconds"]
    return {
        "items": told["judged"],
        "seconds": round(told["seconds"], 2),
        "items_per_second": round(rate, 2),
        "limit_per_second": round(limit, 2),
        "of_limit": round(rate / limit, 4),
        "processor_ms_per_item": round(1000 * told["processor"] / told["judged"], 3),
        "requests": server["requests"],
        "failed_share": round(1 - server["given"].get("verdict", 0) / server["requests"], 4),
        "most_at_once": server["most at once"],
        "verdicts_given_again": server["answered again"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--latency", type=float, default=0.25, help="seconds that every answer takes")
    parser.add_argument("--seed", type=int, default=0, help="of the point at which the run is killed")
    parser.add_argument("--out", type=Path, default=Path("docs/results/judge_run.json"))
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.judge is not None:
        judged(wanted.items, wanted.judge)
        return
    with tempfile.TemporaryDirectory() as name, serving(Path(name), wanted.items, wanted.latency) as served:
        parts = {}
        told = bare(served, items(wanted.items), wanted.seed)
        parts["bare client"] = summed(told, served.told(), wanted.items, wanted.latency)
        whole = served.finish("whole")
        parts["judge run"] = summed(whole, served.told(), wanted.items, wanted.latency)
        at = random.Random(wanted.seed).uniform(0.2, 0.8)
        again = killed(served, at * whole["seconds"])
        server = served.told()
        faults = {name: wrong(served.log(name), wanted.items) for name in ("whole", "killed")}
        same = served.lines("whole") == served.lines("killed")
    ratio = parts["judge run"]["items_per_second"] / parts["bare client"]["items_per_second"]
    resumed = {
        "killed_after_seconds": round(again["killed after"], 2),
        "in_the_log_when_killed": again["in the log when killed"],
        "judged_by_the_second": again["judged"],
        "verdicts_given_again": server["answered again"],
        "equal_files": same,
    }
    met = {
        "complete": whole["complete"] and again["complete"] and set(whole["status"]) == {"ok"},
        "nothing twice or lost": set(faults.values()) == {(0, 0)},
        f"≥ {BAR:.0%} of the bare client": ratio >= BAR,
        "killed and resumed: the same file": same,
    }
    rows = [(row, *(str(part[row]) for part in parts.values())) for row in parts["judge run"]]
    table(("", *parts), [*rows, ("of the bare client", "1", f"{ratio:.4f}")])
    table(("killed and resumed", ""), [(row, str(value)) for row, value in resumed.items()])
    table(("bar", "met"), [(bar, "yes" if good else "NO") for bar, good in met.items()])
    result = {
        "latency_seconds": wanted.latency,
        "timeout_seconds": TIMEOUT,
        "at_once": AT_ONCE,
        "retries": RETRIES,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "python": platform.python_version(),
        "parts": parts,
        "of_the_bare_client": round(ratio, 4),
        "twice": sum(twice for twice, _ in faults.values()),
        "lost": sum(lost for _, lost in faults.values()),
        "resumed": resumed,
        "bars": met,
    }
    wanted.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {wanted.out}")
    sys.exit(0 if all(met.values()) else 1)


if __name__ == "__main__":
    main()
