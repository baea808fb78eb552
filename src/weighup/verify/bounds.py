"""A claim's own evidence is bounded by its date too, however it came in: rows, flags or the façade."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta

from weighup.dates import iso, parse_bound
from weighup.verify.types import Claim

_DAY_ENDS = time(23, 59, 59)


def without_later(claim: Claim) -> tuple[Claim, list[str]]:
    """The claim less the evidence of its own that is certainly from after it, and a warning for each piece left out.

    A bare day is allowed its whole span on both sides: what came out on the claim's day stays, on the user's word, and
    so does undated evidence. A claim without a date is made now, and nothing is left out.
    """
    if claim.date is None or not claim.evidence:
        return claim, []
    latest = _ends(parse_bound(claim.date))
    kept, warnings = [], []
    for number, passage in enumerate(claim.evidence, start=1):
        if passage.published is not None and _begins(passage.published) > latest:
            day = iso(passage.published)
            warnings.append(f"evidence {number} is dated {day}, after the claim ({iso(latest)}), and was left out")
        else:
            kept.append(passage)
    return (replace(claim, evidence=tuple(kept)), warnings) if warnings else (claim, [])


def _begins(published: datetime) -> datetime:
    """A publication given as a bare day stands as its last second (see `weighup.dates`)."""
    if published.time() == _DAY_ENDS:
        return published.replace(hour=0, minute=0, second=0)
    return published


def _ends(bound: datetime) -> datetime:
    """A claim's bare day stands as its first second."""
    return bound + timedelta(days=1, seconds=-1) if bound.time() == time(0) else bound
