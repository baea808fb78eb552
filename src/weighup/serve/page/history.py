"""How a verdict moved, as a drawing: P(fake) over the checks, as steps, since each holds until the next.

Places along time are in per cent, so that the drawing fits any screen; heights are in px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from weighup.serve.db.records import TimelineEntry

HEIGHT = 150
"""From P(fake) = 1 at the top, TOP px down, to 0."""
TOP = 14
MOST = 200
"""Checks that are drawn; the table below the drawing lists all."""
_LEFT, _WIDE = 14.0, 83.0


@dataclass(frozen=True, slots=True)
class Step:
    """One check. `y`, `high` and `low` are heights of P(fake) and its interval; `until` is where the next one is."""

    number: int
    at: str
    until: str
    width: str
    y: float
    high: float
    tall: float
    rise: float | None
    label: str
    added: int


@dataclass(frozen=True, slots=True)
class History:
    """The drawing: its steps, the dates below and the heights of the lines at 0, 50 and 100 %."""

    steps: tuple[Step, ...]
    ticks: tuple[tuple[str, str, str], ...]
    height: int
    left_out: int


def history(timeline: Sequence[TimelineEntry], now: datetime) -> History | None:
    """The drawing of a timeline, oldest check first; None for less than two checks. `now` is its right end."""
    if len(timeline) < 2:
        return None
    shown = list(timeline)[-MOST:]
    left_out = len(timeline) - len(shown)
    first, last = shown[0].at, max(now, shown[-1].at)
    length = max((last - first).total_seconds(), 1.0)

    def across(moment: datetime) -> float:
        return _LEFT + _WIDE * (moment - first).total_seconds() / length

    steps: list[Step] = []
    for place, entry in enumerate(shown):
        start = across(entry.at)
        end = across(shown[place + 1].at) if place + 1 < len(shown) else _LEFT + _WIDE
        low, high = entry.interval
        steps.append(
            Step(
                number=left_out + place + 1,
                at=_percent(start),
                until=_percent(end),
                width=_percent(max(end - start, 0.0)),
                y=_height(entry.probability),
                high=_height(high),
                tall=round(max(_height(low) - _height(high), 2.0), 1),
                rise=steps[-1].y if steps else None,
                label=entry.label,
                added=len(entry.evidence_added),
            )
        )
    middle = first + (last - first) / 2
    written = [_written(one, last - first) for one in (first, middle, last)]
    ticks = (
        (_percent(_LEFT), "start", written[0]),
        (_percent(_LEFT + _WIDE / 2), "middle", written[1]),
        (_percent(_LEFT + _WIDE), "end", written[2]),
    )
    return History(tuple(steps), ticks, HEIGHT, left_out)


def level(probability: float) -> float:
    """The height of a line across the drawing."""
    return _height(probability)


def _height(probability: float) -> float:
    return round(TOP + (1 - probability) * (HEIGHT - TOP), 1)


def _written(moment: datetime, span: timedelta) -> str:
    return moment.strftime(
        "%H:%M" if span < timedelta(days=1) else "%m-%d %H:%M" if span < timedelta(days=4) else "%Y-%m-%d"
    )


def _percent(value: float) -> str:
    return f"{value:.2f}%"
