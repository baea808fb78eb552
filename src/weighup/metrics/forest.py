"""A forest plot as inline SVG: a dot with its interval for each row. No library; legible in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_ROW, _TOP, _WIDTH, _RIGHT, _DOT = 22, 40, 720, 24, 4.0
_LETTER = 6.4  # pixels of a character at 12 px, about


def forest(
    title: str,
    rows: Sequence[tuple[str, float, float | None, float | None]],
    *,
    axis: str = "",
    at: float | None = None,
) -> str:
    """An <svg> element. rows: (label, value, low, high), drawn from above; without bounds only the dot. `at`: where a
    line is drawn, for example 0.5 for chance. Rows whose value is not finite say so in words. Raises ValueError for no
    row with a value.
    """
    known = [x for _, *xs in rows for x in xs if x is not None and math.isfinite(x)]
    if not known:
        raise ValueError(f"{title}: no row has a value")
    low, high = min([*known, *([] if at is None else [at])]), max([*known, *([] if at is None else [at])])
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - room, high + room
    left = min(_WIDTH / 2, 16 + _LETTER * max(len(label) for label, *_ in rows))
    height = _TOP + _ROW * len(rows) + 36

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (_WIDTH - _RIGHT - left)

    told = "; ".join(f"{label} {value:.3g}" for label, value, *_ in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" font-size="12" '
        f'font-family="sans-serif" fill="currentColor"><title>{escape(title)}</title><desc>{escape(told)}</desc>',
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    bottom = _TOP + _ROW * len(rows)
    if at is not None:
        parts.append(
            f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{_TOP - 8}" y2="{bottom}" stroke="currentColor" '
            'stroke-opacity="0.5" stroke-dasharray="4 4"/>'
        )
    for place, (label, value, least, most) in enumerate(rows):
        y = _TOP + _ROW * place + 8
        shown = label if len(label) * _LETTER <= left - 12 else label[: int((left - 12) / _LETTER) - 1] + "…"
        parts.append(f'<text x="8" y="{y + 4}">{escape(shown)}</text>')
        if not math.isfinite(value):
            parts.append(f'<text x="{left:.1f}" y="{y + 4}" fill-opacity="0.7">no value</text>')
            continue
        if least is not None and most is not None and math.isfinite(least) and math.isfinite(most):
            parts.append(
                f'<line x1="{x(least):.1f}" x2="{x(most):.1f}" y1="{y}" y2="{y}" stroke="#3d85c6" stroke-width="2"/>'
            )
        parts.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="{_DOT}" fill="#3d85c6"/>')
    parts.append(
        f'<line x1="{left:.1f}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}" stroke="currentColor" '
        'stroke-opacity="0.5"/>'
    )
    for mark in _marks(low, high):
        parts.append(f'<text x="{x(mark):.1f}" y="{bottom + 16}" text-anchor="middle">{mark:g}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{bottom + 30}" text-anchor="end">{escape(axis)}</text></svg>')
    return "".join(parts)


def _marks(low: float, high: float) -> list[float]:
    """Round numbers between, about five."""
    step = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(step * one for one in (1, 2, 5, 10) if (high - low) / (step * one) <= 6)
    first = math.ceil(low / step)
    return [round(step * n, 12) for n in range(first, math.floor(high / step) + 1)]
