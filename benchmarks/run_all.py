"""Run every benchmark in this folder, one after another, and say at the end which ended well.

python benchmarks/run_all.py [NAME …]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run_all" and _runs(path))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(known)}")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(known))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    ended: list[tuple[str, int, float]] = []
    for name in asked.names or known:
        command = [sys.executable, str(HERE / f"{name}.py")]
        print(f"\n== {name}", flush=True)
        started = time.perf_counter()
        code = subprocess.run(command, check=False).returncode
        ended.append((name, code, time.perf_counter() - started))
    print()
    for name, code, seconds in ended:
        print(f"{name:20} {'ended well' if code == 0 else f'failed with {code}':18} {seconds:8.1f} s")
    return int(any(code for _, code, _ in ended))


def _runs(path: Path) -> bool:
    """Whether a file is a benchmark, not a part of one."""
    return '__name__ == "__main__"' in path.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
