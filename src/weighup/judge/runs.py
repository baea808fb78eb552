"""A run is a log: an SQLite file of items and of what was said of them, from which every score is had without a model.

Judgements are added a batch at a time, each batch in one transaction: a run that is killed, even with SIGKILL, goes on
where it stopped, with nothing judged twice or lost. What is `waiting` (people, a server that was away, a spent budget)
is not written and asked again by the next run. A log goes on only with the judge, prompts, rubric and items it was
begun with.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from pathlib import Path

from weighup.errors import InvalidInput, JobFailed
from weighup.judge.panel import at_a_time, described
from weighup.judge.recorded import RecordedJudge
from weighup.judge.types import Item, Judge, Judgement, Rubric, Spent, unique
from weighup.models.side_by_side import side_by_side

BATCH = 128
OVERLAP = 8
"""Batches under way at a time. A model client works on a batch with as many calls at once as it may; while the last
calls of one are waited for, or sleep before they are tried again, those of the others keep the places busy."""
_CALLS_EACH = 4  # items a batch for each call that a model takes at once: what a kill can lose is a few calls' time
_AGAIN = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL, "order" TEXT NOT NULL, sample INTEGER NOT NULL, item TEXT NOT NULL,
    UNIQUE (id, "order", sample));
CREATE TABLE IF NOT EXISTS judgements (n INTEGER PRIMARY KEY REFERENCES items (n), judgement TEXT NOT NULL);
"""
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class RunResult:
    """How far a run is. `status`: judgements in the log by status, and `waiting` those that are yet to be had; `usage`:
    what those in the log cost; `judged`: how many this call has added."""

    items: int
    judged: int
    status: Mapping[str, int]
    usage: Spent

    @property
    def complete(self) -> bool:
        """Whether every item has its judgement."""
        return not self.status.get("waiting", 0)


