"""A Checker whose batches are checked by worker processes, side by side.

    with RayChecker.open(settings, workers=4) as checker:
        verdicts = checker.check(claims)             # one batch, on one worker; call from several threads
        waiting = [checker.submit(batch) for batch in batches]

A batch goes to one worker whole. The int8 encoders scale a batch by its largest value, so the same claim in other
company gets a slightly different verdict; whole batches are what makes the answers those of one process. Ray Data
forms batches of its own (per block of input, short ones at the ends), reads files without the row-by-row errors of
`row_files`, and keeps no output that tells which row it stands at; so workers are Ray actors, and reading, order and
output stay in `verify.batch`, as they are with one process.

A worker that dies (killed, out of memory, its machine gone) is replaced and its batch is asked again: nothing is
recorded in workers, so nothing is lost or doubled. A batch on which workers die again and again is an error of that
batch, as if checking it had raised.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from weighup import __version__
from weighup.errors import InvalidInput, JobFailed
from weighup.models.onnx import cores
from weighup.serve.checkers import Way
from weighup.serve.scale.cluster import Cluster, EngineLost, host_and_port, require
from weighup.serve.scale.worker import CheckWorker, Make, MakeVerifier, Ready, Reply
from weighup.settings import Settings
from weighup.verify.batch import Checker
from weighup.verify.contract import Verdict
from weighup.verify.types import Claim

TRIES = 3
"""Workers that may die on one batch before it counts as the batch's fault."""
GIVE_UP = 20
"""Deaths in a row, with no batch answered between, after which no worker is started any more."""
START_SECONDS = 300.0
"""For a worker to load its models; a cold cache on a busy disk takes a minute."""
_AS_IS = Way()

logger = logging.getLogger(__name__)


class WorkersDied(JobFailed):
    """The workers given a batch died on it, each time."""


