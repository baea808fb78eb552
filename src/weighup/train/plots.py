"""Small multiples as inline SVG: no library, legible in light and dark, told in words for screen readers.

One panel a set, all panels of a figure on the same scales, one legend below. Text and axes take the colour of the page
(`currentColor`); lines differ by colour, dash and mark, since some readers cannot tell the colours.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH = 720
_COLUMNS, _HEIGHT, _WIDEST = 3, 186, 349
_TOP, _EDGE = 34, 22
_LEFT, _RIGHT, _ABOVE, _BELOW = 38, 8, 24, 22
_LEGEND, _PER_ROW = 18, 4
# Each has a contrast of at least 3 against both white and the dark theme's ground.
_COLOURS = ("#3d85c6", "#c8701f", "#2f9e5f", "#c2559d", "#8a72d6", "#9a7d0a", "#7f8c8d", "#d9534f")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 4", "12 4", "5 2 1 2")
_MARKS = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True, slots=True)
class Line:
    """`points` (x, y) in the order drawn. `band`: low and high of each point, if any. `sizes`: how large each mark is
    drawn, from 0 to 1; all alike without."""

    points: Points
    band: Points = ()
    sizes: Sequence[float] = ()


def lines(
    title: str,
    panels: Mapping[str, Mapping[str, Line]],
    *,
    x: str,
    y: str,
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    strong: str | None = None,
) -> str:
    """An <svg> with one panel a name and in it one line a label. x goes from 0 to 1; `y_range` None fits the points.

    `strong` is drawn thicker, last, with its band in full, and told in words; `diagonal` adds the line on which y is x.
    Raises ValueError without any point.
    """
    labels = list(dict.fromkeys(label for mine in panels.values() for label in mine))
    points = [point for mine in panels.values() for line in mine.values() for point in line.points]
    if not points:
        raise ValueError(f"{title}: there is nothing to draw")
    bold = [line for mine in panels.values() for label, line in mine.items() if label == strong]
    bands = [edge for line in bold for both in line.band for edge in both]
    up = y_range or _fitted([point[1] for point in points] + bands)

    # The strong one looks the same in every figure, whatever is drawn beside it.
    rest = [label for label in labels if label != strong]
    places = {label: rest.index(label) if label != strong else len(_COLOURS) - 1 for label in labels}

    def drawn(name: str, at: _Place) -> list[str]:
        parts = [_diagonal(at)] if diagonal else []
        mine = panels[name]
        for label in sorted(mine, key=lambda one: one == strong):
            parts += _line(places[label], mine[label], at, label == strong)
        return parts

    told = {
        name: {k: v.points for k, v in mine.items() if k == strong or strong is None} for name, mine in panels.items()
    }
    keys = [(label, _key(places[label], label == strong)) for label in labels] if len(labels) > 1 else []
    return _figure(title, _told(told, x, y), list(panels), drawn, up, keys, strong, x, y)


def areas(title: str, panels: Mapping[str, Mapping[str, Points]], *, x: str, y: str) -> str:
    """An <svg> with one panel a name: the shares of its labels, which sum to 1, stacked in their order from below.

    Every label of a panel has the same x, two or more. Raises ValueError otherwise.
    """
    labels = list(dict.fromkeys(label for mine in panels.values() for label in mine))
    for name, mine in panels.items():
        where = {tuple(a for a, _ in points) for points in mine.values()}
        if len(where) != 1 or len(next(iter(where))) < 2:
            raise ValueError(f"{title}: {name}: two places or more are needed, the same for all")

    def drawn(name: str, at: _Place) -> list[str]:
        parts: list[str] = []
        below = [0.0] * len(next(iter(panels[name].values())))
        for label, points in panels[name].items():
            colour = _COLOURS[labels.index(label) % len(_COLOURS)]
            above = [low + share for low, (_, share) in zip(below, points, strict=True)]
            edge = [(at.x(a), at.y(high)) for (a, _), high in zip(points, above, strict=True)]
            back = [(at.x(a), at.y(low)) for (a, _), low in zip(points, below, strict=True)]
            parts.append(
                f'<path d="M{_path([*edge, *reversed(back)])}Z" fill="{colour}" fill-opacity="0.75" '
                'stroke="currentColor" stroke-opacity="0.5" stroke-width="0.8"/>'
            )
            if (room := _room([a for a, _ in points], below, above)) is not None:
                across, up = at.x(room[0]), at.y(room[1]) + 4
                parts.append(f'<text x="{across:.1f}" y="{up:.1f}" text-anchor="middle">{escape(label)}</text>')
            below = above
        return parts

    keys = [
        (label, f'<rect x="0" y="-8" width="22" height="10" fill="{_COLOURS[i % len(_COLOURS)]}" fill-opacity="0.75"/>')
        for i, label in enumerate(labels)
    ]
    return _figure(title, _told(panels, x, y), list(panels), drawn, (0.0, 1.0), keys, None, x, y)


def _room(xs: Sequence[float], below: Sequence[float], above: Sequence[float]) -> tuple[float, float] | None:
    """The middle of where a label fits best between two edges; None where there is no room for it."""

    def inside(a: float) -> tuple[float, float]:
        """The highest lower and the lowest upper edge around a place, as wide as a label."""
        order = sorted(range(len(xs)), key=lambda i: xs[i])
        near = [_between(a + step, [(xs[i], (below[i], above[i])) for i in order]) for step in (-0.17, 0.0, 0.17)]
        return max(low for low, _ in near), min(high for _, high in near)

    found = [(a / 50, *inside(a / 50)) for a in range(9, 42)]
    a, low, high = max(found, key=lambda one: one[2] - one[1])
    return (a, (low + high) / 2) if high - low >= 0.1 else None


def _between(a: float, points: Sequence[tuple[float, tuple[float, float]]]) -> tuple[float, float]:
    """Both values at x = a, straight between points by rising x."""
    for (x0, (low0, high0)), (x1, (low1, high1)) in itertools.pairwise(points):
        if a <= x1:
            share = min(max((a - x0) / (x1 - x0), 0.0), 1.0)
            return low0 + share * (low1 - low0), high0 + share * (high1 - high0)
    return points[-1][1]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a panel lies on the page, and its scales."""

    left: float
    top: float
    width: float
    height: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return self.left + min(max(value, 0.0), 1.0) * self.width

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return self.top + (self.high - inside) / (self.high - self.low) * self.height


