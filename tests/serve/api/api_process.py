"""A server in a process of its own, to be killed: `python api_process.py DATABASE FOLDER`.

While there is no file `go` in FOLDER, checks wait, and the file `begun` says that one does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from api_samples import Reader, settings_of

from weighup.serve.api.app import create_app
from weighup.serve.api.binding import address_of, bind
from weighup.serve.api.observe import set_up_logs
from weighup.serve.api.running import Server
from weighup.serve.db import Database
from weighup.serve.desk import Desk
from weighup.verify.contract import Verdict
from weighup.verify.types import Claim


class Waiting(Reader):
    """Waits for the file `go`."""

    folder: Path

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        (self.folder / "begun").touch()
        while not (self.folder / "go").exists():
            time.sleep(0.01)
        return super().check(items)


def main(database: str, folder: Path) -> None:
    reader = Waiting()
    reader.folder = folder
    set_up_logs("info")
    with Database.open(database) as opened, bind("127.0.0.1", 0) as bound:
        app = create_app(settings_of(workers=1), opened, Desk(reader, opened))
        server = Server(app, ready=lambda: print(address_of(bound, "127.0.0.1"), flush=True))  # noqa: T201
        server.run(sockets=[bound])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
