"""People as a judge: a queue in an SQLite file. What they have answered is a judgement, what not is `waiting`.

Several processes may use the file: a run puts items in, a page or a command takes them out and answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import get_args

from pydantic import JsonValue

from weighup.errors import InvalidInput
from weighup.judge.orders import combine
from weighup.judge.types import Item, Judgement, Order, Rubric, Winner, two

_TABLES = """
CREATE TABLE IF NOT EXISTS items (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL, "order" TEXT NOT NULL, sample INTEGER NOT NULL, item TEXT NOT NULL,
    UNIQUE (id, "order", sample));
CREATE TABLE IF NOT EXISTS votes (
    n INTEGER NOT NULL REFERENCES items (n), person TEXT NOT NULL, winner TEXT NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (n, person));
"""


class HumanJudge:
    """Pairs to be judged by people, `votes` of them each; more votes than one are counted, equal sides tie.

    A person has one vote an item. Thread-safe, and safe beside other processes on the same file.
    """

    waits = True
    """It may have to be asked again later: who asks others too asks it first (see `Panel`)."""

    def __init__(self, path: Path, *, name: str = "human", votes: int = 1) -> None:
        if votes < 1:
            raise InvalidInput(f"votes: one or more a pair, not {votes}")
        self.path, self.name, self.votes = path, name, votes
        with self._open() as base:
            base.executescript(_TABLES)

    def describe(self) -> dict[str, JsonValue]:
        """What decides what it says, for the log of a run."""
        return {"judge": "human", "name": self.name, "votes": self.votes}

    def judge(self, items: Sequence[Item], rubric: Rubric | None = None) -> list[Judgement]:
        """Puts what is new in the queue; one judgement each, `waiting` until enough people voted.

        Raises InvalidInput for an item that is no pair, or that stands in the queue with other texts.
        """
        for item in items:
            two(item)
        found = []
        with self._open() as base:
            for item in items:
                place = self._queued(base, item)
                rows = base.execute("SELECT person, winner, note FROM votes WHERE n = ? ORDER BY person", (place,))
                found.append(self._counted(item, rows.fetchall()))
        return found

    def pending(self, by: str | None = None, *, limit: int | None = None) -> list[Item]:
        """Items that lack votes, in the order in which they came; those that `by` has not voted on, if given."""
        asked = "SELECT item FROM items i WHERE (SELECT count(*) FROM votes v WHERE v.n = i.n) < ?"
        values: list[object] = [self.votes]
        if by is not None:
            asked += " AND NOT EXISTS (SELECT 1 FROM votes v WHERE v.n = i.n AND v.person = ?)"
            values.append(by)
        with self._open() as base:
            rows = base.execute(f"{asked} ORDER BY n LIMIT ?", [*values, -1 if limit is None else limit]).fetchall()
        return [Item.model_validate_json(row[0]) for row in rows]

    def answer(
        self, item_id: str, winner: Winner, by: str, *, order: Order = "given", sample: int = 0, note: str = ""
    ) -> None:
        """Keep a person's vote: `winner` in the item's own numbering, however it was shown.

        Raises InvalidInput for an unknown item or winner, a nameless person, or a second vote of theirs.
        """
        if winner not in get_args(Winner):
            raise InvalidInput(f"item {item_id}: a vote is 1, 2 or tie, not {winner!r}")
        if not by.strip():
            raise InvalidInput(f"item {item_id}: a vote needs the name of who gives it")
        with self._open() as base:
            asked = 'SELECT n FROM items WHERE id = ? AND "order" = ? AND sample = ?'
            row = base.execute(asked, (item_id, order, sample)).fetchone()
            if row is None:
                raise InvalidInput(f"item {item_id}: is not in the queue {self.path}")
            try:
                base.execute("INSERT INTO votes VALUES (?, ?, ?, ?)", (row[0], by, winner, note))
            except sqlite3.IntegrityError as error:
                raise InvalidInput(f"item {item_id}: {by} has already voted on it") from error

    def _queued(self, base: sqlite3.Connection, item: Item) -> int:
        said = item.model_dump_json()
        base.execute(
            'INSERT OR IGNORE INTO items (id, "order", sample, item) VALUES (?, ?, ?, ?)',
            (item.id, item.order, item.sample, said),
        )
        asked = 'SELECT n, item FROM items WHERE id = ? AND "order" = ? AND sample = ?'
        place, there = base.execute(asked, (item.id, item.order, item.sample)).fetchone()
        if there != said and Item.model_validate_json(there) != item:
            raise InvalidInput(
                f"item {item.id}: stands in the queue {self.path} with other texts; use another file or id"
            )
        return int(place)

    def _counted(self, item: Item, votes: Sequence[tuple[str, Winner, str]]) -> Judgement:
        base = Judgement(item_id=item.id, judge=self.name, order=item.order, sample=item.sample, status="waiting")
        if len(votes) < self.votes:
            return base
        notes = "\n".join(f"{person}: {note}" for person, _, note in votes if note)
        each = [base.model_copy(update={"winner": winner, "status": "ok"}) for _, winner, _ in votes]
        shown = {"order": item.order, "sample": item.sample, "rationale": notes}
        if len(each) == 1:
            return each[0].model_copy(update=shown)
        return combine(each, "vote", name=self.name).model_copy(update=shown)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file, in one transaction. Raises InvalidInput if it is not one."""
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as base:
                base.execute("PRAGMA journal_mode = WAL")
                base.execute("PRAGMA foreign_keys = ON")
                with base:
                    yield base
        except sqlite3.DatabaseError as error:
            raise InvalidInput(f"{self.path}: cannot be used as a queue of judgements: {error}") from error