def _figure(
    title: str,
    told: str,
    names: Sequence[str],
    drawn: Callable[[str, _Place], list[str]],
    up: tuple[float, float],
    keys: Sequence[tuple[str, str]],
    strong: str | None,
    x: str,
    y: str,
) -> str:
    columns = min(_COLUMNS, len(names))
    rows, key_rows = math.ceil(len(names) / columns), math.ceil(len(keys) / _PER_ROW)
    wide = min((WIDTH - _EDGE) / columns, _WIDEST)
    grid = _TOP + rows * _HEIGHT
    height = grid + 22 + key_rows * _LEGEND + (8 if keys else 0)
    right = _EDGE + columns * wide
    unique = hashlib.sha256(f"{title}{names}{told}{y}".encode()).hexdigest()[:8]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" aria-labelledby="t{unique} d{unique}" '
        'font-family="inherit" font-size="11" fill="currentColor" style="max-width: 100%; height: auto">',
        f'<title id="t{unique}">{escape(title)}</title>',
        f'<desc id="d{unique}">{escape(told)}</desc>',
        f'<text x="{_EDGE}" y="16" font-size="13" font-weight="bold">{escape(title)}</text>',
    ]
    for i, name in enumerate(names):
        left, top = _EDGE + i % columns * wide + _LEFT, _TOP + i // columns * _HEIGHT + _ABOVE
        at = _Place(left, top, wide - _LEFT - _RIGHT, _HEIGHT - _ABOVE - _BELOW, *up)
        parts += [f'<text x="{left:.1f}" y="{top - 8:.1f}" font-weight="bold">{escape(name)}</text>', *_axes(at)]
        parts += drawn(name, at)
    middle = (_EDGE + right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{grid + 12}" text-anchor="middle">{escape(x)}</text>')
    centre = _TOP + rows * _HEIGHT / 2
    parts.append(f'<text transform="translate(12 {centre:.1f}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    for i, (label, mark) in enumerate(keys):
        across, down = _EDGE + _LEFT + i % _PER_ROW * 165, grid + 22 + (i // _PER_ROW + 1) * _LEGEND - 4
        weight = ' font-weight="bold"' if label == strong else ""
        parts.append(
            f'<g transform="translate({across} {down})">{mark}<text x="28" y="1"{weight}>{escape(label)}</text></g>'
        )
    return "\n".join([*parts, "</svg>"])


def _fitted(values: Sequence[float]) -> tuple[float, float]:
    """The range of values in tenths, at least two tenths wide, inside [0, 1]."""
    low = int(min(values) * 10 + 1e-9) / 10
    high = -int(-max(values) * 10 - 1 + 1e-9) / 10
    low, high = max(min(low, high - 0.2), 0.0), min(high, 1.0)
    return (low, high) if high - low >= 0.2 else (max(high - 0.2, 0.0), max(high, 0.2))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, six at most."""
    step = next((size for size in (0.05, 0.1, 0.2) if (high - low) / size <= 5 + 1e-9), 0.25)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(at: _Place) -> list[str]:
    bottom, right = at.top + at.height, at.left + at.width
    parts = []
    for value in _ticks(at.low, at.high):
        level = at.y(value)
        parts.append(f'<path d="M{at.left:.1f} {level:.1f}H{right:.1f}" stroke="currentColor" stroke-opacity="0.18"/>')
        parts.append(f'<text x="{at.left - 5:.1f}" y="{level + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<text x="{at.x(value):.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{value:g}</text>')
    frame = f'<path d="M{at.left:.1f} {at.top:.1f}V{bottom:.1f}H{right:.1f}" fill="none" '
    parts.append(f'{frame}stroke="currentColor" stroke-opacity="0.6"/>')
    return parts


def _diagonal(at: _Place) -> str:
    return (
        f'<path d="M{at.x(at.low):.1f} {at.y(at.low):.1f}L{at.x(at.high):.1f} {at.y(at.high):.1f}" fill="none" '
        'stroke="currentColor" stroke-opacity="0.4" stroke-dasharray="3 3"/>'
    )


def _line(place: int, line: Line, at: _Place, strong: bool) -> list[str]:
    colour = _COLOURS[place % len(_COLOURS)]
    parts = []
    if line.band:
        xs = [a for a, _ in line.points]
        low = [(at.x(a), at.y(b)) for a, (b, _) in zip(xs, line.band, strict=True)]
        high = [(at.x(a), at.y(b)) for a, (_, b) in zip(xs, line.band, strict=True)]
        shade = 0.2 if strong else 0.06
        parts.append(f'<path d="M{_path([*low, *reversed(high)])}Z" fill="{colour}" fill-opacity="{shade}"/>')
    where = [(at.x(a), at.y(b)) for a, b in line.points]
    if len(where) > 1:
        parts.append(f'<path d="M{_path(where)}" {_style(place, strong)}/>')
    sizes = line.sizes or [0.5] * len(where)
    return parts + [_mark(place, a, b, 1.6 + 2.8 * size) for (a, b), size in zip(where, sizes, strict=True)]


def _style(place: int, strong: bool) -> str:
    dash = "" if strong else _DASHES[place % len(_DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'fill="none" stroke="{_COLOURS[place % len(_COLOURS)]}" stroke-width="{2.6 if strong else 1.4}"{dashed}'


def _key(place: int, strong: bool) -> str:
    return f'<path d="M0 -3H22" {_style(place, strong)}/>{_mark(place, 11, -3, 3)}'


def _path(points: Points) -> str:
    return "L".join(f"{a:.1f} {b:.1f}" for a, b in points)


def _mark(place: int, x: float, y: float, r: float) -> str:
    kind, colour = _MARKS[place % len(_MARKS)], _COLOURS[place % len(_COLOURS)]
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{colour}"/>'
    corners = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "diamond": [(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)],
        "triangle": [(0.0, -1.25), (1.25, 0.95), (-1.25, 0.95)],
    }[kind]
    return f'<path d="M{_path([(x + r * a, y + r * b) for a, b in corners])}Z" fill="{colour}"/>'


def _told(panels: Mapping[str, Mapping[str, Points]], x: str, y: str) -> str:
    """The figure in words."""
    each = [
        f"{name}: "
        + "; ".join(
            f"{label} " + ", ".join(f"{b:.2f} at {a:.2g}" for a, b in points)
            for label, points in mine.items()
            if points
        )
        for name, mine in panels.items()
    ]
    return f"{y} against {x}. {'. '.join(each)}. All numbers are in the tables."
