"""A courier in a process of its own, to be killed: python alert_worker.py DATABASE WEBHOOK. Its leases are short."""

from __future__ import annotations

import sys
import threading

from weighup.serve.alerts import courier
from weighup.serve.db import Database
from weighup.settings import load_settings

if __name__ == "__main__":
    where, hook = sys.argv[1:]
    courier.LEASE = 1.0
    told = {"watch": {"webhook": hook, "console": False}, "retrieve": {"allow_loopback": True, "timeout": 3.0}}
    with Database.open(where) as database, courier.Courier(database, load_settings(told)) as carrier:
        print("ready", flush=True)  # noqa: T201 (to the test that started this)
        carrier.run(threading.Event())
