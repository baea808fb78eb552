"""Try again what may pass: exponential back-off with jitter, never sooner than the server asked (Retry-After)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from weighup.dates import seconds_until
from weighup.errors import BudgetExceeded
from weighup.models.backend import Transient
from weighup.models.metering import Meter

log = logging.getLogger(__name__)
T = TypeVar("T")

_LONGEST_BACKOFF = 30.0


def retried(call: Callable[[], T], *, retries: int, backoff: float, longest: float, meter: Meter) -> T:
    """`call` until it does not raise Transient, `retries` times more at most.

    The n-th wait is uniform in [0, backoff · 2ⁿ], at most 30 s (Brooker, "Exponential Backoff and Jitter", AWS 2015),
    or what the server asked. A server that asks for more than `longest` seconds is not waited for. Raises the last
    Transient, or BudgetExceeded if the wait would outlast the meter's time.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

    jitter = wait_random_exponential(multiplier=backoff, max=_LONGEST_BACKOFF)

    def wait(state: RetryCallState) -> float:
        return max(jitter(state), _asked(state) or 0.0)

    def stop(state: RetryCallState) -> bool:
        return state.attempt_number > retries or (_asked(state) or 0.0) > longest

    def before(state: RetryCallState) -> None:
        pause, left = state.upcoming_sleep, meter.remaining_seconds()
        error = state.outcome.exception() if state.outcome else None
        if left is not None and pause >= left:
            raise BudgetExceeded(f"time budget ends before it is worth asking again: {error}") from error
        log.info("asking again in %.1f s: %s", pause, error)

    attempts = Retrying(
        retry=retry_if_exception_type(Transient),
        stop=stop,
        wait=wait,
        before_sleep=before,
        sleep=time.sleep,
        reraise=True,
    )
    return attempts(call)


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or an HTTP date; None where absent or unreadable."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return seconds_until(value)
    return max(seconds, 0.0) if seconds == seconds else None


def _asked(state: object) -> float | None:
    outcome = getattr(state, "outcome", None)
    error = outcome.exception() if outcome is not None else None
    return error.retry_after if isinstance(error, Transient) else None
