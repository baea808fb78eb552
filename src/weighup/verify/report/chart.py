"""Where things stand in the report's drawings, in per cent of their width, so that they fit any screen.

The template draws; this computes. A position is a string such as `38.20%`; text keeps its size at every width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from weighup.dates import published_or_none
from weighup.verify.contract import EvidenceView, PerspectiveView, Verdict

_LEFT, _WIDE = 4.0, 92.0
_APART = 8.5
"""Per cent between two marks of one lane: at 320 px that is 27 px, a mark being 22 px wide."""
_LANES = 8


@dataclass(frozen=True, slots=True)
class Scale:
    """The probability scale. `anchor` keeps the label of the marker inside the drawing."""

    at: str
    low: str
    width: str
    anchor: str
    half: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A passage on the timeline; `number` is its place in the list of sources, `y` the middle of its lane in px."""

    number: int
    stance: str
    at: str
    y: int
    date: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A date under the axis."""

    at: str
    anchor: str
    date: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Dated passages along time, and where the claim stands (None: undated). `height` of the lanes in px."""

    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    claim: str | None
    claim_anchor: str
    height: int


@dataclass(frozen=True, slots=True)
class Share:
    """A stretch of a stacked bar."""

    name: str
    at: str
    width: str
    probability: float


def scale(verdict: Verdict) -> Scale:
    """The marker and the interval of P(fake), from 0 at the left to 1 at the right."""
    low, high = verdict.interval
    p = verdict.probability_fake
    anchor = "start" if p < 0.15 else "end" if p > 0.85 else "middle"
    # A narrow interval is still drawn wide enough to be seen.
    return Scale(_place(p), _place(low), _percent(max((high - low) * _WIDE, 1.0)), anchor, _place(0.5))


def shares(view: PerspectiveView) -> list[Share]:
    """Real, unknown and fake as stretches of one bar."""
    parts = [("real", view.probability_real), ("unknown", view.probability_unknown), ("fake", view.probability_fake)]
    total = sum(p for _, p in parts) or 1.0
    found, at = [], 0.0
    for name, p in parts:
        found.append(Share(name, _percent(at), _percent(100 * p / total), p))
        at += 100 * p / total
    return found


def timeline(verdict: Verdict) -> Timeline | None:
    """The dated passages in time; None when none is dated."""
    dated = sorted(
        (moment, number, item)
        for number, item in enumerate(verdict.evidence, start=1)
        if (moment := published_or_none(item.date)) is not None
    )
    if not dated:
        return None
    claimed = published_or_none(verdict.date)
    first = min(dated[0][0], claimed or dated[0][0])
    last = max(dated[-1][0], claimed or dated[-1][0])
    length = max((last - first).total_seconds(), 1.0)
    single = last - first < timedelta(days=1)

    def at(moment: datetime) -> float:
        return _LEFT + _WIDE * (0.5 if single else (moment - first).total_seconds() / length)

    marks, lanes = _lay_out([(at(moment), number, item) for moment, number, item in dated])
    ticks = [Tick(_percent(_LEFT + _WIDE / 2), "middle", first.date().isoformat())]
    if not single:
        middle = first + (last - first) / 2
        ticks = [
            Tick(_percent(_LEFT), "start", first.date().isoformat()),
            Tick(_percent(_LEFT + _WIDE / 2), "middle", middle.date().isoformat()),
            Tick(_percent(_LEFT + _WIDE), "end", last.date().isoformat()),
        ]
        if last - first < timedelta(days=4):
            del ticks[1]
    place = None if claimed is None else at(claimed)
    anchor = "middle" if place is None or 20 < place < 80 else "end" if place >= 80 else "start"
    return Timeline(tuple(marks), tuple(ticks), None if place is None else _percent(place), anchor, 28 * lanes)


def undated(verdict: Verdict) -> list[int]:
    """Numbers of the passages that have no date."""
    return [n for n, item in enumerate(verdict.evidence, start=1) if published_or_none(item.date) is None]


def _lay_out(placed: Sequence[tuple[float, int, EvidenceView]]) -> tuple[list[Mark], int]:
    """Marks that would touch go to the next lane up; past the last lane they may overlap."""
    ends: list[float] = []
    laid: list[tuple[float, int, EvidenceView, int]] = []
    for x, number, item in placed:
        lane = next((i for i, end in enumerate(ends) if x - end >= _APART), None)
        if lane is None and len(ends) < _LANES:
            lane = len(ends)
            ends.append(x)
        elif lane is None:
            lane = min(range(len(ends)), key=ends.__getitem__)
        ends[lane] = x
        laid.append((x, number, item, lane))
    lanes = len(ends)
    marks = [Mark(n, e.stance, _percent(x), 28 * (lanes - lane) - 14, e.date or "") for x, n, e, lane in laid]
    return marks, lanes


def _place(probability: float) -> str:
    return _percent(_LEFT + _WIDE * probability)


def _percent(value: float) -> str:
    return f"{value:.2f}%"
