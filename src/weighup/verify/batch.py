"""Checking many rows: a stream in, one JSON line out per row, in order, resumable at any moment.

The output file is the only record of how far a run got. Each line carries the digest of the row it answers, so a
run that was stopped (Ctrl-C, kill -9, power) goes on after the last whole line: a half-written last line is cut
off, and every line is compared with the row at its place before anything is added. It also carries the digest of
the run's conditions, so that a run is not taken up under other flags. Memory holds one batch.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from weighup.errors import InvalidInput, JobFailed, ModelMissing, SettingsError, StoreError, WeightsError, WeighupError
from weighup.verify.conditions import digest, told
from weighup.verify.contract import FailedRow, Verdict
from weighup.verify.rows import BadRow, Row
from weighup.verify.types import Claim

_SYNC_SECONDS = 5.0
"""At most this much work is lost if the machine itself loses power; a killed process loses none."""

logger = logging.getLogger(__name__)


class Checker(Protocol):
    """What a batch needs of `Verifier`: verdicts in the order of the claims."""

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]: ...


class Report(Protocol):
    """Told after every batch how many rows are done in all, and how many of them failed."""

    def __call__(self, done: int, failed: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: rows found done in the output, rows added, and how many in the whole output failed."""

    kept: int
    added: int
    failed: int


def run_batch(
    checker: Checker,
    rows: Iterable[Row | BadRow],
    output: Path,
    *,
    batch_size: int = 64,
    overwrite: bool = False,
    report: Report | None = None,
    conditions: Mapping[str, Any] | None = None,
) -> Outcome:
    """Check every row and write its verdict, or its error, as one line of `output`; goes on where a run stopped.

    `conditions` are what the verdicts depend on besides the rows (`conditions.conditions`). Raises InvalidInput if
    `output` holds the answers of other rows or was written under other conditions, JobFailed if it cannot be written.
    Errors that would befall every row alike (a missing model, a wrong setting) are raised, not written into each row.
    """
    rows = iter(rows)
    mark = None if conditions is None else digest(conditions)
    with _locked(output, overwrite=overwrite) as stream:
        kept, failed = _resume(stream, rows, output, conditions)
        if report is not None and kept:
            report(kept, failed)
        added, synced = 0, time.monotonic()
        while batch := list(islice(rows, batch_size)):
            lines = [_line(answer, mark) for answer in _check_batch(checker, batch)]
            stream.write(b"".join(line for line, _ in lines))
            stream.flush()
            added += len(batch)
            failed += sum(bad for _, bad in lines)
            if time.monotonic() - synced > _SYNC_SECONDS:
                os.fsync(stream.fileno())
                synced = time.monotonic()
            if report is not None:
                report(kept + added, failed)
        os.fsync(stream.fileno())
    return Outcome(kept, added, failed)


def read_output(path: Path) -> Iterator[Verdict | FailedRow]:
    """The lines of a finished (or stopped) batch; a half-written last line is left out."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                data = json.loads(line)
                yield FailedRow.model_validate(data) if "error" in data else Verdict.model_validate(data)
            except (ValueError, TypeError) as error:
                raise InvalidInput(f"{path}: line {number} is not a verdict: {str(error)[:200]}") from error


def _check_batch(checker: Checker, batch: Sequence[Row | BadRow]) -> list[Verdict | FailedRow]:
    good = [row for row in batch if isinstance(row, Row)]
    answers = iter(_check_rows(checker, good))
    return [
        next(answers)
        if isinstance(row, Row)
        else FailedRow(id=row.id, input_digest=row.digest, line=row.line, error=row.error)
        for row in batch
    ]


def _check_rows(checker: Checker, rows: Sequence[Row]) -> list[Verdict | FailedRow]:
    """All together; if that raises, one by one, so that one bad row costs only itself."""
    if not rows:
        return []
    try:
        verdicts = checker.check([row.claim for row in rows])
        if len(verdicts) != len(rows):
            raise JobFailed(f"{len(rows)} claims gave {len(verdicts)} verdicts")
    except (ModelMissing, SettingsError, StoreError, WeightsError):
        raise
    except Exception as error:  # whatever a row sets off must not end the job; it is written down
        if len(rows) > 1:
            logger.warning("a batch failed (%s: %s); its rows are tried one by one", type(error).__name__, error)
            return [answer for row in rows for answer in _check_rows(checker, [row])]
        row = rows[0]
        logger.debug("line %d failed", row.line, exc_info=True)
        said = str(error) if isinstance(error, WeighupError) else f"unexpected {type(error).__name__}: {error}"
        return [FailedRow(id=row.id, input_digest=row.digest, line=row.line, error=f"line {row.line}: {said}")]
    return [
        verdict.model_copy(update={"id": row.id, "input_digest": row.digest})
        for verdict, row in zip(verdicts, rows, strict=True)
    ]


def _line(answer: Verdict | FailedRow, mark: str | None) -> tuple[bytes, bool]:
    answer = answer.model_copy(update={"run_digest": mark})
    return answer.model_dump_json().encode("utf-8", "replace") + b"\n", isinstance(answer, FailedRow)


def _resume(
    stream: BinaryIO, rows: Iterator[Row | BadRow], output: Path, conditions: Mapping[str, Any] | None
) -> tuple[int, int]:
    """Walk the lines already written side by side with the rows they answer. Leaves `stream` at its end.

    Returns how many rows are done and how many of them failed.
    """
    done = failed = end = 0
    mark = None if conditions is None else digest(conditions)
    for line in stream:
        if not line.endswith(b"\n"):  # the write that was cut short
            break
        answer = _answer(line, output, done + 1)
        row = next(rows, None)
        if row is None:
            raise InvalidInput(_other(output, done + 1, "the input has no row left for it"))
        if answer["input_digest"] != row.digest:
            raise InvalidInput(
                _other(output, done + 1, f"the input's row at line {row.line} is not the one it answers")
            )
        if mark is not None and answer.get("run_digest") != mark:
            raise InvalidInput(
                f"{output}: line {done + 1} was written under other flags or settings than this run's "
                f"({told(conditions or {})}); give the same again, name another --output, or give --overwrite "
                "to start again"
            )
        done += 1
        failed += "error" in answer
        end += len(line)
    stream.seek(end)
    stream.truncate()
    return done, failed


def _answer(line: bytes, output: Path, number: int) -> dict[str, object]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "input_digest" not in answer:
        raise InvalidInput(_other(output, number, "it was not written by a batch"))
    return answer


def _other(output: Path, number: int, reason: str) -> str:
    return (
        f"{output}: line {number} does not belong to this input ({reason}); "
        "name another --output, or give --overwrite to start again"
    )


@contextmanager
def _locked(output: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """The output opened for this process alone: two runs into one file would double its rows."""
    if output.exists() and not output.is_file():  # a device or a pipe cannot be read back
        raise InvalidInput(f"{output}: is not a plain file; name one, so that a stopped run can be taken up")
    try:
        output.open("ab").close()  # creates without emptying; emptying waits until the lock is held
        stream = output.open("r+b")
    except OSError as error:
        raise InvalidInput(f"{output}: cannot be written: {error.strerror or error}") from error
    try:
        with stream:  # closing writes too, and a full disk may be noticed only then
            _lock(stream, output)
            if overwrite:
                stream.truncate(0)
            yield stream
    except BrokenPipeError:  # whoever read the progress is gone; the output is whole
        raise
    except OSError as error:
        raise JobFailed(f"{output}: cannot be written: {error.strerror or error}; run again to go on") from error


def _lock(stream: BinaryIO, output: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InvalidInput(f"{output}: another run is writing to it; wait for it or name another --output") from error
