"""Pictures of a profile as inline SVG: the tree, a radar of the first layer, and the weak nodes.

They need no library, are legible in light and dark (text and axes take the colour of the page) and tell screen readers
in words what they show. Systems differ by colour and dash, since some readers cannot tell the colours.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from html import escape

from weighup.errors import InvalidInput
from weighup.judge.feedbacker_profile import Profile
from weighup.judge.feedbacker_taxonomy import Branch
from weighup.metrics.estimate import Estimate

WIDTH = 720
_ROW, _TOP, _INDENT = 22, 34, 22
_NAMES, _BARS = 300, 260  # where bars begin, and how long the longest is
_RADIUS = 150
# Each has a contrast of at least 3 against both white and the dark theme's ground.
_COLOURS = ("#3d85c6", "#c8701f", "#2f9e5f", "#c2559d", "#8a72d6", "#9a7d0a", "#7f8c8d", "#d9534f")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 4", "12 4", "5 2 1 2")
_LONGEST = 34


def tree(profile: Profile, system: str, *, scale: tuple[float, float]) -> str:
    """An <svg> of all nodes of one system, indented as in the tree: a bar for the mean, a line for its interval, n.

    scale: least and greatest result. Raises InvalidInput for an unknown system or a scale that does not rise.
    """
    rows = [(one.path, one.value) for one in profile.slices if one.system == system]
    return _rows(f"Results of {system} by kind of query", profile, system, rows, scale)


def weak(profile: Profile, system: str, *, scale: tuple[float, float]) -> str:
    """An <svg> of the nodes in which a system is weak, worst first, below its mean over all. Raises as `tree`."""
    found = [(one.path, one.value) for one in profile.weak(system)]
    title = f"Where {system} is weak" if found else f"{system} is weak nowhere"
    return _rows(title, profile, system, [((), profile.of(system)), *found], scale, full=True)


def radar(profile: Profile, *, scale: tuple[float, float]) -> str:
    """An <svg> with one axis for each node of the first layer and one outline a system; an axis begins in the middle
    with the least result. A system without results in a node has a gap there.

    Raises InvalidInput for fewer than three nodes, more than eight systems, or a scale that does not rise.
    """
    _rising(scale)
    axes = list(dict.fromkeys(one.path for one in profile.slices if len(one.path) == 1))
    if len(axes) < 3 or len(profile.systems) > len(_COLOURS):
        raise InvalidInput(
            f"radar: three nodes or more and at most {len(_COLOURS)} systems are needed, not {len(axes)} and "
            f"{len(profile.systems)}; draw the tree"
        )
    table = {(one.system, one.path): one.value for one in profile.slices}
    x, y = WIDTH / 2, _TOP + 26 + _RADIUS
    height = y + _RADIUS + 40 + 18 * math.ceil(len(profile.systems) / 3)
    parts = []
    for ring in (0.25, 0.5, 0.75, 1.0):
        points = [_spoke(x, y, ring, n, len(axes)) for n in range(len(axes))]
        parts.append(f'<path d="M{_path(points)}Z" fill="none" stroke="currentColor" stroke-opacity="0.2"/>')
        value = scale[0] + ring * (scale[1] - scale[0])
        parts.append(f'<text x="{x + 3:.1f}" y="{y - ring * _RADIUS - 2:.1f}" font-size="9">{value:.3g}</text>')
    for n, path in enumerate(axes):
        (a, b), (c, d) = _spoke(x, y, 1.0, n, len(axes)), _spoke(x, y, 1.13, n, len(axes))
        parts.append(f'<path d="M{x:.1f} {y:.1f}L{a:.1f} {b:.1f}" stroke="currentColor" stroke-opacity="0.2"/>')
        anchor = "middle" if abs(c - x) < 9 else "start" if c > x else "end"
        parts.append(f'<text x="{c:.1f}" y="{d + 4:.1f}" text-anchor="{anchor}">{escape(_short(path[0]))}</text>')
    for k, system in enumerate(profile.systems):
        values = [table.get((system, path)) for path in axes]
        parts += _outline(x, y, [None if one is None else _along(one.value, scale) for one in values], k)
        left, down = 90 + k % 3 * 200, y + _RADIUS + 46 + k // 3 * 18
        parts.append(f'<path d="M{left} {down - 4:.1f}h22" {_stroke(k)}/>')
        parts.append(f'<text x="{left + 28}" y="{down:.1f}">{escape(_short(system))}</text>')
    told = [f"{one.system}, {one.path[0]}: {_said(one.value)}" for one in profile.slices if len(one.path) == 1]
    return _svg("Results by kind of query", told, parts, height)


def _rows(
    title: str,
    profile: Profile,
    system: str,
    rows: Sequence[tuple[Branch, Estimate]],
    scale: tuple[float, float],
    *,
    full: bool = False,
) -> str:
    _rising(scale)
    whole = profile.of(system)
    parts, told = [], []
    bottom = _TOP + 8 + _ROW * len(rows)
    for n, (path, value) in enumerate(rows):
        down = _TOP + 8 + _ROW * n
        indent = 0 if full else _INDENT * len(path)
        name = (" / ".join(path) if full else path[-1]) if path else "all"
        end = _NAMES + _along(value.value, scale) * _BARS
        weight = "" if path else ' font-weight="bold"'
        parts.append(f'<text x="{10 + indent}" y="{down + 13}"{weight}>{escape(_short(name))}</text>')
        parts.append(
            f'<rect x="{_NAMES}" y="{down + 3}" width="{max(0.0, end - _NAMES):.1f}" height="13" '
            f'fill="{_COLOURS[0]}" fill-opacity="{0.45 if path else 0.8}"/>'
        )
        if not math.isnan(value.low):
            low, high = (_NAMES + _along(one, scale) * _BARS for one in (value.low, value.high))
            parts.append(f'<path d="M{low:.1f} {down + 9.5}H{high:.1f}" stroke="currentColor" stroke-width="1.6"/>')
        parts.append(f'<text x="{_NAMES + _BARS + 14}" y="{down + 13}">{value.value:.2f}, n {value.n:,}</text>')
        told.append(f"{name}: {_said(value)}")
    mean = _NAMES + _along(whole.value, scale) * _BARS
    parts.append(
        f'<path d="M{mean:.1f} {_TOP + 4}V{bottom}" stroke="currentColor" stroke-opacity="0.5" stroke-dasharray="3 3"/>'
    )
    return _svg(title, told, parts, bottom + 10)


def _svg(title: str, told: Sequence[str], parts: Sequence[str], height: float) -> str:
    words = ". ".join(told)
    unique = hashlib.sha256(f"{title}{words}".encode()).hexdigest()[:8]
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img" '
            f'aria-labelledby="t{unique} d{unique}" font-family="inherit" font-size="11" fill="currentColor" '
            'style="max-width: 100%; height: auto">',
            f'<title id="t{unique}">{escape(title)}</title>',
            f'<desc id="d{unique}">{escape(words)}</desc>',
            f'<text x="10" y="18" font-size="13" font-weight="bold">{escape(title)}</text>',
            *parts,
            "</svg>",
        ]
    )


def _outline(x: float, y: float, values: Sequence[float | None], k: int) -> list[str]:
    """Sides between neighbouring axes that both have a value, and a mark on each."""
    count = len(values)
    places = [None if one is None else _spoke(x, y, one, n, count) for n, one in enumerate(values)]
    sides = [
        f"M{_path([a, b])}"
        for a, b in zip(places, places[1:] + places[:1], strict=True)
        if a is not None and b is not None
    ]
    drawn = [f'<path d="{"".join(sides)}" {_stroke(k)}/>'] if sides else []
    colour = _COLOURS[k]
    return drawn + [
        f'<circle cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2.6" fill="{colour}"/>' for p in places if p is not None
    ]


def _stroke(k: int) -> str:
    dash = f' stroke-dasharray="{_DASHES[k]}"' if _DASHES[k] else ""
    return f'fill="none" stroke="{_COLOURS[k]}" stroke-width="1.8"{dash}'


def _spoke(x: float, y: float, share: float, n: int, count: int) -> tuple[float, float]:
    angle = 2 * math.pi * n / count
    return x + share * _RADIUS * math.sin(angle), y - share * _RADIUS * math.cos(angle)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{a:.1f} {b:.1f}" for a, b in points)


def _along(value: float, scale: tuple[float, float]) -> float:
    return min(1.0, max(0.0, (value - scale[0]) / (scale[1] - scale[0])))


def _rising(scale: tuple[float, float]) -> None:
    if not scale[0] < scale[1]:
        raise InvalidInput(f"scale: {scale} does not rise")


def _said(value: Estimate) -> str:
    between = "" if math.isnan(value.low) else f", {value.low:.2f} to {value.high:.2f}"
    return f"{value.value:.2f}{between}, {value.n} queries"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
