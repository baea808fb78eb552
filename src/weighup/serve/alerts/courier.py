"""Carries what is in the outbox to where it is meant for, until it has left or is among the dead letters.

At least once. An alert is leased before it is tried and marked when it has left; whoever is killed between the two
leaves a lease that runs out, and the next courier sends the alert again, under the same id. Any number of couriers, in
any number of processes, may work on one database.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from weighup.errors import StoreError
from weighup.serve.alerts.console import Console
from weighup.serve.alerts.delivery import Channel, Undelivered
from weighup.serve.alerts.email import Mail
from weighup.serve.alerts.targets import targets
from weighup.serve.alerts.webhook import Webhook
from weighup.serve.db import Database
from weighup.serve.db.alerts import ATTEMPTS
from weighup.serve.db.records import Alert
from weighup.serve.db.sessions import LEASE, present
from weighup.settings import Settings

if TYPE_CHECKING:
    from weighup.retrieve.transport import Connector

logger = logging.getLogger(__name__)

THREADS = 8
"""Alerts under way at once."""
IDLE = 1.0
"""Seconds between looks into an empty outbox."""
_TIMEOUT = 20.0  # seconds for one webhook or one step of SMTP, at most: a delivery must end within its lease
_MARKS = 4  # tries to write down what came of a delivery


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of some deliveries: `failed` are tried again later, `dead` are not."""

    sent: int = 0
    failed: int = 0
    dead: int = 0


class Courier:
    """Delivers alerts. One `run` or `deliver_once` at a time; close it, or use it as a context manager.

    `stream` is where console alerts go, None being standard output. Raises SettingsError for unusable receivers.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        threads: int = THREADS,
        connector: Connector | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.database = database
        self.threads = threads
        self.name = f"courier:{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.channels = channels(settings, connector=connector, stream=stream)
        self._quiet_until: dict[str, float] = {}  # by channel, in seconds of time.monotonic
        self._lock = threading.Lock()

    def __enter__(self) -> Courier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        for channel in self.channels.values():
            if isinstance(channel, Webhook):
                channel.close()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set, then finish what is under way. A database that does not answer is waited for."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="weighup-alerts") as pool:
            busy: set[Future[str | None]] = set()
            while not stop.is_set():
                try:
                    taken = self._take(self.threads - len(busy))
                except StoreError as error:
                    logger.warning("alerts wait: %s", error)
                    taken = []
                busy |= {pool.submit(self._deliver, alert) for alert in taken}
                if busy:
                    _, busy = wait(busy, timeout=IDLE, return_when=FIRST_COMPLETED)
                elif not taken:
                    stop.wait(IDLE)

    def deliver_once(self) -> Delivered:
        """Try every alert that is due now once, and say what came of them. Raises StoreError."""
        states: list[str | None] = []
        with ThreadPoolExecutor(self.threads, thread_name_prefix="weighup-alerts") as pool:
            while taken := self._take(self.threads):
                states += pool.map(self._deliver, taken)
        return Delivered(states.count("sent"), states.count("queued"), states.count("dead"))

    def _take(self, free: int) -> list[Alert]:
        """No more than can be started at once: a lease must not run out in a queue."""
        return list(self.database.alerts.take(self.name, limit=free, seconds=LEASE)) if free > 0 else []

    def _deliver(self, alert: Alert) -> str | None:
        """Try one alert and write down what came of it; its state then, None if another courier has dealt with it."""
        try:
            self._send(alert)
        except Undelivered as error:
            return self._mark_failed(alert, error)
        except Exception as error:  # noqa: BLE001 (one alert must not stop the others; its text may hold anything)
            logger.error("alert %s: unexpected %s", alert.id, type(error).__name__)
            return self._mark_failed(alert, Undelivered(f"unexpected {type(error).__name__}"))
        return self._mark_sent(alert)

    def _send(self, alert: Alert) -> None:
        channel = self.channels.get(alert.channel)
        if channel is None:
            raise Undelivered(f"no {alert.channel} is set; see the settings watch.…")
        with self._lock:
            quiet = self._quiet_until.get(alert.channel, 0.0) - time.monotonic()
        if quiet > 0 and alert.attempts < ATTEMPTS:
            raise Undelivered("its receiver asked to be left alone for a while", wait=quiet)
        try:
            channel.send(alert)
        except Undelivered as error:
            if error.wait:
                with self._lock:
                    until = time.monotonic() + error.wait
                    self._quiet_until[alert.channel] = max(until, self._quiet_until.get(alert.channel, 0.0))
            raise

    def _mark_sent(self, alert: Alert) -> str | None:
        for attempt in range(_MARKS):
            try:
                return "sent" if self.database.alerts.sent([alert.id]) else None
            except StoreError as error:
                logger.warning("alert %s has left but that could not be written down: %s", alert.id, error)
                time.sleep(0.2 * 2**attempt)
        return None  # its lease runs out and it is sent again

    def _mark_failed(self, alert: Alert, why: Undelivered) -> str | None:
        last = alert.attempts >= ATTEMPTS or why.final
        # The back-off counts from when the receiver wants to hear of us again.
        now = present() + timedelta(seconds=0.0 if last else why.wait or 0.0)
        try:
            state = self.database.alerts.failed(alert.id, str(why), now=now, final=why.final)
        except StoreError as error:
            logger.warning("alert %s: %s; and that could not be written down: %s", alert.id, why, error)
            return None
        if state == "dead":
            logger.warning("alert %s is dead after %d tries: %s", alert.id, alert.attempts, why)
        else:
            logger.info("alert %s waits after %d tries: %s", alert.id, alert.attempts, why)
        return state


def channels(
    settings: Settings, *, connector: Connector | None = None, stream: TextIO | None = None
) -> dict[str, Channel]:
    """The ways out that are set, by name. Raises SettingsError for one that cannot be used."""
    told = targets(settings)
    timeout = min(settings.retrieve.timeout, _TIMEOUT)
    found: dict[str, Channel] = {}
    if told.webhook:
        found["webhook"] = Webhook(
            told.webhook,
            timeout=timeout,
            user_agent=settings.retrieve.user_agent,
            allow_loopback=settings.retrieve.allow_loopback,
            connector=connector,
        )
    if told.mail:
        found["email"] = Mail(told.mail, timeout=timeout)
    if told.console:
        found["console"] = Console(stream)
    return found
