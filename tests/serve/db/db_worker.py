"""A process of its own: opens the database, or works on jobs until it is stopped. Run by the tests, may be killed.

python db_worker.py open URL
python db_worker.py work URL NAME
"""

from __future__ import annotations

import sys
import time

from db_samples import check

from weighup.serve.db import Database
from weighup.serve.db.records import ItemOutcome, NewAlert

LEASE = 1.0


def work(url: str, name: str) -> None:
    """Take, check, finish; some items in batches, some one by one, so that a kill may fall anywhere."""
    with Database.open(url) as db:
        print("ready", flush=True)  # noqa: T201 (to the test that started this)
        while True:
            items = db.jobs.take(name, limit=4, seconds=LEASE)
            if not items:
                time.sleep(0.05)
                continue
            done = []
            for item in items:
                time.sleep(0.006)
                made = check(str(item.input["claim"]), key=item.check_key, tenant=item.tenant)
                done.append(ItemOutcome(item.id, {"by": name}, check=made))
            db.jobs.finish(
                name, done, outbox=lambda one, new: [NewAlert(one.check_key, "console", "-", {}, verdict_id=new.id)]
            )


if __name__ == "__main__":
    what, url = sys.argv[1:3]
    if what == "open":
        Database.open(url).close()
    else:
        work(url, sys.argv[3])
