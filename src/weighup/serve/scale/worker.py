"""What runs in each worker process: a checker of its own, opened once, asked block by block."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weighup import __version__
from weighup.serve.checkers import Checkers, Way

if TYPE_CHECKING:
    from weighup.settings import Settings
    from weighup.verify.batch import Checker
    from weighup.verify.contract import Verdict
    from weighup.verify.types import Claim

Make = Callable[[], "Checker"]
"""Opens the checker inside the worker; must be picklable."""
Said = tuple[str, int, str]
"""A log record: logger, level, message."""
_MOST_SAID = 100


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker that has loaded everything. `models`: their versions, empty where the checker tells none."""

    pid: int
    version: str
    models: dict[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one call: a value, or the error it raised; and what was logged meanwhile."""

    value: Any = None
    error: Exception | None = None
    said: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class MakeVerifier:
    """Opens a Verifier as the process that asks would have: same settings, same folder for relative paths."""

    settings: Settings
    offline: bool = False
    search: bool = True
    folder: str | None = None

    def __call__(self) -> Checker:
        if self.folder is not None:
            with suppress(OSError):  # on another machine it need not be there
                os.chdir(self.folder)
        from weighup.verify.verifier import Verifier

        return Verifier(self.settings, offline=self.offline, search=self.search)


class CheckWorker:
    """The actor. Errors come back as values: what Ray raises means that the process itself is gone."""

    def __init__(self, make: Make, log_level: int) -> None:
        self._make = make
        self._checkers: Checkers | None = None
        self._ear = _Ear()
        log = logging.getLogger("weighup")
        log.setLevel(log_level)
        log.addHandler(self._ear)

    def ready(self) -> Reply:
        """Open the checker and load its models; the value is a Ready."""
        return self._reply(self._open)

    def check(self, claims: Sequence[Claim], way: Way) -> Reply:
        """The verdicts of `claims`, in order."""
        return self._reply(lambda: self._check(claims, way))

    def _open(self) -> Ready:
        checker = self._make()
        self._checkers = Checkers(checker)
        tell = getattr(checker, "versions", None)
        return Ready(os.getpid(), __version__, dict(tell()) if tell is not None else {})

    def _check(self, claims: Sequence[Claim], way: Way) -> list[Verdict]:
        assert self._checkers is not None
        return self._checkers.get(way).check(claims)

    def _reply(self, work: Callable[[], Any]) -> Reply:
        try:
            return Reply(work(), said=self._ear.heard())
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller decides what it means
            return Reply(error=_movable(error), said=self._ear.heard())


class _Ear(logging.Handler):
    """Keeps what is logged until the next reply takes it along; the oldest of too much is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[Said] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append((record.name, record.levelno, record.getMessage()))
        del self._records[:-_MOST_SAID]

    def heard(self) -> tuple[Said, ...]:
        found, self._records = tuple(self._records), []
        return found


def _movable(error: Exception) -> Exception:
    """The error itself if it survives the way to another process, else one that says the same."""
    try:
        same: object = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an error may hold anything, and its pickling may raise anything
        same = None
    if type(same) is type(error) and str(same) == str(error):
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
