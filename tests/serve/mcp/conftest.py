"""What the MCP server's tests need is installed, and they see no settings of the user's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="needs pip install 'weighup[serve]'")
pytest.importorskip("sqlalchemy", reason="needs pip install 'weighup[serve]'")

_HERE = Path(__file__).resolve().parent
for _room in (_HERE, _HERE.parent / "db"):
    if str(_room) not in sys.path:
        sys.path.append(str(_room))


@pytest.fixture(autouse=True)
def no_settings(clean_environment: Path) -> None:
    """No weighup.toml, no WEIGHUP_… of the user's."""
