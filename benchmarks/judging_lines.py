"""A plot of lines as SVG, for `judging_pictures.py`: each line with its name at its right end. No library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

COLOURS = ("#3d85c6", "#c2571a", "#4f8a10", "#8e44ad", "#7a6a00")
Line = tuple[str, Sequence[float], Sequence[float]]
"""Name, x [n], y [n]."""


def lines(title: str, drawn: Sequence[Line], across: str, up: str, *, log: bool = False) -> str:
    """An <svg> of lines, each with its name at the right; `log`: the x axis by powers, else x is a share."""
    wide, high, left, right, top, bottom = 720, 380, 60, 190, 40, 330
    place: Callable[[float], float] = math.log10 if log else float
    xs = [place(x) for _, some, _ in drawn for x in some]
    ys = [y for _, _, some in drawn for y in some]
    least, most = min(ys) - 0.05 * (max(ys) - min(ys)), max(ys) + 0.05 * (max(ys) - min(ys))

    def at_x(x: float) -> float:
        return left + (place(x) - min(xs)) / (max(xs) - min(xs)) * (wide - right - left)

    def at_y(y: float) -> float:
        return bottom - (y - least) / (most - least) * (bottom - top)

    told = "; ".join(f"{name}: from {ys[0]:.3g} to {ys[-1]:.3g}" for name, _, ys in drawn)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img" font-size="12" '
        f'font-family="sans-serif" fill="currentColor"><title>{escape(title)}</title><desc>{escape(told)}</desc>',
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{left} {top}V{bottom}H{wide - right}" fill="none" stroke="currentColor" stroke-opacity="0.5"/>',
    ]
    step = 10 ** math.floor(math.log10((most - least) / 4))
    step = next(step * by for by in (1, 2, 5, 10) if (most - least) / (step * by) <= 6)
    for n in range(math.ceil(least / step), math.floor(most / step) + 1):
        y = at_y(n * step)
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{round(n * step, 9):g}</text>')
        across_at = f'x1="{left}" x2="{wide - right}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line {across_at} stroke="currentColor" stroke-opacity="0.12"/>')
    every = sorted({x for _, some, _ in drawn for x in some})
    for x in every if log else [tenth / 10 for tenth in range(11) if every[0] <= tenth / 10 <= every[-1]]:
        parts.append(f'<text x="{at_x(x):.1f}" y="{bottom + 18}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<text x="{wide - right}" y="{bottom + 38}" text-anchor="end">{escape(across)}</text>')
    parts.append(f'<text x="{left}" y="{top - 6}" text-anchor="middle">{escape(up)}</text>')
    labels: list[float] = []
    for (name, some, values), colour in sorted(zip(drawn, COLOURS, strict=False), key=lambda one: at_y(end_of(one[0]))):
        dots = [f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(some, values, strict=True)]
        parts.append(f'<polyline points="{" ".join(dots)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{dot.split(",")[0]}" cy="{dot.split(",")[1]}" r="3" fill="{colour}"/>' for dot in dots]
        y = max(at_y(end_of((name, some, values))) + 4, labels[-1] + 16 if labels else 0)
        labels.append(y)
        parts.append(f'<text x="{wide - right + 10}" y="{y:.1f}" fill="{colour}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def end_of(line: Line) -> float:
    """The value at the right end of a line."""
    return line[2][max(range(len(line[1])), key=line[1].__getitem__)]
