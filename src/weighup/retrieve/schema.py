"""The store's file: its tables, how it is opened, and SQLite's errors said in words that name the file.

documents   one row a document; `text` is kept once, `cluster` is the first document of its near-duplicates
passages    offsets into a document's text, with its date, so that a bound needs one look-up
words       FTS5 over title and passage (contentless: only the index), stemmed, Han characters as bigrams
bands       MinHash LSH bands of longer documents
vectors     int8 passage vectors; by 32,768 they move into `segments`, each a serialised index with ids and dates
Times are microseconds since 1970 UTC, NULL when undated.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from weighup.errors import StoreError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x57455548  # "WEUH": tells an evidence store from any other SQLite file
WAIT = 30.0  # seconds that a writer waits for another
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_TABLES = """
CREATE TABLE documents(
  id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, cluster INTEGER NOT NULL, first INTEGER NOT NULL,
  passages INTEGER NOT NULL, published INTEGER, credibility REAL, lang TEXT, source TEXT NOT NULL, key TEXT NOT NULL,
  url TEXT, title TEXT, text TEXT NOT NULL);
CREATE TABLE passages(
  id INTEGER PRIMARY KEY, document INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
  published INTEGER);
CREATE VIRTUAL TABLE words USING fts5(title, text, content='', tokenize='porter unicode61 remove_diacritics 2');
CREATE TABLE bands(band INTEGER, document INTEGER, PRIMARY KEY(band, document)) WITHOUT ROWID;
CREATE TABLE vectors(passage INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE segments(
  id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL,
  ids BLOB NOT NULL, published BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO words(words, rank) VALUES('hashsize', 33554432);
INSERT INTO words(words, rank) VALUES('rank', 'bm25(2.0, 1.0)');
"""


def connect(path: Path, *, durable: bool = True) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any thread by one at a time."""
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA mmap_size=1073741824")
    connection.execute(f"PRAGMA synchronous={'NORMAL' if durable else 'OFF'}")
    return connection


def prepare(connection: sqlite3.Connection, path: Path, store_id: str) -> None:
    """Create the tables in a new file; check an existing one. Raises StoreError for a file that is not ours."""
    # In this order: tables that another process has just made are seen together with what says whose they are.
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    kind = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if not empty and kind != APPLICATION_ID:
        raise StoreError(f"{path}: is an SQLite file of another program, not an evidence store; name another file")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: was written by a newer weighup (store version {version}, this one reads {SCHEMA_VERSION}); "
            "upgrade weighup or name another file"
        )
    if version == SCHEMA_VERSION:
        return
    _log_ahead(connection)
    with transaction(connection):
        if int(connection.execute("PRAGMA user_version").fetchone()[0]) == SCHEMA_VERSION:
            return  # another process was first
        for statement in _TABLES.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES('store', ?)", (store_id,))
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite does not wait by itself for another process that is doing the same."""
    end = time.monotonic() + WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: whatever goes wrong inside, a full disk or Ctrl-C included, leaves the file as it was."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back by itself after some errors (disk full); then there is nothing to undo.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreError messages that name the file and what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path}: {_meaning(error)}") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read or written: {error.strerror or error}") from error


def _meaning(error: sqlite3.DatabaseError) -> str:
    said = str(error)
    if "not a database" in said:
        return "is not an evidence store (not an SQLite file); name another file"
    if "malformed" in said or "corrupt" in said:
        return f"is damaged ({said}); restore a copy, or move it away and add the documents again"
    if "readonly" in said or "read-only" in said:
        return "cannot be written (read-only file or folder); choose another with --store or make it writable"
    if "unable to open" in said:
        return "cannot be opened; check that its folder exists and may be written, or choose another with --store"
    if "full" in said:
        return "the disk is full; the last batch was undone, what was added before is kept"
    if "locked" in said or "busy" in said:
        return "is being written by another process for over 30 s; try again later"
    return f"SQLite says: {said}"


def to_time(moment: datetime | None) -> int | None:
    """Microseconds since 1970 UTC, exact, so that no rounding moves a date before a bound. Naive counts as UTC."""
    if moment is None:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def from_time(value: int | None) -> datetime | None:
    """The inverse of `to_time`."""
    return None if value is None else _EPOCH + timedelta(microseconds=value)