class RayChecker:
    """Implements `verify.batch.Checker` with `workers` processes. Thread-safe. Starts Ray when first needed."""

    def __init__(self, make: Make, *, workers: int | None = None, address: str | None = None) -> None:
        """`make` opens the checker of each worker. `workers` None: one for each core of this machine.

        `address`: of a cluster that runs already (host:port); None starts Ray here. Raises InvalidInput if Ray is
        not installed or the number of workers cannot be one.
        """
        require()
        self.workers = how_many(workers, address)
        self.settings: Settings | None = None
        self.offline, self.search, self.brief = False, True, False
        self._make = make
        self._address = address
        self._lock = threading.Lock()
        self._cluster: Cluster | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._seats: list[_Seat] = []
        self._idle: queue.SimpleQueue[_Seat] = queue.SimpleQueue()
        self._deaths = 0
        self._first: Ready | None = None
        self._closed = False

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        offline: bool = False,
        search: bool = True,
        workers: int | None = None,
        address: str | None = None,
    ) -> RayChecker:
        """Workers that each check as a Verifier with these settings would, and share this machine's cores.

        Raises InvalidInput if Ray is not installed, or for a budget of the whole run, which several processes cannot
        keep.
        """
        checker = cls(
            MakeVerifier(
                shared(settings, how_many(workers, address), local=address is None), offline, search, os.getcwd()
            ),
            workers=workers,
            address=address,
        )
        checker.settings, checker.offline, checker.search = settings, offline, search
        checker.brief = settings.verify.brief
        return checker

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers that are loaded now."""
        return [seat.ready.pid for seat in self._seats if seat.ready is not None]

    def start(self) -> None:
        """Start Ray and load every worker now instead of with the first batch. Raises what a worker cannot load."""
        pool = self._running()
        for waiting in [pool.submit(self._open_one) for _ in range(self.workers)]:
            waiting.result()

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        """Verdicts in the order of `items`, which go to one worker as one batch. Waits for it.

        Raises what `Verifier.check` raises, WorkersDied if every worker that was given the batch died on it, and
        EngineLost if there are no workers to be had.
        """
        return self.submit([Claim(text=one) if isinstance(one, str) else one for one in items]).result()

    def submit(self, claims: Sequence[Claim], way: Way = _AS_IS) -> Future[list[Verdict]]:
        """As `check`, not waiting: batches are begun in the order in which they are handed in."""
        return self._running().submit(self._ask, list(claims), way)

    def narrowed(self, way: Way) -> Checker:
        """The same workers, asked to check in another way (`serve.checkers`).

        Raises InvalidInput for a `risk` that the weights are not calibrated for.
        """
        if way == _AS_IS:
            return self
        if way.risk is not None and self.settings is not None:
            from weighup.verify import calibrated

            calibrated.require(self.settings.verify.weights, way.risk)
        return _Narrowed(self, way)

    def versions(self) -> dict[str, str]:
        """The version of every model that takes part; empty until a worker has loaded them."""
        return dict(self._first.models) if self._first is not None else {}

    def close(self) -> None:
        """End the workers, whatever they are doing, and Ray with them if it was started here."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        for seat in self._seats:
            seat.close()
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def __enter__(self) -> RayChecker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _running(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise EngineLost("the workers have been ended")
            if self._pool is None:
                self._cluster = self._cluster or Cluster(self._address, processors=self.workers)
                if self.workers > (have := self._cluster.processors):
                    raise EngineLost(f"--workers {self.workers}: the cluster has {have} processor cores")
                self._seats = [_Seat(self) for _ in range(self.workers)]
                for seat in self._seats:
                    self._idle.put(seat)
                # One thread waits for each worker: the caller's own stays free for signals and for reading on.
                self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="ray")
            return self._pool

    def _open_one(self) -> None:
        seat = self._idle.get()
        try:
            if seat.ready is None:
                seat.open()
        finally:
            self._idle.put(seat)

    def _ask(self, claims: list[Claim], way: Way) -> list[Verdict]:
        seat = self._idle.get()
        try:
            return self._asked(seat, claims, way)
        finally:
            self._idle.put(seat)

    def _asked(self, seat: _Seat, claims: list[Claim], way: Way) -> list[Verdict]:
        for _ in range(TRIES):
            reply = seat.ask(claims, way)
            if reply is None:
                self._died()
                continue
            self._deaths = 0
            _say(reply)
            if reply.error is not None:
                raise reply.error
            verdicts: list[Verdict] = reply.value
            return verdicts
        what = f"a batch of {len(claims)}" if len(claims) > 1 else "it"
        raise WorkersDied(f"{TRIES} worker processes died on {what}, one after another (out of memory?)")

    def _died(self) -> None:
        """Count a death. Raises EngineLost if there have been too many, or if the end was asked for."""
        if self._closed:
            raise EngineLost("the workers have been ended")
        with self._lock:
            self._deaths += 1
            deaths = self._deaths
        if deaths >= GIVE_UP:
            raise EngineLost(f"{deaths} worker processes died one after another, and no batch was answered between")
        logger.warning("a worker process died; its batch goes to a new one")

    def _welcome(self, ready: Ready) -> None:
        """Refuse a worker that would answer otherwise than the others do."""
        with self._lock:
            if self._first is None:
                self._first = ready
            first = self._first
        if ready.version != __version__:
            raise EngineLost(f"a worker runs weighup {ready.version}, this is {__version__}; install the same on all")
        if ready.models != first.models:
            other = sorted(set(ready.models.items()) ^ set(first.models.items()))
            raise EngineLost(f"workers have different models: {other}; put the same on all machines")


