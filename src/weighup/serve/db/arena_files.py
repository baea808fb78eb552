"""Votes as files: pairs as `weighup arena rate` reads matches, sets of three and more as it reads rankings.

The file appears whole or not at all.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weighup.errors import InvalidInput
from weighup.serve.db.arena import ArenaVote

COLUMNS = ("id", "model_a", "model_b", "winner", "voter", "item", "tstamp", "seconds")
"""`model_a` is the system whose answer stood to the left."""
_WINNERS = {"a": "model_a", "b": "model_b", "tie": "tie", "both_bad": "tie (bothbad)"}


def write_matches(votes: Iterable[ArenaVote], path: Path) -> int:
    """The votes on pairs, as .csv or .jsonl; how many. Raises InvalidInput for the path."""
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise InvalidInput(f"{path}: of unknown kind {path.suffix!r}; votes go to .csv or .jsonl")
    count = 0
    with _whole(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n") if path.suffix.lower() == ".csv" else None
        if table is not None:
            table.writeheader()
        for vote in votes:
            if vote.winner is None:
                continue
            if table is not None:
                table.writerow(_match(vote))
            else:
                file.write(f"{json.dumps(_match(vote), ensure_ascii=False)}\n")
            count += 1
    return count


def write_rankings(votes: Iterable[ArenaVote], path: Path) -> int:
    """The votes on sets, as .jsonl: `ranking`, best first, tied ones as a list; how many. Raises InvalidInput."""
    if path.suffix.lower() != ".jsonl":
        raise InvalidInput(f"{path}: of unknown kind {path.suffix!r}; rankings go to .jsonl")
    count = 0
    with _whole(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        for vote in votes:
            if vote.ranking is not None:
                ranking = [group[0] if len(group) == 1 else list(group) for group in vote.ranking]
                row = {"id": str(vote.id), "ranking": ranking, "shown": list(vote.shown), **_told(vote)}
                file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
                count += 1
    return count


def _match(vote: ArenaVote) -> dict[str, Any]:
    a, b = vote.shown
    return {"id": str(vote.id), "model_a": a, "model_b": b, "winner": _WINNERS[str(vote.winner)], **_told(vote)}


def _told(vote: ArenaVote) -> dict[str, Any]:
    return {"voter": vote.voter, "item": vote.item, "tstamp": vote.at.timestamp(), "seconds": vote.seconds}


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end, and is gone if something goes wrong."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        beside = Path(name)
        try:
            yield beside
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written: {error.strerror or error}") from error
