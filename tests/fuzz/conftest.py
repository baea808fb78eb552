"""The fuzzers' inputs, which the long run in benchmarks/fuzz.py gives too."""

from __future__ import annotations

import sys
from pathlib import Path

_PLACE = str(Path(__file__).resolve().parents[2] / "benchmarks")
if _PLACE not in sys.path:
    sys.path.append(_PLACE)