class _Seat:
    """A place for one worker, which is opened when first needed and anew after it has died. One thread at a time."""

    def __init__(self, owner: RayChecker) -> None:
        self._owner = owner
        self._worker: Any = None
        self._ended = False
        self.ready: Ready | None = None

    def open(self) -> None:
        """Load a worker. Raises what it raises, EngineLost if none stays alive."""
        for _ in range(TRIES):
            if self._opened():
                return
            self._owner._died()
        raise EngineLost(f"{TRIES} worker processes died while they loaded their models (out of memory?)")

    def ask(self, claims: list[Claim], way: Way) -> Reply | None:
        """The worker's reply; None if it died."""
        import ray

        if self.ready is None:
            self.open()
        try:
            reply: Reply = ray.get(self._worker.check.remote(claims, way))
        except ray.exceptions.RayError as error:
            logger.debug("a worker is gone: %s", error)
            self._drop()
            return None
        return reply

    def close(self) -> None:
        self._ended = True
        self._drop()

    def _opened(self) -> bool:
        import ray

        if self._ended:
            raise EngineLost("the workers have been ended")
        level = logging.getLogger("weighup").getEffectiveLevel()
        kind = ray.remote(CheckWorker)
        # Ray must not bring a worker back by itself: a fresh one has loaded nothing, and would be asked all the same.
        self._worker = kind.options(num_cpus=1, max_restarts=0, max_task_retries=0).remote(self._owner._make, level)
        try:
            reply: Reply = ray.get(self._worker.ready.remote(), timeout=START_SECONDS)
        except ray.exceptions.GetTimeoutError as error:
            self._drop()
            raise EngineLost(f"a worker was not ready after {START_SECONDS:g} s; is the cluster busy?") from error
        except ray.exceptions.RayError as error:
            logger.debug("a worker did not start: %s", error)
            self._drop()
            return False
        _say(reply)
        if reply.error is not None:
            self._drop()
            raise reply.error
        self._owner._welcome(reply.value)
        self.ready = reply.value
        return True

    def _drop(self) -> None:
        import ray

        worker, self._worker, self.ready = self._worker, None, None
        if worker is not None and ray.is_initialized():
            ray.kill(worker)


class _Narrowed:
    """A RayChecker asked in one other way."""

    def __init__(self, checker: RayChecker, way: Way) -> None:
        self._checker, self._way = checker, way

    def check(self, items: Sequence[str | Claim]) -> list[Verdict]:
        claims = [Claim(text=one) if isinstance(one, str) else one for one in items]
        return self._checker.submit(claims, self._way).result()


def how_many(workers: int | None, address: str | None) -> int:
    """The number of workers meant. Raises InvalidInput if it cannot be one, or must be said and was not."""
    if address is not None:
        host_and_port(address)
    if workers is None and address is not None:
        raise InvalidInput("--address names a cluster: say with --workers how many of its processor cores to take")
    if workers is not None and workers < 1:
        raise InvalidInput(f"--workers {workers}: at least one is needed")
    return workers or cores()


def shared(settings: Settings, workers: int, *, local: bool) -> Settings:
    """The settings for each of `workers`, so that all together use no more than one process would have.

    Cores are shared where the workers are on this machine; requests to a model and to each source's host everywhere.
    """
    limits = settings.verify
    if any(limit is not None for limit in (limits.run_tokens, limits.run_seconds, limits.run_usd)):
        raise InvalidInput(
            "a budget of the whole run (run_tokens, run_seconds, run_usd) cannot be kept by several processes; "
            "give each claim its own (--budget tokens=…), or leave --engine ray out"
        )
    models, retrieve = settings.models, settings.retrieve
    threads = models.threads or (max(1, cores() // workers) if local else 1)
    return settings.model_copy(
        update={
            "models": models.model_copy(
                update={"threads": threads, "concurrency": max(1, models.concurrency // workers)}
            ),
            "retrieve": retrieve.model_copy(update={"per_host_per_second": retrieve.per_host_per_second / workers}),
        }
    )


def _say(reply: Reply) -> None:
    """Log here what was logged in the worker."""
    for name, level, message in reply.said:
        log = logging.getLogger(name)
        if log.isEnabledFor(level):
            log.log(level, "%s", message)
