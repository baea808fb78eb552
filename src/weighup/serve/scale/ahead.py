"""Rows handed to workers before they are asked for, so that `run_batch` keeps all of them busy.

`run_batch` takes rows, has them checked, writes them, and takes the next. This stands on both its sides: it passes the
rows through and, from the first check on, has read some batches ahead and given them to the workers. `run_batch` gets
the answers in order and does all the rest as ever: resuming, errors of single rows, one line each, the lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from weighup.verify.contract import Verdict
from weighup.verify.rows import BadRow, Row
from weighup.verify.types import Claim


class Submits(Protocol):
    """What is needed of RayChecker."""

    def submit(self, claims: Sequence[Claim]) -> Future[list[Verdict]]: ...


@dataclass(frozen=True, slots=True)
class _Batch:
    claims: list[Claim]
    answer: Future[list[Verdict]]


class Ahead:
    """Rows for `run_batch`, and its checker. `batch_size` must be what it is given; `batches` are under way at most.

    Memory holds that many batches and their verdicts.
    """

    def __init__(self, checker: Submits, rows: Iterable[Row | BadRow], *, batch_size: int, batches: int) -> None:
        self._checker = checker
        self._source = iter(rows)
        self._size = batch_size
        self._most = batches
        self._read: deque[Row | BadRow] = deque()
        self._waiting: deque[_Batch] = deque()
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[Row | BadRow]:
        return self

    def __next__(self) -> Row | BadRow:
        if self._read:
            return self._read.popleft()
        if self._error is not None:
            raise self._error
        return next(self._source)

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        """The verdicts of `items`: a batch handed in before, or anything else, which then waits its turn."""
        claims = [Claim(text=one) if isinstance(one, str) else one for one in items]
        if self._waiting and _same(self._waiting[0].claims, claims):
            answer = self._waiting.popleft().answer
        else:
            answer = self._checker.submit(claims)
        self._read_on()
        return answer.result()

    def _read_on(self) -> None:
        while len(self._waiting) < self._most - 1 and self._error is None:
            rows = self._next_rows()
            if not rows:
                return
            self._read.extend(rows)
            if claims := [row.claim for row in rows if isinstance(row, Row)]:
                self._waiting.append(_Batch(claims, self._checker.submit(claims)))

    def _next_rows(self) -> list[Row | BadRow]:
        rows: list[Row | BadRow] = []
        try:
            rows.extend(islice(self._source, self._size))
        except Exception as error:  # noqa: BLE001 - raised where rows are read, when those before it are done
            self._error = error
        return rows


def _same(ours: Sequence[Claim], asked: Sequence[Claim]) -> bool:
    """Whether these are the very same objects; equal ones may stand in many places of a file."""
    return len(ours) == len(asked) and all(a is b for a, b in zip(ours, asked, strict=True))
