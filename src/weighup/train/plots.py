"""Small line plots as inline SVG: no library, legible in light and dark, read out by screen readers.

Text and axes take the colour of the page (`currentColor`); lines differ by colour, dash and mark, since some readers
cannot tell the colours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 180, 34, 46
# Each has a contrast of at least 3 against both white and the dark theme's ground.
_COLOURS = ("#3d85c6", "#c8701f", "#2f9e5f", "#c2559d", "#8a72d6", "#9a7d0a", "#7f8c8d", "#d9534f")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 4", "12 4", "5 2 1 2")
_MARKS = ("circle", "square", "diamond", "triangle")


def line_plot(
    title: str,
    series: Mapping[str, Points],
    *,
    x: str,
    y: str,
    x_range: tuple[float, float] = (0.0, 1.0),
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    strong: str | None = None,
) -> str:
    """An <svg> with one line a series, points (x, y) in the order given. `strong` is drawn thicker; `diagonal` adds
    the line on which y is x. `y_range` None fits the points. Raises ValueError without any point."""
    points = [point for mine in series.values() for point in mine]
    if not points:
        raise ValueError(f"{title}: there is nothing to draw")
    low, high = y_range or _fitted([point[1] for point in points])
    across = _Scale(*x_range, _LEFT, WIDTH - _RIGHT)
    up = _Scale(low, high, HEIGHT - _BOTTOM, _TOP)
    name = hashlib.sha256(f"{title}{sorted(series)}{points}".encode()).hexdigest()[:8]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-labelledby="t{name} d{name}" '
        'font-family="inherit" font-size="12" fill="currentColor" style="max-width: 100%; height: auto">',
        f'<title id="t{name}">{escape(title)}</title>',
        f'<desc id="d{name}">{escape(_told(series, x, y))}</desc>',
        f'<text x="{_LEFT}" y="16" font-size="13" font-weight="bold">{escape(title)}</text>',
        *_axes(across, up, x, y),
    ]
    if diagonal:
        parts.append(
            f'<path d="M{across(low):.1f} {up(low):.1f}L{across(high):.1f} {up(high):.1f}" fill="none" '
            'stroke="currentColor" stroke-opacity="0.4" stroke-dasharray="3 3"/>'
        )
    for place, (label, mine) in enumerate(series.items()):
        parts += _line(place, label, [(across(a), up(b)) for a, b in mine], label == strong)
    return "\n".join([*parts, "</svg>"])


class _Scale:
    """From a value to a place on the page."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low, self.high, self._first, self._last = low, high, first, last

    def __call__(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return self._first + (inside - self.low) / (self.high - self.low) * (self._last - self._first)

    def ticks(self, count: int = 5) -> list[float]:
        return [self.low + (self.high - self.low) * i / (count - 1) for i in range(count)]


def _fitted(values: Sequence[float]) -> tuple[float, float]:
    """The range of values in tenths, at least two tenths wide, inside [0, 1]."""
    low = int(min(values) * 10 + 1e-9) / 10
    high = -int(-max(values) * 10 - 1 + 1e-9) / 10
    low, high = max(min(low, high - 0.2), 0.0), min(high, 1.0)
    return (low, high) if high - low >= 0.2 else (max(high - 0.2, 0.0), max(high, 0.2))


def _axes(across: _Scale, up: _Scale, x: str, y: str) -> list[str]:
    bottom, left, right = HEIGHT - _BOTTOM, _LEFT, WIDTH - _RIGHT
    parts = []
    for value in up.ticks():
        at = up(value)
        parts.append(f'<path d="M{left} {at:.1f}H{right}" stroke="currentColor" stroke-opacity="0.18"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in across.ticks():
        parts.append(f'<text x="{across(value):.1f}" y="{bottom + 17}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<path d="M{left} {_TOP}V{bottom}H{right}" fill="none" stroke="currentColor" stroke-opacity="0.6"/>')
    parts.append(f'<text x="{(left + right) / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>')
    middle = (_TOP + bottom) / 2
    parts.append(f'<text transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    return parts


def _line(place: int, label: str, points: Points, strong: bool) -> list[str]:
    colour, dash = _COLOURS[place % len(_COLOURS)], "" if strong else _DASHES[place % len(_DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    style = f'fill="none" stroke="{colour}" stroke-width="{3 if strong else 1.6}"{dashed}'
    path = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
    left, at = WIDTH - _RIGHT + 14, _TOP + 10 + 19 * place
    weight = ' font-weight="bold"' if strong else ""
    parts = [f'<path d="M{path}" {style}/>'] if len(points) > 1 else []
    parts += [_mark(place, a, b, colour) for a, b in points]
    parts += [
        f'<path d="M{left} {at}H{left + 26}" {style}/>',
        _mark(place, left + 13, at, colour),
        f'<text x="{left + 33}" y="{at + 4}"{weight}>{escape(label)}</text>',
    ]
    return parts


def _mark(place: int, x: float, y: float, colour: str) -> str:
    kind = _MARKS[place % len(_MARKS)]
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"/>'
    shape = {
        "square": f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6z",
        "diamond": f"M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4 -4z",
        "triangle": f"M{x:.1f} {y - 4:.1f}l4 7h-8z",
    }[kind]
    return f'<path d="{shape}" fill="{colour}"/>'


def _told(series: Mapping[str, Points], x: str, y: str) -> str:
    """The plot in words."""
    lines = [f"{label}: " + ", ".join(f"{b:.2f} at {a:.2g}" for a, b in mine) for label, mine in series.items() if mine]
    return f"{y} against {x}. " + "; ".join(lines) + "."
