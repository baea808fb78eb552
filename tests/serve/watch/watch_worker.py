"""A process of its own that watches, or works on jobs, until it is stopped. Run by the tests, may be killed.

python watch_worker.py watch URL NAME
python watch_worker.py work URL NAME
"""

from __future__ import annotations

import signal
import sys
import threading

from watch_samples import WordChecker, WordEncoder

from weighup.serve.alerts.policy import outbox
from weighup.serve.db import Database
from weighup.serve.desk import Desk
from weighup.serve.watch.watcher import Watcher
from weighup.serve.work.worker import Worker
from weighup.settings import load_settings

LEASE = 1.0
PAUSE = 0.004


def main(what: str, url: str, name: str) -> None:
    """Watch or work; SIGTERM ends it in good order."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = load_settings({"retrieve": {"allow_loopback": True}})
    with Database.open(url) as db:
        desk = Desk(WordChecker(pause=PAUSE), db, alerts=outbox(settings), settings=settings.watch)
        print("ready", flush=True)  # noqa: T201 (to the test that started this)
        if what == "watch":
            Watcher(desk, settings, name, encoder=WordEncoder(), stores=(), lease=LEASE, batch=8).run(stop)
        else:
            Worker(desk, name, lease=LEASE, batch=8).run(stop)


if __name__ == "__main__":
    main(*sys.argv[1:4])
