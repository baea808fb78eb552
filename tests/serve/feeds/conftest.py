"""The loopback web server of the web client's tests serves feeds here."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOM = str(Path(__file__).resolve().parents[2] / "retrieve")
if _ROOM not in sys.path:
    sys.path.append(_ROOM)
