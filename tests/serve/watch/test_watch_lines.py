"""Lines of a pipe are kept as they come."""

from __future__ import annotations

import io
import os
import threading
import time

from weighup.retrieve.rowfiles import Broken
from weighup.serve.db import Database
from weighup.serve.db.records import Feed
from weighup.serve.watch.lines import follow


def lines_feed(db: Database) -> Feed:
    (feed,) = db.feeds.add("", ["stdin"], kind="lines")
    return feed


def test_every_line_is_kept_once_and_broken_ones_are_told(db: Database) -> None:
    broken: list[Broken] = []
    row = '{"text": "Inflation fell to three per cent.", "date": "2026-05-09", "source": "Bank"}'
    stream = io.BytesIO(f"The dam broke.\n\n{row}\n{{broken\nThe dam broke.\n".encode())
    assert follow(stream, lines_feed(db), db, threading.Event(), on_broken=broken.append) == 2
    assert {(item.text, item.source) for item in db.feeds.items("")} == {
        ("The dam broke.", "stdin"),
        ("Inflation fell to three per cent.", "Bank"),
    }
    assert [one.line for one in broken] == [4]


def test_a_line_is_kept_while_the_pipe_is_still_open(db: Database) -> None:
    reading, writing = os.pipe()
    stop, feed = threading.Event(), lines_feed(db)
    with os.fdopen(reading, "rb") as stream:
        thread = threading.Thread(target=follow, args=(stream, feed, db, stop), kwargs={"on_broken": print})
        thread.start()
        os.write(writing, b"The dam broke.\n")
        end = time.monotonic() + 30
        while not db.feeds.items("") and time.monotonic() < end:
            time.sleep(0.02)
        stop.set()
        thread.join(30)
        os.close(writing)
    assert not thread.is_alive()
    assert [item.text for item in db.feeds.items("")] == ["The dam broke."]
