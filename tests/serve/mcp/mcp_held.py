"""An MCP server whose checks wait for a file: `python mcp_held.py FOLDER` serves it on standard input and output."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weighup.errors import StoreError
from weighup.serve.mcp.service import Service, Tell
from weighup.serve.mcp.shapes import CheckedClaim
from weighup.settings import Settings


class Held(Service):
    """Checks note in `folder` that they began, wait there for a file of the claim's name, and have no verdict."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        super().__init__(settings or Settings(), None, offline=True)
        self.folder = folder
        self.stop = threading.Event()

    def check(self, tenant: str, row: Mapping[str, Any], *, brief: bool, tell: Tell) -> CheckedClaim:
        with (self.folder / "begun").open("a") as file:
            file.write(f"{row['text']}\n")
        tell(f"holding {row['text']}")
        while not (self.folder / row["text"]).exists() and not self.stop.wait(0.01):
            continue
        raise StoreError(f"{self.folder}/secret: no verdict on {row['text']}")

    def begun(self) -> list[str]:
        file = self.folder / "begun"
        return file.read_text().split() if file.exists() else []


if __name__ == "__main__":
    from weighup.serve.mcp import stdio
    from weighup.serve.mcp.server import make

    stdio.run(make(Held(Path(sys.argv[1]))))
