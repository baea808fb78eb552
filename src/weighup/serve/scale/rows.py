"""`weighup check --engine ray`: what `run_batch` is given instead of a Verifier and the rows of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weighup.serve.scale.ahead import Ahead
from weighup.serve.scale.checker import RayChecker

if TYPE_CHECKING:
    from weighup.settings import Settings
    from weighup.verify.rows import BadRow, Row

PER_WORKER = 2
"""Batches under way for each worker: one that is checked, one that waits for it."""


@contextmanager
def over_workers(
    settings: Settings,
    rows: Iterable[Row | BadRow],
    *,
    batch_size: int,
    offline: bool = False,
    search: bool = True,
    workers: int | None = None,
    address: str | None = None,
) -> Iterator[Ahead]:
    """The rows and the checker for `run_batch(ahead, ahead, …, batch_size=batch_size)`, in one object.

    Ray is started when the first row is checked: nothing is, where the output is finished already or the input cannot
    be read. Raises InvalidInput if Ray is not installed or a budget of the whole run is set.
    """
    with RayChecker.open(settings, offline=offline, search=search, workers=workers, address=address) as checker:
        yield Ahead(checker, rows, batch_size=batch_size, batches=PER_WORKER * checker.workers)
