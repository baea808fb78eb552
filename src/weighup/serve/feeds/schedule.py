"""When a feed is asked again: what its server and the feed itself ask for, else the usual time, longer after failures.

Freshness is read as a cache would (RFC 9111, sections 4.2.1 and 5.2.2.1). Failures back off exponentially with "equal
jitter" (Brooker 2015, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Retry-After:
RFC 9110, section 10.2.3.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from weighup.dates import seconds_until

EVERY = 900.0
"""Seconds between polls of a feed that asks for nothing; ours, a quarter of what RSS readers are used to."""

LONGEST = 24 * 3600.0
"""Seconds; a feed is asked once a day, however often it failed or however fresh it says it stays."""

LONGEST_RETRY = 7 * 24 * 3600.0
"""Seconds that a Retry-After is obeyed for at most."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,10})", re.IGNORECASE)


def after_success(headers: Mapping[str, str], ttl: float | None, *, every: float = EVERY) -> float:
    """Seconds until the next poll: the longest of `every`, the reply's freshness and the feed's own `ttl`, at most a
    day (or `every`, if that is longer)."""
    return min(max(every, freshness(headers), ttl or 0.0), max(LONGEST, every))


def after_failure(failures: int, headers: Mapping[str, str], chance: random.Random, *, every: float = EVERY) -> float:
    """Seconds until the next poll after `failures` (1 or more) in a row: `every` doubled with each, at most a day, then
    between half and all of that; no sooner than a Retry-After."""
    longest = min(every * 2.0 ** min(failures - 1, 30), max(LONGEST, every))
    asked = min(retry_after(headers.get("retry-after", "")) or 0.0, LONGEST_RETRY)
    return max(longest * chance.uniform(0.5, 1.0), asked)


def freshness(headers: Mapping[str, str]) -> float:
    """Seconds for which a reply says it stays fresh, from now; 0 if it does not say, or says not to keep it."""
    control = headers.get("cache-control", "")
    if re.search(r"no-(?:cache|store)", control, re.IGNORECASE):
        return 0.0
    if found := _MAX_AGE.search(control):
        age = headers.get("age", "").strip()
        return max(0.0, float(found[1]) - (float(age) if age.isascii() and age.isdecimal() else 0.0))
    return seconds_until(headers["expires"]) or 0.0 if "expires" in headers else 0.0


def retry_after(value: str) -> float | None:
    """Seconds, from either form of the header; None if there is none to be read."""
    value = value.strip()
    return float(value[:12]) if value.isascii() and value.isdecimal() else seconds_until(value)