class Log:
    """The log of a run, for reading. Raises InvalidInput for a file that is none."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InvalidInput(f"{path}: there is no log of a run")
        self.path = path
        if self.facts().get("version") != _VERSION:
            raise InvalidInput(f"{path}: is not the log of a run of this version of weighup")

    def facts(self) -> dict[str, str]:
        """What the run was begun with: version, judge, rubric, and the digest of the items."""
        with opened(self.path) as base:
            return dict(base.execute("SELECT name, value FROM facts"))

    def rubric(self) -> Rubric | None:
        """The rubric of the run."""
        said = self.facts()["rubric"]
        return Rubric.model_validate_json(said) if said else None

    def items(self) -> Iterator[Item]:
        """All items, in order."""
        with opened(self.path) as base:
            for (said,) in base.execute("SELECT item FROM items ORDER BY n"):
                yield Item.model_validate_json(said)

    def judgements(self) -> Iterator[Judgement]:
        """What has been said, in the order of the items, whenever it was said."""
        with opened(self.path) as base:
            for (said,) in base.execute("SELECT judgement FROM judgements ORDER BY n"):
                yield Judgement.model_validate_json(said)

    def judge(self) -> RecordedJudge:
        """A judge that says what is in the log. Raises InvalidInput if nothing is."""
        return RecordedJudge(self.judgements())

    def result(self, judged: int = 0) -> RunResult:
        """How far the run is."""
        status: Counter[str] = Counter()
        usage = Spent()
        for one in self.judgements():
            status[one.status] += 1
            usage = usage + one.usage
        with opened(self.path) as base:
            (count,) = base.execute("SELECT count(*) FROM items").fetchone()
        if count > status.total():
            status["waiting"] = count - status.total()
        return RunResult(count, judged, dict(status), usage)

    def write(self, path: Path, *, usage: bool = False) -> int:
        """Judgements as JSONL, in the order of the items; how many. Without `usage`, whose seconds differ from run to
        run, equal runs write equal files."""
        count = 0
        with path.open("w", encoding="utf-8") as file:
            for one in self.judgements():
                kept = one if usage else one.model_copy(update={"usage": Spent()})
                file.write(f"{kept.line()}\n")
                count += 1
        return count


def run(
    judge: Judge,
    items: Sequence[Item],
    log: Path,
    *,
    rubric: Rubric | None = None,
    made_with: Mapping[str, str] | None = None,
    batch: int | None = None,
    overlap: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> RunResult:
    """Judge what the log does not hold yet. `overlap` batches of `batch` items are under way at a time: the judge is
    called from as many threads. None: as suits what the judge's model takes at once, and 128 at most, 8 at a time.
    `advance` is told of items done, first of those that were there.

    `made_with`: what else must be the same for the log to go on, e.g. the hash of a pipeline file. Items that are left
    waiting are asked again, twice at most and only while that brings some. Raises InvalidInput for items that stand
    twice or a log begun with something else, JobFailed if another process is at work on it, and what the judge raises,
    after the batches under way are written.
    """
    usual = _batching(judge)
    batch, overlap = usual[0] if batch is None else batch, usual[1] if overlap is None else overlap
    if batch < 1 or overlap < 1:
        raise InvalidInput(f"batch and overlap are 1 or more, not {batch} and {overlap}")
    unique(items)
    with _alone(log), closing(_connect(log)) as base:
        _begin(base, log, items, _facts(judge, items, rubric, made_with or {}))
        there = _done(base)
        left = [n for n in range(len(items)) if n not in there]
        if advance is not None and len(left) < len(items):
            advance(len(items) - len(left))
        before = len(left)
        for _ in range(1 + _AGAIN):
            asked = len(left)
            _judge_all(judge, items, left, rubric, base, batch, overlap, advance)
            there = _done(base)
            left = [n for n in left if n not in there]
            if not left or len(left) == asked:
                break
    return Log(log).result(judged=before - len(left))


def items_digest(items: Iterable[Item]) -> str:
    """SHA-256 of items as JSON, one a line, in hex."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.model_dump_json()}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def _batching(judge: Judge) -> tuple[int, int]:
    """Size of a batch, and how many at a time. A model that takes one call at a time gains nothing by overlap: all
    batches would only be done later."""
    at_once = at_a_time(judge)
    if at_once is None:
        return BATCH, OVERLAP
    return min(BATCH, _CALLS_EACH * at_once), OVERLAP if at_once > 1 else 1


def _judge_all(
    judge: Judge,
    items: Sequence[Item],
    left: Sequence[int],
    rubric: Rubric | None,
    base: sqlite3.Connection,
    batch: int,
    overlap: int,
    advance: Callable[[int], object] | None,
) -> None:
    writing = threading.Lock()
    asked_with = _prompts(base)

    def one(task: tuple[Context, Sequence[int]]) -> None:
        context, places = task
        some = [items[n] for n in places]
        said = context.run(judge.judge, some, rubric)
        _belong(some, said, judge.name)
        rows = [(n, told.line()) for n, told in zip(places, said, strict=True) if told.status != "waiting"]
        with writing:
            _same_prompts(asked_with, said)
            with base:
                base.executemany("INSERT INTO judgements VALUES (?, ?)", rows)
            if advance is not None and rows:
                advance(len(rows))

    # Threads begin without the context of who starts them, such as the folder that prompts are taken from.
    batches = [(copy_context(), places) for places in _cut(left, batch, overlap)]
    side_by_side(one, batches, workers=overlap, leave_behind=True)


