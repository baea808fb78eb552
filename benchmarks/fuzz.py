"""Fuzz every reader of what strangers write, for minutes. Prints a table, writes JSON; ends with 1 if one breaks.

    python benchmarks/fuzz.py [--minutes 5] [--only HTML] [--out out/fuzz]

Each reader runs in a process of its own, with `fuzz_inputs.mutated` and memory and time bounded for each input. What
breaks it (an error that is not ours, a hang, memory, the process itself) is kept as a file: give it back by
`--replay FILE --only READER`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fuzz_inputs import Hang, Reader, bounded, mutated, readers
from hypothesis import HealthCheck, Phase, given, seed, settings

from weighup.console import table
from weighup.errors import WeighupError

ROOT = Path(__file__).resolve().parent.parent
MEGABYTES = 600
SECONDS = 30.0
COLUMNS = ("inputs", "read", "refused", "broken", "slowest s", "peak MB")


def fed(reader: Reader, data: bytes) -> str:
    """What came of an input: `read`, `refused`, or what broke."""
    try:
        with bounded(megabytes=MEGABYTES, seconds=SECONDS):
            reader.read(data)
    except WeighupError as error:
        return "out of memory" if isinstance(error.__cause__, MemoryError) else "refused"
    except Hang as hang:
        return f"hang: {hang}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return f"{type(error).__name__}: {error}"
    return "read"


def work(name: str, seconds: float, number: int, folder: Path) -> dict[str, Any]:
    """Feed one reader for so long, in this process. Should it die, the input at hand is in `folder/NAME.now`."""
    import resource

    reader = readers()[name]
    reader.read(reader.samples[0])
    now = folder / f"{name.replace(' ', '-')}.now"
    end = time.monotonic() + seconds
    done: dict[str, Any] = {"inputs": 0, "read": 0, "refused": 0, "broken": {}, "slowest s": 0.0}

    def one(data: bytes) -> None:
        if time.monotonic() > end:
            return
        now.write_bytes(data)
        begun = time.monotonic()
        what = fed(reader, data)
        done["inputs"] += 1
        done["slowest s"] = max(done["slowest s"], round(time.monotonic() - begun, 3))
        if what in ("read", "refused"):
            done[what] += 1
        else:
            kept = keep(folder, name, data)
            done["broken"].setdefault(what.partition(":")[0], [what[:200], str(kept)])

    while time.monotonic() < end:
        number += 1
        run = settings(
            max_examples=500,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(mutated(reader.samples, reader.words))(one))
        seed(number)(run)()
    now.unlink(missing_ok=True)
    done["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    return done


def keep(folder: Path, name: str, data: bytes) -> Path:
    """Keep an input that breaks a reader."""
    place = folder / f"{name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    place.write_bytes(data)
    return place


def child(name: str, seconds: float, number: int, folder: Path) -> dict[str, Any]:
    """`work` in another process, which may die of what it reads."""
    command = [sys.executable, __file__, "--work", name, "--seconds", str(seconds), "--seed", str(number)]
    late = False
    try:
        ran = subprocess.run(
            [*command, "--out", str(folder)],
            capture_output=True,
            text=True,
            timeout=seconds + 2 * SECONDS + 60,
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis")},
        )
        if ran.returncode == 0:
            return dict(json.loads(ran.stdout.splitlines()[-1]))
        why = f"the process ended with {ran.returncode}: {ran.stderr.strip()[-150:]}"
    except subprocess.TimeoutExpired:
        late, why = True, "hang: the process had to be stopped"
    now = folder / f"{name.replace(' ', '-')}.now"
    kept = keep(folder, name, now.read_bytes()) if now.exists() else None
    return dict.fromkeys(COLUMNS, 0) | {"broken": {"hang" if late else "died": [why, str(kept)]}}


def main() -> None:
    """Fuzz, print, write; ends with 1 if anything broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="in all, shared by the readers")
    parser.add_argument("--only", help="one reader, by name")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fuzz")
    parser.add_argument("--replay", type=Path, help="give a kept input to the reader named by --only")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.work:
        print(json.dumps(work(asked.work, asked.seconds, asked.seed, asked.out)))
        return
    names = [asked.only] if asked.only else list(readers())
    if asked.replay:
        print(fed(readers()[names[0]], asked.replay.read_bytes()))
        return
    share = asked.minutes * 60 / len(names)
    found = {name: child(name, share, asked.seed, asked.out) for name in names}
    lines = [[name, *(len(r[c]) if c == "broken" else r[c] for c in COLUMNS)] for name, r in found.items()]
    table(["reader", *COLUMNS], [[str(cell) for cell in line] for line in lines])
    broken = [f"{name}: {what} ({kept})" for name, r in found.items() for what, kept in r["broken"].values()]
    print("\n".join(broken) or f"nothing broke (seed {asked.seed})")
    told = {"seed": asked.seed, "minutes": asked.minutes, "readers": found}
    (asked.out / "fuzz.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
