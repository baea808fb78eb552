"""`weighup serve --engine ray`: the same server, whose checker is spread over worker processes.

The application, the desk and the database are those of one process; only what the desk checks with is another. Ray
Serve's own ingress is not used: it would answer HTTP in further processes, each with limits, sessions and waiting
lines of its own, where this API counts on one of each. More API processes stand beside each other as they do without
Ray: on one PostgreSQL, behind a proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weighup.serve.scale.checker import RayChecker

if TYPE_CHECKING:
    from weighup.retrieve.store import EvidenceStore
    from weighup.settings import Settings

_MOST_THREADS = 64


@dataclass(frozen=True, slots=True)
class Served:
    """What `create_app` is given: settings with threads enough, the desk's checker, and the stores it searches."""

    settings: Settings
    checker: RayChecker
    stores: Sequence[EvidenceStore]


@contextmanager
def over_workers(
    settings: Settings, *, offline: bool = False, workers: int | None = None, address: str | None = None
) -> Iterator[Served]:
    """Workers with their models loaded, so that what is missing is said before anything listens; ended afterwards.

    Evidence is searched in this process. Raises InvalidInput if Ray is not installed, EngineLost if it does not start,
    and what a Verifier raises for models and weights that are missing.
    """
    from weighup.verify.verifier import Verifier

    with RayChecker.open(settings, offline=offline, workers=workers, address=address) as checker:
        checker.start()
        with Verifier(settings, offline=offline) as here:
            yield Served(_with_threads(settings, checker.workers), checker, here._stores)


def _with_threads(settings: Settings, workers: int) -> Settings:
    """A thread that works on jobs waits for one worker process at a time. None (0) stays none: others do the jobs."""
    if not settings.serve.workers:
        return settings
    threads = min(_MOST_THREADS, max(settings.serve.workers, workers))
    return settings.model_copy(update={"serve": settings.serve.model_copy(update={"workers": threads})})