def _cut(left: Sequence[int], batch: int, overlap: int) -> Iterator[Sequence[int]]:
    """Batches. Those that begin together rise in size where others follow: else all would end together, and their last
    calls, which wait to be tried again, would leave the model's other places empty."""
    sizes = [-(-batch * n // overlap) for n in range(1, overlap)] if len(left) > batch * overlap else []
    at = 0
    for size in sizes:
        yield left[at : at + size]
        at += size
    for start in range(at, len(left), batch):
        yield left[start : start + batch]


def _belong(items: Sequence[Item], said: Sequence[Judgement], name: str) -> None:
    """Raises JobFailed unless there is a judgement of each item, in order: one put down to another is never noticed."""
    if len(said) != len(items):
        raise JobFailed(f"judge {name}: gave {len(said)} judgements of {len(items)} items")
    for item, one in zip(items, said, strict=True):
        if one.item_id != item.id:
            raise JobFailed(f"judge {name}: gave a judgement of item {one.item_id} where {item.id} was asked")


def _prompts(base: sqlite3.Connection) -> dict[str, str]:
    """Names and hashes of the prompts that the judgements in the log were asked with."""
    rows = base.execute("SELECT DISTINCT json_extract(judgement, '$.prompts') FROM judgements")
    return {name: told for (said,) in rows if said for name, told in json.loads(said).items()}


def _same_prompts(before: dict[str, str], said: Sequence[Judgement]) -> None:
    """Raises InvalidInput for a prompt that has changed since the run was begun; takes note of new ones."""
    for one in said:
        for name, told in one.prompts.items():
            if before.setdefault(name, told) != told:
                raise InvalidInput(
                    f"prompt {name}: has changed since this run was begun ({before[name]}, now {told}); "
                    "put the old file back, or name a new log"
                )


def _facts(judge: Judge, items: Sequence[Item], rubric: Rubric | None, made_with: Mapping[str, str]) -> dict[str, str]:
    return {
        "version": _VERSION,
        "judge": json.dumps(described(judge), sort_keys=True, ensure_ascii=False),
        "rubric": "" if rubric is None else rubric.model_dump_json(),
        "items": items_digest(items),
        **{f"made_with.{name}": value for name, value in made_with.items()},
    }


def _begin(base: sqlite3.Connection, path: Path, items: Sequence[Item], facts: Mapping[str, str]) -> None:
    """Begin the log, or see that it was begun with the same."""
    try:
        tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and not {"facts", "items", "judgements"} <= tables:
            raise InvalidInput(f"{path}: is a database of something else; name a new log")
        base.executescript(_TABLES)
        there = dict(base.execute("SELECT name, value FROM facts"))
    except sqlite3.DatabaseError as error:
        raise InvalidInput(f"{path}: cannot be used as the log of a run: {error}") from error
    if not there:
        rows = ((n, one.id, one.order, one.sample, one.model_dump_json()) for n, one in enumerate(items))
        with base:
            base.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
            base.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        return
    other = [name for name in {**there, **facts} if there.get(name) != facts.get(name)]
    if other:
        told = "; ".join(_told(name, there.get(name, ""), facts.get(name, "")) for name in other)
        raise InvalidInput(
            f"{path}: this run was begun with something else: {told}; go on with the same, or name a new log"
        )


def _told(name: str, before: str, now: str) -> str:
    if name == "items":
        return "the items differ"
    label = name.removeprefix("made_with.")
    if name != "judge":
        return f"{label} was {_short(before)}, is {_short(now)}"
    old, new = json.loads(before), json.loads(now)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return "; ".join(
        f"the judge's {key} was {_short(str(old.get(key)))}, is {_short(str(new.get(key)))}" for key in keys
    )


def _short(text: str) -> str:
    return (text if len(text) <= 60 else f"{text[:57]}…") or "nothing"


def _done(base: sqlite3.Connection) -> set[int]:
    return {n for (n,) in base.execute("SELECT n FROM judgements")}


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A log for reading. Raises InvalidInput if it cannot be."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as base:
            yield base
    except sqlite3.DatabaseError as error:
        raise InvalidInput(f"{path}: is not the log of a run: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    try:
        base = sqlite3.connect(path, timeout=30, check_same_thread=False)
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        raise InvalidInput(f"{path}: cannot be used as the log of a run: {error}") from error
    return base


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process runs on this log meanwhile: else both would pay for the same judgements. The lock is SQLite's on
    a file beside the log, and goes with the process however that ends."""
    if not path.parent.is_dir():
        raise InvalidInput(f"{path}: there is no folder {path.parent}")
    with closing(sqlite3.connect(f"{path}.lock", timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise JobFailed(
                f"{path}: another process is at work on this run; wait for it, or name a new log"
            ) from error
        yield
