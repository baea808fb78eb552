"""Counting what models cost, and stopping when a budget is spent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from weighup.errors import BudgetExceeded


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls made, tokens read and written, seconds waited, US dollars; `cached` of the calls cost nothing."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.seconds + other.seconds,
            self.usd + other.usd,
            self.cached + other.cached,
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits; None is unlimited. `seconds` is wall time since the meter was made."""

    tokens: int | None = None
    seconds: float | None = None
    usd: float | None = None


class Meter:
    """Adds up Usage and says no once a budget is spent. Thread-safe. A claim's meter has the run's as `parent`."""

    def __init__(self, budget: Budget | None = None, *, parent: Meter | None = None) -> None:
        self.budget = budget or Budget()
        self.parent = parent
        self._usage = Usage()
        self._held_tokens = 0
        self._held_usd = 0.0
        self._lock = threading.Lock()
        self._started = time.monotonic()

    @property
    def usage(self) -> Usage:
        return self._usage

    @property
    def elapsed(self) -> float:
        """Wall seconds since this meter was made."""
        return time.monotonic() - self._started

    def add(self, usage: Usage) -> None:
        with self._lock:
            self._usage = self._usage + usage
        if self.parent is not None:
            self.parent.add(usage)

    def remaining_seconds(self) -> float | None:
        """Seconds until the nearest time budget, of this meter or a parent, is spent; None if there is none."""
        own = None if self.budget.seconds is None else self.budget.seconds - self.elapsed
        outer = self.parent.remaining_seconds() if self.parent is not None else None
        return min((s for s in (own, outer) if s is not None), default=None)

    @contextmanager
    def reserve(self, *, tokens: int, usd: float) -> Iterator[Hold]:
        """Set an estimate aside while a call is under way, so that calls side by side cannot overspend together.

        Raises BudgetExceeded before anything is asked. Call `settle` on what is yielded with the true usage.
        """
        chain: list[Meter] = []
        hold = Hold(self, chain, tokens, usd)
        try:
            meter: Meter | None = self
            while meter is not None:
                with meter._lock:
                    meter._check(tokens, usd)
                    meter._held_tokens += tokens
                    meter._held_usd += usd
                chain.append(meter)
                meter = meter.parent
            yield hold
        finally:
            hold.release()

    def check(self, *, tokens: int = 0) -> None:
        """Raise BudgetExceeded if anything is spent, or would be by asking for `tokens` more."""
        self._check(tokens, 0.0)
        if self.parent is not None:
            self.parent.check(tokens=tokens)

    def _check(self, tokens: int, usd: float) -> None:
        used, limit = self._usage, self.budget
        spent = used.tokens_in + used.tokens_out + self._held_tokens
        if limit.tokens is not None and (spent >= limit.tokens or spent + tokens > limit.tokens):
            raise BudgetExceeded(f"budget of {limit.tokens} tokens: {spent} used, {tokens} more asked for")
        if limit.seconds is not None and self.elapsed >= limit.seconds:
            raise BudgetExceeded(f"budget of {limit.seconds:g} s is spent")
        paid = used.usd + self._held_usd
        # A budget of nothing still allows what is free.
        if limit.usd is not None and (paid + usd > limit.usd or (paid >= limit.usd > 0)):
            raise BudgetExceeded(f"budget of ${limit.usd:g}: ${paid:.4f} used, ${usd:.4f} more asked for")

    def _check_holds(self) -> None:
        used, limit = self._usage, self.budget
        spent = used.tokens_in + used.tokens_out
        if limit.tokens is not None and spent + self._held_tokens > limit.tokens:
            raise BudgetExceeded(f"budget of {limit.tokens} tokens: {spent} used, too few are left to ask again")
        # Sums of money differ in their last digits by the order in which they were added.
        if limit.usd is not None and used.usd + self._held_usd > limit.usd * (1 + 1e-9):
            raise BudgetExceeded(f"budget of ${limit.usd:g}: ${used.usd:.4f} used, too little is left to ask again")
        if limit.seconds is not None and self.elapsed >= limit.seconds:
            raise BudgetExceeded(f"budget of {limit.seconds:g} s is spent")


class Hold:
    """What `Meter.reserve` has set aside, on the meter and its parents."""

    def __init__(self, meter: Meter, chain: list[Meter], tokens: int, usd: float) -> None:
        self._meter, self._chain, self._tokens, self._usd = meter, chain, tokens, usd

    def check(self) -> None:
        """Raise BudgetExceeded if time is over, or if what was set aside is no longer there for the asking."""
        for meter in self._chain:
            with meter._lock:
                meter._check_holds()

    def settle(self, usage: Usage) -> None:
        """Exchange the estimate for what was used."""
        self._meter.add(usage)
        self.release()

    def release(self) -> None:
        """Give the estimate back; harmless when done twice."""
        while self._chain:
            meter = self._chain.pop()
            with meter._lock:
                meter._held_tokens -= self._tokens
                meter._held_usd -= self._usd
